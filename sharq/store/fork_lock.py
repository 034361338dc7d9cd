"""A lock that is free in a forked child, whichever thread of its parent held it."""

from __future__ import annotations

import os
import threading


class ForkLock:
    """A context manager like `threading.Lock`, for the threads of one process.

    It compares the process id, since not everything that forks a Python process tells the
    interpreter.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks = {os.getpid(): threading.Lock()}

    def __enter__(self) -> None:
        self._own().acquire()

    def __exit__(self, *_: object) -> None:
        self._own().release()

    def _own(self) -> threading.Lock:
        process = os.getpid()
        return self._locks.get(process) or self._locks.setdefault(process, threading.Lock())
