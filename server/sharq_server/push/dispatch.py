"""From ready jobs to subscribers: for whom the store is asked, who gets jobs, and who gets offers.

Each queue type with subscribers on this server has a `SubscriberGroup`: the subscribers with room,
in turn, and at most one call of the store under way. A call asks for as many jobs as there is room
for; if nobody has room, it asks how many could be offered to subscribers in mode `notify`. If the
store has fewer, this server is registered there as waiting, and the schedule knows when to ask
again. If it no longer needs jobs, it hands on to another server.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from sharq import Batch
from sharq.engine import Engine
from sharq.errors import StoreError, StoreOverloaded, UnexpectedReply
from sharq.heads import NEVER
from sharq_server.api import error_reporting
from sharq_server.push.delivery import Delivery, Subscriber, deal
from sharq_server.push.handing_on import HandingOn
from sharq_server.push.news import News
from sharq_server.push.offers import OFFER_MS
from sharq_server.push.redelivery import Redelivery
from sharq_server.push.schedule import Schedule
from sharq_server.push.subscribers import Grants, Request, SubscriberGroup, Wait
from sharq_server.telemetry.meter import Meter

_RANK_DELAY: Final = 0.002
_AFTER_FAILURE: Final = 1.0
_AFTER_OVERLOAD: Final = 0.1


class Dispatcher:
    """The subscribers of one server process, and the calls that get jobs for them.

    `on_trouble` is called with a type and each failure of the store that keeps its jobs from them.
    `meter` counts what becomes of wake-ups.
    """

    def __init__(
        self,
        engine: Engine,
        schedule: Schedule,
        on_trouble: Callable[[str, StoreError], None],
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._on_trouble = on_trouble
        self._meter = meter
        self._clock = clock
        self._lease_seconds = engine.settings.sharq.job_expire_interval / 1000
        # A number is never used again: the store would repeat its former answer.
        self._seqs = itertools.count(1)
        self._by_type: dict[str, SubscriberGroup] = {}
        self._handing_on = HandingOn(engine, self._offered)
        self._draining = False
        clustered = engine.settings.redis.clustered
        self.redelivery = Redelivery(engine, engine.place_of_lease if clustered else None)

    # Subscribers

    def join(self, queue_type: str, subscriber: Subscriber) -> None:
        """Add `subscriber` to those of a type that have room; it may be there already."""
        group = self._by_type.get(queue_type)
        if group is None:
            group = self._by_type[queue_type] = self._make_group(queue_type)
        if group.enter(subscriber):
            self._look(group)

    def _make_group(self, queue_type: str) -> SubscriberGroup:
        return SubscriberGroup(
            queue_type, self._on_due, self._on_doubt, self._look, self._clock, News(self._meter)
        )

    def leave(self, queue_type: str, subscriber: Subscriber) -> None:
        """`subscriber` wants no more jobs of a type; a call under way may still bring some."""
        group = self._by_type.get(queue_type)
        if group is not None:
            group.remove(subscriber)
            self._look(group)

    async def settled(self, queue_type: str) -> None:
        """Wait until the current call for a type, if any, has been answered."""
        group = self._by_type.get(queue_type)
        if group is not None and group.call is not None:
            await asyncio.wait({group.call})

    def used(self, queue_type: str, subscriber: Subscriber) -> None:
        """`subscriber` has dequeued, and so used its offer."""
        group = self._by_type.get(queue_type)
        if group is not None and group.offers.end(subscriber):
            self._renew(group, subscriber)

    def place(self, queue_type: str, delivery: Delivery) -> None:
        """Give undelivered jobs to others here, or back to their queues."""
        group = self._by_type.get(queue_type)
        if group is not None and not self._draining:
            for subscriber in list(group.ring):
                if not delivery or subscriber.request_id is not None:
                    continue
                places = subscriber.reserve(len(delivery))
                if not places:
                    del group.ring[subscriber]
                    continue
                part, rest = delivery.split(places)
                if subscriber.deliver(places, part):
                    delivery = rest
            self._look(group)
        if delivery:
            self.redelivery.add(delivery.leases)

    # Called for the store

    def wake(self, queue_type: str) -> None:
        """The store has woken this server: something of a type is ready, or will be sooner."""
        group = self._by_type.get(queue_type)
        if group is None or self._draining:
            self._meter.on_wakeups("handed_on", 1)
            self._handing_on.add(queue_type)
            return
        group.news.on_wakeup()
        group.waits = Wait.NONE
        group.again = True
        self._ask(group)

    def resync(self, queue_types: Collection[str] | None = None) -> None:
        """Ask for types again, or all, at the pace of polls: wake-ups may have been lost."""
        for group in self._groups(queue_types):
            group.failing = False
            if group.wish is not Wait.NONE or group.lost is not None:
                self._schedule.poll(group)

    async def works_again(self, queue_type: str | None = None) -> bool:
        """Ask for a type for which the store has failed; returns whether it has not again.

        Without a `queue_type` it is one of those that have failed. A store may take writes long
        before it gives jobs.
        """
        groups = self._groups(None if queue_type is None else (queue_type,))
        for group in [each for each in groups if each.troubled and each.members]:
            self._try_again(group)
            if group.call is not None:
                await asyncio.wait({group.call})
                return not group.troubled
            # Nobody here has room for its jobs, so it does not matter whether there are any.
            group.troubled = False
        return True

    def _try_again(self, group: SubscriberGroup) -> None:
        self._ask(group)

    def _groups(self, queue_types: Collection[str] | None) -> list[SubscriberGroup]:
        by_type = self._by_type
        if queue_types is None:
            return list(by_type.values())
        return [by_type[name] for name in queue_types if name in by_type]

    async def drain(self) -> None:
        """Take no more jobs, and let other servers know what this one waited for."""
        self._draining = True
        for group in self._by_type.values():
            self._schedule.forget(group)
            group.offers.end_all()
        calls = {group.call for group in self._by_type.values() if group.call is not None}
        if calls:
            await asyncio.wait(calls)
        for group in self._by_type.values():
            self._give_up_place(group)

    async def close(self) -> None:
        """Drain, and wait for calls that are on their way to the store."""
        await self.drain()
        await self._handing_on.close()
        await self.redelivery.close()

    # Calls

    def _on_due(self, group: SubscriberGroup) -> None:
        group.again = True
        self._ask(group)

    def _look(self, group: SubscriberGroup) -> None:
        """A subscriber has come or gone: do what is due now."""
        if group.call is not None or self._draining:
            return
        if group.wish is Wait.NONE:
            self._rest(group)
        elif group.again or (group.waits is not group.wish and not group.failing):
            self._ask(group)

    def _ask(self, group: SubscriberGroup) -> None:
        """Ask the store for jobs, if a subscriber can get some."""
        if group.call is not None or self._draining:
            return
        if group.lost is not None:
            self._start(group, self._fetch(group, [], group.lost))
        elif grants := group.grants(group.ring):
            wanted = sum(places for _, places in grants)
            request = Request(wanted, next(self._seqs), grants[0][0].request_id, self._clock())
            self._start(group, self._fetch(group, grants, request))
        elif (grants := group.grants(group.watch)) or group.offers.doubted:
            self._start(group, self._offer(group, grants))
        else:
            self._rest(group)

    def _start(self, group: SubscriberGroup, work: Coroutine[Any, Any, None]) -> None:
        group.waits, group.again, group.coming = Wait.NONE, False, False
        self._handing_on.discard(group.queue_type)
        self._schedule.forget(group)
        group.call = asyncio.get_running_loop().create_task(work)

    async def _fetch(self, group: SubscriberGroup, grants: Grants, request: Request) -> None:
        await self._handing_on.settled(group.queue_type)
        sent = self._clock()
        more, wakeups = request.age != NEVER and group.has_room, group.news.take()
        # Ready jobs go to subscribers with room, and blocked nobody.
        group.judge(group.offers.doubted, something_is_ready=False)
        try:
            flow = self._engine.flows.dispatch(
                group.queue_type,
                request.wanted,
                self._engine.server_id,
                request.seq,
                request.request_id,
                more,
                request.age,
            )
            batch = await self._engine.run(flow)
        except Exception as error:
            for subscriber, places in grants:
                subscriber.unreserve(places)
            if isinstance(error, StoreError) and error.outcome_unknown and request.age != NEVER:
                group.lost = request
            group.news.put_back(wakeups)
            group.in_a_row = 0
            self._on_failure(group, error)
            return
        group.lost = None
        group.answered(batch)
        group.news.answered(wakeups, len(batch))
        left = self._share(group, grants, batch, request.sent + self._lease_seconds)
        # With a request_id the jobs are only for its client, which may ask for them again.
        if request.request_id is None:
            for delivery in left:
                self.place(group.queue_type, delivery)
        if grants and request.request_id is not None and batch.repeats and not batch:
            grants[0][0].ended()
        group.coming = more and batch.wait_us == 0
        self._go_on(group, Wait.FOR_JOBS, batch.wait_us, batch.rank, sent)

    def _share(
        self, group: SubscriberGroup, grants: Grants, batch: Batch, until: float
    ) -> list[Delivery]:
        """Distribute the jobs of a batch to those who asked; the others are given back."""
        counts = deal(len(batch), [places for _, places in grants])
        left: list[Delivery] = []
        at = 0
        for (subscriber, places), count in zip(grants, counts, strict=True):
            if not count:
                subscriber.unreserve(places)
                continue
            delivery = Delivery(batch, at, at + count, until)
            at += count
            group.served(subscriber)
            if not subscriber.deliver(places, delivery):
                left.append(delivery)
        if at < len(batch):
            left.append(Delivery(batch, at, len(batch), until))
        return left

    async def _offer(self, group: SubscriberGroup, grants: Grants) -> None:
        await self._handing_on.settled(group.queue_type)
        sent = self._clock()
        wanted = sum(places for _, places in grants)
        doubted, wakeups = group.offers.doubted, group.news.take()
        try:
            flow = self._engine.flows.offer(
                group.queue_type,
                self._engine.server_id,
                wanted,
                group.offers.count,
                OFFER_MS,
            )
            offer = await self._engine.run(flow)
        except Exception as error:
            for subscriber, places in grants:
                subscriber.unreserve(places)
            group.judge(doubted, something_is_ready=False)
            group.news.put_back(wakeups)
            self._on_failure(group, error)
            return
        group.news.answered(wakeups, offer.granted)
        group.judge(doubted, something_is_ready=offer.granted > 0 or offer.wait_us == 0)
        counts = deal(offer.granted, [places for _, places in grants])
        for (subscriber, places), count in zip(grants, counts, strict=True):
            if self._draining or subscriber not in group.members or not count:
                subscriber.unreserve(places)
                group.again = group.again or count > 0
                continue
            subscriber.unreserve(places - count)
            group.served(subscriber)
            group.offers.make(subscriber, count)
        self._go_on(group, Wait.TO_OFFER, offer.wait_us, offer.rank, sent)

    def _go_on(
        self, group: SubscriberGroup, waits: Wait, wait_us: int | None, rank: int, sent: float
    ) -> None:
        """After an answer: wait for the time in it, or ask again."""
        group.call = None
        group.failing = group.troubled = False
        group.waits = waits if wait_us != 0 else Wait.NONE
        if self._draining:
            return
        if group.wish is Wait.NONE:
            self._rest(group)
        elif group.again or group.waits is not group.wish:
            self._ask(group)
        else:
            self._wait(group, wait_us, rank, sent)

    def _wait(self, group: SubscriberGroup, wait_us: int | None, rank: int, sent: float) -> None:
        until = None if wait_us is None else sent + wait_us / 1e6 + rank * _RANK_DELAY
        self._schedule.wait(group, until)

    def _on_failure(self, group: SubscriberGroup, error: Exception) -> None:
        group.call = None
        group.waits = Wait.NONE
        group.failing = True
        queue_type = self._engine.flows.shards.type_of(group.queue_type)
        pause = _AFTER_FAILURE
        if isinstance(error, StoreOverloaded):
            pause = _AFTER_OVERLOAD
        elif isinstance(error, UnexpectedReply) or not isinstance(error, StoreError):
            group.troubled = False
            error_reporting.reply_to(error, f"a dispatch of {queue_type}")
        else:
            group.troubled = True
            if self._is_troubled(group):
                self._on_trouble(queue_type, error)
        if group.idle:
            self._drop(group)
        elif not self._draining:
            self._schedule.wait(group, self._clock() + pause)

    def _is_troubled(self, group: SubscriberGroup) -> bool:
        return group.troubled

    # Offers

    def _on_doubt(self, group: SubscriberGroup) -> None:
        """An offer has ended by its time: jobs that are still ready pass to the next."""
        if group.waits is Wait.FOR_JOBS:
            # This server would have got it.
            group.judge(group.offers.doubted, something_is_ready=False)
        else:
            group.again = True
            self._ask(group)

    def _renew(self, group: SubscriberGroup, subscriber: Subscriber) -> None:
        """Ask again, instead of an offer that has ended."""
        if subscriber in group.members:
            group.enter(subscriber)
            group.served(subscriber)
        group.again = True
        self._ask(group)

    # Others

    def _rest(self, group: SubscriberGroup) -> None:
        """Nobody here has room; another server may have."""
        if group.call is not None:
            return
        self._schedule.forget(group)
        # Who has room next finds out whether the store works.
        group.failing = False
        group.news.handed_on()
        self._give_up_place(group)
        if group.idle:
            self._drop(group)

    def _give_up_place(self, group: SubscriberGroup) -> None:
        if group.waits is not Wait.NONE or group.again or group.coming:
            group.waits, group.again, group.coming = Wait.NONE, False, False
            self._handing_on.add(group.queue_type)

    def _drop(self, group: SubscriberGroup) -> None:
        self._schedule.forget(group)
        if self._by_type.get(group.queue_type) is group:
            del self._by_type[group.queue_type]

    def _offered(self, queue_type: str) -> int:
        group = self._by_type.get(queue_type)
        return 0 if group is None else group.offers.count
