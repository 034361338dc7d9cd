"""Leased jobs on their way, and who may be given them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sharq import Batch


class Delivery(NamedTuple):
    """Leased jobs for one subscriber: a part of a batch. `until` is the end of the leases, by the
    monotonic clock, in seconds.
    """

    batch: Batch
    start: int
    stop: int
    until: float

    @property
    def leases(self) -> list[str]:
        return self.batch.leases(self.start, self.stop)

    def __len__(self) -> int:
        return self.stop - self.start

    def split(self, count: int) -> tuple[Delivery, Delivery]:
        """The first `count` jobs, and the rest."""
        middle = self.start + count
        # Not _replace: it takes the length of a tuple for the number of its fields.
        first = Delivery(self.batch, self.start, middle, self.until)
        return first, Delivery(self.batch, middle, self.stop, self.until)


class Subscriber(Protocol):
    """Who wants jobs of a type. Hashed by identity."""

    notify: bool
    """Whether it is only told, and fetches by itself."""

    request_id: str | None
    """Under which id its jobs are leased; the call is then for this subscriber alone."""

    @property
    def has_room(self) -> bool:
        """Whether a place could be reserved."""

    def reserve(self, wanted: int) -> int:
        """Reserve up to `wanted` places for jobs, or for an offer; how many there were."""

    def unreserve(self, count: int) -> None:
        """Take back what was reserved and not used."""

    def deliver(self, reserved: int, delivery: Delivery) -> bool:
        """Give jobs, in places that were reserved; False where it has gone."""

    def offer(self, ready: int) -> None:
        """Tell that so many jobs are ready, in places that were reserved."""

    def ended(self) -> None:
        """Tell that every job of its `request_id` has ended."""


def deal(count: int, places: Sequence[int]) -> list[int]:
    """Deal `count` cards to hands with so many `places`, one each in turn."""
    hands = [0] * len(places)
    while count > 0:
        dealt = False
        for at, most in enumerate(places):
            if count and hands[at] < most:
                hands[at] += 1
                count -= 1
                dealt = True
        if not dealt:
            break
    return hands
