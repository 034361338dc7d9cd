"""What becomes of a worker in a process that one of its handlers forks."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import Final, Protocol
from weakref import WeakSet

_generation = 0


def generation() -> int:
    """A number that is another one in a process that was forked since."""
    return _generation


def leave(error: BaseException | None) -> None:
    """End a forked process whose handler has come to its end there: the worker is its parent's.

    Its exit code is what Python would have given to a program that ended with `error`.
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
    """Who has a connection."""

    @property
    def descriptor(self) -> int:
        """The number of its socket, -1 where it is closed."""


class _Connections:
    """Connections that a forked process is not to keep open."""

    def __init__(self) -> None:
        # Not the transports: those of other loops take no weak references.
        self._all: Final[WeakSet[Connected]] = WeakSet()

    def add(self, connected: Connected) -> None:
        self._all.add(connected)

    def give_up(self) -> None:
        """Have the descriptors lead nowhere; their numbers stay taken, since objects have them."""
        numbers = [each.descriptor for each in tuple(self._all)]
        if any(number >= 0 for number in numbers):
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for number in numbers:
                if number >= 0:
                    os.dup2(nowhere, number, inheritable=False)
            os.close(nowhere)
        self._all.clear()


connections: Final = _Connections()
"""The connections of all workers of this process: a server sees that one has ended when no process
has it open any more."""


def _in_child() -> None:
    global _generation  # noqa: PLW0603 - it is the state of the process
    _generation += 1
    connections.give_up()


os.register_at_fork(after_in_child=_in_child)
