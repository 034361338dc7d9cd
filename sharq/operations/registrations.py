"""Which types a process has registered with the store, and when it does so again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from sharq.errors import StoreError

REGISTER_AGAIN: Final = 60.0
"""Seconds after which a process registers a type again before it enqueues to it."""

REGISTRATION_HOLDS: Final = 600.0
"""Seconds for which a registration is good even if it could not be renewed."""

_TRY_AGAIN: Final = 5.0
_MOST_TYPES: Final = 100_000


class _Registration(NamedTuple):
    """When a type was registered last, and when to do it again."""

    done_at: float
    due_at: float


_NEVER: Final = _Registration(float("-inf"), float("-inf"))


class Registrations:
    """The registrations of one process; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, _Registration] = {}

    def due(self, queue_type: str) -> bool:
        """Whether to register a type before a job of it is enqueued."""
        return self._known.get(queue_type, _NEVER).due_at <= self._clock()

    def note(self, queue_type: str, asked_at: float, answer: object) -> StoreError | None:
        """Remember the result of a registration; returns the failure if it prevents an enqueue."""
        if not isinstance(answer, StoreError):
            self._remember(queue_type, _Registration(asked_at, asked_at + REGISTER_AGAIN))
            return None
        done_at = self._known.get(queue_type, _NEVER).done_at
        if asked_at - done_at >= REGISTRATION_HOLDS:
            return answer
        self._remember(queue_type, _Registration(done_at, asked_at + _TRY_AGAIN))
        return None

    def _remember(self, queue_type: str, registration: _Registration) -> None:
        if len(self._known) >= _MOST_TYPES:
            self._known.clear()
        self._known[queue_type] = registration
