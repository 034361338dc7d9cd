"""`Worker`: runs a handler for every job of some types, over the push channel of a server."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from sharq.errors import BadArgumentException
from sharq.failures import check_worker
from sharq.identifiers import check_identifier, invalid, is_integer
from sharq.worker.address import Token, check_token, check_url
from sharq.worker.connection import Settings
from sharq.worker.handler import Handler, check_handler
from sharq.worker.log import note, show_unless_configured
from sharq.worker.run import Counts, Run
from sharq.worker.signals import Signals

_MOST_JOBS: Final = 10_000
_SAME_WISH: Final = 0.5


_no_runs: list[str] = []
"""Why no worker may run now, if one may not."""


@contextmanager
def no_runs(reason: str) -> Iterator[None]:
    """Let `Worker.run` raise `BadArgumentException` with the reason meanwhile."""
    _no_runs.append(reason)
    try:
        yield
    finally:
        _no_runs.pop()


class Worker:
    """Takes jobs of `types` from the server at `url` and runs the handler for each.

    `types` is a queue type, several of them, or a mapping of types to weights: a type has at most a
    share of the worker's capacity, its weight relative to the highest one. Up to `concurrency`
    handlers run at once. No job is leased that cannot start at once, unless `prefetch` says how
    many more jobs may wait in the worker; it takes as many as can be expected to start within a
    second. Handlers for the jobs of one queue never start closer together than its interval, but
    for as many at once as its burst allows.

    A handler may take `timeout` seconds (None: no limit); until then its lease is extended. On
    SIGTERM, SIGINT or SIGHUP the worker takes no more jobs and waits `grace` seconds for running
    ones. `token` is sent as a bearer token; a function is called for it at each connection.
    `tls_ca` is a file with the certificates to check a ``wss://`` server (None: those of the
    system). `name`, 1 to 100 printable characters, is told with each failure (None: host and
    process).

    A handler that runs to its end finishes its job. If it raises, the job has failed: the server
    keeps the error, and delivers it again after a delay that grows with each attempt, as long as
    its requeue limit allows; then it is a dead letter. `Retry` chooses the delay, `Throttled`
    pauses its queue, and `Discard` finishes the job. An `async` handler runs in the
    loop of `serve`, a plain one in a thread, which cannot be stopped: there a time-out only ends
    the extension of its lease. If a plain one returns an awaitable, the worker waits for it.

    Raises `BadArgumentException` for invalid arguments.
    """

    def __init__(
        self,
        url: str,
        types: str | Iterable[str] | Mapping[str, int],
        *,
        concurrency: int = 16,
        prefetch: int = 0,
        timeout: float | None = None,
        grace: float = 30.0,
        token: Token = None,
        tls_ca: str | None = None,
        name: str | None = None,
    ) -> None:
        url, token, name = check_url(url), check_token(token), _name(name)
        if not is_integer(concurrency, 1, _MOST_JOBS):
            raise BadArgumentException(f"`concurrency` has to be 1 to {_MOST_JOBS}.")
        if not is_integer(prefetch, 0, _MOST_JOBS - concurrency):
            raise BadArgumentException(
                f"`prefetch` has to be 0 or more; with `concurrency`, {_MOST_JOBS} at most."
            )
        if timeout is not None and not (_is_number(timeout) and timeout > 0):
            raise BadArgumentException("`timeout` has to be more than 0 seconds.")
        if not (_is_number(grace) and grace >= 0):
            raise BadArgumentException("`grace` has to be 0 seconds or more.")
        self._settings = Settings(
            url, _weights(types), concurrency, prefetch, timeout, token, _tls(tls_ca), name
        )
        self._grace = grace
        self._handler: Handler | None = None
        self._counts = Counts()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._working: Run | None = None
        self._served = False
        self._stopped = False

    def handler(self, function: Handler) -> Handler:
        """Make `function` the handler; use it as a decorator.

        Raises `BadArgumentException` for a function that would not run, such as a generator
        function.
        """
        check_handler(function)
        self._handler = function
        return function

    def run(self) -> int:
        """Work until SIGTERM, SIGINT or SIGHUP.

        The log goes to the standard error, if nothing else was configured for it.

        The exit code is 1 if a second signal, a moment later, ended it, or if handlers ignored
        their cancellation.
        """
        if _no_runs:
            raise BadArgumentException(_no_runs[-1])
        show_unless_configured()
        # Not asyncio.run: that waits for tasks that catch their cancellation and go on.
        loop = asyncio.new_event_loop()
        try:
            asyncio.set_event_loop(loop)
            code = loop.run_until_complete(self._run())
        finally:
            stubborn = _end_tasks(loop)
            asyncio.set_event_loop(None)
            loop.close()
        return 1 if stubborn else code

    async def serve(self) -> None:
        """Work until `stop`, in the running event loop.

        Raises `BadArgumentException` without a handler, RuntimeError if it is already running.
        """
        await self._serve(asyncio.Event())

    def stop(self) -> None:
        """Take no more jobs, let running ones end, and return from `serve`.

        It may be called from any thread; if called before `serve`, that returns at once.
        """
        with self._lock:
            if self._loop is not None:
                self._stop_jobs()
                self._loop.call_soon_threadsafe(self._end.set)
            elif not self._served:
                self._stopped = True

    @property
    def counts(self) -> Mapping[str, int]:
        """How many jobs were done, retried, discarded or dead, and lost with their leases.

        Dead and discarded ones are counted as `discarded`.
        """
        return self._counts.read()

    def _stop_jobs(self) -> None:
        """Start no more jobs, whatever the loop is doing: a signal's handler may call this."""
        if self._working is not None:
            self._working.stop_jobs()

    async def _serve(self, hurry: asyncio.Event) -> None:
        if self._handler is None:
            raise BadArgumentException("The worker has no handler.")
        began = time.monotonic()
        with self._lock:
            if self._loop is not None:
                raise RuntimeError("The worker is already running.")
            run = Run(self._settings, self._handler, self._counts)
            self._end = asyncio.Event()
            run.start()
            self._working = run
            self._loop = asyncio.get_running_loop()
        try:
            if not self._stopped:
                await self._end.wait()
        finally:
            await run.wind_up(self._grace, hurry)
            with self._lock:
                self._loop = self._working = None
                self._served, self._stopped = True, False
            seconds = round(time.monotonic() - began, 1)
            note(logging.INFO, "stopped", **self.counts, seconds=seconds)

    async def _run(self) -> int:
        ending = _Ending(self.stop, self._stop_jobs)
        with Signals(ending.on_signal):
            await self._serve(ending.hurry)
        return 1 if ending.hurry.is_set() else 0


class _Ending:
    """Ends a worker at a signal: in good order, and at a second one at once.

    A signal within a moment of the first is the same request: a shell and a supervisor, or a
    process group, may both have passed it on.
    """

    def __init__(self, stop: Callable[[], None], stop_jobs: Callable[[], None]) -> None:
        self.hurry = asyncio.Event()
        self._stop = stop
        self._stop_jobs = stop_jobs
        self._loop = asyncio.get_running_loop()
        self._first: float | None = None
        self._unheeded = False

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """A signal has come; if the loop is blocked since the last, end by the signal itself."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
            self._stop_jobs()
            self._unheeded = True
            self._loop.call_soon_threadsafe(self._heed, False)
        elif now - self._first > _SAME_WISH:
            if self._unheeded:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self._unheeded = True
            self._loop.call_soon_threadsafe(self._heed, True)

    def _heed(self, at_once: bool) -> None:
        self._unheeded = False
        if at_once:
            self.hurry.set()
        self._stop()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> bool:
    """Cancel what is left in a loop and wait a moment for it; returns whether something goes on."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=1))
    loop.run_until_complete(loop.shutdown_asyncgens())
    return any(not task.done() for task in tasks)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(name: str | None) -> str | None:
    try:
        return check_worker(name)
    except BadArgumentException as error:
        raise invalid("name", error.expected) from None


def _tls(authority: str | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise BadArgumentException(f"`tls_ca` {authority} cannot be used: {error}.") from None


def _weights(types: str | Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    if isinstance(types, str):
        weights = {types: 1}
    elif isinstance(types, Mapping):
        weights = dict(types)
    else:
        weights = dict.fromkeys(types, 1)
    for queue_type, weight in weights.items():
        check_identifier("types", queue_type)
        if not is_integer(weight, 1, 1000):
            raise BadArgumentException(f"The weight of {queue_type} has to be 1 to 1000.")
    if not weights or len(weights) > 1000:
        raise BadArgumentException("`types` has to have 1 to 1000 queue types.")
    return weights
