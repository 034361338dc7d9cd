"""What a WSGI process logs of its store: once when it fails, and when it works again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, reason_of

_log = logging.getLogger(__name__)


_QUIET: Final = 5.0
"""Seconds without a failure after which the store works again: of a cluster a part may be away."""


class StoreLog:
    """Notes whether the store works; for any number of threads. `clock` is monotonic, in s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing: str | None = None
        self._failed_at = 0.0
        self._telling = threading.Lock()

    def note(self, error: StoreError | None) -> None:
        """The store has failed, or answered (None)."""
        if error is None:
            if self._failing is not None:
                self._works()
        elif isinstance(error, StoreUnavailable | StoreDenied):
            self._fails(error)

    def _fails(self, error: StoreError) -> None:
        with self._telling:
            self._failed_at = self._clock()
            if self._failing != error.code:
                self._failing = error.code
                told, reason = str(error), reason_of(error)
                more = "" if reason == told.rstrip(".") else f" ({reason})"
                _log.warning("The store does not work: %s%s", told, more)

    def _works(self) -> None:
        with self._telling:
            if self._failing is not None and self._clock() - self._failed_at >= _QUIET:
                self._failing = None
                _log.info("The store works again")
