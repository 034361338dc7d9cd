"""How fast a body has to come: at least 1 KiB in some seconds, and 16 KiB a second in all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

BODY_SECONDS: Final = 10.0
"""Seconds in which a body has to bring 1 KiB."""

_LEAST_BYTES: Final = 1024
_LONGEST: Final = 60.0
_LEAST_RATE: Final = 16 * 1024
_LOOK_EVERY: Final = 1.0


class Pace:
    """The progress of a body that began at `now`: `size` bytes so far, of `length` if it is known.

    Times are in seconds.
    """

    def __init__(self, now: float, length: int = 0) -> None:
        self.size = 0
        self._length = length
        self._began = self._since = self._looked = now
        self._seen = 0

    def is_slow(self, now: float, seconds: float, *, held: bool) -> bool:
        """Whether it has brought less than 1 KiB in the given seconds, or takes too long in all.

        A body may take 60 s, and a second for each 16 KiB. While it is `held` up by the server, its
        time stands still.
        """
        if held:
            self._began += now - self._looked
        self._looked = now
        if held or self.size >= self._seen + _LEAST_BYTES:
            self._since, self._seen = now, self.size
        if held:
            return False
        size = max(self.size, self._length)
        return now - self._since > seconds or now - self._began > _LONGEST + size / _LEAST_RATE


class Watch:
    """Calls `on_slow` if the body of a request under another server comes too slowly."""

    def __init__(self, length: int, on_slow: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(self._loop.time(), length)
        self._on_slow = on_slow
        self._next = self._loop.call_later(_LOOK_EVERY, self._look)

    def add(self, size: int) -> None:
        """Bytes of the body have come."""
        self._pace.size += size

    def stop(self) -> None:
        """The body is complete, or no longer wanted."""
        self._next.cancel()

    def _look(self) -> None:
        if self._pace.is_slow(self._loop.time(), BODY_SECONDS, held=False):
            self._on_slow()
        else:
            self._next = self._loop.call_later(_LOOK_EVERY, self._look)
