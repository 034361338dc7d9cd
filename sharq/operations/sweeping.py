"""Which types a server sweeps, and when: so that idle ones cost nothing. Pure.

A round is claimed in the store, so only one of many servers makes it. A round checks the types that
may have jobs. A type without jobs is skipped until it is registered again, or until a job that came
meanwhile could have expired. Between the rounds a type is checked when its next known lease runs
out.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sharq.errors import StoreError
from sharq.operations.call import Flow
from sharq.operations.operations import REGISTRATION_AGE, Operations
from sharq.results import Swept
from sharq.settings.options import QueueSettings

_LONGEST_IDLE: Final = 60.0
_HOLD: Final = 0.9
_STEPS: Final = 10

SWEEP: Final = "sweep"
"""Who advances a bulk of dead letters that its server has left: whichever server sweeps."""
_SPREAD: Final = 0.01


class _Idle(NamedTuple):
    """When a type was found without jobs, and when it was registered; by the same clock."""

    found_at: float
    registered_at: float


def sweep_types(
    operations: Operations,
    ages: Mapping[str, int],
    note: Callable[[str, int, Swept], None] | None = None,
) -> Flow[int]:
    """Take back all expired leases of the types in `ages`; returns their number.

    `ages` has the ms since the registration of each type; vacant types are removed from the
    registry. `note` gets the last answer for each. If a node fails, the other types are still swept
    before its `StoreError` is raised.
    """
    total = 0
    failure: StoreError | None = None
    vacant: list[str] = []
    types = list(ages)
    while types:
        answers = yield [operations.requeue(queue_type) for queue_type in types]
        again: list[str] = []
        for queue_type, swept in zip(types, answers, strict=True):
            if isinstance(swept, StoreError):
                failure = failure or swept
                continue
            total += swept.returned + swept.discarded
            if swept.bulk:
                failure = (yield from _advance(operations, queue_type)) or failure
            if swept.more:
                again.append(queue_type)
                continue
            if note is not None:
                note(queue_type, ages[queue_type], swept)
            if swept.vacant and ages[queue_type] >= REGISTRATION_AGE:
                vacant.append(queue_type)
        types = again
    if vacant:
        answers = yield [operations.unregister(name) for name in vacant]
        failure = failure or next((a for a in answers if isinstance(a, StoreError)), None)
    if failure is not None:
        raise failure
    return total


def _advance(operations: Operations, queue_type: str) -> Flow[StoreError | None]:
    """Make some steps of a bulk of dead letters that no server advances; the failure, if any."""
    for _ in range(_STEPS):
        # In a list, so that a failure does not end the sweep of other types.
        (more,) = yield [operations.advance_dead(queue_type, SWEEP)]
        if isinstance(more, StoreError):
            return more
        if not more:
            break
    return None


class Sweeping:
    """The sweep of one server; `clock` is monotonic, times are in seconds.

    `interval` is the time between two rounds, `lease` the length of a lease.
    """

    def __init__(
        self,
        operations: Operations,
        interval: float,
        lease: float,
        clock: Callable[[], float],
    ) -> None:
        self._operations = operations
        self._interval = interval
        self._idle_for = min(lease, _LONGEST_IDLE)
        self._clock = clock
        self._idle: dict[str, _Idle] = {}
        self._looked_at: set[str] = set()
        self._expiries: list[tuple[float, str]] = []
        self._round_at = clock()

    @classmethod
    def by(
        cls, operations: Operations, settings: QueueSettings, clock: Callable[[], float]
    ) -> Sweeping:
        """The sweep that the settings want."""
        interval, lease = settings.job_requeue_interval, settings.job_expire_interval
        return cls(operations, interval / 1000, lease / 1000, clock)

    @property
    def due_at(self) -> float:
        """When the next sweep is due."""
        first = self._expiries[0][0] if self._expiries else self._round_at
        return min(first, self._round_at)

    def sweep(self) -> Flow[int]:
        """Do what is due; returns the number of expired leases. Raises the last `StoreError`."""
        now = self._clock()
        if now < self._round_at:
            due: list[str] = []
            while self._expiries and self._expiries[0][0] <= now:
                due.append(heapq.heappop(self._expiries)[1])
            # One check without effect is enough for a type and an interval.
            self._looked_at.update(due)
            return (yield from self._look_at(dict.fromkeys(due, 0)))
        self._round_at = max(self._round_at + self._interval, now)
        claimed: bool = yield self._operations.claim_sweep(
            max(1, round(self._interval * 1000 * _HOLD))
        )
        if not claimed:
            self._expiries.clear()
            return 0
        return (yield from self._round())

    def _round(self) -> Flow[int]:
        self._expiries.clear()
        total = 0
        failure: StoreError | None = None
        known: set[str] = set()
        cursor = ""
        while cursor != "0":
            page = yield self._operations.list_types(cursor or "0")
            cursor = page.cursor
            ages = dict(page.types)
            known.update(ages)
            try:
                total += yield from self._look_at(
                    {name: age for name, age in ages.items() if self._may_have_jobs(name, age)}
                )
            except StoreError as error:
                failure = error
        self._looked_at.clear()
        for name in self._idle.keys() - known:
            del self._idle[name]
        if failure is not None:
            raise failure
        return total

    def _may_have_jobs(self, queue_type: str, age: int) -> bool:
        if queue_type in self._looked_at:
            return False
        idle = self._idle.get(queue_type)
        if idle is None:
            return True
        now = self._clock()
        registered_again = now - age / 1000 > idle.registered_at + 1
        return registered_again or now - idle.found_at >= self._idle_for

    def _look_at(self, ages: dict[str, int]) -> Flow[int]:
        return (yield from sweep_types(self._operations, ages, self._note))

    def _note(self, queue_type: str, age: int, swept: Swept) -> None:
        now = self._clock()
        if swept.returned or swept.discarded:
            self._looked_at.discard(queue_type)
        if swept.idle:
            self._idle[queue_type] = _Idle(now, now - age / 1000)
            return
        self._idle.pop(queue_type, None)
        if swept.next_expiry_us is None:
            return
        at = now + max(swept.next_expiry_us / 1e6, _SPREAD)
        if at < self._round_at:
            heapq.heappush(self._expiries, (at, queue_type))
