"""The limits of one level, a queue, a group or a type: GCRA, concurrency, a pause.

Times are in ms and exact: an `int`, or a `Fraction` where a µs counts; `inf` is "nobody knows".
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, inf
from typing import NamedTuple

Ms = int | Fraction
Until = int | Fraction | float

FARTHEST = 10 * 365 * 24 * 3_600_000
"""How far a TAT lies ahead at most, in ms."""


def exact(value: float | str | Fraction) -> Ms:
    """A number of ms as it is written, without the error of a `float`."""
    number = value if isinstance(value, Fraction) else Fraction(str(value))
    return int(number) if number.denominator == 1 else number


class Instant(NamedTuple):
    """A time of the store's clock, in µs."""

    us: int

    @property
    def ms(self) -> int:
        """By the clock of whole intervals."""
        return self.us // 1000

    @property
    def exact(self) -> Ms:
        """By the clock of intervals that have decimals, in ms."""
        return exact(Fraction(self.us, 1000))


@dataclass(slots=True)
class Rates:
    """`last` is the last dispatch and `units` its cost; `rounded`: the µs of `tat` is not exact."""

    interval: Ms = 0
    burst: int = 1
    concurrency: int | None = None
    paused: Until = 0
    tat: Ms = 0
    last: Ms | None = None
    units: Ms = 1
    rounded: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.interval, int)

    def tick(self, at: Instant) -> Ms:
        return at.ms if self.whole else at.exact

    def credit(self) -> Ms:
        return min((self.burst - 1) * self.interval, FARTHEST)

    def is_full(self, active: int) -> bool:
        return self.concurrency is not None and active >= self.concurrency

    def rate_allows_at(self) -> Ms:
        return self.tat - self.credit()

    def allows_at(self, active: int) -> Until:
        """Since when, or from when on, a dispatch may go beside `active` leases."""
        return inf if self.is_full(active) else max(self.rate_allows_at(), self.paused)

    def permits(self, active: int, at: Instant) -> float:
        """How many dispatches of cost 1 may go now."""
        if self.allows_at(active) > at.exact:
            return 0
        slots = inf if self.concurrency is None else self.concurrency - active
        if self.interval == 0:
            return slots
        tick = self.tick(at)
        return min(slots, (tick - max(self.tat, tick) + self.credit()) // self.interval + 1)

    def charge(self, at: Instant, cost: int) -> None:
        tick = self.tick(at)
        self.tat = min(max(tick, self.tat) + cost * self.interval, tick + FARTHEST)
        self.last, self.units = tick, cost

    def change_interval(self, interval: Ms, at: Instant) -> None:
        """A new interval counts for the dispatches that are still paid for, too."""
        old, self.interval = self.interval, interval
        if self.last is None or old == interval:
            return
        units = max(self.units, 1) if old == 0 else Fraction(self.tat - self.last, 1) / old
        tat = self.last + units * interval
        if self.whole:
            tat = ceil(tat - Fraction(1, 2000))
        else:
            tat = exact(Fraction(floor(tat * 1000 + Fraction(1, 2)), 1000))
        self.rounded |= Fraction(units).denominator > 1
        self.tat, self.units = min(tat, self.tick(at) + FARTHEST), units
        if interval == 0:
            self.units = max(1, floor(units))


@dataclass(slots=True)
class Level(Rates):
    """A group or a type. `free`: since when its own limits allow, where they once did not."""

    free: Ms = 0
    burst_set: bool = False

    @property
    def limited(self) -> bool:
        return self.interval > 0 or self.burst_set or self.concurrency is not None

    def own_time(self, active: int) -> Until:
        return inf if self.is_full(active) else max(self.allows_at(active), self.free)

    def charge(self, at: Instant, cost: int) -> None:
        if self.interval > 0:
            Rates.charge(self, at, cost)

    def set_interval(self, interval: Ms, at: Instant) -> None:
        """A limit that is newly set begins full."""
        if interval == 0 or self.interval == 0:
            self.interval, self.tat, self.last = interval, 0, None
        else:
            self.change_interval(interval, at)
