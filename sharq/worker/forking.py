"""What happens to a worker in a process that one of its handlers forks."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import Final, Protocol
from weakref import WeakSet

_generation = 0


def generation() -> int:
    """A number that differs in a process that was forked since."""
    return _generation


def leave(error: BaseException | None) -> None:
    """End a forked process whose handler has ended in it: the worker belongs to its parent.

    The exit code is that of a Python program that ended with `error`.
    """
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


class Connected(Protocol):
    """Has a connection."""

    @property
    def descriptor(self) -> int:
        """The number of its socket, -1 if it is closed."""


class _Connections:
    """Connections that a forked process must not keep open."""

    def __init__(self) -> None:
        # Not the transports: those of other loops take no weak references.
        self._all: Final[WeakSet[Connected]] = WeakSet()

    def add(self, connected: Connected) -> None:
        self._all.add(connected)

    def give_up(self) -> None:
        """Point the descriptors to /dev/null; objects still have their numbers."""
        numbers = [each.descriptor for each in tuple(self._all)]
        if any(number >= 0 for number in numbers):
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for number in numbers:
                if number >= 0:
                    os.dup2(nowhere, number, inheritable=False)
            os.close(nowhere)
        self._all.clear()


connections: Final = _Connections()
"""The connections of all workers of this process: a server sees the end of one only when no process
has it open."""


def _in_child() -> None:
    global _generation  # noqa: PLW0603 - it is the state of the process
    _generation += 1
    connections.give_up()


os.register_at_fork(after_in_child=_in_child)
