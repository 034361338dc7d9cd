"""When a dequeue of the library first looks for ended leases. Pure.

A client that dequeues without a server takes back the expired leases of the type that it asks for:
nobody else would need those jobs. The check leaves in one write with the dequeue. Its answer tells
when the next lease of the type ends; until then no check is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sharq.errors import StoreError
from sharq.operations.sharding import type_of
from sharq.results import Swept

_log = logging.getLogger(__name__)

_LONGEST_PAUSE: Final = 60.0
_MOST_TYPES: Final = 100_000


class Expiry:
    """The checks of one client; `clock` is monotonic, times are in seconds.

    Between two checks of a type at least `interval` passes, unless there was more than one check
    takes, and at most `lease`: others may have leased jobs for as long, and may have died since.
    """

    def __init__(self, interval: float, lease: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._longest = max(interval, min(lease, _LONGEST_PAUSE))
        self._clock = clock
        self._due_at: dict[str, float] = {}
        self._failing: set[str] = set()

    def due(self, queue_type: str) -> bool:
        """Whether to check a type now; if so, call `note` with the result."""
        now = self._clock()
        if now < self._due_at.get(queue_type, now):
            return False
        if len(self._due_at) >= _MOST_TYPES:
            self._due_at.clear()
            self._failing.clear()
        # Another thread need not check at the same time.
        self._due_at[queue_type] = now + self._interval
        return True

    def note(self, queue_type: str, swept: Swept | StoreError) -> None:
        """Remember when the next check is due."""
        if isinstance(swept, StoreError):
            kind = type_of(queue_type)
            if kind not in map(type_of, self._failing):
                _log.warning("Expired jobs of %s are not taken back: %s", kind, swept)
            self._failing.add(queue_type)
            return
        self._failing.discard(queue_type)
        if swept.more:
            self._due_at.pop(queue_type, None)
            return
        pause = self._longest
        if swept.next_expiry_us is not None:
            pause = min(pause, max(self._interval, swept.next_expiry_us / 1e6))
        self._due_at[queue_type] = self._clock() + pause
