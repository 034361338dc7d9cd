"""The demo's tenants: what was asked for each, when its jobs went, and whether one was early."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

_RECENT = 400


class Instant(NamedTuple):
    """A tick of the store's clock (ms): it lies between the two, or is both."""

    earliest: int
    latest: int


class Limit(NamedTuple):
    """An interval (ms) and the instant from which it was in force."""

    interval: int
    since: Instant

    @property
    def rate(self) -> str:
        return f"{1000 / self.interval:g}/s"


class Pause(NamedTuple):
    """A pause of so many ms, and the instant of its begin."""

    length: int
    since: Instant

    def broken_by(self, tenant: Tenant) -> list[Instant]:
        """The dispatches that certainly lie in it."""
        end = self.since.earliest + self.length
        return [
            each
            for each in tenant.dispatches
            if each.earliest > self.since.latest and each.latest < end
        ]


class Period(NamedTuple):
    """What went while a limit was in force.

    `gaps` are the ms from one job to the next, `early` counts the jobs that certainly went before
    their time: the first one is judged by its gap to the last one of the period before.
    """

    limit: Limit
    jobs: int
    gaps: list[int]
    early: int

    def quantile(self, share: float) -> int:
        """The least gap that `share` of all gaps do not exceed (nearest rank)."""
        return sorted(self.gaps)[max(0, math.ceil(share * len(self.gaps)) - 1)]


class Tenant:
    """A queue with the limits that it was given, in order, and its dispatches in any order.

    `waiting` is the length of the queue when its last job was taken.
    """

    def __init__(self, name: str, limit: Limit) -> None:
        self.name = name
        self.limits = [limit]
        self.dispatches: list[Instant] = []
        self.waiting = 0

    def early(self) -> int:
        """How many jobs certainly went before their time."""
        return sum(period.early for period in self.periods())

    def periods(self) -> Iterator[Period]:
        """What went under each limit, in order; what may have gone under the next one, under it."""
        instants = sorted(self.dispatches)
        pairs = list(pairwise(instants))
        for number, limit in enumerate(self.limits):
            mine = [each.earliest for each in instants if self._in_force(each)[-1] == number]
            early = sum(
                self._in_force(second)[-1] == number and self._too_soon(first, second)
                for first, second in pairs
            )
            yield Period(limit, len(mine), [b - a for a, b in pairwise(mine)], early)

    def around(self, limit: Limit) -> tuple[Instant, Instant] | None:
        """The last dispatch before a limit came into force and the one after that."""
        for first, second in pairwise(sorted(self.dispatches)):
            if first.latest < limit.since.earliest <= second.latest:
                return first, second
        return None

    def since(self, tick: int) -> list[int]:
        """The ticks of the dispatches from `tick` on, as far as the last few hundred reach."""
        recent = self.dispatches[-_RECENT:]
        return sorted(each.earliest for each in recent if each.earliest >= tick)

    def rate(self, since: int) -> float | None:
        """Jobs per second under the present limit, from `since` on; None: too few to tell."""
        ticks = self.since(max(since, self.limits[-1].since.latest))
        if len(ticks) < 2 or ticks[0] == ticks[-1]:
            return None
        return 1000 * (len(ticks) - 1) / (ticks[-1] - ticks[0])

    def _in_force(self, at: Instant) -> range:
        """The limits, by number, of which one was in force: the last that certainly came to be
        by then, and those that were being set."""
        numbers = range(len(self.limits))
        certain = max(n for n in numbers if n == 0 or self.limits[n].since.latest < at.earliest)
        possible = max(n for n in numbers if n == 0 or self.limits[n].since.earliest <= at.latest)
        return range(certain, possible + 1)

    def _too_soon(self, first: Instant, second: Instant) -> bool:
        least = min(self.limits[number].interval for number in self._in_force(second))
        return second.latest - first.earliest < least
