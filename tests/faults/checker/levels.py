"""The limits of a queue, a group or a type, by the rules alone: rate, concurrency, pause."""

from __future__ import annotations

import math
from typing import Final

WHOLE: Final = "="
"""The name of a type, in the audit, where that of a queue could be."""

OPEN: Final = -1
"""The end of a pause that lasts until it is resumed."""


class Level:
    """What limits dispatches, and what has been dispatched.

    By the script's clock (ms): `tat`, 0 for none; `last`, the last dispatch, whose cost is `units`;
    `paused`, the end of the pause, 0 for none and `OPEN`. By the store's own clock: `free`, since
    when the limits are as they are and the concurrency has room; `paused_at`, when it was paused
    last. `burst` is 1 and `concurrency` is 0 where there is none.
    """

    __slots__ = ("burst", "concurrency", "free", "interval", "last", "leased", "paused",
                 "paused_at", "tat", "units")  # fmt: skip

    def __init__(self) -> None:
        self.interval: float = 0
        self.burst = 1
        self.concurrency = 0
        self.tat: float = 0
        self.last: float | None = None
        self.units: float = 1
        self.leased = 0
        self.paused: float = 0
        self.paused_at: int | None = None
        self.free = 0

    @property
    def full(self) -> bool:
        """Whether there are as many leases as there may be."""
        return 0 < self.concurrency <= self.leased

    @property
    def rate_allows_at(self) -> float:
        """From when on (script's clock) the rate allows a dispatch."""
        return self.tat - (self.burst - 1) * self.interval

    def is_paused(self, now: float) -> bool:
        """Whether a pause lasts."""
        return self.paused == OPEN or self.paused > now

    def tick(self, now: int, us: int) -> float:
        """The time that counts: in ms, or µs where the interval has decimals."""
        return now if self.interval % 1 == 0 else now + us / 1000

    def charge(self, at: float, cost: int) -> None:
        """A dispatch at its tick."""
        self.tat = self._grain(max(at, self.tat) + cost * self.interval)
        self.last, self.units = at, cost

    def settle(self, at: float, change: int, left: float | None) -> None:
        """The real cost is `change` higher; `left` is the TAT that the dispatch has left."""
        if not self.tat or not self.interval:
            return
        more = change * self.interval
        if more < 0:
            more = -min(-more, max(0, (left or 0) - at))
        if self.last is None:
            self.last = self.tat - self.interval
        self.tat = self._grain(self.tat + more)

    def change_interval(self, interval: float) -> None:
        """Another interval counts for what was dispatched, too."""
        old, self.interval = self.interval, interval
        if old == interval or not self.tat or self.last is None:
            return
        units = max(1, math.floor(self.units)) if old == 0 else (self.tat - self.last) / old
        self.tat = self._grain(self.last + units * interval)
        self.units = units

    def set_interval(self, interval: float) -> None:
        """The same for a group or a type, where a new limit begins full."""
        if self.interval and interval:
            self.change_interval(interval)
        else:
            self.interval, self.tat, self.last = interval, 0, None

    def set_limits(self, burst: int, concurrency: int, at: int) -> None:
        """What is in force by now (store's clock)."""
        if (burst, concurrency) != (self.burst, self.concurrency):
            self.free = at
        self.burst, self.concurrency = burst, concurrency

    def pause(self, till: float, at: int) -> None:
        """A pause to `till`, or its end."""
        self.paused, self.paused_at, self.free = till, at, at

    def end_pause(self, now: int, at: int) -> None:
        """A dispatch forgets a pause that has ended."""
        if 0 < self.paused <= now:
            self.paused, self.free = 0, at

    def count(self, change: int, at: int) -> None:
        """So many leases more or less."""
        was_full = self.full
        self.leased += change
        if was_full and not self.full:
            self.free = at

    def _grain(self, at: float) -> float:
        whole = self.interval % 1 == 0
        return math.ceil(at - 0.0005) if whole else math.floor(at * 1000 + 0.5) / 1000


def split_name(name: str) -> str | None:
    """The group in the name of a level in the audit, "" for the type, None for a queue."""
    return name[1:] if name.startswith("=") else None
