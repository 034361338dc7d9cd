"""A queue type at this server: its subscribers, in turn, and what is known of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from sharq import Batch
from sharq_server.push.delivery import Subscriber
from sharq_server.push.news import News
from sharq_server.push.offers import Offers

AT_ONCE: Final = 64
"""Jobs of one call, at most, before others have their turn."""

Grants = list[tuple[Subscriber, int]]
"""The places reserved for a call, by subscriber."""


class Request(NamedTuple):
    """A call that leases jobs. `sent`: when it was first sent, by the monotonic clock. `age`: of a
    shard, for how many ms a queue has to be ready.
    """

    wanted: int
    seq: int
    request_id: str | None
    sent: float
    age: int | None = None


class Wait(Enum):
    """Why a server is among those that wait for a type in the store."""

    NONE = 0
    TO_OFFER = 1
    FOR_JOBS = 2


class SubscriberGroup:
    """The subscribers of a type here, and what is known of the store.

    `ring` has those in mode `deliver` with room, `watch` those in mode `notify` with room that have
    not let offers pass. `news` has what is known of ready jobs. `in_a_row` are the jobs handed out
    since the store began to have more than was asked for.
    """

    def __init__(
        self,
        queue_type: str,
        on_due: Callable[[SubscriberGroup], None],
        on_doubt: Callable[[SubscriberGroup], None],
        on_rested: Callable[[SubscriberGroup], None],
        clock: Callable[[], float],
        news: News,
    ) -> None:
        self.queue_type = queue_type
        self.news = news
        self.members: set[Subscriber] = set()
        self.ring: dict[Subscriber, None] = {}
        self.watch: dict[Subscriber, None] = {}
        self.offers = Offers(self._doubt, self._readmit, clock)
        self.call: asyncio.Task[None] | None = None
        self.waits = Wait.NONE
        self.in_a_row = 0
        self.coming = False
        """Whether the store knows that this server asks again."""
        self.again = False
        self.lost: Request | None = None
        self.failing = False
        self.troubled = False
        self.retired = False
        """Whether another group has taken its place."""
        self._on_due = on_due
        self._on_doubt = on_doubt
        self._on_rested = on_rested

    def on_due(self) -> None:
        self._on_due(self)

    @property
    def wish(self) -> Wait:
        """What this server may wait for, before its room is checked."""
        if self.ring:
            return Wait.FOR_JOBS
        return Wait.TO_OFFER if self.watch else Wait.NONE

    @property
    def has_room(self) -> bool:
        """Whether a subscriber could get a job."""
        return any(subscriber.has_room for subscriber in self.ring)

    @property
    def idle(self) -> bool:
        return not self.members and self.call is None and self.lost is None

    def enter(self, subscriber: Subscriber) -> bool:
        """Add a subscriber to those with room, unless it is there, or has to be skipped.

        Returns whether it was added.
        """
        self.members.add(subscriber)
        ring = self._ring_of(subscriber)
        if subscriber in ring or not self.offers.may_be_made_to(subscriber):
            return False
        ring[subscriber] = None
        return True

    def remove(self, subscriber: Subscriber) -> None:
        """A subscriber wants no more jobs. Its offers pass on."""
        self.members.discard(subscriber)
        self._ring_of(subscriber).pop(subscriber, None)
        before = self.offers.count
        self.offers.end(subscriber)
        self.again = self.again or self.offers.count < before

    def answered(self, batch: Batch) -> None:
        """The store has given jobs, or none."""
        self.in_a_row = 0 if batch.wait_us != 0 else self.in_a_row + len(batch)

    def served(self, subscriber: Subscriber) -> None:
        """Move it to the end of its ring, if it is in it."""
        ring = self._ring_of(subscriber)
        if subscriber in ring:
            del ring[subscriber]
            ring[subscriber] = None

    def judge(self, doubted: list[Subscriber], something_is_ready: bool) -> None:
        """The store has told whether jobs that were offered are still ready."""
        before = self.offers.count
        cleared = self.offers.judge(doubted, something_is_ready)
        for subscriber in cleared:
            self._return(subscriber)
        self.again = self.again or self.offers.count < before

    def grants(self, ring: dict[Subscriber, None]) -> Grants:
        """Reserve places for a call: for the next subscribers that can share a call.

        All get equal shares. In a backlog a call is for ever fewer, with more for each, since that
        costs less. So that of a short one all get some, shares double each time that all have had
        theirs.
        """
        grants: dict[Subscriber, int] = {}
        first: Subscriber | None = None
        free = AT_ONCE
        share = max(1, AT_ONCE // max(1, len(ring)))
        if ring is self.ring and (had := self.in_a_row // max(1, len(self.members))):
            share = max(share, 1 << had.bit_length() - 1)
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
        _share_out(free, grants)
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


def _share_out(free: int, grants: dict[Subscriber, int]) -> None:
    """Reserve the places of a call that are left, for those with room in equal parts."""
    roomy = list(grants)
    while free and roomy:
        share = max(1, free // len(roomy))
        asked, roomy = roomy, []
        for subscriber in asked:
            more = subscriber.reserve(min(free, share))
            if more:
                grants[subscriber] += more
                free -= more
                roomy.append(subscriber)
            if not free:
                break
