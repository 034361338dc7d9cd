"""A worker's side of push: a connection that is kept up, in a thread of its own.

So no handler delays a heartbeat or an extension. Jobs go from this thread to the handlers a frame
at a time, and their results come back a loop turn at a time. `dialogue` has the frames on the
connection.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from sharq.store.backoff import Backoff
from sharq.worker.connection import CONNECT_TIMEOUT, Connection, Settings
from sharq.worker.dialogue import Dialogue, Employer
from sharq.worker.explaining import reason_of
from sharq.worker.job import LeasedJob
from sharq.worker.log import Causes, note
from sharq.worker.outbox import End

_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 30.0
_TICK: Final = 0.1
_LAST_WORDS: Final = 5.0
_GOODBYE: Final = 1.0


class Protocol:
    """The thread, and what others pass to it, for an `Employer`."""

    def __init__(self, settings: Settings, employer: Employer) -> None:
        self._settings = settings
        self._employer = employer
        self._ids = itertools.count(1)
        self._causes = Causes()
        self._reports: deque[tuple[str, End | None]] = deque()
        self._extensions: deque[tuple[LeasedJob, float]] = deque()
        self._allowed: int | None = None
        self._woken = False
        self._thread: threading.Thread | None = None
        self._started = threading.Event()

    # From other threads

    def start(self) -> None:
        """Begin to connect, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="sharq-worker", daemon=True)
        self._thread.start()
        self._started.wait()

    def claim(self, job: LeasedJob) -> bool:
        """Claim a job, to start it or to give it back; False if it is no longer here."""
        return self._dialogue.leases.claim(job)

    def report(self, ends: Iterable[tuple[str, End | None]]) -> None:
        """Jobs have ended; None if nothing has to be sent about the lease."""
        self._reports.extend(ends)
        self._wake()

    def allow(self, jobs: int) -> None:
        """Set the number of jobs to hold at once."""
        self._allowed = jobs
        self._wake()

    def extend(self, job: LeasedJob, seconds: float) -> None:
        """Have a lease extended."""
        self._extensions.append((job, seconds))
        self._wake()

    def stop_jobs(self) -> None:
        """Take no more jobs."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._dialogue.stop)

    def finish(self, timeout: float = _LAST_WORDS) -> None:
        """Wait until every end is answered, at most `timeout` seconds, and disconnect."""
        assert self._thread is not None
        self._timeout = timeout
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(timeout + CONNECT_TIMEOUT)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            # The loop has ended if the worker has.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take_reports)

    # The loop

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_on_loop_error)
        self._end = asyncio.Event()
        self._changed = asyncio.Event()
        self._timeout = _LAST_WORDS
        self._connections: set[Connection] = set()
        self._dialogue = Dialogue(
            self._settings, self._employer, self.extend, self._ids, self._causes, self._on_change
        )
        self._started.set()
        tasks = [
            self._loop.create_task(self._keep_connected()),
            self._loop.create_task(self._tick()),
        ]
        await self._end.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                while self._reports or self._dialogue.owes:
                    self._changed.clear()
                    await self._changed.wait()
        self._dialogue.end()
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

    async def _keep_connected(self) -> None:
        """Keep a connection; when the server stops, open the next one before it is gone."""
        backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        url = self._settings.url
        while True:
            await asyncio.sleep(backoff.next())
            try:
                connection = await Connection.open(self._settings)
            except Exception as error:
                reason = reason_of(error, url, self._settings.token)
                self._causes.note(logging.WARNING, "no connection", url=url, error=reason)
                continue
            self._causes.over()
            note(logging.INFO, "connected", url=url)
            self._take_over(connection)
            began = time.monotonic()
            over: set[asyncio.Future[Any]] = {connection.socket.closed, connection.draining}
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            if time.monotonic() - began > 1 or connection.draining.done():
                backoff.reset()

    def _take_over(self, connection: Connection) -> None:
        self._connections.add(connection)
        connection.socket.closed.add_done_callback(lambda _: self._on_closed(connection))
        self._dialogue.take_over(connection)
        connection.socket.listen(lambda text: self._dialogue.on_text(connection, text))

    def _on_closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection is self._dialogue.connection and not self._end.is_set():
            code = connection.socket.closed.result()
            how = {"reason": "the connection was cut"} if code is None else {"code": code}
            note(logging.WARNING, "disconnected", url=self._settings.url, **how)
        self._dialogue.on_closed(connection)

    def _on_change(self) -> None:
        """Something was answered, or no longer needs an answer."""
        self._changed.set()
        self._leave_if_settled()

    def _leave_if_settled(self) -> None:
        """Close replaced connections when nothing is under way on them."""
        current = self._dialogue.connection
        if len(self._connections) < 2 or current is None or current.wishes or current.extensions:
            return
        for each in tuple(self._connections):
            if each is not current and each.settled:
                each.socket.close()

    async def _tick(self) -> None:
        """Check leases, ping, and leave a silent connection."""
        while True:
            await asyncio.sleep(_TICK)
            self._dialogue.tick()
            connection = self._dialogue.connection
            if connection is None:
                continue
            if connection.silent:
                note(logging.WARNING, "server silent", url=self._settings.url)
                connection.socket.abort()
            elif time.monotonic() - connection.pinged_at > connection.heartbeat / 2:
                connection.ping(next(self._ids))

    def _take_reports(self) -> None:
        self._woken = False
        dialogue = self._dialogue
        while self._extensions:
            dialogue.extend(*self._extensions.popleft())
        if self._reports:
            reports, self._reports = self._reports, deque()
            dialogue.on_reports(reports)
        if self._allowed is not None:
            allowed, self._allowed = self._allowed, None
            dialogue.allow(allowed)
        self._on_change()


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what went wrong in the loop of the protocol.

    If a connection fails at the moment at which it is given up, asyncio says that nobody wanted to
    know of it.
    """
    given_up = "future" in context and isinstance(context.get("exception"), OSError)
    if not given_up:
        loop.default_exception_handler(context)
