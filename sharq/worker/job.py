"""What a handler gets, and what it may raise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from sharq.operations.payloads import decode_payload
from sharq.worker.frames import JobFields

_UNREAD: Final = object()
_STEPS: Final = 16

FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 300.0
"""Bound of a failed job's wait in seconds, after its first and any attempt; half at least."""


LONGEST_DELAY: Final = 31_536_000.0
"""Seconds for which a job may be put off, or its lease extended: 365 days."""


class Retry(Exception):
    """Raise it in a handler to get the job again after `delay` seconds, 0 to 31,536,000.

    Raises ValueError for any other delay.
    """

    delay = 0.0

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = _seconds("delay", delay)
        super().__init__(f"again in {delay:g} s")


class Discard(Exception):
    """Raise it in a handler to finish a job that cannot succeed; it is logged."""


def _seconds(name: str, value: float) -> float:
    # NaN is in no range; a value that is no number cannot be compared.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} has to be a number of seconds, not {value!r}")
    if not 0 <= value <= LONGEST_DELAY:
        raise ValueError(f"{name} has to be 0 to {LONGEST_DELAY:,.0f} seconds, not {value}")
    return value


def release_delay(wish: Retry) -> int:
    """The requested delay, in ms. Raises ValueError if it was changed to an invalid one."""
    return round(_seconds("delay", wish.delay) * 1000)


class LeasedJob:
    """A job that a worker holds.

    `attempt` counts its deliveries, from 1. `requeues_remaining` tells how often it may come back
    (-1: no limit). `lease` is the token of this delivery. `interval` is that of its queue, in ms.
    """

    __slots__ = (
        "_extend",
        "_payload",
        "_raw",
        "arrived_at",
        "attempt",
        "extended_at",
        "interval",
        "job_id",
        "lease",
        "lease_lost",
        "lease_seconds",
        "queue_id",
        "queue_type",
        "requeues_remaining",
        "started_at",
        "until",
    )

    def __init__(
        self,
        queue_type: str,
        fields: JobFields,
        dispatched: float,
        now: float,
        extend: Callable[[LeasedJob, float], None],
    ) -> None:
        self.queue_type = queue_type
        self.queue_id = fields.queue_id
        self.job_id = fields.job_id
        self.attempt = fields.attempt
        self.requeues_remaining = fields.requeues_remaining
        self.lease = fields.lease
        self.interval = fields.interval
        self.arrived_at = now
        self.lease_seconds = fields.lease_ms / 1000
        self.until = dispatched + self.lease_seconds
        """The end of the lease, by this process' monotonic clock, as far as it is known."""
        self.lease_lost = False
        """Whether the lease has ended: another worker may have the job by now."""
        self.started_at: float | None = None
        self.extended_at = 0.0
        self._raw = fields.payload
        self._payload: Any = _UNREAD
        self._extend = extend

    @property
    def payload(self) -> Any:
        """The payload, as a Python value. Raises `UnreadablePayload` if it is not JSON."""
        if self._payload is _UNREAD:
            self._payload = decode_payload(bytes(self._raw), self.lease)
        return self._payload

    def extend(self, seconds: float) -> None:
        """Ask that the lease lasts at least `seconds` from now; does not wait for the answer.

        A running handler's lease is extended anyway, until its time-out. Raises ValueError if it is
        not 0 to 31,536,000 seconds.
        """
        self._extend(self, _seconds("seconds", seconds))

    def __repr__(self) -> str:
        return f"<LeasedJob {self.lease} attempt={self.attempt}>"


def retry_delay(attempt: int, uniform: Callable[[], float] = random.random) -> float:
    """Seconds before a failed job comes back: doubling with each attempt, with jitter.

    There are only a few different values, so that releases share frames.
    """
    bound = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(max(attempt, 1) - 1, 60))
    return bound * (_STEPS + round(uniform() * _STEPS)) / (2 * _STEPS)
