"""Work at the nodes of a cluster in lanes, of which none waits for another. No I/O.

A lane does one piece of work at a time. What is to be done meanwhile is gathered, each thing once,
and done next. So a node that hangs has one call for each of its types under way, and holds up
nothing but its own lane.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Final

from sharq.operations.call import Apart, Flow

_PATIENCE: Final = 0.25
"""Seconds that lanes are waited for. One that was not done by then is waited for no more, until it
has done something.
"""

Things = dict[str, float]
"""What is to be done something with, and what has to be known of it."""

Work = Callable[[Things], Flow[bool]]
"""Does something with things; returns whether their node answers. Raises no `StoreError`."""


class Lanes:
    """The lanes of one flow, which tells where each piece of work belongs."""

    def __init__(self) -> None:
        self._todo: dict[Hashable, Things] = {}
        self._busy: set[Hashable] = set()
        self._doubted: set[Hashable] = set()

    def do(self, work: Work, things_of: Mapping[Hashable, Things]) -> Flow[None]:
        """Have each lane do its work, after what it does already; wait for it, but not long."""
        trusted: list[Hashable] = []
        doubted: list[Hashable] = []
        for lane, things in things_of.items():
            self._todo.setdefault(lane, {}).update(things)
            if lane not in self._busy:
                self._busy.add(lane)
                (doubted if lane in self._doubted else trusted).append(lane)
        if not (trusted or doubted):
            return
        yield Apart(
            [self._drain(lane, work) for lane in trusted],
            _PATIENCE,
            [self._drain(lane, work) for lane in doubted],
        )
        self._doubted.update(lane for lane in trusted if lane in self._busy)

    def _drain(self, lane: Hashable, work: Work) -> Flow[None]:
        try:
            while things := self._todo.pop(lane, None):
                if (yield from work(things)):
                    self._doubted.discard(lane)
                else:
                    self._doubted.add(lane)
        finally:
            self._busy.discard(lane)
