"""What a WSGI process logs of its store: once when it fails, and when it works again."""

from __future__ import annotations

import logging
import threading

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, reason_of

_log = logging.getLogger(__name__)


class StoreLog:
    """Notes whether the store works; for any number of threads."""

    def __init__(self) -> None:
        self._failing: str | None = None
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
            if self._failing != error.code:
                self._failing = error.code
                reason = reason_of(error)
                _log.warning("The store does not work: %s (%s)", error, reason)

    def _works(self) -> None:
        with self._telling:
            if self._failing is not None:
                self._failing = None
                _log.info("The store works again")
