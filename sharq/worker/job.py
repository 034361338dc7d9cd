"""What a handler gets, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sharq.endings import PAUSE_SCOPES, QUEUE, PauseScope
from sharq.identifiers import MAX_LIMIT, is_integer
from sharq.operations.payloads import decode_payload
from sharq.results import JobError
from sharq.worker.frames import JobFields

_UNREAD: Final = object()

LONGEST_DELAY: Final = 31_536_000.0
"""Seconds for which a job may be put off, or its lease extended: 365 days."""

SHORTEST_PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 3600.0
"""Seconds for which a worker may pause dispatches, at least and at most."""


class Retry(Exception):
    """Raise it in a handler to get the job again after `delay` seconds, 0 to 31,536,000.

    It counts as a failure, by the exception that it is raised from, if any. Raises ValueError for
    any other delay.
    """

    delay = 0.0

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = _seconds("delay", delay)
        super().__init__(f"again in {delay:g} s")

    def __reduce__(self) -> tuple[Any, ...]:
        # A handler may get it from another process.
        return type(self), (self.delay,)


class Throttled(Exception):
    """Raise it in a handler that was told to wait: nothing is dispatched for `seconds`.

    That holds for the queue of the job, for its "group" or for all of its "type", as `scope` says.
    The job goes back in the same step; the attempt does not count. `seconds` are 0.001 to 3,600.
    Raises ValueError for anything else.
    """

    seconds = SHORTEST_PAUSE
    scope: PauseScope = QUEUE

    def __init__(self, seconds: float, scope: PauseScope = QUEUE) -> None:
        self.seconds = _pause(seconds)
        self.scope = _scope(scope)
        super().__init__(f"the {scope} pauses for {seconds:g} s")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.seconds, self.scope)


class Discard(Exception):
    """Raise it in a handler to finish a job that cannot succeed; it is logged.

    With `dead` the job is not finished: it becomes a dead letter, with the exception that this one
    is raised from, if any.
    """

    dead = False

    def __init__(self, *args: object, dead: bool = False) -> None:
        super().__init__(*args)
        self.dead = dead


class Failed(Exception):
    """A failure that tells `error`, in place of an exception and where it was raised."""

    def __init__(self, error: JobError) -> None:
        super().__init__(f"{error.type}: {error.message}")
        self.error = error


def _seconds(name: str, value: float, least: float = 0, most: float = LONGEST_DELAY) -> float:
    # NaN is in no range; a value that is no number cannot be compared.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} has to be a number of seconds, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} has to be {least:g} to {most:,.0f} seconds, not {value}")
    return value


def _pause(seconds: float) -> float:
    return _seconds("seconds", seconds, SHORTEST_PAUSE, LONGEST_PAUSE)


def _scope(scope: PauseScope) -> PauseScope:
    if not isinstance(scope, str) or scope not in PAUSE_SCOPES:
        raise ValueError(f"scope has to be one of {', '.join(PAUSE_SCOPES)}, not {scope!r}")
    return scope


def release_delay(wish: Retry) -> int:
    """The requested delay, in ms. Raises ValueError if it was changed to an invalid one."""
    return round(_seconds("delay", wish.delay) * 1000)


def pause_of(wish: Throttled) -> tuple[int, PauseScope]:
    """The requested pause, in ms, and its scope. Raises ValueError as `release_delay` does."""
    return round(_pause(wish.seconds) * 1000), _scope(wish.scope)


class LeasedJob:
    """A job that a worker holds.

    `attempt` counts its deliveries, from 1. `requeues_remaining` tells how often it may come back
    (-1: no limit). `lease` is the token of this delivery. `interval` (in ms) and `burst` are those
    of its queue.
    """

    __slots__ = (
        "_cost",
        "_extend",
        "_payload",
        "_raw",
        "arrived_at",
        "attempt",
        "burst",
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
        self.burst = fields.burst
        self.arrived_at = now
        self.lease_seconds = fields.lease_ms / 1000
        self.until = dispatched + self.lease_seconds
        """The end of the lease, by this process' monotonic clock, as far as it is known."""
        self.lease_lost = False
        """Whether the lease has ended: another worker may have the job by now."""
        self.started_at: float | None = None
        self.extended_at = 0.0
        self._cost: int | None = None
        self._raw = fields.payload
        self._payload: Any = _UNREAD
        self._extend = extend

    @property
    def payload(self) -> Any:
        """The payload, as a Python value. Raises `UnreadablePayload` if it is not JSON."""
        if self._payload is _UNREAD:
            self._payload = decode_payload(bytes(self._raw), self.lease)
        return self._payload

    @property
    def payload_text(self) -> bytes:
        """The payload as it was enqueued: JSON text in UTF-8, without white space around it."""
        return bytes(self._raw)

    @property
    def cost(self) -> int | None:
        """The real cost of the dispatch, in intervals; None: what the job said at its enqueue.

        It is told with the end of the lease. Setting it raises ValueError for anything else than
        None and an integer from 1 to 1,000,000.
        """
        return self._cost

    @cost.setter
    def cost(self, value: int | None) -> None:
        if value is not None and not is_integer(value, 1, MAX_LIMIT):
            raise ValueError(f"cost has to be an integer from 1 to {MAX_LIMIT:,}, not {value!r}")
        self._cost = value

    def extend(self, seconds: float) -> None:
        """Ask that the lease lasts at least `seconds` from now; does not wait for the answer.

        A running handler's lease is extended anyway, until its time-out. Raises ValueError if it is
        not 0 to 31,536,000 seconds.
        """
        self._extend(self, _seconds("seconds", seconds))

    def __repr__(self) -> str:
        return f"<LeasedJob {self.lease} attempt={self.attempt}>"
