"""Leased jobs on their way, and who may get them."""

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
    """A subscriber to a type. Hashed by identity."""

    notify: bool
    """Whether it only gets offers, and fetches jobs itself."""

    request_id: str | None
    """The id under which its jobs are leased; the call is then for this subscriber only."""

    @property
    def has_room(self) -> bool:
        """Whether a place could be reserved."""

    def reserve(self, wanted: int) -> int:
        """Reserve up to `wanted` places for jobs, or for an offer; returns how many there were."""

    def unreserve(self, count: int) -> None:
        """Take back unused reservations."""

    def deliver(self, reserved: int, delivery: Delivery) -> bool:
        """Deliver jobs, in reserved places; False if it is gone."""

    def offer(self, ready: int) -> None:
        """Offer a number of ready jobs, in reserved places."""

    def ended(self) -> None:
        """Tell that every job of its `request_id` has ended."""


def deal(count: int, places: Sequence[int]) -> list[int]:
    """Distribute `count` items to receivers with `places`, one each in turn."""
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
