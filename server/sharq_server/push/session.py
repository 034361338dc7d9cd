"""One subscriber's connection: frames in, replies in their order, jobs within the credit.

A session knows no socket. It gets the text of frames, and it writes through a `Transport`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from sharq.codec import websocket_frames as ws
from sharq.engine import Engine
from sharq.errors import StoreOverloaded
from sharq.settings.tokens import UNLIMITED, Grant
from sharq_server.api import error_reporting
from sharq_server.api.handing import PUSH, Handing
from sharq_server.push import frames
from sharq_server.push.credit import Credit
from sharq_server.push.delivery import Delivery
from sharq_server.push.dispatch import Dispatcher
from sharq_server.push.frames import BadFrame
from sharq_server.push.leases import LeaseWatch
from sharq_server.push.subscription import Subscription
from sharq_server.telemetry.meter import Meter
from sharq_server.watch.tailing import Tailing
from sharq_server.watch.viewing import Viewing

_REFILL_AFTER: Final = 0.002
_MOST_FRAMES: Final = 64
_MOST_BYTES: Final = 1024 * 1024
_MOST_UNREAD: Final = 1024 * 1024
_BAD_FRAMES: Final = 100
_BAD_FRAMES_WITHIN: Final = 60.0


class Transport(Protocol):
    """What a session writes to."""

    def write(self, text: bytes, *, at_once: bool) -> None:
        """Send a text frame, at the end of the loop's turn unless it has to go `at_once`.

        Raises ConnectionError if the connection takes no more. If the kernel does not take all of
        it at once, `Session.on_written` is called when it has.
        """

    @property
    def position(self) -> int:
        """Bytes written so far: all are gone when `taken` is the same."""

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection, in good order."""

    def abort(self) -> None:
        """Close the connection at once."""


class Hub(Protocol):
    """The shared part of a process's sessions; it carries out their frames."""

    @property
    def engine(self) -> Engine: ...

    @property
    def dispatcher(self) -> Dispatcher: ...

    @property
    def leases(self) -> LeaseWatch: ...

    @property
    def meter(self) -> Meter:
        """Counts what happens."""

    @property
    def lease_seconds(self) -> float:
        """Seconds for which a job is leased."""

    @property
    def viewing(self) -> Viewing:
        """Those who watch."""

    @property
    def tailing(self) -> Tailing:
        """Those who tail types."""

    @property
    def handing(self) -> Mapping[str, Handing]:
        """Who is told of jobs that are handed out, by the types that somebody tails."""

    @property
    def draining(self) -> bool:
        """Whether the server stops, so that nothing more is leased."""

    def server_time(self) -> int:
        """The time of this server in ms, for clients to compare with theirs."""

    def subscribed(self, session: Session) -> None:
        """A session has other subscriptions."""

    async def carry_out(self, session: Session, frame: frames.Frame, slot: Slot) -> Answer:
        """Carry out a frame."""


class Answer(NamedTuple):
    """The frame that answers a frame; `after` is done when it has been sent.

    `delivery`: jobs of a queue type in it, which go elsewhere if it cannot be sent.
    """

    text: bytes
    after: Callable[[], None] | None = None
    delivery: tuple[str, Delivery] | None = None


class Slot:
    """The place of an answer among the others, from the arrival of its frame."""

    __slots__ = ("answer", "size", "turn")

    def __init__(self, size: int) -> None:
        self.size = size
        self.answer: Answer | None = None
        self.turn: asyncio.Future[None] | None = None


class Session:
    """The state of one connection. `clock` is monotonic, in seconds.

    `grant` has the client's rights, as long as `is_valid` says so. `worker` is the name that the
    client has told last, `heard` when its last frame came, `number` its own among the sessions.
    """

    def __init__(
        self,
        push: Hub,
        transport: Transport,
        grant: Grant = UNLIMITED,
        is_valid: Callable[[Grant], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.push = push
        self.grant = grant
        self._is_valid = is_valid
        self.credit = Credit()
        self.subscriptions: dict[str, Subscription] = {}
        self.worker: str | None = None
        self.number = 0
        self.heard = clock()
        self.closed = False
        self.ending = False
        self._transport = transport
        self._clock = clock
        self._closed_by_server = False
        self._slots: deque[Slot] = deque()
        self._frames_at_work = 0
        self._bytes_at_work = 0
        self._readable: asyncio.Future[None] | None = None
        self._bad_frames: deque[float] = deque(maxlen=_BAD_FRAMES)
        self._unwritten: deque[tuple[int, str, Delivery]] = deque()
        self._starved: dict[Subscription, None] = {}
        self._refilling: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Incoming frames

    def on_frame(self, text: bytes) -> asyncio.Future[None] | None:
        """Take a frame; returns None, or a future to wait for before reading more."""
        if self.closed:
            return None
        self.heard = self._clock()
        slot = Slot(len(text))
        try:
            frame = frames.decode(text)
        except BadFrame as bad:
            self._slots.append(slot)
            self._settle(slot, Answer(frames.error(bad.id, bad.code, bad.message, **bad.more)))
            self._count_bad_frame()
            return None
        if isinstance(frame, frames.Ping):
            self._write(frames.pong(self.push.server_time(), frame.id))
            return None
        self._slots.append(slot)
        self._frames_at_work += 1
        self._bytes_at_work += slot.size
        self._run(self._work(frame, slot))
        return self._until_readable()

    async def _work(self, frame: frames.Frame, slot: Slot) -> None:
        try:
            answer = await self.push.carry_out(self, frame, slot)
        except Exception as error:
            refusal = _refusal(frame.id, error, f"A frame {type(frame).__name__}")
            overloaded = isinstance(error, StoreOverloaded)
            answer = Answer(refusal, self._send_away if overloaded else None)
        self._frames_at_work -= 1
        self._bytes_at_work -= slot.size
        self._settle(slot, answer)
        self._look_if_readable()

    def _send_away(self) -> None:
        self.close(ws.TRY_AGAIN_LATER, "too much is waiting for the store")

    def _count_bad_frame(self) -> None:
        now = self._clock()
        self._bad_frames.append(now)
        if len(self._bad_frames) == _BAD_FRAMES and self._bad_frames[0] > now - _BAD_FRAMES_WITHIN:
            self.close(ws.POLICY_VIOLATION, "too many bad frames")

    # Reading stops if too much is under way, or unread by the client.

    @property
    def reading(self) -> bool:
        """Whether frames are read; they are not while too much is under way."""
        return self._readable is None

    @property
    def unread(self) -> int:
        """Written bytes that the kernel has not taken."""
        return self._transport.position - self._transport.taken

    def _is_full(self) -> bool:
        return not self.closed and (
            self._frames_at_work >= _MOST_FRAMES
            or self._bytes_at_work >= _MOST_BYTES
            or self.unread >= _MOST_UNREAD
        )

    def _until_readable(self) -> asyncio.Future[None] | None:
        if not self._is_full():
            return None
        if self._readable is None:
            self._readable = asyncio.get_running_loop().create_future()
        return self._readable

    def _look_if_readable(self) -> None:
        if self._readable is not None and not self._is_full():
            readable, self._readable = self._readable, None
            if not readable.done():
                readable.set_result(None)

    # Outgoing frames

    def send(self, text: bytes) -> None:
        """Send a frame that is no answer."""
        self._write(text)

    async def turn(self, slot: Slot) -> None:
        """Wait until every frame before that of `slot` has been answered."""
        if self._slots and self._slots[0] is not slot and not self.closed:
            slot.turn = asyncio.get_running_loop().create_future()
            await slot.turn

    def _settle(self, slot: Slot, answer: Answer) -> None:
        slot.answer = answer
        while self._slots and (ready := self._slots[0].answer) is not None:
            self._slots.popleft()
            self._write(ready.text, ready.delivery)
            if ready.after is not None and not self.closed:
                ready.after()
        if self._slots and (turn := self._slots[0].turn) is not None and not turn.done():
            turn.set_result(None)

    def _write(self, text: bytes, delivery: tuple[str, Delivery] | None = None) -> None:
        try:
            if not self.closed:
                self._transport.write(text, at_once=delivery is not None)
        except ConnectionError:
            self.ending = True
        if delivery is None:
            return
        if self.ending:
            self._bring_back(*delivery)
        elif self.unread:
            self._unwritten.append((self._transport.position, *delivery))

    def on_written(self) -> None:
        """The kernel has taken all written data."""
        self._forget_written()
        self._look_if_readable()
        self.refill()

    def _forget_written(self) -> None:
        taken = self._transport.taken
        while self._unwritten and self._unwritten[0][0] <= taken:
            self._unwritten.popleft()

    # Jobs

    def may_take(self, subscription: Subscription) -> bool:
        """Whether a subscription may get something, as far as its credit has room."""
        current = self.subscriptions.get(subscription.queue_type) is subscription
        return current and not (self.ending or self._unwritten or self.push.draining)

    def reserve(self, subscription: Subscription, wanted: int) -> int:
        """Reserve places for jobs of a subscription; none until its last jobs are written."""
        places = subscription.take_places(wanted) if self.may_take(subscription) else 0
        current = self.subscriptions.get(subscription.queue_type) is subscription
        # The subscription that got some, or asked last, waits behind the others.
        self._starved.pop(subscription, None)
        if current and not places:
            self._starved[subscription] = None
        return places

    def deliver(self, subscription: Subscription, delivery: Delivery) -> bool:
        """Send jobs, which are held from now on; False if the connection has ended."""
        if self.closed:
            return False
        queue_type = subscription.queue_type
        self.hold(queue_type, delivery.leases, delivery.until)
        lease_ms = max(0, round((delivery.until - self._clock()) * 1000))
        jobs = delivery.batch.jobs_json(delivery.start, delivery.stop, lease_ms)
        text = frames.jobs(queue_type, self.push.server_time(), jobs)
        self._write(text, (queue_type, delivery))
        self.handed_out(queue_type, delivery, PUSH)
        return True

    def handed_out(self, queue_type: str, delivery: Delivery, how: str) -> None:
        """Tell of jobs that this connection has got, if somebody tails their type."""
        tell = self.push.handing.get(queue_type)
        if tell is not None:
            tell(delivery.batch, delivery.start, delivery.stop, how, self.worker)

    def refill(self) -> None:
        """There may be room again: subscriptions that had none are ready again.

        With only a little room, this happens a moment later: jobs that come one by one, as each
        makes room for the next, cost many times as much as together.
        """
        if not self._starved or self.closed:
            return
        starved, self._starved = self._starved, {}
        for subscription in starved:
            if self.subscriptions.get(subscription.queue_type) is not subscription:
                continue
            if self.credit.has_plenty(subscription.queue_type):
                self.push.dispatcher.join(subscription.queue_type, subscription)
            else:
                self._starved[subscription] = None
        if self._starved and self._refilling is None:
            loop = asyncio.get_running_loop()
            self._refilling = loop.call_later(_REFILL_AFTER, self._refill_all)

    def _refill_all(self) -> None:
        self._refilling = None
        if self.closed:
            return
        starved, self._starved = self._starved, {}
        for subscription in starved:
            if self.subscriptions.get(subscription.queue_type) is not subscription:
                continue
            if self.credit.room(subscription.queue_type):
                self.push.dispatcher.join(subscription.queue_type, subscription)
            else:
                self._starved[subscription] = None

    def hold(self, queue_type: str, leases: Sequence[str], until: float) -> None:
        """Count leases as this connection's, until they end."""
        self.credit.hold(queue_type, leases, until, self._clock())
        self.push.leases.watch(self, until)

    def free(self, leases: Sequence[str]) -> None:
        """Leases have ended; leases that are not held are ignored."""
        if self._end(leases):
            self.refill()

    def _end(self, leases: Sequence[str]) -> list[str]:
        """Note that leases have ended; returns those that were held."""
        now, held = self._clock(), []
        for lease in leases:
            since = self.credit.since(lease)
            if since is not None:
                self.credit.free(lease)
                held.append(lease)
                self.push.meter.on_lease_ended(lease.partition("/")[0], now - since)
        return held

    # As the holder of leases

    def leases(self) -> Mapping[str, float]:
        return self.credit.held

    def extended(self, lease: str, until: float) -> None:
        self.credit.extend(lease, until)

    def lost(self, leases: Sequence[str]) -> None:
        over = self._end(leases)
        if over and not self.closed:
            self._write(frames.expired(over))
            self.refill()

    # The end

    def on_beat(self) -> None:
        """Called regularly: checks whether the client's token is still valid."""
        if not self._is_valid(self.grant):
            self.close(ws.POLICY_VIOLATION, "the token is no longer valid")

    def close(self, code: int, reason: str) -> None:
        """Close the connection from this side."""
        if not self.ending:
            self.ending = self._closed_by_server = True
            self._transport.close(code, reason)

    def abort(self) -> None:
        """End the connection from this side, at once."""
        self.ending = self._closed_by_server = True
        self._transport.abort()

    @property
    def busy(self) -> bool:
        """Whether frames are under way, replies unsent or leases held."""
        return bool(self._slots or self.credit.held or self.unread)

    def on_close(self) -> None:
        """The connection has ended: unsent jobs go to others."""
        if self.closed:
            return
        self.closed = self.ending = True
        self._look_if_readable()
        if self._refilling is not None:
            self._refilling.cancel()
        for slot in self._slots:
            if slot.turn is not None and not slot.turn.done():
                slot.turn.set_result(None)
        dispatcher = self.push.dispatcher
        for subscription in self.subscriptions.values():
            dispatcher.leave(subscription.queue_type, subscription)
        self._forget_written()
        for _, queue_type, delivery in self._unwritten:
            self._bring_back(queue_type, delivery)
        self._unwritten.clear()
        if not self._closed_by_server:
            self._give_up_leases()
        self.push.leases.forget(self)
        # They refer to their session: freed here, not by the garbage collector.
        self.subscriptions.clear()
        self._starved.clear()

    def _bring_back(self, queue_type: str, delivery: Delivery) -> None:
        for lease in delivery.leases:
            self.credit.free(lease)
        self.push.dispatcher.place(queue_type, delivery)

    def _give_up_leases(self) -> None:
        """Release held leases of the types that were subscribed to with this option."""
        types = {
            each.queue_type for each in self.subscriptions.values() if each.release_on_disconnect
        }
        leases = [lease for lease in self.credit.held if lease.partition("/")[0] in types]
        if leases:
            self.push.dispatcher.redelivery.add(leases, count_requeue=True)

    async def finished(self) -> None:
        """Wait until no frame is under way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refusal(frame_id: bytes | None, error: Exception, what: str) -> bytes:
    told, more = error_reporting.told(error, what)
    return frames.error(frame_id, told.code, told.message, **more)
