"""Push: all connections of this process, and what they share.

Jobs go from the dispatcher to the sessions. This module has what concerns all of them: losing and
finding the store, the long polls, and the end.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sharq import Batch
from sharq.codec import websocket_frames as ws
from sharq.engine import Engine
from sharq.errors import StoreError
from sharq_server.api.handing import Handing
from sharq_server.api.refusals import Stopping
from sharq_server.push import frames
from sharq_server.push import operations as push_operations
from sharq_server.push.counting import counted
from sharq_server.push.delivery import Delivery
from sharq_server.push.leases import LeaseWatch
from sharq_server.push.line_dispatch import LineDispatcher
from sharq_server.push.long_poll import LongPoll
from sharq_server.push.outages import Outages
from sharq_server.push.roll import holders_of, roll_of
from sharq_server.push.schedule import Schedule
from sharq_server.push.session import Answer, Session, Slot
from sharq_server.telemetry.meter import Meter, TypeUse
from sharq_server.watch.growth import Growth
from sharq_server.watch.holders import Holders
from sharq_server.watch.looks import Looks
from sharq_server.watch.roster import Roster
from sharq_server.watch.scraper import Scraper
from sharq_server.watch.tail import Tail
from sharq_server.watch.tailing import Tailing
from sharq_server.watch.viewing import Viewing

_log = logging.getLogger(__name__)

BESIDES_PAYLOAD: Final = 64 * 1024
"""Bytes that a client's frame may have besides its payload."""

_LOOK_EVERY: Final = 0.02
_GOODBYE: Final = 1.0

_LAST_TURNS: Final = 20
"""Turns of the loop, at most, until polls that have to end are answered."""


class Push:
    """The push service of one server process over `engine`, whose watcher it is.

    It works from `start`, in the running event loop, until `close`. `meter` counts what it does.
    """

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self.engine = engine
        self.meter = meter
        self.sessions: set[Session] = set()
        self.draining = False
        self._polls: set[LongPoll] = set()
        self._polls_end = False
        self._schedule: Schedule | None = None
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.handing: dict[str, Handing] = {}
        growth = Growth(meter.growing)
        self._roster = Roster(engine.server_id, partial(roll_of, self), growth, self._tell)
        self._holders = Holders(engine.server_id, partial(holders_of, self), self._tell)
        tail = Tail(self.handing)
        self.viewing: Viewing
        self.tailing = Tailing(engine.server_id, tail, self._tell)
        self.scraper: Scraper
        engine.watch(self)

    def start(self) -> None:
        """Begin to dispatch, in the running event loop."""
        settings = self.engine.settings
        self.lease_seconds = settings.sharq.job_expire_interval / 1000
        self.heartbeat = settings.server.heartbeat / 1000
        self.max_frame_bytes = settings.sharq.max_payload_bytes + BESIDES_PAYLOAD
        self._schedule = Schedule()
        self.outages = Outages(self.engine, lambda: self.sessions)
        self.dispatcher = LineDispatcher(
            self.engine, self._schedule, self.outages.on_trouble, self.meter
        )
        self.outages.watch(self.dispatcher)
        self.leases = LeaseWatch(self.engine)
        self.viewing = Viewing(Looks(self.engine, self._roster, self._holders))
        self.scraper = Scraper(self.viewing)

    @property
    def started(self) -> bool:
        """Whether a dispatcher runs."""
        return self._schedule is not None

    # Sessions

    def open(self, session: Session) -> None:
        """Add a session, and send its welcome."""
        session.number = next(self._numbers)
        self.sessions.add(session)
        limits = {
            "max_frame_bytes": self.max_frame_bytes,
            "max_payload_bytes": self.engine.settings.sharq.max_payload_bytes,
            **frames.LIMITS,
        }
        heartbeat = round(self.heartbeat * 1000)
        operations = session.grant.operations
        session.send(frames.welcome(self.server_time(), heartbeat, limits, operations))
        self.outages.tell(session)

    def leave(self, session: Session) -> None:
        """A connection has ended."""
        self.sessions.discard(session)
        self.viewing.leave(session)
        self.tailing.leave(session)
        self.outages.forget(session)
        session.on_close()

    async def _tell(self, server_id: str | None, message: bytes) -> None:
        await self.engine.run(self.engine.flows.watching.tell(server_id, message))

    def server_time(self) -> int:
        """The time of this server in ms, for clients to compare with theirs."""
        return time.time_ns() // 1_000_000

    def count(self) -> dict[str, TypeUse]:
        """The subscribers here, and what they may hold, by queue type."""
        return counted(self.sessions, self._polls)

    async def carry_out(self, session: Session, frame: frames.Frame, slot: Slot) -> Answer:
        """Carry out a frame."""
        return await push_operations.carry_out(session, frame, slot)

    async def wait_for(
        self,
        queue_type: str,
        count: int,
        request_id: str | None,
        seconds: float,
        set_stop: Callable[[Callable[[], None] | None], None],
    ) -> Batch | None:
        """Jobs of a type as soon as they are ready; None if none was in time.

        `set_stop` gets a function that ends the wait early, and None when it is over. Raises
        `Stopping`, also if the wait had to end.
        """
        if self.draining:
            raise Stopping
        if self._polls_end:
            seconds = 0.0
        poll = LongPoll(self.dispatcher, queue_type, count, request_id)
        self._polls.add(poll)
        try:
            set_stop(poll.stop)
            delivery = await poll.wait(seconds)
            set_stop(None)
        finally:
            self._polls.discard(poll)
        if delivery is not None:
            return delivery.batch.part(delivery.start, delivery.stop)
        if self.draining:
            raise Stopping
        return None

    def bring_back(self, queue_type: str, batch: Batch) -> None:
        """Give leased jobs to others, since the answer could not be sent."""
        delivery = Delivery(batch, 0, len(batch), time.monotonic() + self.lease_seconds)
        self.dispatcher.place(queue_type, delivery)

    def subscribed(self, session: Session) -> None:
        """A session has other subscriptions."""
        self.outages.tell(session)

    # Called for the store, as the watcher of the library

    def on_wake(self, queue_type: str) -> None:
        if self._schedule is not None:
            self.dispatcher.wake(queue_type)

    def on_message(self, message: bytes) -> None:
        if self._schedule is not None:
            self._run(self._answer(message))

    async def _answer(self, message: bytes) -> None:
        try:
            await self._roster.on_message(message)
            await self.tailing.on_message(message)
            await self._holders.on_message(message)
        except StoreError as error:
            _log.debug("Another server is not answered: %s", error)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_listening(self) -> None:
        if self._schedule is not None:
            self.dispatcher.resync()

    def on_deaf(self) -> None:
        if self._schedule is not None:
            self.dispatcher.deaf()
            self.outages.look()

    def _tell_all(self, frame: bytes) -> None:
        for session in tuple(self.sessions):
            session.send(frame)

    # The end

    async def end_polls(self) -> None:
        """Answer the long polls as if their time were over, and let none wait from now on."""
        self._polls_end = True
        polls = set(self._polls)
        for poll in polls:
            poll.stop()
        for _ in range(_LAST_TURNS):
            if not polls & self._polls:
                return
            await asyncio.sleep(0)

    async def drain(self, grace: float, at_once: asyncio.Event | None = None) -> None:
        """Lease nothing more; held jobs can be finished here for `grace` seconds.

        A connection ends when nothing is held or under way on it, or when the time is over, or
        `at_once` is set.
        """
        if self._schedule is None:
            return
        self.draining = True
        self.outages.stop()
        self._tell_all(frames.draining(round(grace * 1000)))
        for poll in tuple(self._polls):
            poll.stop()
        await self.dispatcher.drain()
        deadline = time.monotonic() + grace
        while self.sessions and time.monotonic() < deadline + _GOODBYE:
            over = time.monotonic() >= deadline or (at_once is not None and at_once.is_set())
            for session in tuple(self.sessions):
                if over or not session.busy:
                    session.close(ws.RESTART, "the server is stopping")
            if at_once is not None and at_once.is_set():
                break
            await asyncio.sleep(_LOOK_EVERY)

    async def close(self) -> None:
        """End all connections and wait for calls that are on their way to the store."""
        if self._schedule is None:
            return
        self.draining = True
        await self.outages.close()
        for session in tuple(self.sessions):
            session.abort()
            self.leave(session)
            await session.finished()
        self.scraper.close()
        await self.viewing.close()
        await self.tailing.close()
        await self.leases.close()
        for running in tuple(self._tasks):
            running.cancel()
            await asyncio.wait({running})
        await self.dispatcher.close()
        self._schedule.close()
        self._schedule = None


if TYPE_CHECKING:
    from sharq import Watcher

    def _is_watcher(push: Push) -> Watcher:
        return push
