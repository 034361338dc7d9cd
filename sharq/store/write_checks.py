"""Which nodes of a cluster take writes: each is asked for one that changes nothing. Pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.store.routing import Reachable, Refresh, needed
from sharq.store.slots import Node, Topology

PATIENCE: Final = 1.0
"""How long the others are waited for when one node has taken a write, seconds."""

CONFIRMATION: Final = 0.8
"""How long replicas that have to confirm it are waited for, seconds: the reason comes in time."""

Tries = Mapping[Node, Sequence[Call[Any]]]
"""Calls for nodes: of each the first one, and the next one where a slot is moving."""


def try_each(
    topology: Topology, attempt: Call[Any], reachable: Reachable
) -> Generator[Refresh | Tries, Any, dict[str, StoreError | None]]:
    """Whether each primary takes `attempt`, a write for any node: None or why not, by its name.

    It yields a refresh of the map, and gets None or the error; or tries, and gets the answers of
    the nodes, without those that were silent. Without a map the nodes of the settings are told.
    """
    trouble: StoreError | None = None
    if not topology.version:
        trouble = yield Refresh(topology.version)
    told: dict[Node, StoreError | None] = {}
    for _ in range(2):
        version, nodes = topology.version, topology.primaries
        tries = {
            node: topology.choices(attempt, node)
            for node in nodes
            if node not in told or told[node] is not None
        }
        answers = (yield tries) if tries else {}
        told = {node: answers.get(node, _silent()) if node in tries else None for node in nodes}
        refresh = needed(version, list(told.items()), reachable)
        if refresh is None:
            break
        trouble = yield refresh
        if trouble is not None or not refresh.pressing:
            break
    if not told:
        told = dict.fromkeys(topology.seeds, trouble or _unknown())
    return {name_of(node): error for node, error in told.items()}


def confirmed(attempt: Call[Any]) -> Call[Any]:
    """The same write, whose answer comes when replicas have it where they have to confirm."""
    key = attempt.key
    if not key and attempt.anywhere is not None:
        key = attempt.anywhere.key(0)
    return attempt._replace(key=key, free=None, repeatable=False)


def takes_writes(answer: StoreError | None) -> bool:
    """Tell whether this is the answer of a node that has taken a write."""
    return answer is None


def name_of(node: Node) -> str:
    """The name of a node, for people."""
    return f"{node.host}:{node.port}"


def _silent() -> StoreUnavailable:
    return StoreUnavailable("This node of the store has not answered in time.")


def _unknown() -> StoreUnavailable:
    return StoreUnavailable("The nodes of the store are not known.")
