"""Open files, of which each connection is one: how many there may be, and when there are too many.

The system assigns the lowest free number, so the number of a new connection tells how many are in
use, by anybody.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import time
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)

EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The errors of accepting a connection when the system has no room for it."""

_MOST_RESERVED: Final = 64
_RESERVED_SHARE: Final = 8
_BETWEEN_WARNINGS: Final = 60.0


def raise_limit() -> None:
    """Raise the limit of open files of this process, and those it starts, as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # macOS reports no bound, but has one
            _log.debug("The limit of open files stays at %d: %s", soft, error)


def limit() -> int | None:
    """How many files this process may have open; None if there is no bound."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def in_use() -> int | None:
    """How many files this process has open; None if the system does not tell."""
    try:
        # One of them is for the listing itself.
        return len(os.listdir("/dev/fd")) - 1
    except OSError:
        return None


class Room:
    """Reserves some descriptors for other uses than connections: the store, logs.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warned_at: float | None = None

    def has(self, descriptor: int) -> bool:
        """Whether a connection accepted as `descriptor` may stay; if not, that is logged, at most
        once a minute.
        """
        most = limit()
        if most is None or descriptor < most - min(_MOST_RESERVED, most // _RESERVED_SHARE):
            return True
        self.warn()
        return False

    def warn(self) -> None:
        """Log that connections are refused, or have to wait, unless that was logged just now."""
        now = self._clock()
        if self._warned_at is None or now - self._warned_at >= _BETWEEN_WARNINGS:
            self._warned_at = now
            _log.warning(
                "No room for more connections: nearly all files that this process may have open "
                "(ulimit -n: %s) are in use",
                limit() or "unlimited",
            )
