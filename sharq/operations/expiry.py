"""When a dequeue of the library looks for ended leases first. Pure.

Who dequeues without a server takes back by itself what has run out, of the type that it asks for:
nobody else would need that job. The look leaves in one write with the dequeue. It tells when the
next lease of the type ends, and until then there is nothing to look for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sharq.errors import StoreError
from sharq.results import Swept

_log = logging.getLogger(__name__)

_LONGEST_PAUSE: Final = 60.0
_MOST_TYPES: Final = 100_000


class Expiry:
    """The looks of one client; `clock` is monotonic, times are in seconds.

    Between two looks at a type lies `interval`, unless there was more than one takes, and no more
    than `lease`: others may have leased jobs for as long, and have been lost since.
    """

    def __init__(self, interval: float, lease: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._longest = max(interval, min(lease, _LONGEST_PAUSE))
        self._clock = clock
        self._due_at: dict[str, float] = {}
        self._failing = False

    def due(self, queue_type: str) -> bool:
        """Whether to look at a type now; if so, `note` is to be told what came of it."""
        now = self._clock()
        if now < self._due_at.get(queue_type, now):
            return False
        if len(self._due_at) >= _MOST_TYPES:
            self._due_at.clear()
        # Another thread need not look at the same time.
        self._due_at[queue_type] = now + self._interval
        return True

    def note(self, queue_type: str, swept: Swept | StoreError) -> None:
        """Remember when the next look is due."""
        if isinstance(swept, StoreError):
            if not self._failing:
                _log.warning("Expired jobs of %s are not taken back: %s", queue_type, swept)
            self._failing = True
            return
        self._failing = False
        if swept.more:
            self._due_at.pop(queue_type, None)
            return
        pause = self._longest
        if swept.next_expiry_us is not None:
            pause = min(pause, max(self._interval, swept.next_expiry_us / 1e6))
        self._due_at[queue_type] = self._clock() + pause
