"""The ends of the leases that connections hold: at its deadline, the store is asked about a lease.

A lease may have been extended elsewhere, or ended; only the store knows. A lease that is left keeps
its place in the credit. One that is gone frees it, and its holder is told.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from sharq.engine import Engine
from sharq.errors import StoreError
from sharq.results import SUCCESS

_log = logging.getLogger(__name__)

# A lease that has run out stays valid until the sweep takes the job.
_ASK_AGAIN: Final = 0.1
_AFTER_FAILURE: Final = 1.0
_TOGETHER: Final = 0.01


class Holder(Protocol):
    """A holder of leases. Hashed by identity."""

    def leases(self) -> Mapping[str, float]:
        """The leases held, each with its end by the monotonic clock."""

    def extended(self, lease: str, until: float) -> None:
        """A lease ends later than known."""

    def lost(self, leases: Sequence[str]) -> None:
        """Leases that have ended."""


class _Look:
    """A time at which a holder is checked; a cancelled one has no holder."""

    __slots__ = ("at", "holder")

    def __init__(self, at: float, holder: Holder) -> None:
        self.at = at
        self.holder: Holder | None = holder

    def __lt__(self, other: _Look) -> bool:
        return self.at < other.at


class LeaseWatch:
    """Watches the leases of all holders with one timer; belongs to the running event loop."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._heap: list[_Look] = []
        self._looks: dict[Holder, _Look] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def watch(self, holder: Holder, until: float) -> None:
        """Watch `holder`, one of whose leases ends at `until`."""
        look = self._looks.get(holder)
        if look is not None:
            if look.at <= until:
                return
            look.holder = None
        look = self._looks[holder] = _Look(until, holder)
        heapq.heappush(self._heap, look)
        self._arm()

    def forget(self, holder: Holder) -> None:
        """`holder` no longer holds anything."""
        look = self._looks.pop(holder, None)
        if look is not None:
            # It keeps its place until its time, which may be far away, but does not keep the
            # holder.
            look.holder = None

    async def close(self) -> None:
        """Stop watching."""
        self._looks.clear()
        self._heap.clear()
        self._disarm()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _arm(self) -> None:
        self._disarm()
        if self._heap and self._task is None:
            delay = max(_TOGETHER, self._heap[0].at + _TOGETHER - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_time)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = None
        now = self._clock()
        doubtful: list[tuple[Holder, list[str]]] = []
        while self._heap and self._heap[0].at <= now:
            holder = heapq.heappop(self._heap).holder
            if holder is None:
                continue
            del self._looks[holder]
            over = [lease for lease, until in holder.leases().items() if until <= now]
            if over:
                doubtful.append((holder, over))
            else:
                self._watch_next(holder)
        if doubtful:
            self._task = asyncio.get_running_loop().create_task(self._ask(doubtful))
        else:
            self._arm()

    async def _ask(self, doubtful: list[tuple[Holder, list[str]]]) -> None:
        try:
            asked = self._clock()
            leases = [lease for _, over in doubtful for lease in over]
            answers = await self._engine.run(self._engine.flows.extend_many(leases, 0))
            at = 0
            for holder, over in doubtful:
                gone: list[str] = []
                for lease, answer in zip(over, answers[at : at + len(over)], strict=True):
                    if isinstance(answer, StoreError):
                        holder.extended(lease, asked + _AFTER_FAILURE)
                    elif answer.outcome == SUCCESS:
                        left = answer.lease_ms / 1000
                        holder.extended(lease, asked + (left or _ASK_AGAIN))
                    else:
                        gone.append(lease)
                at += len(over)
                if gone:
                    holder.lost(gone)
                self._watch_next(holder)
        finally:
            self._task = None
            self._arm()

    def _watch_next(self, holder: Holder) -> None:
        leases = holder.leases()
        if leases:
            self.watch(holder, min(leases.values()))
