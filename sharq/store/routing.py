"""How calls find their nodes in a cluster. Pure: steps for both kinds of links.

Each function is a generator. It yields a step and gets back its result; a link only carries the
steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.store.errors import Misdirected
from sharq.store.slots import Node, Topology, parse_slots

Reachable = Callable[[Node], bool]
"""Tells whether a node is connected, as far as known."""


class Refresh(NamedTuple):
    """Get the map again, unless it is newer than `version` by now.

    `named` is the node that a redirection named. A refresh that is not `pressing` may be skipped
    shortly after another one. Gets back None, or the error if no node could give the map.
    """

    version: int
    named: Node | None = None
    pressing: bool = True


class Send(NamedTuple):
    """Send calls to nodes. Gets back a list of results or errors for each of the batches."""

    batches: list[tuple[Node, list[Call[Any]]]]


Steps = Generator[Refresh | Send, Any, list[Any]]


def route(topology: Topology, calls: Sequence[Call[Any]], reachable: Reachable) -> Steps:
    """Send each call to the node of its key; gives a result or an error for each, in order.

    A call is sent once more if it was not carried out because the node does not serve its key, or
    could not be reached and the key has moved since.
    """
    results: list[Any] = [None] * len(calls)
    due = list(range(len(calls)))
    failed = yield from _send(topology, calls, due, results, reachable)
    if not failed:
        return results
    again = []
    for at, node in failed:
        error = results[at]
        moved = _choose(topology, calls[at], reachable) not in (node, None)
        if isinstance(error, Misdirected) or (moved and not error.outcome_unknown):
            again.append(at)
    yield from _send(topology, calls, again, results, reachable)
    return results


def spread(topology: Topology, call: Call[Any], reachable: Reachable) -> Steps:
    """Send `call` to every primary; gives a result or an error for each."""
    if not topology.version:
        trouble = yield Refresh(topology.version)
        if trouble is not None:
            return [trouble]
    if not topology.primaries:
        return [_unserved()]
    version = topology.version
    nodes = topology.primaries
    answers = yield Send([(node, [call]) for node in nodes])
    results = [answer[0] for answer in answers]
    refresh = _needed(version, list(zip(nodes, results, strict=True)), reachable)
    if refresh is not None:
        yield refresh
    return results


def learn(
    topology: Topology, named: Node | None, reachable: Reachable
) -> Generator[Node, Any, None]:
    """Get the map: yields nodes to ask with CLUSTER_SLOTS until one of them knows it.

    Gets back the reply or a StoreError; raises the last one if no node knows the map.
    """
    known = [*topology.primaries, topology.seed]
    # The node that a redirection named knows best; asking a node that is away costs time.
    known.sort(key=lambda node: not reachable(node))
    trouble: StoreError = StoreUnavailable()
    for node in dict.fromkeys([named, *known] if named is not None else known):
        answer = yield node
        try:
            if isinstance(answer, StoreError):
                raise answer
            ranges = parse_slots(answer, node)
        except StoreError as error:
            trouble = error
            continue
        if ranges:
            topology.learn(ranges)
            return
        trouble = _unserved()
    raise trouble


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
    answers = yield Send([(node, [calls[at] for at in group]) for node, group in by_node.items()])
    failed = []
    for (node, group), answer in zip(by_node.items(), answers, strict=True):
        for at, result in zip(group, answer, strict=True):
            results[at] = result
            if isinstance(result, StoreError):
                failed.append((at, node))
    refresh = _needed(version, [(node, results[at]) for at, node in failed], reachable)
    if refresh is not None:
        yield refresh
    return failed


def _choose(topology: Topology, call: Call[Any], reachable: Reachable) -> Node | None:
    """The node of the call's key; a call without a key may go to any node."""
    if call.key:
        return topology.node(call.key)
    primaries = topology.primaries
    return next((node for node in primaries if reachable(node)), next(iter(primaries), None))


def _needed(
    version: int, results: Sequence[tuple[Node, Any]], reachable: Reachable
) -> Refresh | None:
    """Return the refresh that the errors among `results` need, if any.

    A call with an unknown outcome does not need one and is not delayed.
    """
    lost = False
    misdirected = False
    for node, error in results:
        if isinstance(error, Misdirected):
            if error.node is not None:
                return Refresh(version, Node(*error.node))
            misdirected = True
        elif isinstance(error, StoreUnavailable) and not error.outcome_unknown:
            lost = lost or not reachable(node)
    return Refresh(version, pressing=misdirected) if lost or misdirected else None


def _unserved() -> StoreUnavailable:
    return StoreUnavailable("No node of the cluster serves this key.")
