"""From ready jobs to subscribers: who is asked for, who gets, and who is told.

Each queue type that somebody subscribes to here has a `Line`: the subscribers with room, in turn,
and at most one call of the store under way. A call asks for as many jobs as there is room for;
where nobody has any, it asks what could be offered to those who only want to be told. Where the
store has fewer, this server is registered there as waiting for the one or the other, and the
schedule knows when to ask again; where it has a use for them no longer, it hands on to another
server.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sharq import Batch
from sharq.engine import Engine
from sharq.errors import StoreBug, StoreError, StoreOverloaded
from sharq_server.api import incidents
from sharq_server.push.line import Grants, Line, Request, Wait
from sharq_server.push.offers import OFFER_MS
from sharq_server.push.parcel import Parcel, Subscriber, deal
from sharq_server.push.returns import Returns
from sharq_server.push.schedule import Schedule

_log = logging.getLogger(__name__)

_RANK_DELAY: Final = 0.002
_AFTER_FAILURE: Final = 1.0
_AFTER_OVERLOAD: Final = 0.1


class Dispatcher:
    """The lines of one server process.

    `on_trouble` is called with each failure of the store that keeps jobs from subscribers.
    """

    def __init__(
        self,
        engine: Engine,
        schedule: Schedule,
        on_trouble: Callable[[StoreError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._on_trouble = on_trouble
        self._clock = clock
        self._lease_seconds = engine.settings.sharq.job_expire_interval / 1000
        # A number is never used again: under it the store would repeat the former answer.
        self._seqs = itertools.count(1)
        self._lines: dict[str, Line] = {}
        self._handing_on: set[str] = set()
        self._handing: set[asyncio.Task[None]] = set()
        self._draining = False
        self.returns = Returns(engine)

    # Subscribers

    def join(self, queue_type: str, subscriber: Subscriber) -> None:
        """Count `subscriber` among those of a type that have room; it may be there already."""
        line = self._lines.get(queue_type)
        if line is None:
            line = self._lines[queue_type] = Line(
                queue_type, self._on_due, self._on_doubt, self._look, self._clock
            )
        if line.enter(subscriber):
            self._look(line)

    def leave(self, queue_type: str, subscriber: Subscriber) -> None:
        """`subscriber` wants no more jobs of a type; a call under way may still bring some."""
        line = self._lines.get(queue_type)
        if line is not None:
            line.remove(subscriber)
            self._look(line)

    async def settled(self, queue_type: str) -> None:
        """Wait until the call that is under way for a type, if any, has been answered."""
        line = self._lines.get(queue_type)
        if line is not None and line.call is not None:
            await asyncio.wait({line.call})

    def used(self, queue_type: str, subscriber: Subscriber) -> None:
        """`subscriber` has dequeued, as those do that use what they are offered."""
        line = self._lines.get(queue_type)
        if line is not None and line.offers.end(subscriber):
            self._renew(line, subscriber)

    def place(self, queue_type: str, parcel: Parcel) -> None:
        """Give jobs that could not be delivered to others here, or back to their queues."""
        line = self._lines.get(queue_type)
        if line is not None and not self._draining:
            for subscriber in list(line.ring):
                if not parcel or subscriber.request_id is not None:
                    continue
                places = subscriber.reserve(len(parcel))
                if not places:
                    del line.ring[subscriber]
                    continue
                part, rest = parcel.split(places)
                if subscriber.deliver(places, part):
                    parcel = rest
            self._look(line)
        if parcel:
            self.returns.add(parcel.leases)

    # What the store tells

    def wake(self, queue_type: str) -> None:
        """The store has woken this server: something of a type is ready, or will be sooner."""
        line = self._lines.get(queue_type)
        if line is None or self._draining:
            self._hand_on(queue_type)
            return
        line.waits = Wait.NONE
        line.again = True
        self._ask(line)

    def resync(self) -> None:
        """Ask about all types again, at the pace of polls: wake-ups may have been lost."""
        for line in self._lines.values():
            line.failing = False
            if line.wish is not Wait.NONE or line.lost is not None:
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
            line.offers.end_all()
        calls = {line.call for line in self._lines.values() if line.call is not None}
        if calls:
            await asyncio.wait(calls)
        for line in self._lines.values():
            self._give_up_place(line)

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

    def _look(self, line: Line) -> None:
        """Somebody has come or gone: do what there is to do now."""
        if line.call is not None or self._draining:
            return
        if line.wish is Wait.NONE:
            self._rest(line)
        elif line.again or (line.waits is not line.wish and not line.failing):
            self._ask(line)

    def _ask(self, line: Line) -> None:
        """Ask the store for jobs, if there is anybody to ask for."""
        if line.call is not None or self._draining:
            return
        if line.lost is not None:
            self._start(line, self._fetch(line, [], line.lost))
        elif grants := line.grants(line.ring):
            wanted = sum(places for _, places in grants)
            request = Request(wanted, next(self._seqs), grants[0][0].request_id, self._clock())
            self._start(line, self._fetch(line, grants, request))
        elif (grants := line.grants(line.watch)) or line.offers.doubted:
            self._start(line, self._offer(line, grants))
        else:
            self._rest(line)

    def _start(self, line: Line, work: Coroutine[Any, Any, None]) -> None:
        line.waits, line.again, line.coming = Wait.NONE, False, False
        self._handing_on.discard(line.queue_type)
        self._schedule.forget(line)
        line.call = asyncio.get_running_loop().create_task(work)

    async def _fetch(self, line: Line, grants: Grants, request: Request) -> None:
        sent = self._clock()
        more = line.has_room
        # What is ready goes to those with room, and was in nobody's way.
        line.judge(line.offers.doubted, something_is_ready=False)
        try:
            flow = self._engine.flows.dispatch(
                line.queue_type,
                request.wanted,
                self._engine.server_id,
                request.seq,
                request.request_id,
                more,
            )
            batch = await self._engine.run(flow)
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
        line.coming = more and batch.wait_us == 0
        self._go_on(line, Wait.FOR_JOBS, batch.wait_us, batch.rank, sent)

    def _share(self, line: Line, grants: Grants, batch: Batch, until: float) -> list[Parcel]:
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
            line.served(subscriber)
            if not subscriber.deliver(places, parcel):
                left.append(parcel)
        if at < len(batch):
            left.append(Parcel(batch, at, len(batch), until))
        return left

    async def _offer(self, line: Line, grants: Grants) -> None:
        sent = self._clock()
        wanted = sum(places for _, places in grants)
        doubted = line.offers.doubted
        try:
            flow = self._engine.flows.offer(
                line.queue_type, self._engine.server_id, wanted, line.offers.count, OFFER_MS
            )
            offer = await self._engine.run(flow)
        except Exception as error:
            for subscriber, places in grants:
                subscriber.unreserve(places)
            line.judge(doubted, something_is_ready=False)
            self._on_failure(line, error)
            return
        line.judge(doubted, something_is_ready=offer.granted > 0 or offer.wait_us == 0)
        counts = deal(offer.granted, [places for _, places in grants])
        for (subscriber, places), count in zip(grants, counts, strict=True):
            if self._draining or subscriber not in line.members or not count:
                subscriber.unreserve(places)
                line.again = line.again or count > 0
                continue
            subscriber.unreserve(places - count)
            line.served(subscriber)
            line.offers.make(subscriber, count)
        self._go_on(line, Wait.TO_OFFER, offer.wait_us, offer.rank, sent)

    def _go_on(self, line: Line, waits: Wait, wait_us: int | None, rank: int, sent: float) -> None:
        """After an answer: wait for what the store has told, or ask again."""
        line.call = None
        line.failing = line.troubled = False
        line.waits = waits if wait_us != 0 else Wait.NONE
        if self._draining:
            return
        if line.wish is Wait.NONE:
            self._rest(line)
        elif line.again or line.waits is not line.wish:
            self._ask(line)
        else:
            until = None
            if wait_us is not None:
                until = sent + wait_us / 1e6 + rank * _RANK_DELAY
            self._schedule.wait(line, until)

    def _on_failure(self, line: Line, error: Exception) -> None:
        line.call = None
        line.waits = Wait.NONE
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

    def _on_doubt(self, line: Line) -> None:
        """An offer has ended by its time: what is still ready passes to the next."""
        if line.waits is Wait.FOR_JOBS:
            # It would have come here.
            line.judge(line.offers.doubted, something_is_ready=False)
        else:
            line.again = True
            self._ask(line)

    def _renew(self, line: Line, subscriber: Subscriber) -> None:
        """Look again, in the place of an offer that has ended."""
        if subscriber in line.members:
            line.enter(subscriber)
            line.served(subscriber)
        line.again = True
        self._ask(line)

    # Others

    def _rest(self, line: Line) -> None:
        """Nobody here has room: another server may have."""
        if line.call is not None:
            return
        self._schedule.forget(line)
        self._give_up_place(line)
        if line.idle:
            self._drop(line)

    def _give_up_place(self, line: Line) -> None:
        if line.waits is not Wait.NONE or line.again or line.coming:
            line.waits, line.again, line.coming = Wait.NONE, False, False
            self._hand_on(line.queue_type)

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
        offered = {name: self._offered(name) for name in sorted(self._handing_on)}
        self._handing_on.clear()
        task = asyncio.get_running_loop().create_task(self._tell_others(offered))
        self._handing.add(task)
        task.add_done_callback(self._handing.discard)

    def _offered(self, queue_type: str) -> int:
        line = self._lines.get(queue_type)
        return 0 if line is None else line.offers.count

    async def _tell_others(self, offered: dict[str, int]) -> None:
        try:
            await self._engine.run(self._engine.flows.hand_on(offered, self._engine.server_id))
        except StoreError as error:
            # Other servers ask by themselves before long.
            _log.debug("Other servers were not told of %d types: %s", len(offered), error)
