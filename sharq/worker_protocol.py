"""A worker's side of push: a connection that is kept up, the leases it holds, and what is due.

It runs in an event loop and a thread of its own, so that no handler holds up a heartbeat or an
extension. Jobs leave it for the handlers a frame at a time, and what became of them comes back a
loop turn at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from sharq import worker_frames as frames
from sharq.backoff import Backoff
from sharq.worker_connection import Connection
from sharq.worker_frames import chunks, encode
from sharq.worker_job import LeasedJob
from sharq.worker_log import note
from sharq.worker_outbox import Answered, End, Outbox
from sharq.worker_socket import Socket

_CONNECT_TIMEOUT: Final = 10.0
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 30.0
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
        token: str | Callable[[], str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.url = url
        self.weights = dict(weights)
        self.concurrency = concurrency
        self.capacity = concurrency + prefetch
        self.timeout = timeout
        self.token = token
        self.tls = tls


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
        self._held: dict[str, LeasedJob] = {}
        self._outbox = Outbox()
        self._connection: Connection | None = None
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
        self._connections: set[Connection] = set()
        self._started.set()
        tasks = [
            self._loop.create_task(self._keep_connected()),
            self._loop.create_task(self._tick()),
        ]
        await self._end.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._owes:
                    self._answered.clear()
                    await self._answered.wait()
        if self._outbox:
            note(logging.WARNING, "ends unanswered", count=len(self._outbox))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        connections = tuple(self._connections)
        for connection in connections:
            connection.socket.close()
        if connections:
            await asyncio.wait([each.socket.closed for each in connections], timeout=_GOODBYE)
        for connection in connections:
            connection.socket.abort()

    @property
    def _owes(self) -> bool:
        """Whether something is still to be told or answered, before the end."""
        if self._outbox or self._reports:
            return True
        connection = self._connection
        if connection is not None and connection.wishes:
            # Jobs may come until no credit is agreed on.
            return True
        return any(job.started_at is None for job in self._held.values())

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
            self._take_over(connection)
            note(logging.INFO, "connected", url=self._settings.url)
            began = time.monotonic()
            while not (connection.socket.closed.done() or connection.draining):
                await asyncio.wait({connection.socket.closed}, timeout=_TICK)
            if time.monotonic() - began > 1 or connection.draining:
                backoff.reset()

    async def _connect(self) -> Connection:
        headers = {"Sec-WebSocket-Protocol": frames.PROTOCOL}
        token = self._settings.token
        if token is not None:
            headers["Authorization"] = f"Bearer {token if isinstance(token, str) else token()}"
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            socket = await Socket.connect(self._settings.url, headers, self._settings.tls)
            try:
                welcome = frames.decode(await socket.first_text())
                if not isinstance(welcome, frames.Welcome):
                    raise ConnectionError("the server does not speak sharq.v1.json")
            except BaseException:
                socket.abort()
                raise
        return Connection(socket, welcome)

    def _take_over(self, connection: Connection) -> None:
        """Go on with a connection: the leases come along, then what is to be told of them.

        Jobs come when all leases are counted, those in the last frame, too.
        """
        self._connection = connection
        self._connections.add(connection)
        connection.socket.closed.add_done_callback(lambda _: self._on_closed(connection))
        if not self._stopping:
            self._wish(connection, op="credit", credit=0)
            for queue_type, credit in self._credits.items():
                self._subscribe(connection, queue_type, credit)
            self._wish(connection, op="credit", credit=self._settings.capacity)
        connection.ping(next(self._ids))
        connection.socket.listen(lambda text: self._on_text(connection, text))
        self._flush()

    def _wish(self, connection: Connection, **frame: Any) -> None:
        connection.wish(next(self._ids), **frame)

    def _subscribe(self, connection: Connection, queue_type: str, credit: int) -> None:
        prefix = f"{queue_type}/"
        leases = [
            lease for lease in self._held if lease.startswith(prefix) and lease not in self._outbox
        ]
        wish = {"op": "subscribe", "queue_type": queue_type, "credit": credit}
        for part in chunks(leases):
            self._wish(connection, **wish, leases=part)
        if not leases:
            self._wish(connection, **wish)

    def _on_closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection is self._connection:
            self._connection = None
            if not self._end.is_set():
                code = connection.socket.closed.result()
                note(logging.WARNING, "disconnected", url=self._settings.url, code=code)
        # What was on its way may not have come.
        self._outbox.again(connection.ends)
        self._answered.set()
        self._flush()

    # What the server tells

    def _on_text(self, connection: Connection, text: bytes) -> None:
        connection.heard_at = time.monotonic()
        event = frames.decode(text)
        if event is not None:
            self._on_event(connection, event)

    def _on_event(self, connection: Connection, event: frames.Event) -> None:
        if isinstance(event, frames.Jobs):
            self._on_jobs_frame(connection, event)
        elif isinstance(event, frames.Reply):
            self._on_reply(connection, event)
        elif isinstance(event, frames.Pong):
            connection.on_pong(event.id, event.server_time)
        elif isinstance(event, frames.Expired):
            self._lose(event.leases)
        elif isinstance(event, frames.Error):
            self._on_error(connection, event)
        elif isinstance(event, frames.Draining):
            note(logging.INFO, "server draining", after_ms=event.after_ms)
            connection.draining = True
        elif isinstance(event, frames.Paused):
            note(logging.WARNING, "server paused", code=event.code)
        elif isinstance(event, frames.Resumed):
            note(logging.INFO, "server resumed")
            self._flush()

    def _on_jobs_frame(self, connection: Connection, event: frames.Jobs) -> None:
        dispatched = connection.clock.local(event.server_time, time.monotonic())
        extend = self.extend
        jobs = [LeasedJob(event.queue_type, each, dispatched, extend) for each in event.jobs]
        self._held.update([(job.lease, job) for job in jobs])
        if self._stopping:
            for job in jobs:
                self._outbox.add(job.lease, End(finish=False, count_requeue=False))
            self._flush()
        else:
            self._on_jobs(jobs)

    def _on_reply(self, connection: Connection, reply: frames.Reply) -> None:
        frame_id = reply.id or 0
        if self._outbox.has(frame_id):
            connection.ends.discard(frame_id)
            over, failed = self._outbox.answer(frame_id, reply.results or [])
            for each in over:
                self._held.pop(each.lease, None)
            if failed:
                self._loop.call_later(_AGAIN_AFTER, self._flush)
            self._on_answered(over)
        else:
            connection.wishes.pop(frame_id, None)
            leases = connection.extensions.pop(frame_id, None)
            if leases is not None and reply.results and len(leases) == len(reply.results):
                self._note_extensions(leases, reply.results)
        self._answered.set()
        self._leave_if_settled(connection)

    def _leave_if_settled(self, connection: Connection) -> None:
        """Close connections that another has taken over from, when nothing is under way there."""
        current = self._connection
        if current is None or current.wishes or current.extensions:
            return
        for each in tuple(self._connections):
            if each is not current and each.settled:
                each.socket.close()

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

    def _on_error(self, connection: Connection, error: frames.Error) -> None:
        note(logging.WARNING, "server error", code=error.code, message=error.message)
        frame_id = error.id or 0
        if self._outbox.has(frame_id):
            connection.ends.discard(frame_id)
            self._outbox.again([frame_id], done=error.outcome == frames.UNKNOWN)
            self._loop.call_later(_AGAIN_AFTER, self._flush)
        connection.extensions.pop(frame_id, None)
        wish = connection.wishes.get(frame_id)
        if wish is not None:
            self._loop.call_later(_AGAIN_AFTER, self._wish_again, connection, frame_id, wish)

    def _wish_again(self, connection: Connection, frame_id: int, wish: dict[str, Any]) -> None:
        """Ask once more for what was refused, should it still be wanted."""
        del connection.wishes[frame_id]
        if connection is self._connection and (not self._stopping or wish.get("credit") == 0):
            if wish.get("leases"):
                wish = wish | {"leases": [each for each in wish["leases"] if each in self._held]}
            self._wish(connection, **wish)
        self._answered.set()

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
                connection.socket.abort()
                continue
            if time.monotonic() - connection.pinged_at > connection.heartbeat / 2:
                connection.ping(next(self._ids))
            self._extend_running(connection)

    def _extend_running(self, connection: Connection) -> None:
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

    def _send_extension(self, connection: Connection, leases: Sequence[str], by: int) -> None:
        for part in chunks(leases):
            frame_id = next(self._ids)
            connection.extensions[frame_id] = part
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
            for frame_id, frame in self._outbox.frames(self._ids):
                self._connection.ends.add(frame_id)
                self._connection.send(frame)

    def _no_more(self) -> None:
        self._stopping = True
        if self._connection is not None:
            self._wish(self._connection, op="credit", credit=0)
