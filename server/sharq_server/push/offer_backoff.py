"""Which subscribers let offers pass, and when they get offers again. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

FIRST_REST: Final = 1.0
"""Seconds without an offer after the first unused one; doubled after each further one."""

LONGEST_REST: Final = 60.0

T = TypeVar("T")


class OfferBackoff(Generic[T]):
    """Pauses of 1, 2, 4 … 60 s, for each who has let offers pass. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lengths: dict[T, float] = {}
        # By their length: so each list has its pauses in the order of their ends.
        self._ends: dict[float, dict[T, float]] = {}

    def unused(self, who: T) -> None:
        """An offer to `who` was not used: a pause begins, longer than the previous one."""
        former = self._lengths.get(who)
        length = FIRST_REST if former is None else min(2 * former, LONGEST_REST)
        if former is not None:
            self._ends[former].pop(who, None)
        self._lengths[who] = length
        self._ends.setdefault(length, {})[who] = self._clock() + length

    def forget(self, who: T) -> bool:
        """`who` has fetched, or is gone: its pauses end. Returns whether it was pausing."""
        length = self._lengths.pop(who, None)
        return length is not None and self._ends[length].pop(who, None) is not None

    def rests(self, who: T) -> bool:
        """Whether `who` gets no offers now."""
        length = self._lengths.get(who)
        return length is not None and who in self._ends[length]

    def rested(self) -> list[T]:
        """Removes and returns those whose pause has ended."""
        now = self._clock()
        over: list[T] = []
        for resting in self._ends.values():
            while resting and next(iter(resting.values())) <= now:
                who = next(iter(resting))
                del resting[who]
                over.append(who)
        return over

    @property
    def next_end(self) -> float | None:
        """When the next pause ends, by the clock; None if there is none."""
        firsts = [next(iter(resting.values())) for resting in self._ends.values() if resting]
        return min(firsts, default=None)
