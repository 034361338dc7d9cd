"""The lock of the original's sweep, held while jobs are moved."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from sharq.errors import StoreError
from sharq.migration.source import Source

LOCK_MS: Final = 15_000
"""How long it is held without a sign of life, as by the original's servers."""

_REFRESH: Final = 5.0
_PATIENCE: Final = 20.0
_PAUSE: Final = 0.05


class LockLost(Exception):
    """A server of the original has the lock."""


class SweepLock:
    """The lock, as a context. Raises `LockLost` where it is not free within 20 s.

    A server of the original holds it for a moment, and for 15 s after it was killed; the same goes
    for a migration.
    """

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.owner: Final = secrets.token_hex(16)
        self._source = source
        self._clock = clock
        self._sleep = sleep
        self._held_at = 0.0

    def hold(self) -> None:
        """Go on holding it; to be called every few seconds. Raises `LockLost`."""
        now = self._clock()
        if now - self._held_at < _REFRESH:
            return
        if not self._source.hold(self.owner, LOCK_MS):
            raise LockLost
        self._held_at = now

    def __enter__(self) -> Self:
        deadline = self._clock() + _PATIENCE
        while not self._source.lock(self.owner, LOCK_MS):
            if self._clock() > deadline:
                raise LockLost
            self._sleep(_PAUSE)
        self._held_at = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # If the store is away, the lock ends by itself.
        with suppress(StoreError):
            self._source.hold(self.owner, 0)
