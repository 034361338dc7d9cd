"""When to ask the store again: one heap of waits, one precise timer, polls at a bounded pace.

A type with waiting subscribers is asked for exactly when its next job becomes ready, if that is
known, and from time to time in any case, in case a wake-up was lost. The latter calls, and those
after a reconnect, are spread out: the store gets a limited number of them a second, however many
types there are.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from sharq_server.push.timer import PreciseTimer

POLLS_PER_SECOND: Final = 200
"""Calls a second that a server makes, at most, without knowing that a job is ready."""

POLL_AFTER: Final = (1.0, 5.0)
"""Seconds without news after which a type is asked for in any case: a random time between."""


class Waiter(Protocol):
    """A waiter; hashed by identity."""

    def on_due(self) -> None:
        """It is time to ask."""


class Timer(Protocol):
    """The methods of `PreciseTimer`."""

    def set(self, delay: float | None) -> None: ...

    def close(self) -> None: ...


class _Entry:
    __slots__ = ("at", "paced", "serial", "waiter")

    def __init__(self, at: float, serial: int, waiter: Waiter, paced: bool) -> None:
        self.at = at
        self.serial = serial
        self.waiter: Waiter | None = waiter
        self.paced = paced

    def __lt__(self, other: _Entry) -> bool:
        return (self.at, self.serial) < (other.at, other.serial)


class Schedule:
    """Belongs to the running event loop. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        make_timer: Callable[[Callable[[], None]], Timer] = PreciseTimer,
        chance: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._timer = make_timer(self._on_time)
        self._chance = chance or random.Random()
        self._heap: list[_Entry] = []
        self._entries: dict[Waiter, _Entry] = {}
        self._serial = 0
        self._armed_for = float("inf")
        self._next_poll = float("-inf")

    def __len__(self) -> int:
        return len(self._entries)

    def wait(self, waiter: Waiter, until: float | None) -> None:
        """Call `waiter` at the time `until` (None: not known), or when a poll is due.

        This replaces its earlier wait.
        """
        poll_at = self._clock() + self._chance.uniform(*POLL_AFTER)
        if until is not None and until <= poll_at:
            self._enter(waiter, until, paced=False)
        else:
            self._enter(waiter, poll_at, paced=True)

    def poll(self, waiter: Waiter) -> None:
        """Call `waiter` as soon as the pace of polls allows."""
        self._enter(waiter, self._clock(), paced=True)

    def forget(self, waiter: Waiter) -> None:
        """Do not call `waiter` any more."""
        entry = self._entries.pop(waiter, None)
        if entry is not None:
            entry.waiter = None

    def close(self) -> None:
        """Cancel all pending timers."""
        self._timer.close()
        self._entries.clear()
        self._heap.clear()

    def _enter(self, waiter: Waiter, at: float, *, paced: bool) -> None:
        self.forget(waiter)
        self._serial += 1
        entry = _Entry(at, self._serial, waiter, paced)
        self._entries[waiter] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._entries):
            self._heap = [each for each in self._heap if each.waiter is not None]
            heapq.heapify(self._heap)
        if at < self._armed_for:
            self._arm(at)

    def _arm(self, at: float) -> None:
        self._armed_for = at
        self._timer.set(None if at == float("inf") else at - self._clock())

    def _on_time(self) -> None:
        self._armed_for = float("inf")
        now = self._clock()
        heap = self._heap
        while heap and (heap[0].waiter is None or heap[0].at <= now):
            entry = heapq.heappop(heap)
            waiter = entry.waiter
            if waiter is None:
                continue
            if entry.paced and self._next_poll > now:
                entry.at, entry.paced = self._next_poll, False
                self._next_poll += 1 / POLLS_PER_SECOND
                heapq.heappush(heap, entry)
                continue
            if entry.paced:
                self._next_poll = now + 1 / POLLS_PER_SECOND
            del self._entries[waiter]
            waiter.on_due()
            heap = self._heap
        if self._heap and self._heap[0].at < self._armed_for:
            self._arm(self._heap[0].at)
