"""From ready jobs to subscribers: who is asked for, who gets, and who is told.

Each queue type that somebody subscribes to here has a `Line`: the subscribers with room, in turn,
and at most one call of the store under way. A call asks for as many jobs as there is room for.
Where the store has fewer, this server is registered there as waiting, and the schedule knows when
to ask again; where it has a use for them no longer, it hands on to another server.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, Protocol

from sharq import AsyncSharQ, Batch
from sharq.errors import StoreBug, StoreError, StoreOverloaded
from sharq_server import incidents
from sharq_server.returns import Returns
from sharq_server.schedule import Schedule

_log = logging.getLogger(__name__)

AT_ONCE: Final = 64
"""Jobs that one call takes before others have their turn."""

OFFER_MS: Final = 250
"""Milliseconds for which an offer stands."""

_RANK_DELAY: Final = 0.002
_AFTER_FAILURE: Final = 1.0
_AFTER_OVERLOAD: Final = 0.1


class Parcel(NamedTuple):
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

    def split(self, count: int) -> tuple[Parcel, Parcel]:
        """The first `count` jobs, and the rest."""
        middle = self.start + count
        # Not _replace: it takes the length of a tuple for the number of its fields.
        first = Parcel(self.batch, self.start, middle, self.until)
        return first, Parcel(self.batch, middle, self.stop, self.until)


class Subscriber(Protocol):
    """Who wants jobs of a type. Hashed by identity."""

    notify: bool
    """Whether it is only told, and fetches by itself."""

    request_id: str | None
    """Under which id its jobs are leased; the call is then for this subscriber alone."""

    def reserve(self, wanted: int) -> int:
        """Reserve up to `wanted` places for jobs, or for an offer; how many there were."""

    def unreserve(self, count: int) -> None:
        """Take back what was reserved and not used."""

    def deliver(self, reserved: int, parcel: Parcel) -> bool:
        """Give jobs, in places that were reserved; False where it has gone."""

    def offer(self, ready: int) -> None:
        """Tell that so many jobs are ready, in places that were reserved."""

    def ended(self) -> None:
        """Tell that every job of its `request_id` has ended."""


class _Request(NamedTuple):
    """A call that leases jobs. `sent`: when it was sent first, by the monotonic clock."""

    wanted: int
    seq: int
    request_id: str | None
    sent: float


class _Offer(NamedTuple):
    subscriber: Subscriber
    ready: int
    expiry: asyncio.TimerHandle


class Line:
    """A queue type here: its subscribers, and what is known of the store."""

    def __init__(self, queue_type: str, on_due: Callable[[Line], None]) -> None:
        self.queue_type = queue_type
        self.members: set[Subscriber] = set()
        self.ring: dict[Subscriber, None] = {}
        self.offers: list[_Offer] = []
        self.call: asyncio.Task[None] | None = None
        self.registered = False
        self.again = False
        self.lost: _Request | None = None
        self.failing = False
        self.troubled = False
        self._on_due = on_due

    def on_due(self) -> None:
        self._on_due(self)

    @property
    def offered(self) -> int:
        return sum(offer.ready for offer in self.offers)

    @property
    def idle(self) -> bool:
        return not self.members and self.call is None and self.lost is None


class Dispatcher:
    """The lines of one server process.

    `on_trouble` is called with each failure of the store that keeps jobs from subscribers.
    """

    def __init__(
        self,
        sq: AsyncSharQ,
        schedule: Schedule,
        on_trouble: Callable[[StoreError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sq = sq
        self._schedule = schedule
        self._on_trouble = on_trouble
        self._clock = clock
        self._lease_seconds = sq.settings.sharq.job_expire_interval / 1000
        # A number is never used again: under it the store would repeat the former answer.
        self._seqs = itertools.count(1)
        self._lines: dict[str, Line] = {}
        self._handing_on: set[str] = set()
        self._handing: set[asyncio.Task[None]] = set()
        self._draining = False
        self.returns = Returns(sq)

    # Subscribers

    def join(self, queue_type: str, subscriber: Subscriber) -> None:
        """Count `subscriber` among those of a type that have room; it may be there already."""
        line = self._lines.get(queue_type)
        if line is None:
            line = self._lines[queue_type] = Line(queue_type, self._on_due)
        line.members.add(subscriber)
        if subscriber not in line.ring:
            line.ring[subscriber] = None
            if not line.registered and not line.failing:
                self._ask(line)

    def leave(self, queue_type: str, subscriber: Subscriber) -> None:
        """`subscriber` wants no more jobs of a type; a call under way may still bring some."""
        line = self._lines.get(queue_type)
        if line is None:
            return
        line.members.discard(subscriber)
        line.ring.pop(subscriber, None)
        for offer in [each for each in line.offers if each.subscriber is subscriber]:
            self._withdraw(line, offer)
            line.again = True
        if not line.ring:
            self._rest(line)
        elif line.again:
            self._ask(line)

    async def settled(self, queue_type: str) -> None:
        """Wait until the call that is under way for a type, if any, has been answered."""
        line = self._lines.get(queue_type)
        if line is not None and line.call is not None:
            await asyncio.wait({line.call})

    def used(self, queue_type: str, subscriber: Subscriber) -> None:
        """`subscriber` has used what it was offered."""
        line = self._lines.get(queue_type)
        if line is None:
            return
        for offer in [each for each in line.offers if each.subscriber is subscriber]:
            self._withdraw(line, offer)
            self._renew(line, subscriber)

    def place(self, queue_type: str, parcel: Parcel) -> None:
        """Give jobs that could not be delivered to others here, or back to their queues."""
        line = self._lines.get(queue_type)
        if line is not None and not self._draining:
            for subscriber in list(line.ring):
                if not parcel or subscriber.notify or subscriber.request_id is not None:
                    continue
                places = subscriber.reserve(len(parcel))
                if not places:
                    del line.ring[subscriber]
                    continue
                part, rest = parcel.split(places)
                if subscriber.deliver(places, part):
                    parcel = rest
            if not line.ring:
                self._rest(line)
        if parcel:
            self.returns.add(parcel.leases)

    # What the store tells

    def wake(self, queue_type: str) -> None:
        """The store has woken this server: something of a type is ready, or will be sooner."""
        line = self._lines.get(queue_type)
        if line is None or self._draining:
            self._hand_on(queue_type)
            return
        line.registered = False
        line.again = True
        self._ask(line)

    def resync(self) -> None:
        """Ask about all types again, at the pace of polls: wake-ups may have been lost."""
        for line in self._lines.values():
            line.failing = False
            if line.ring or line.lost is not None:
                self._schedule.poll(line)

    async def works_again(self) -> bool:
        """Ask about a type that the store has failed for; whether it has none of those any more.

        A store may answer pings long before it gives jobs, as one that has become a replica does.
        """
        for line in [each for each in self._lines.values() if each.troubled and each.members]:
            self._ask(line)
            if line.call is not None:
                await asyncio.wait({line.call})
                return not line.troubled
            # Nobody here has room for its jobs: whether there are any makes no difference.
            line.troubled = False
        return True

    async def drain(self) -> None:
        """Take no more jobs, and let other servers know what this one would have waited for."""
        self._draining = True
        for line in self._lines.values():
            self._schedule.forget(line)
            for offer in tuple(line.offers):
                self._withdraw(line, offer)
        calls = {line.call for line in self._lines.values() if line.call is not None}
        if calls:
            await asyncio.wait(calls)
        for line in self._lines.values():
            if line.registered:
                line.registered = False
                self._hand_on(line.queue_type)

    async def close(self) -> None:
        """Drain, and wait for what is on its way to the store."""
        await self.drain()
        self._flush_hand_ons()
        if self._handing:
            await asyncio.wait(self._handing)
        await self.returns.close()

    # Calls

    def _on_due(self, line: Line) -> None:
        line.again = True
        self._ask(line)

    def _ask(self, line: Line) -> None:
        """Ask the store for jobs, if there is anybody to ask for."""
        if line.call is not None or self._draining:
            return
        if line.lost is not None:
            self._start(line, self._fetch(line, [], line.lost))
            return
        grants = self._grants(line)
        if not grants:
            self._rest(line)
            return
        wanted = sum(places for _, places in grants)
        first = grants[0][0]
        if first.notify:
            self._start(line, self._offer(line, grants, wanted))
        else:
            request = _Request(wanted, next(self._seqs), first.request_id, self._clock())
            self._start(line, self._fetch(line, grants, request))

    def _start(self, line: Line, work: Coroutine[Any, Any, None]) -> None:
        line.registered = line.again = False
        self._handing_on.discard(line.queue_type)
        self._schedule.forget(line)
        line.call = asyncio.get_running_loop().create_task(work)

    def _grants(self, line: Line) -> list[tuple[Subscriber, int]]:
        """Reserve places for a call: of those in turn that get their jobs in the same way."""
        ring = line.ring
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

    async def _fetch(
        self, line: Line, grants: list[tuple[Subscriber, int]], request: _Request
    ) -> None:
        sent = self._clock()
        try:
            batch = await self._sq.dispatch(
                line.queue_type, request.wanted, request.seq, request.request_id
            )
        except Exception as error:
            for subscriber, places in grants:
                subscriber.unreserve(places)
            if isinstance(error, StoreError) and error.outcome_unknown:
                line.lost = request
            self._on_failure(line, error)
            return
        line.lost = None
        left = self._share(line, grants, batch, request.sent + self._lease_seconds)
        # Under a request_id the jobs are its client's alone, who may ask for them again.
        if request.request_id is None:
            for parcel in left:
                self.place(line.queue_type, parcel)
        ended = not batch and batch.wait_us == 0 and request.request_id is not None
        if ended and grants:
            grants[0][0].ended()
        self._go_on(line, batch.wait_us, batch.rank, sent)

    def _share(
        self, line: Line, grants: list[tuple[Subscriber, int]], batch: Batch, until: float
    ) -> list[Parcel]:
        """Deal the jobs of a batch to those who asked; what nobody takes is returned."""
        counts = deal(len(batch), [places for _, places in grants])
        left: list[Parcel] = []
        at = 0
        for (subscriber, places), count in zip(grants, counts, strict=True):
            if not count:
                subscriber.unreserve(places)
                continue
            parcel = Parcel(batch, at, at + count, until)
            at += count
            if subscriber in line.ring:
                # To the end of the line.
                del line.ring[subscriber]
                line.ring[subscriber] = None
            if not subscriber.deliver(places, parcel):
                left.append(parcel)
        if at < len(batch):
            left.append(Parcel(batch, at, len(batch), until))
        return left

    async def _offer(self, line: Line, grants: list[tuple[Subscriber, int]], wanted: int) -> None:
        sent = self._clock()
        try:
            offer = await self._sq.offer(line.queue_type, wanted, line.offered, OFFER_MS)
        except Exception as error:
            for subscriber, places in grants:
                subscriber.unreserve(places)
            self._on_failure(line, error)
            return
        loop = asyncio.get_running_loop()
        counts = deal(offer.granted, [places for _, places in grants])
        for (subscriber, places), count in zip(grants, counts, strict=True):
            if subscriber not in line.members or not count:
                subscriber.unreserve(places)
                continue
            subscriber.unreserve(places - count)
            if subscriber in line.ring:
                del line.ring[subscriber]
                line.ring[subscriber] = None
            made = _Offer(
                subscriber,
                count,
                loop.call_later(OFFER_MS / 1000, self._on_void, line, subscriber),
            )
            line.offers.append(made)
            subscriber.offer(count)
        self._go_on(line, offer.wait_us, offer.rank, sent)

    def _go_on(self, line: Line, wait_us: int | None, rank: int, sent: float) -> None:
        """After an answer: wait for what the store has told, or ask again."""
        line.call = None
        line.failing = line.troubled = False
        line.registered = wait_us != 0
        if self._draining:
            return
        if not line.ring:
            self._rest(line)
        elif not line.registered or line.again:
            self._ask(line)
        else:
            until = None
            if wait_us is not None:
                until = sent + wait_us / 1e6 + rank * _RANK_DELAY
            self._schedule.wait(line, until)

    def _on_failure(self, line: Line, error: Exception) -> None:
        line.call = None
        line.registered = False
        line.failing = True
        pause = _AFTER_FAILURE
        if isinstance(error, StoreOverloaded):
            pause = _AFTER_OVERLOAD
        elif isinstance(error, StoreBug) or not isinstance(error, StoreError):
            line.troubled = False
            incidents.reply_to(error, f"a dispatch of {line.queue_type}")
        else:
            line.troubled = True
            self._on_trouble(error)
        if line.idle:
            self._drop(line)
        elif not self._draining:
            self._schedule.wait(line, self._clock() + pause)

    # Offers

    def _withdraw(self, line: Line, offer: _Offer) -> None:
        offer.expiry.cancel()
        line.offers.remove(offer)
        offer.subscriber.unreserve(offer.ready)

    def _on_void(self, line: Line, subscriber: Subscriber) -> None:
        """An offer was not used: what is still ready passes to the next."""
        offer = next(each for each in line.offers if each.subscriber is subscriber)
        self._withdraw(line, offer)
        self._renew(line, subscriber)

    def _renew(self, line: Line, subscriber: Subscriber) -> None:
        """Look again, in the place of an offer that has ended."""
        if subscriber in line.members:
            line.ring.pop(subscriber, None)
            line.ring[subscriber] = None
        line.again = True
        self._ask(line)

    # Others

    def _rest(self, line: Line) -> None:
        """Nobody here has room: another server may have."""
        if line.call is not None:
            return
        self._schedule.forget(line)
        if line.registered or line.again:
            line.registered = line.again = False
            self._hand_on(line.queue_type)
        if line.idle:
            self._drop(line)

    def _drop(self, line: Line) -> None:
        self._schedule.forget(line)
        if self._lines.get(line.queue_type) is line:
            del self._lines[line.queue_type]

    def _hand_on(self, queue_type: str) -> None:
        if not self._handing_on:
            asyncio.get_running_loop().call_soon(self._flush_hand_ons)
        self._handing_on.add(queue_type)

    def _flush_hand_ons(self) -> None:
        if not self._handing_on:
            return
        queue_types = sorted(self._handing_on)
        self._handing_on.clear()
        task = asyncio.get_running_loop().create_task(self._tell_others(queue_types))
        self._handing.add(task)
        task.add_done_callback(self._handing.discard)

    async def _tell_others(self, queue_types: Sequence[str]) -> None:
        try:
            await self._sq.hand_on(queue_types)
        except StoreError as error:
            # Other servers ask by themselves before long.
            _log.debug("Other servers were not told of %d types: %s", len(queue_types), error)


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


def _together(first: Subscriber, other: Subscriber) -> bool:
    """Whether one call can be for both."""
    if first.request_id is not None or other.request_id is not None:
        return False
    return first.notify == other.notify
