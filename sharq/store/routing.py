"""How calls find their nodes in a cluster. Pure: steps for both kinds of links.

Each function is a generator. It yields a step and gets back its result; a link only carries the
steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.store.errors import CutOff, Misdirected
from sharq.store.failover import after_both
from sharq.store.slots import Node, Topology, View

ASK_TIMEOUT: Final = 0.5
"""How long a node may take to tell the map, seconds."""

FIRST_TIMEOUT: Final = 1.0
"""The same before there is a map, with the time to connect."""

GRACE: Final = 0.1
"""How long the others are waited for when one has told a map that may be believed, seconds."""

LOST_INTERVAL: Final = 0.5
"""How often the map may be requested because a node is away, silent or cut off, seconds."""

SILENCE: Final = 1.5
"""How long a node may owe an answer before the others are asked for the map, seconds."""

# More would tell nothing new.
_MOST_ASKED: Final = 8

Reachable = Callable[[Node], bool]
"""Tells whether a node is connected, as far as known."""


class Refresh(NamedTuple):
    """Get the map again, unless it is newer than `version` by now.

    `named` is the node that a redirection named. Nodes that are `doubted`, since they are away,
    silent or cut off, are asked last. A refresh that is not `pressing` may be skipped shortly after
    another one. Gets back None, or the error if no node could give the map.
    """

    version: int
    named: Node | None = None
    pressing: bool = True
    doubted: tuple[Node, ...] = ()


class Send(NamedTuple):
    """Send calls to nodes. Gets back a list of results or errors for each of the batches."""

    batches: list[tuple[Node, list[Call[Any]]]]


Steps = Generator[Refresh | Send, Any, list[Any]]


def route(topology: Topology, calls: Sequence[Call[Any]], reachable: Reachable) -> Steps:
    """Send each call to the node of its key; gives a result or an error for each, in order.

    A call is sent once more if it was not carried out because the node does not serve its key, or
    could not be reached and the key has moved since. One that had been sent before, and lost its
    answer, may have been carried out, whatever another node says.
    """
    results: list[Any] = [None] * len(calls)
    due = list(range(len(calls)))
    failed = yield from _send(topology, calls, due, results, reachable)
    if not failed:
        return results
    again = {}
    for at, node in failed:
        error = results[at]
        moved = _choose(topology, calls[at], reachable) not in (node, None)
        if isinstance(error, Misdirected) or (moved and not error.outcome_unknown):
            again[at] = error
    yield from _send(topology, calls, list(again), results, reachable)
    for at, error in again.items():
        results[at] = after_both(error, results[at])
    return results


Told = Mapping[Node, View | StoreError]
"""What nodes answered when they were asked for the map."""


def learn(
    topology: Topology, wanted: Refresh, reachable: Reachable
) -> Generator[list[Node], Told, None]:
    """Get the map: yields nodes to ask at once, until one of them has a map that is believed.

    Gets back what they told, without those that were silent. Raises an error of the nodes if none
    has told a map. A map that is not believed is taken only if there is none yet.
    """
    told: dict[Node, View | StoreError] = {}
    asked: set[Node] = set()
    for choose in (_named, _around, _rest):
        nodes = [each for each in choose(topology, wanted, told, reachable) if each not in asked]
        if not nodes:
            continue
        asked.update(nodes)
        answers = yield nodes
        told.update(answers)
        views = [each for each in answers.values() if isinstance(each, View) and each.ranges]
        view = _believed(topology.epoch, views, alone=choose is not _named and len(nodes) < 2)
        if view is not None:
            topology.learn(view.ranges, view.epoch)
            return
        if views and topology.version and choose is _around:
            # The cluster has no other map to offer now.
            return
    views = [each for each in told.values() if isinstance(each, View) and each.ranges]
    if not views:
        errors = [each for each in told.values() if isinstance(each, StoreError)]
        raise (errors or [_unserved() if told else StoreUnavailable()])[-1]
    if not topology.version:
        view = max(views, key=_age)
        topology.learn(view.ranges, view.epoch)


def is_sound(answer: View | StoreError) -> bool:
    """Tell whether this is the map of a node that sees the cluster."""
    return isinstance(answer, View) and answer.ok and bool(answer.ranges)


def _named(_topology: Topology, wanted: Refresh, _told: Told, _reachable: Reachable) -> list[Node]:
    """The node that a redirection named knows best."""
    return [] if wanted.named is None else [wanted.named]


def _around(topology: Topology, wanted: Refresh, _told: Told, reachable: Reachable) -> list[Node]:
    """Replicas of the nodes in doubt, of which one may be promoted, and other nodes."""
    heirs = [each for node in wanted.doubted for each in topology.replicas.get(node, ())]
    others = [each for each in topology.primaries if each not in wanted.doubted]
    others.sort(key=lambda node: not reachable(node))
    seeds = [each for each in topology.seeds if each not in wanted.doubted]
    return list(dict.fromkeys([*heirs, *others[:_MOST_ASKED], *seeds]))


def _rest(topology: Topology, wanted: Refresh, told: Told, _reachable: Reachable) -> list[Node]:
    """Others: those that were told of, replicas, and last those in doubt."""
    heard = [
        node
        for view in told.values()
        if isinstance(view, View)
        for each in view.ranges
        for node in (each.primary, *each.replicas)
    ]
    replicas = [node for each in topology.replicas.values() for node in each]
    others = list(dict.fromkeys([*heard, *replicas]))[:_MOST_ASKED]
    return list(dict.fromkeys([*others, *topology.primaries[:_MOST_ASKED], *topology.seeds]))


def _believed(epoch: int, views: Sequence[View], *, alone: bool) -> View | None:
    """The newest view of a node that sees the cluster, if it is not older than the known map.

    An older one is believed if several nodes have it, or there is nobody else: a cluster may have
    been set up anew.
    """
    views = [view for view in views if view.ok]
    if not views:
        return None
    newest = max(views, key=_age)
    return newest if newest.epoch >= epoch or len(views) > 1 or alone else None


def _age(view: View) -> tuple[int, int]:
    return view.epoch, view.own_epoch


def _send(
    topology: Topology,
    calls: Sequence[Call[Any]],
    due: list[int],
    results: list[Any],
    reachable: Reachable,
) -> Generator[Refresh | Send, Any, list[tuple[int, Node]]]:
    """Send the calls at `due` and store their results.

    Returns those that failed with their nodes, after a refresh of the map if that helps.
    """
    trouble: StoreError | None = None
    if any(_choose(topology, calls[at], reachable) is None for at in due):
        trouble = yield Refresh(topology.version, pressing=not topology.version)
    version = topology.version
    by_node: dict[Node, list[int]] = {}
    for at in due:
        node = _choose(topology, calls[at], reachable)
        if node is None:
            results[at] = trouble or _unserved()
        else:
            by_node.setdefault(node, []).append(at)
    if not by_node:
        return []
    answers = yield Send(
        [
            (node, [topology.fitted(calls[at], node) for at in group])
            for node, group in by_node.items()
        ]
    )
    failed = []
    for (node, group), answer in zip(by_node.items(), answers, strict=True):
        for at, result in zip(group, answer, strict=True):
            results[at] = result
            if isinstance(result, StoreError):
                failed.append((at, node))
    refresh = needed(version, [(node, results[at]) for at, node in failed], reachable)
    if refresh is not None:
        yield refresh
    return failed


def _choose(topology: Topology, call: Call[Any], reachable: Reachable) -> Node | None:
    """The node of the call's key; a call without a key may go to any node."""
    if call.key:
        return topology.node(call.key)
    primaries = topology.primaries
    return next((node for node in primaries if reachable(node)), next(iter(primaries), None))


def needed(
    version: int, results: Sequence[tuple[Node, Any]], reachable: Reachable
) -> Refresh | None:
    """The refresh of the map of that `version` that the errors among `results` need, if any.

    A call with an unknown outcome does not need one and is not delayed.
    """
    doubted: list[Node] = []
    misdirected = False
    for node, error in results:
        if isinstance(error, Misdirected):
            if error.node is not None:
                return Refresh(version, Node(*error.node))
            misdirected = True
        elif (
            isinstance(error, StoreUnavailable)
            and not error.outcome_unknown
            and (isinstance(error, CutOff) or not reachable(node))
        ):
            doubted.append(node)
    if not doubted and not misdirected:
        return None
    return Refresh(version, pressing=misdirected, doubted=tuple(dict.fromkeys(doubted)))


def _unserved() -> StoreUnavailable:
    return StoreUnavailable("No node of the cluster serves this key.")
