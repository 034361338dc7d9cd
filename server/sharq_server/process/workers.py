"""Workers: several server processes on the same sockets, and their parent."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

_log = logging.getLogger(__name__)

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 10.0
_STABLE: Final = 10.0
"""Seconds after which a worker's end is no failed start."""

_AT_ONCE: Final = 2.0
"""Seconds for workers to end at once."""

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SIGNALS: Final = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)


@dataclass(slots=True)
class _Worker:
    """A place for a worker: its process, since when, and when the next one is due."""

    pid: int = 0
    since: float = 0.0
    delay: float = _FIRST_DELAY
    due: float = 0.0


class Supervisor:
    """Keeps `count` workers running.

    `work` runs in each worker, with its index, a descriptor that has a byte for each when all of
    them have to stop, and is at end of file when this process is gone, and a function to call when
    it serves, and when it has reloaded; it returns the exit code. SIGTERM and SIGINT stop the
    workers (a second one at once), SIGHUP is passed on; `on_stop` and `on_hangup` are called here
    before, and `on_ready` when all workers serve, and again when all have reloaded. `on_end` gets
    the index of a worker that has ended, however it did. Workers that do not end within `grace`
    seconds are killed.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, int, Callable[[], None]], int],
        *,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        on_hangup: Callable[[], None],
        on_end: Callable[[int], None] = lambda _: None,
        grace: float,
    ) -> None:
        self._work = work
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._on_hangup = on_hangup
        self._on_end_of = on_end
        self._grace = grace
        self._workers = [_Worker() for _ in range(count)]
        self._unready = set(range(count))
        self._stopping = False
        self._deadline = float("inf")
        self._exit_code = 0

    def run(self) -> int:
        """Run until stopped; returns 0 if every worker ended in good order."""
        self._lifeline, self._held_end = os.pipe()
        self._woken, wake = os.pipe()
        self._reports, self._reporting_end = os.pipe()
        os.set_blocking(self._reports, False)
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        former = {number: signal.signal(number, _note) for number in _SIGNALS}
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            while not self._stopping or any(worker.pid for worker in self._workers):
                self._start_due()
                select.select([self._woken, self._reports], [], [], self._pause())
                self._on_signals()
                self._on_reports()
                self._reap()
                self._kill_late()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in former.items():
                signal.signal(number, handler)
            pipes = (self._lifeline, self._held_end, self._reports, self._reporting_end)
            for descriptor in (*pipes, self._woken, wake):
                os.close(descriptor)
        return self._exit_code

    def _start_due(self) -> None:
        for index, worker in enumerate(self._workers):
            if not worker.pid and not self._stopping and time.monotonic() >= worker.due:
                self._start(index, worker)

    def _start(self, index: int, worker: _Worker) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        worker.since = time.monotonic()
        # A signal that reaches a worker before it has its own handlers would be handled by those of
        # its parent: written to the parent's pipe, and lost.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        worker.pid = os.fork()
        if not worker.pid:
            self._be_worker(index, former)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)

    def _be_worker(self, index: int, mask: set[int | signal.Signals]) -> None:
        # Leaves by _exit: a worker must not do what the parent does at its end.
        code = 1
        try:
            os.close(self._held_end)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            # Ctrl-C reaches the whole group; the parent passes it on as SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._work(index, self._lifeline, lambda: self._report(index))
        except BaseException:
            _log.exception("Worker %d failed", index)
        finally:
            logging.shutdown()
            os._exit(code)

    def _report(self, index: int) -> None:
        """Let the parent know that this worker is ready."""
        with suppress(OSError):
            os.write(self._reporting_end, bytes([index]))

    def _on_reports(self) -> None:
        with suppress(BlockingIOError):
            reports = os.read(self._reports, 4096)
            if self._unready:
                self._unready.difference_update(reports)
                if not self._unready and not self._stopping:
                    self._on_ready()

    def _pause(self) -> float | None:
        """Seconds until the next work without a signal."""
        if self._stopping:
            return max(0.0, min(self._deadline - time.monotonic(), 3600.0))
        dues = [worker.due for worker in self._workers if not worker.pid]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _on_signals(self) -> None:
        numbers = b""
        with suppress(BlockingIOError):
            numbers = os.read(self._woken, 4096)
        for number in numbers:
            if number in _STOP_SIGNALS:
                self._on_stop_signal()
            elif number == signal.SIGHUP:
                self._on_hangup()
                self._unready.update(range(len(self._workers)))
                self._signal_all(signal.SIGHUP)

    def _on_stop_signal(self) -> None:
        grace = _AT_ONCE if self._stopping else self._grace
        self._deadline = min(self._deadline, time.monotonic() + grace)
        if not self._stopping:
            self._stopping = True
            self._on_stop()
            # Before the signal: a signal to one process alone means something else.
            os.write(self._held_end, bytes(len(self._workers)))
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _reap(self) -> None:
        for index, worker in enumerate(self._workers):
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._on_end(index, worker, os.waitstatus_to_exitcode(status))

    def _on_end(self, index: int, worker: _Worker, code: int) -> None:
        pid, worker.pid = worker.pid, 0
        self._on_end_of(index)
        if self._stopping:
            # A worker may get its SIGTERM before it can handle it.
            if code not in (0, -signal.SIGTERM):
                self._exit_code = 1
                _log.error("Worker %d (process %d) %s", index, pid, _ending(code))
            return
        now = time.monotonic()
        if now - worker.since >= _STABLE:
            worker.delay = _FIRST_DELAY
        worker.due = now + worker.delay
        _log.error(
            "Worker %d (process %d) %s; another one starts in %.1f s",
            index,
            pid,
            _ending(code),
            worker.delay,
        )
        worker.delay = min(worker.delay * 2, _LONGEST_DELAY)

    def _kill_late(self) -> None:
        if time.monotonic() >= self._deadline:
            self._deadline = float("inf")
            self._signal_all(signal.SIGKILL)


def _note(_number: int, _frame: FrameType | None) -> None:
    """Does nothing: the number of the signal is in the wake-up pipe."""


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
