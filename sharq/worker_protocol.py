"""A worker's side of push: a connection that is kept up, the leases it holds, and what is due.

It runs in an event loop and a thread of its own, so that no handler holds up a heartbeat or an
extension. Jobs leave it for the handlers a frame at a time, and what became of them comes back a
loop turn at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from tornado.httpclient import HTTPError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from sharq import worker_frames as frames
from sharq.backoff import Backoff
from sharq.worker_frames import ServerClock, chunks, encode
from sharq.worker_job import LeasedJob
from sharq.worker_log import note
from sharq.worker_outbox import Answered, End, Outbox

_CONNECT_TIMEOUT: Final = 10.0
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 30.0
_LARGEST_FRAME: Final = 512 * 1024 * 1024
_TICK: Final = 0.1
_AGAIN_AFTER: Final = 0.5
_LAST_WORDS: Final = 5.0
_GOODBYE: Final = 1.0


class Settings:
    """What a worker was asked for; times are in seconds."""

    def __init__(
        self,
        url: str,
        weights: Mapping[str, int],
        concurrency: int,
        prefetch: int,
        timeout: float | None,
        token: str | None,
    ) -> None:
        self.url = url
        self.weights = dict(weights)
        self.concurrency = concurrency
        self.capacity = concurrency + prefetch
        self.timeout = timeout
        self.token = token


class _Connection:
    """One websocket, from its welcome on."""

    def __init__(self, socket: WebSocketClientConnection, welcome: frames.Welcome) -> None:
        self.socket = socket
        self.heartbeat = welcome.heartbeat / 1000
        self.heard_at = time.monotonic()
        self.pinged_at = self.heard_at
        self.pings: dict[int, float] = {}
        self.draining = False
        self.carried: dict[int, Sequence[str]] = {}

    def send(self, frame: bytes) -> None:
        try:
            written = self.socket.write_message(frame)
        except WebSocketClosedError:
            return
        written.add_done_callback(_forget)

    def abort(self) -> None:
        """Close at once, without a word."""
        protocol = self.socket.protocol
        if protocol is not None and protocol.stream is not None:
            protocol.stream.close()

    @property
    def silent(self) -> bool:
        """Whether nothing was heard for two heartbeats."""
        return time.monotonic() - self.heard_at > 2 * self.heartbeat


def _forget(written: asyncio.Future[None]) -> None:
    # A connection that is closed is noticed where it is read.
    if not written.cancelled():
        written.exception()


class Protocol:
    """`on_jobs` gets new jobs, `on_answered` what has come of ends, `on_lost` leases that ended.

    All three are called in the thread of the protocol.
    """

    def __init__(
        self,
        settings: Settings,
        on_jobs: Callable[[list[LeasedJob]], None],
        on_answered: Callable[[Iterable[Answered]], None],
        on_lost: Callable[[LeasedJob], None],
    ) -> None:
        self._settings = settings
        self._on_jobs = on_jobs
        self._on_answered = on_answered
        self._on_lost = on_lost
        self._credits = frames.credits_of(settings.weights, settings.capacity)
        self._ids = itertools.count(1)
        self._clock = ServerClock()
        self._held: dict[str, LeasedJob] = {}
        self._outbox = Outbox()
        self._asked_to_extend: dict[int, Sequence[str]] = {}
        self._connection: _Connection | None = None
        self._stopping = False
        self._reports: deque[tuple[str, End | None]] = deque()
        self._extensions: deque[tuple[str, float]] = deque()
        self._woken = False
        self._thread: threading.Thread | None = None
        self._started = threading.Event()

    # From other threads

    def start(self) -> None:
        """Begin to connect, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="sharq-worker", daemon=True)
        self._thread.start()
        self._started.wait()

    def report(self, ends: Iterable[tuple[str, End | None]]) -> None:
        """Jobs are through; None where a lease is lost, and nothing is to be told."""
        self._reports.extend(ends)
        self._wake()

    def extend(self, job: LeasedJob, seconds: float) -> None:
        """Have a lease extended."""
        self._extensions.append((job.lease, seconds))
        self._wake()

    def stop_jobs(self) -> None:
        """Take no more jobs."""
        self._loop.call_soon_threadsafe(self._no_more)

    def finish(self, patience: float = _LAST_WORDS) -> None:
        """Wait until every end is answered, for `patience` seconds at most, and disconnect."""
        try:
            self._loop.call_soon_threadsafe(self._end.set)
        except RuntimeError:
            return
        assert self._thread is not None
        self._patience = patience
        self._thread.join(patience + _CONNECT_TIMEOUT)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._take_reports)
            except RuntimeError:
                # The loop has ended, with the worker.
                return

    # The loop

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._answered = asyncio.Event()
        self._patience = _LAST_WORDS
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self._started.set()
        connecting = self._spawn(self._keep_connected())
        ticking = self._spawn(self._tick())
        await self._end.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._outbox or self._reports:
                    self._answered.clear()
                    await self._answered.wait()
        if self._outbox:
            note(logging.WARNING, "ends unanswered", count=len(self._outbox))
        connecting.cancel()
        ticking.cancel()
        for connection in tuple(self._connections):
            connection.socket.close()
        if self._reading:
            await asyncio.wait(tuple(self._reading), timeout=_GOODBYE)
        for connection in tuple(self._connections):
            connection.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Connections

    async def _keep_connected(self) -> None:
        """Have a connection; where the server stops, the next one before it is gone."""
        backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        while True:
            await asyncio.sleep(backoff.next())
            try:
                connection = await self._connect()
            except Exception as error:
                note(logging.WARNING, "no connection", url=self._settings.url, error=error)
                continue
            reading = self._spawn(self._read(connection))
            self._reading.add(reading)
            reading.add_done_callback(self._reading.discard)
            self._take_over(connection)
            note(logging.INFO, "connected", url=self._settings.url)
            began = time.monotonic()
            while not (reading.done() or connection.draining):
                await asyncio.wait({reading}, timeout=_TICK)
            if time.monotonic() - began > 1 or connection.draining:
                backoff.reset()

    async def _connect(self) -> _Connection:
        headers = {"Sec-WebSocket-Protocol": frames.PROTOCOL}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        request = HTTPRequest(self._settings.url, headers=headers, connect_timeout=_CONNECT_TIMEOUT)
        try:
            socket = await websocket_connect(request, max_message_size=_LARGEST_FRAME)
        except HTTPError as error:
            raise ConnectionError(f"the server answers {error.code} {error.message}") from error
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                text = await socket.read_message()
            welcome = frames.decode(text) if isinstance(text, str) else None
            if not isinstance(welcome, frames.Welcome):
                raise ConnectionError("the server does not speak sharq.v1.json")
        except BaseException:
            socket.close()
            raise
        self._clock.one_way(welcome.server_time, time.monotonic())
        return _Connection(socket, welcome)

    def _take_over(self, connection: _Connection) -> None:
        """Go on with a connection: the leases come along, then what is to be told of them."""
        former, self._connection = self._connection, connection
        self._asked_to_extend.clear()
        if former is None or not former.draining:
            self._outbox.again()
        if not self._stopping:
            connection.send(
                encode({"op": "credit", "credit": self._settings.capacity, "id": next(self._ids)})
            )
            for queue_type, credit in self._credits.items():
                self._subscribe(connection, queue_type, credit)
        self._ping(connection)
        self._flush()

    def _subscribe(self, connection: _Connection, queue_type: str, credit: int) -> None:
        prefix = f"{queue_type}/"
        leases = [
            lease for lease in self._held if lease.startswith(prefix) and lease not in self._outbox
        ]
        for part in chunks(leases) or [()]:
            frame_id = next(self._ids)
            frame: dict[str, Any] = {"op": "subscribe", "id": frame_id, "queue_type": queue_type}
            frame["credit"] = credit
            if part:
                frame["leases"] = part
                connection.carried[frame_id] = part
            connection.send(encode(frame))

    async def _read(self, connection: _Connection) -> None:
        """Take what comes, until the connection ends."""
        self._connections.add(connection)
        try:
            while (text := await connection.socket.read_message()) is not None:
                connection.heard_at = time.monotonic()
                event = frames.decode(text) if isinstance(text, str) else None
                if event is not None:
                    self._on_event(connection, event)
        finally:
            self._connections.discard(connection)
            connection.socket.close()
        if connection is self._connection:
            self._connection = None
            if not self._end.is_set():
                code = connection.socket.close_code
                note(logging.WARNING, "disconnected", url=self._settings.url, code=code)
        # What was on its way may not have come.
        self._outbox.again()
        self._flush()

    # What the server tells

    def _on_event(self, connection: _Connection, event: frames.Event) -> None:
        if isinstance(event, frames.Jobs):
            self._on_jobs_frame(event)
        elif isinstance(event, frames.Reply):
            self._on_reply(connection, event)
        elif isinstance(event, frames.Pong):
            sent = connection.pings.pop(event.id or 0, None)
            if sent is not None:
                self._clock.there_and_back(event.server_time, sent, time.monotonic())
        elif isinstance(event, frames.Expired):
            self._lose(event.leases)
        elif isinstance(event, frames.Error):
            self._on_error(event)
        elif isinstance(event, frames.Draining):
            note(logging.INFO, "server draining", after_ms=event.after_ms)
            connection.draining = True
        elif isinstance(event, frames.Paused):
            note(logging.WARNING, "server paused", code=event.code)
        elif isinstance(event, frames.Resumed):
            note(logging.INFO, "server resumed")
            self._flush()

    def _on_jobs_frame(self, event: frames.Jobs) -> None:
        dispatched = self._clock.local(event.server_time, time.monotonic())
        jobs = []
        for each in event.jobs:
            job = LeasedJob(
                event.queue_type,
                each.queue_id,
                each.job_id,
                each.attempt,
                each.requeues_remaining,
                each.lease,
                each.payload,
                each.lease_ms / 1000,
                dispatched + each.lease_ms / 1000,
                self.extend,
            )
            self._held[each.lease] = job
            jobs.append(job)
        if self._stopping:
            for job in jobs:
                self._outbox.add(job.lease, End(finish=False, count_requeue=False))
            self._flush()
        else:
            self._on_jobs(jobs)

    def _on_reply(self, connection: _Connection, reply: frames.Reply) -> None:
        results = reply.results or []
        if self._outbox.has(reply.id):
            over, failed = self._outbox.answer(reply.id, results)
            for each in over:
                self._held.pop(each.lease, None)
            if failed:
                self._loop.call_later(_AGAIN_AFTER, self._flush)
            self._answered.set()
            self._on_answered(over)
            return
        leases = self._asked_to_extend.pop(reply.id or 0, None)
        if leases is None:
            leases = connection.carried.pop(reply.id or 0, None)
        if leases is not None and len(leases) == len(results):
            self._note_extensions(leases, results)

    def _note_extensions(self, leases: Sequence[str], results: list[Any]) -> None:
        now = time.monotonic()
        gone = []
        for lease, result in zip(leases, results, strict=True):
            job = self._held.get(lease)
            status = result.get("status") if isinstance(result, dict) else None
            if job is None:
                continue
            if status == "success":
                job.until = now + result.get("lease_ms", 0) / 1000
            elif status in ("not_active", "stale_lease", "already_finished", "invalid_argument"):
                gone.append(lease)
        self._lose(gone)

    def _on_error(self, error: frames.Error) -> None:
        if self._outbox.has(error.id):
            self._outbox.again(error.id)
            self._loop.call_later(_AGAIN_AFTER, self._flush)
        self._asked_to_extend.pop(error.id or 0, None)
        note(logging.WARNING, "server error", code=error.code, message=error.message)

    def _lose(self, leases: Sequence[str]) -> None:
        for lease in leases:
            job = self._held.pop(lease, None)
            if job is None:
                continue
            self._outbox.drop(lease)
            self._answered.set()
            job.lease_lost = True
            self._on_lost(job)

    # What is due

    async def _tick(self) -> None:
        """Extend leases, ping, and leave a connection that is silent."""
        while True:
            await asyncio.sleep(_TICK)
            connection = self._connection
            if connection is None:
                continue
            if connection.silent:
                note(logging.WARNING, "server silent", url=self._settings.url)
                self._connection = None
                connection.abort()
                continue
            if time.monotonic() - connection.pinged_at > connection.heartbeat / 2:
                self._ping(connection)
            self._extend_running(connection)

    def _ping(self, connection: _Connection) -> None:
        frame_id = next(self._ids)
        connection.pinged_at = connection.pings[frame_id] = time.monotonic()
        connection.send(encode({"op": "ping", "id": frame_id}))

    def _extend_running(self, connection: _Connection) -> None:
        """Extend what handlers work on, where half of the lease is over; together where alike."""
        now = time.monotonic()
        due: dict[int, list[str]] = {}
        for job in self._held.values():
            if job.started_at is None or job.lease in self._outbox:
                continue
            half = job.lease_seconds / 2
            if job.until - now > half or now - job.extended_at < min(half, 1.0):
                continue
            seconds = job.lease_seconds
            if self._settings.timeout is not None:
                seconds = min(seconds, job.started_at + self._settings.timeout - now)
            if seconds > 0:
                job.extended_at = now
                due.setdefault(max(1, round(seconds * 1000)), []).append(job.lease)
        for by, leases in due.items():
            self._send_extension(connection, leases, by)

    def _send_extension(self, connection: _Connection, leases: Sequence[str], by: int) -> None:
        for part in chunks(leases):
            frame_id = next(self._ids)
            self._asked_to_extend[frame_id] = part
            connection.send(encode({"op": "extend", "id": frame_id, "leases": part, "by": by}))

    # What the handlers tell

    def _take_reports(self) -> None:
        self._woken = False
        self._answered.set()
        while self._reports:
            lease, end = self._reports.popleft()
            if end is None:
                self._held.pop(lease, None)
            elif lease in self._held:
                self._outbox.add(lease, end)
        while self._extensions:
            lease, seconds = self._extensions.popleft()
            if lease in self._held and self._connection is not None:
                by = max(1, round(seconds * 1000))
                self._send_extension(self._connection, [lease], by)
        self._flush()

    def _flush(self) -> None:
        if self._connection is not None:
            for frame in self._outbox.frames(self._ids):
                self._connection.send(frame)

    def _no_more(self) -> None:
        self._stopping = True
        if self._connection is not None:
            self._connection.send(encode({"op": "credit", "credit": 0, "id": next(self._ids)}))
