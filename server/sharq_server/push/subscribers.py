"""A queue type at this server: who wants its jobs, in turn, and what is known of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from sharq_server.push.delivery import Subscriber
from sharq_server.push.offers import Offers

AT_ONCE: Final = 64
"""Jobs that one call takes before others have their turn."""

Grants = list[tuple[Subscriber, int]]
"""Places that were reserved for a call, of each subscriber that it is for."""


class Request(NamedTuple):
    """A call that leases jobs. `sent`: when it was sent first, by the monotonic clock."""

    wanted: int
    seq: int
    request_id: str | None
    sent: float


class Wait(Enum):
    """What for a server is in the store's queue of those that wait for a type."""

    NONE = 0
    TO_OFFER = 1
    FOR_JOBS = 2


class SubscriberGroup:
    """The subscribers of a type here, and what is known of the store.

    In `ring` are those to be given jobs that have room, in `watch` those only to be told of them,
    as far as they have any and have not let offers pass.
    """

    def __init__(
        self,
        queue_type: str,
        on_due: Callable[[SubscriberGroup], None],
        on_doubt: Callable[[SubscriberGroup], None],
        on_rested: Callable[[SubscriberGroup], None],
        clock: Callable[[], float],
    ) -> None:
        self.queue_type = queue_type
        self.members: set[Subscriber] = set()
        self.ring: dict[Subscriber, None] = {}
        self.watch: dict[Subscriber, None] = {}
        self.offers = Offers(self._doubt, self._readmit, clock)
        self.call: asyncio.Task[None] | None = None
        self.waits = Wait.NONE
        self.coming = False
        """Whether the store was told that this server asks again."""
        self.again = False
        self.lost: Request | None = None
        self.failing = False
        self.troubled = False
        self._on_due = on_due
        self._on_doubt = on_doubt
        self._on_rested = on_rested

    def on_due(self) -> None:
        self._on_due(self)

    @property
    def wish(self) -> Wait:
        """What this server has reason to wait for, before a look at the room that there is."""
        if self.ring:
            return Wait.FOR_JOBS
        return Wait.TO_OFFER if self.watch else Wait.NONE

    @property
    def has_room(self) -> bool:
        """Whether somebody could be given a job."""
        return any(subscriber.has_room for subscriber in self.ring)

    @property
    def idle(self) -> bool:
        return not self.members and self.call is None and self.lost is None

    def enter(self, subscriber: Subscriber) -> bool:
        """Count a subscriber among those with room, unless it is there, or is to be left out.

        Whether it came in.
        """
        self.members.add(subscriber)
        ring = self._ring_of(subscriber)
        if subscriber in ring or not self.offers.may_be_made_to(subscriber):
            return False
        ring[subscriber] = None
        return True

    def remove(self, subscriber: Subscriber) -> None:
        """A subscriber wants no more jobs. What it was offered passes on."""
        self.members.discard(subscriber)
        self._ring_of(subscriber).pop(subscriber, None)
        before = self.offers.count
        self.offers.end(subscriber)
        self.again = self.again or self.offers.count < before

    def served(self, subscriber: Subscriber) -> None:
        """To the end of its ring, if it is in it."""
        ring = self._ring_of(subscriber)
        if subscriber in ring:
            del ring[subscriber]
            ring[subscriber] = None

    def judge(self, doubted: list[Subscriber], something_is_ready: bool) -> None:
        """The store has told whether anything is ready that was offered, and not fetched."""
        before = self.offers.count
        cleared = self.offers.judge(doubted, something_is_ready)
        for subscriber in cleared:
            self._return(subscriber)
        self.again = self.again or self.offers.count < before

    def grants(self, ring: dict[Subscriber, None]) -> Grants:
        """Reserve places for a call: of those in turn that get their jobs in the same way."""
        grants: dict[Subscriber, int] = {}
        first: Subscriber | None = None
        free = AT_ONCE
        share = max(1, AT_ONCE // max(1, len(ring)))
        for subscriber in list(ring):
            if first is not None and not _together(first, subscriber):
                break
            places = subscriber.reserve(min(free, share))
            if not places:
                del ring[subscriber]
                continue
            first = first or subscriber
            grants[subscriber] = places
            free -= places
            if not free:
                break
        for subscriber in grants:
            if not free:
                break
            more = subscriber.reserve(free)
            grants[subscriber] += more
            free -= more
        return list(grants.items())

    def _ring_of(self, subscriber: Subscriber) -> dict[Subscriber, None]:
        return self.watch if subscriber.notify else self.ring

    def _doubt(self, subscriber: Subscriber) -> None:
        self.watch.pop(subscriber, None)
        self._on_doubt(self)

    def _readmit(self, rested: list[Subscriber]) -> None:
        for subscriber in rested:
            self._return(subscriber)
        self._on_rested(self)

    def _return(self, subscriber: Subscriber) -> None:
        if subscriber in self.members:
            self.watch[subscriber] = None


def _together(first: Subscriber, other: Subscriber) -> bool:
    """Whether one call can be for both."""
    return first.request_id is None and other.request_id is None
