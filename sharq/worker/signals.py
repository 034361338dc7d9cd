"""Signals that end a worker, also in processes that a handler forks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_installed: set[Signals] = set()


class Signals:
    """Calls `on_signal` for SIGTERM, SIGINT and SIGHUP while the context lasts, in the main thread.

    Ignored signals stay ignored, except SIGTERM: `nohup` ignores SIGHUP, a shell ignores SIGINT for
    background jobs. A process that is forked meanwhile has the previous handlers.

    The context is entered in the running event loop, which each signal wakes.
    """

    def __init__(self, on_signal: Callable[[int, FrameType | None], None]) -> None:
        # Not by the event loop: that would wait for a handler that blocks the loop.
        self._on_signal = on_signal
        self._former: dict[int, Any] = {}
        self._wakeups: _Wakeups | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._wakeups = _Wakeups(asyncio.get_running_loop())
            for number in _ENDING:
                if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._on_signal)
            _installed.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        _installed.discard(self)
        if self._wakeups is not None:
            self._wakeups.forget()
        self.restore()

    def restore(self) -> None:
        """Restore the previous handlers. Does not touch the loop, which a fork shares."""
        if self._wakeups is not None:
            self._wakeups.close()
            self._wakeups = None
        for number, action in self._former.items():
            # None: it was not set by Python.
            signal.signal(number, signal.SIG_DFL if action is None else action)
        self._former.clear()


class _Wakeups:
    """Wakes a loop at each signal.

    Python runs handlers in the main thread. If the system gives a signal to another thread, or just
    before the main thread begins to wait for events, nothing else wakes that: an idle worker would
    notice the signal hours later.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        loop.add_reader(self._reader, self._drain)
        self._former = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def forget(self) -> None:
        """Have the loop look at it no more."""
        self._loop.remove_reader(self._reader)

    def close(self) -> None:
        signal.set_wakeup_fd(self._former)
        self._reader.close()
        self._writer.close()

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass


def _before_fork() -> None:
    # A signal to the child before it has its handlers would be lost.
    if _installed:
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _in_parent() -> None:
    if _installed:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _in_child() -> None:
    if _installed:
        while _installed:
            _installed.pop().restore()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
