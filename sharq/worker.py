"""`Worker`: runs a handler for every job of some types, over the push channel of a server."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import signal
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

from sharq.errors import BadArgumentException
from sharq.identifiers import check_identifier, is_integer
from sharq.worker_job import Discard, LeasedJob, Retry, retry_delay
from sharq.worker_log import note
from sharq.worker_outbox import Answered, End
from sharq.worker_protocol import Protocol, Settings
from sharq.worker_threads import Threads

Handler = Callable[[LeasedJob], Any]

_FINISH: Final = End(finish=True)
_GIVE_BACK: Final = End(finish=False, count_requeue=False)
_MOST_JOBS: Final = 10_000


class Worker:
    """Takes jobs of `types` from the server at `url` and runs the handler for each.

    `types` is a queue type, several of them, or a mapping of types to weights: a type has as much
    of the worker's capacity as its weight is of the heaviest one's, at most. Up to `concurrency`
    handlers run at once, and up to `prefetch` more jobs wait here for their turn. A handler may
    take `timeout` seconds (None: as long as it wants); until then its lease is extended. On
    SIGTERM the worker takes no more jobs and waits `grace` seconds for those that run. `token` is
    sent as a bearer token; a function is asked for it at each connection. `tls_ca` is a file with
    the certificates that a server at ``wss://`` is checked by (None: the system's).

    A handler that returns has finished its job. One that raises gives it back, to be delivered
    again after a delay that grows with each attempt; `Retry` chooses the delay, and `Discard`
    finishes the job. An `async` handler runs in the loop of `serve`, a plain one in a thread, which
    cannot be stopped: there a time-out only ends the extension of its lease.

    Raises `BadArgumentException` for arguments that cannot be used.
    """

    def __init__(
        self,
        url: str,
        types: str | Iterable[str] | Mapping[str, int],
        *,
        concurrency: int = 16,
        prefetch: int | None = None,
        timeout: float | None = None,
        grace: float = 30.0,
        token: str | Callable[[], str] | None = None,
        tls_ca: str | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("ws", "wss") or not urlsplit(url).hostname:
            raise BadArgumentException("`url` has to be one like ws://127.0.0.1:8080/ws/.")
        if not is_integer(concurrency, 1, _MOST_JOBS):
            raise BadArgumentException(f"`concurrency` has to be 1 to {_MOST_JOBS}.")
        if prefetch is None:
            prefetch = min(max(1, concurrency // 4), _MOST_JOBS - concurrency)
        if not is_integer(prefetch, 0, _MOST_JOBS - concurrency):
            raise BadArgumentException(
                f"`prefetch` has to be 0 or more, and {_MOST_JOBS} with `concurrency` at most."
            )
        if timeout is not None and not timeout > 0:
            raise BadArgumentException("`timeout` has to be more than 0 seconds.")
        self._settings = Settings(
            url, _weights(types), concurrency, prefetch, timeout, token, _tls(tls_ca)
        )
        self._grace = grace
        self._handler: Handler | None = None
        self._waiting: deque[LeasedJob] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._turn = 0
        self._ended: list[tuple[str, End | None]] = []
        self._stop: asyncio.Event | None = None
        self._stopped = True
        self._at_once = False
        self._unheeded = False
        self._counts = {"done": 0, "retried": 0, "discarded": 0, "lost": 0}
        self._discarded: set[str] = set()
        self._lock = threading.Lock()

    def handler(self, function: Handler) -> Handler:
        """Make `function` the handler; to be used as a decorator."""
        self._handler = function
        return function

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; the exit code is 1 where a second one ended it at once."""
        asyncio.run(self._run())
        return 1 if self._at_once else 0

    async def serve(self) -> None:
        """Work until `stop`, in the running event loop."""
        if self._handler is None:
            raise BadArgumentException("The worker has no handler.")
        began = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._threads: Threads | None = None
        if not _is_async(self._handler):
            self._threads = Threads(self._settings.concurrency)
        self._protocol = Protocol(self._settings, self._hand_over, self._count, self._on_lost)
        self._protocol.start()
        self._stopped = False
        try:
            await self._stop.wait()
        finally:
            await self._wind_up()
            if self._threads is not None:
                self._threads.close()
            seconds = round(time.monotonic() - began, 1)
            note(logging.INFO, "stopped", **self._counts, seconds=seconds)

    def stop(self) -> None:
        """Take no more jobs, let those that run come to their end, and return from `serve`."""
        self._stopped = True
        if self._stop is not None:
            self._stop.set()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many jobs were done, retried, discarded, and lost with their leases."""
        return dict(self._counts)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        numbers: tuple[signal.Signals, ...] = ()
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGTERM, signal.SIGINT)
        # Not the loop's own way: that waits for a handler that blocks the loop.
        former = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            await self.serve()
        except asyncio.CancelledError:
            if not self._at_once:
                raise
        finally:
            for number, action in former.items():
                signal.signal(number, action or signal.SIG_DFL)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Stop; the second time at once, and in the system's way where the loop is blocked."""
        if self._unheeded:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._unheeded = True
        self._at_once = self._stopped
        if not self._stopped:
            self._stopped = True
            self._protocol.stop_jobs()
        self._loop.call_soon_threadsafe(self._heed)

    def _heed(self) -> None:
        self._unheeded = False
        if self._at_once and self._serving is not None:
            self._serving.cancel()
        else:
            self.stop()

    # Jobs

    def _hand_over(self, jobs: list[LeasedJob]) -> None:
        self._loop.call_soon_threadsafe(self._take, jobs)

    def _take(self, jobs: list[LeasedJob]) -> None:
        if self._stopped:
            self._protocol.report([(job.lease, _GIVE_BACK) for job in jobs])
            return
        self._waiting.extend(jobs)
        self._start_some()

    def _start_some(self) -> None:
        """Start a task where there is a job for it; the next one, if need be, after its turn."""
        self._turn += 1
        if self._waiting and not self._stopped and len(self._running) < self._settings.concurrency:
            task = self._loop.create_task(self._work_through())
            self._running.add(task)
            task.add_done_callback(self._on_done)
            self._loop.call_soon(self._start_some)

    def _next_job(self) -> LeasedJob | None:
        """The next waiting job whose lease is not over, started from now on."""
        while self._waiting:
            job = self._waiting.popleft()
            if job.lease_lost:
                continue
            now = time.monotonic()
            if now >= job.until:
                note(logging.WARNING, "lease over before the start", **_names(job))
                self._lose(job)
                continue
            job.started_at = now
            return job
        return None

    async def _work_through(self) -> None:
        """Run the handler for the next job, and for those after it as long as none would notice.

        A task for each job would cost more than a handler that has nothing to wait for. Where one
        has waited, has left something in its context or is to be cancelled, its task ends with it.
        """
        clean = contextvars.copy_context()
        task = asyncio.current_task()
        assert task is not None
        turn = self._turn
        while not self._stopped and (job := self._next_job()) is not None:
            await self._work(job)
            if self._turn != turn or task.cancelling() or not _is_still(clean):
                return

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start_some()

    async def _work(self, job: LeasedJob) -> None:
        """Run the handler for a job, and report how its lease is to end."""
        try:
            await self._handle(job)
        except Discard as reason:
            note(logging.WARNING, "discarded", **_names(job), reason=reason)
            self._discarded.add(job.lease)
            self._end(job, _FINISH)
        except Retry as wish:
            self._end(job, End(finish=False, delay=max(0, round(wish.delay * 1000))))
        except asyncio.CancelledError:
            self._end(job, End(finish=False))
            if not self._winding_up:
                note(logging.WARNING, "cancelled", **_names(job))
        except BaseException as error:
            delay = retry_delay(job.attempt)
            more = {"attempt": job.attempt, "again_in": round(delay, 1)}
            note(logging.ERROR, "failed", error, **_names(job), **more)
            self._end(job, End(finish=False, delay=round(delay * 1000)))
        else:
            self._end(job, _FINISH)

    async def _handle(self, job: LeasedJob) -> None:
        assert self._handler is not None
        work: Any
        if self._threads is not None:
            work = asyncio.shield(self._threads.run(_call, self._handler, job))
        else:
            work = self._handler(job)
        if self._settings.timeout is None:
            await work
        else:
            async with asyncio.timeout(self._settings.timeout):
                await work

    _winding_up = False

    def _end(self, job: LeasedJob, end: End) -> None:
        # Those of one loop turn leave together: another thread is a long way.
        if not self._ended:
            self._loop.call_soon(self._report)
        self._ended.append((job.lease, None if job.lease_lost else end))

    def _report(self) -> None:
        ended, self._ended = self._ended, []
        self._protocol.report(ended)

    def _lose(self, job: LeasedJob) -> None:
        job.lease_lost = True
        self._protocol.report([(job.lease, None)])
        with self._lock:
            self._counts["lost"] += 1

    # In the protocol's thread

    def _on_lost(self, job: LeasedJob) -> None:
        with self._lock:
            self._counts["lost"] += 1
        note(logging.WARNING, "lease lost", **_names(job))

    def _count(self, answers: Iterable[Answered]) -> None:
        with self._lock:
            for lease, end, lost in answers:
                if lost:
                    self._counts["lost"] += 1
                    note(logging.WARNING, "lease was lost", lease=lease)
                elif not end.finish:
                    self._counts["retried"] += end.count_requeue
                elif lease in self._discarded:
                    self._counts["discarded"] += 1
                else:
                    self._counts["done"] += 1
                self._discarded.discard(lease)

    # The end

    async def _wind_up(self) -> None:
        """Give back what was not started, wait for what runs, and have it all answered."""
        self._stopped = True
        self._winding_up = True
        self._protocol.stop_jobs()
        self._protocol.report([(job.lease, _GIVE_BACK) for job in self._waiting])
        self._waiting.clear()
        if self._running and not self._at_once:
            await asyncio.wait(tuple(self._running), timeout=self._grace)
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=1)
        self._report()
        patience = 0.0 if self._at_once else 5.0
        await asyncio.to_thread(self._protocol.finish, patience)


def _tls(authority: str | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise BadArgumentException(f"`tls_ca` {authority} cannot be used: {error}.") from None


def _call(handler: Handler, job: LeasedJob) -> None:
    """Run a plain handler; a StopIteration could not leave its thread."""
    try:
        handler(job)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


def _is_still(context: contextvars.Context) -> bool:
    """Whether the variables of the running code are those of `context`."""
    now = contextvars.copy_context()
    return len(now) == len(context) and all(
        variable in context and context[variable] is value for variable, value in now.items()
    )


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004
    )


def _names(job: LeasedJob) -> dict[str, str]:
    return {"type": job.queue_type, "queue": job.queue_id, "job": job.job_id}


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
        raise BadArgumentException("`types` has to be one queue type to 1000.")
    return weights
