"""Signals that end a worker, also in processes that a handler forks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_installed: set[Signals] = set()


class Signals:
    """Calls `on_signal` for SIGTERM, SIGINT and SIGHUP while the context lasts, in the main thread.

    Ignored signals stay ignored, except SIGTERM: `nohup` ignores SIGHUP, a shell ignores SIGINT for
    background jobs. A process that is forked meanwhile has the previous handlers.
    """

    def __init__(self, on_signal: Callable[[int, FrameType | None], None]) -> None:
        # Not by the event loop: that would wait for a handler that blocks the loop.
        self._on_signal = on_signal
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._on_signal)
            _installed.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        _installed.discard(self)
        self.restore()

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, action in self._former.items():
            # None: it was not set by Python.
            signal.signal(number, signal.SIG_DFL if action is None else action)
        self._former.clear()


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
