"""One run of a worker: it runs handlers for jobs, from the first connection to the end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from sharq.worker import forking
from sharq.worker.connection import Settings
from sharq.worker.handler import Handler, is_async, run_out
from sharq.worker.job import (
    Discard,
    Failed,
    LeasedJob,
    Retry,
    Throttled,
    pause_of,
    release_delay,
)
from sharq.worker.log import note
from sharq.worker.outbox import GIVE_BACK, Answered, End
from sharq.worker.pacing import Starts
from sharq.worker.prefetch import Window
from sharq.worker.protocol import Protocol
from sharq.worker.telling import cause_of, what_failed
from sharq.worker.threads import NoThread, Threads

_FINISH: Final = End(finish=True)
_LAST_WORDS: Final = 5.0
_THREADS_AGAIN: Final = 1.0
_TO_CANCEL: Final = 1.0


class _LeftBehind(Exception):
    """A thread continues and cannot be stopped: its lease runs out, if it does not end before."""


class Counts:
    """The results of a worker's jobs. Two threads write to it."""

    def __init__(self) -> None:
        self._counts = {"done": 0, "retried": 0, "discarded": 0, "lost": 0}
        self._discarded: set[str] = set()
        self._lock = threading.Lock()

    def read(self) -> dict[str, int]:
        """The counts: done, retried, discarded, and lost with their leases."""
        with self._lock:
            return dict(self._counts)

    def discard(self, lease: str) -> None:
        """A finish of this lease counts as discarded."""
        with self._lock:
            self._discarded.add(lease)

    def lose(self, lease: str) -> None:
        """A lease has ended, and its job is not done here."""
        with self._lock:
            self._counts["lost"] += 1
            self._discarded.discard(lease)

    def answered(self, answers: Iterable[Answered]) -> None:
        """Count the ends that the server has carried out."""
        with self._lock:
            for lease, end, lost, dead in answers:
                if lost:
                    self._counts["lost"] += 1
                    note(logging.WARNING, "lease was lost", lease=lease)
                elif not end.finish and end.retry and not dead:
                    self._counts["retried"] += end.count_requeue
                elif not end.finish or lease in self._discarded:
                    self._counts["discarded"] += 1
                else:
                    self._counts["done"] += 1
                self._discarded.discard(lease)


class Run:
    """Runs `handler` for jobs, in the running event loop, until it is stopped.

    It belongs to that loop, except `stop_jobs` and the methods that the protocol's thread calls.
    """

    def __init__(self, settings: Settings, handler: Handler, counts: Counts) -> None:
        self._settings = settings
        self._handler = handler
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._protocol = Protocol(settings, self)
        self._threads = None if is_async(handler) else Threads(settings.concurrency)
        self._starts = Starts(self._begin, self._decline)
        self._window = Window(settings.prefetch)
        self._allowed = settings.concurrency
        self._places = settings.concurrency
        self._running: dict[asyncio.Task[None], LeasedJob | None] = {}
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended: list[tuple[str, End | None]] = []
        self._stopped = False
        self._winding_up = False
        self._generation = forking.generation()

    def start(self) -> None:
        """Begin to connect."""
        self._protocol.start()

    def stop_jobs(self) -> None:
        """Take and start no more jobs. From any thread, or a signal's handler."""
        self._stopped = True
        self._protocol.stop_jobs()

    async def wind_up(self, grace: float, hurry: asyncio.Event) -> None:
        """Give back jobs that were not started, wait for running ones, and for all answers.

        It stops waiting when `hurry` is set.
        """
        self.stop_jobs()
        self._winding_up = True
        if self._timer is not None:
            self._timer.cancel()
        for job in self._starts.clear():
            self._decline(job)
        self._report()
        if self._running:
            note(logging.INFO, "stopping", running=len(self._running), grace=grace)
        await self._until_idle(grace, hurry)
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=_TO_CANCEL)
        self._report()
        if self._running:
            note(logging.ERROR, "handlers ignore their cancellation", count=len(self._running))
        for left in self._running.values():
            if left is not None:
                note(logging.WARNING, "left behind in its handler, with its lease", **_names(left))
        await asyncio.to_thread(self._protocol.finish, 0.0 if hurry.is_set() else _LAST_WORDS)
        if self._threads is not None:
            self._threads.close()

    async def _until_idle(self, grace: float, hurry: asyncio.Event) -> None:
        hurried = self._loop.create_task(hurry.wait())
        deadline = time.monotonic() + grace
        while self._running and not hurry.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            over: set[asyncio.Task[Any]] = {*self._running, hurried}
            await asyncio.wait(over, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()

    # From the protocol's thread

    def on_jobs(self, jobs: list[LeasedJob]) -> None:
        self._loop.call_soon_threadsafe(self._take, jobs)

    def on_overdue(self) -> None:
        self._loop.call_soon_threadsafe(self._on_overdue)

    def on_answered(self, answered: Iterable[Answered]) -> None:
        self._counts.answered(answered)

    def on_lost(self, job: LeasedJob) -> None:
        self._counts.lose(job.lease)
        note(logging.WARNING, "lease lost", **_names(job))

    # Jobs

    def _take(self, jobs: list[LeasedJob]) -> None:
        if self._stopped:
            for job in jobs:
                self._decline(job)
            return
        self._starts.add(jobs)
        self._start_some()

    def _decline(self, job: LeasedJob) -> None:
        """Give back a job that has not started, for another worker or a later time."""
        if self._protocol.claim(job):
            self._end(job, GIVE_BACK)

    def _on_overdue(self) -> None:
        self._window.close()
        self._allow(anew=True)

    def _allow(self, *, anew: bool = False) -> None:
        """Ask for as many jobs as there are places, and a few more if they can start soon."""
        allowed = self._places + self._window.size
        if anew or allowed != self._allowed:
            self._allowed = allowed
            self._protocol.allow(allowed)

    def _start_some(self) -> None:
        """Start a task if there is a job for it; the next one, if needed, after its turn."""
        self._turn += 1
        if self._stopped or len(self._running) >= self._places:
            return
        now = time.monotonic()
        if self._starts.may_start(now):
            task = self._loop.create_task(self._work_through())
            self._running[task] = None
            task.add_done_callback(self._on_done)
            self._loop.call_soon(self._start_some)
        elif (turn := self._starts.turn) is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(turn - now, self._start_some)

    def _begin(self, job: LeasedJob, now: float) -> bool:
        """Claim a job for its handler; False if it is gone or its lease is over."""
        if not self._protocol.claim(job):
            return False
        if now < job.until:
            job.started_at = now
            return True
        note(logging.WARNING, "lease over before the start", **_names(job))
        job.lease_lost = True
        self._protocol.report([(job.lease, None)])
        self._counts.lose(job.lease)
        return False

    async def _work_through(self) -> None:
        """Run the handler for the next job, and for more of them as long as none can notice.

        A task for each job would cost more than a handler that waits for nothing. If one has
        waited, has left something in its context or is cancelled, its task ends with it.
        """
        clean = contextvars.copy_context()
        task = asyncio.current_task()
        assert task is not None
        turn = self._turn
        while not self._stopped and (job := self._starts.next(time.monotonic())) is not None:
            self._running[task] = job
            await self._work(job)
            if self._turn != turn or task.cancelling() or not _is_still(clean):
                return

    def _on_done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._start_some()

    async def _work(self, job: LeasedJob) -> None:
        """Run the handler for a job, and report how its lease has to end."""
        try:
            if self._threads is None:
                await self._handle(job)
            else:
                await self._handle_in_thread(self._threads, job)
        except Discard as reason:
            self._discard(job, reason)
        except Retry as wish:
            self._retry(job, wish)
        except Throttled as wish:
            self._throttle(job, wish)
        except NoThread as error:
            self._on_no_thread(job, error)
        except _LeftBehind:
            note(logging.WARNING, "left behind in its thread, with its lease", **_names(job))
        except asyncio.CancelledError as error:
            if self._winding_up:
                note(logging.WARNING, "cut off by the stop", **_names(job), **_outlook(job))
                self._end(job, End(finish=False))
            else:
                self._fail(job, error)
        except BaseException as error:
            self._fail(job, error)
        else:
            self._end(job, _FINISH)

    def _discard(self, job: LeasedJob, reason: Discard) -> None:
        if reason.dead:
            note(logging.WARNING, "discarded", **_names(job), reason=reason, dead=True)
            self._end(job, End(finish=False, error=what_failed(cause_of(reason)), retry=False))
            return
        note(logging.WARNING, "discarded", **_names(job), reason=reason)
        self._counts.discard(job.lease)
        self._end(job, _FINISH)

    def _retry(self, job: LeasedJob, wish: Retry) -> None:
        try:
            delay = release_delay(wish)
        except ValueError as error:
            self._fail(job, error)
            return
        if not job.requeues_remaining:
            note(logging.WARNING, "retried, but no requeue is left", **_names(job), **_outlook(job))
        self._end(job, End(finish=False, delay=delay, error=what_failed(cause_of(wish))))

    def _throttle(self, job: LeasedJob, wish: Throttled) -> None:
        try:
            pause, scope = pause_of(wish)
        except ValueError as error:
            self._fail(job, error)
            return
        note(logging.INFO, "throttled", **_names(job), pauses=scope, seconds=round(wish.seconds, 3))
        self._end(job, End(finish=False, count_requeue=False, pause=pause, scope=scope))

    def _fail(self, job: LeasedJob, error: BaseException) -> None:
        # A trace helps only where it leads to the handler's own code.
        told = isinstance(error, Failed)
        fault, more = (None, {"error": error}) if told else (error, {})
        outlook = _outlook(job)
        note(logging.ERROR, "failed", fault, **_names(job), attempt=job.attempt, **more, **outlook)
        self._end(job, End(finish=False, delay=None, error=what_failed(error)))

    async def _handle(self, job: LeasedJob) -> None:
        """Run an async handler; a process that it forks ends with the handler."""
        try:
            await self._await(job)
        except BaseException as error:
            if forking.generation() != self._generation:
                forking.leave(error)
            raise
        if forking.generation() != self._generation:
            forking.leave(None)

    async def _await(self, job: LeasedJob) -> None:
        if self._settings.timeout is None:
            result = await self._handler(job)
            if result is not None:
                await run_out(result)
        else:
            async with asyncio.timeout(self._settings.timeout):
                await run_out(await self._handler(job))

    async def _handle_in_thread(self, threads: Threads, job: LeasedJob) -> None:
        """Run a plain handler. Its time-out only ends the extension of its lease."""
        timeout = self._settings.timeout
        work = threads.run(_call, self._handler, job)
        watch = None
        if timeout is not None:
            watch = self._loop.call_later(timeout, _note_timeout, job)
        try:
            result = await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.done():
                raise
            raise _LeftBehind from None
        finally:
            if watch is not None:
                watch.cancel()
        if result is not None:
            left = None if timeout is None else self._loop.time() + max(0.0, _left(job, timeout))
            async with asyncio.timeout_at(left):
                await run_out(result)

    def _on_no_thread(self, job: LeasedJob, error: NoThread) -> None:
        """No thread for a handler: fewer places for a moment, and the job goes back."""
        note(logging.ERROR, "no thread for a handler", **_names(job), reason=error)
        self._end(job, GIVE_BACK)
        if self._places == self._settings.concurrency:
            self._loop.call_later(_THREADS_AGAIN, self._restore_places)
        self._places = min(self._places, len(self._running) - 1)
        self._allow()

    def _restore_places(self) -> None:
        self._places = self._settings.concurrency
        self._allow()
        self._start_some()

    def _end(self, job: LeasedJob, end: End) -> None:
        if job.cost is not None:
            end = end._replace(cost=job.cost)
        # Those of one loop turn leave together: passing them to another thread is expensive.
        if not self._ended:
            self._loop.call_soon(self._report)
        self._ended.append((job.lease, None if job.lease_lost else end))
        if self._settings.prefetch and job.started_at is not None:
            self._window.ended(time.monotonic() - job.started_at)

    def _report(self) -> None:
        if self._ended:
            ended, self._ended = self._ended, []
            self._protocol.report(ended)
            self._allow()


def _call(handler: Handler, job: LeasedJob) -> Any:
    """Run a plain handler; a StopIteration could not leave its thread.

    A process that it forks ends with the handler.
    """
    generation = forking.generation()
    try:
        result = handler(job)
    except BaseException as error:
        if forking.generation() != generation:
            forking.leave(error)
        if isinstance(error, StopIteration):
            raise RuntimeError("the handler raised StopIteration") from error
        raise
    if forking.generation() != generation:
        forking.leave(None)
    return result


def _outlook(job: LeasedJob) -> dict[str, Any]:
    """What will happen to a job that goes back, for the log."""
    return {} if job.requeues_remaining else {"requeues_remaining": 0, "dead": True}


def _left(job: LeasedJob, timeout: float) -> float:
    assert job.started_at is not None
    return job.started_at + timeout - time.monotonic()


def _note_timeout(job: LeasedJob) -> None:
    note(logging.WARNING, "time-out in a thread: its lease is not extended", **_names(job))


def _is_still(context: contextvars.Context) -> bool:
    """Whether the variables of the running code are those of `context`."""
    now = contextvars.copy_context()
    return len(now) == len(context) and all(
        variable in context and context[variable] is value for variable, value in now.items()
    )


def _names(job: LeasedJob) -> dict[str, str]:
    return {"type": job.queue_type, "queue": job.queue_id, "job": job.job_id}
