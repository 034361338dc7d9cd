"""Which nodes of a cluster take writes: each is asked for one that changes nothing. Pure.

A node takes only calls for its own slots, so there is a call for each: a spare key is searched for
in one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.store.routing import Reachable, Refresh, needed
from sharq.store.slots import SLOTS, Node, Topology, slot_of

PATIENCE: Final = 1.0
"""How long the others are waited for when one node has taken a write, seconds."""

Attempt = Callable[[int], Call[Any]]
"""The call whose key is the spare one at a place."""

# In so many places each slot is found but one of ten million.
_MOST_PLACES: Final = 16 * SLOTS
_CHOICE: Final = 2


class Places:
    """The spare keys, by the slots that they are in."""

    def __init__(self) -> None:
        self._slots: list[int] = []
        self._version = 0
        self._chosen: Mapping[Node, Sequence[int]] = {}

    def choose(self, topology: Topology, attempt: Attempt) -> Mapping[Node, Sequence[int]]:
        """One place or two that each primary serves, in different slots.

        The second one is for where the slot of the first one is about to move.
        """
        if self._version != topology.version:
            self._chosen = self._search(topology, attempt)
            self._version = topology.version
        return self._chosen

    def _search(self, topology: Topology, attempt: Attempt) -> Mapping[Node, Sequence[int]]:
        chosen: dict[Node, dict[int, int]] = {node: {} for node in topology.primaries}
        slots = Counter(map(topology.by_slot, range(SLOTS)))
        missing = sum(min(slots[node], _CHOICE) for node in chosen)
        for place in range(_MOST_PLACES):
            if not missing:
                break
            if place == len(self._slots):
                self._slots.append(slot_of(attempt(place).key))
            slot = self._slots[place]
            node = topology.by_slot(slot)
            if node is not None and slot not in chosen[node] and len(chosen[node]) < _CHOICE:
                chosen[node][slot] = place
                missing -= 1
        return {node: tuple(places.values()) for node, places in chosen.items()}


Tries = Mapping[Node, Sequence[Call[Any]]]
"""Calls for nodes: of each the first one, and the next one where a slot is moving."""


def try_each(
    topology: Topology, places: Places, attempt: Attempt, reachable: Reachable
) -> Generator[Refresh | Tries, Any, dict[str, StoreError | None]]:
    """Whether each primary takes writes: None or why not, by its name.

    It yields a refresh of the map, and gets None or the error; or tries, and gets the answers of
    the nodes, without those that were silent. Without a map the nodes of the settings are told.
    """
    trouble: StoreError | None = None
    if not topology.version:
        trouble = yield Refresh(topology.version)
    told: dict[Node, StoreError | None] = {}
    for _ in range(2):
        version, chosen = topology.version, places.choose(topology, attempt)
        tries = {
            node: [attempt(place) for place in some]
            for node, some in chosen.items()
            if node not in told or told[node] is not None
        }
        answers = (yield tries) if tries else {}
        told = {node: answers.get(node, _silent()) if node in tries else None for node in chosen}
        refresh = needed(version, list(told.items()), reachable)
        if refresh is None:
            break
        trouble = yield refresh
        if trouble is not None or not refresh.pressing:
            break
    if not told:
        told = dict.fromkeys(topology.seeds, trouble or _unknown())
    return {name_of(node): error for node, error in told.items()}


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
