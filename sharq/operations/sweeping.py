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

from sharq.errors import StoreError, WrongKind
from sharq.operations.call import Flow
from sharq.operations.operations import REGISTRATION_AGE, Operations
from sharq.operations.pausing import repeat_pause
from sharq.operations.registry import Page, Registry
from sharq.operations.sharding import type_of
from sharq.operations.spreading import Spreading
from sharq.results import Swept
from sharq.settings.options import QueueSettings

_LONGEST_IDLE: Final = 60.0
_HOLD: Final = 0.9
_OWN_ROUND: Final = 10
"""Intervals between rounds of a server that has not claimed them, while the registry is away."""

_STEPS: Final = 10

SWEEP: Final = "sweep"
"""Who advances a bulk of dead letters that its server has left: whichever server sweeps."""
_SPREAD: Final = 0.01


class _Idle(NamedTuple):
    """When a type was found without jobs, and when it was registered; by the same clock."""

    found_at: float
    registered_at: float


def sweep_types(
    spreading: Spreading, ages: Mapping[str, int], *, unregisters: bool = True
) -> Flow[int]:
    """Take back all expired leases of the types in `ages`; returns their number.

    `ages` has the ms since the registration of each type; vacant types are removed from the
    registry where this one `unregisters`, and pauses of types are completed. If a node fails, the
    other types are still swept before its `StoreError` is raised.
    """
    names = {
        name: age for queue_type, age in ages.items() for name in spreading.shards.homes(queue_type)
    }
    return (yield from sweep_shards(spreading, names, {}, unregisters=unregisters))


def sweep_shards(
    spreading: Spreading,
    ages: Mapping[str, int],
    vacant: dict[str, bool],
    note: Callable[[str, int, Swept], None] | None = None,
    fail: Callable[[str, StoreError], None] | None = None,
    *,
    unregisters: bool = True,
) -> Flow[int]:
    """The same for shards, by their internal names; an unsharded type is one.

    `vacant` tells of shards whether they were when they were looked at last. `note` gets the last
    answer for each, `fail` the failure of one that was not swept.
    """
    operations, shards = spreading.operations, spreading.shards
    total = 0
    failure: StoreError | None = None
    ages = dict(ages)
    names = list(ages)
    while names:
        answers = yield [operations.requeue(name) for name in names]
        again: list[str] = []
        for name, swept in zip(names, answers, strict=True):
            if isinstance(swept, WrongKind):
                found = yield from _found_instead(spreading, name, swept)
                if isinstance(found, StoreError):
                    failure = failure or found
                    if fail is not None:
                        fail(name, found)
                    continue
                again += [each for each in found if each == name or each not in ages]
                ages.update(dict.fromkeys(found, ages[name]))
                continue
            if isinstance(swept, StoreError):
                failure = failure or swept
                if fail is not None:
                    fail(name, swept)
                continue
            total += swept.returned + swept.discarded
            if swept.returned:
                spreading.tell(name)
            if swept.bulk:
                failure = (yield from _advance(operations, name)) or failure
            if swept.more:
                again.append(name)
                continue
            if note is not None:
                note(name, ages[name], swept)
            vacant[name] = swept.vacant
        names = again
    for queue_type in dict.fromkeys(map(type_of, ages)) if shards else ():
        if shards.is_spread(queue_type):
            failure = (yield from _complete_pause(spreading, queue_type)) or failure
    old = [
        queue_type
        for queue_type in dict.fromkeys(
            type_of(name) for name, age in ages.items() if age >= REGISTRATION_AGE
        )
        if all(vacant.get(name, False) for name in shards.homes(queue_type))
    ]
    if old and unregisters:
        answers = yield [operations.unregister(name) for name in old]
        failure = failure or next((a for a in answers if isinstance(a, StoreError)), None)
    if failure is not None:
        raise failure
    return total


def _found_instead(
    spreading: Spreading, name: str, error: WrongKind
) -> Flow[tuple[str, ...] | StoreError]:
    """The shards of a type of which one is in use no more; the failure if there is none."""
    queue_type = type_of(name)
    try:
        learned = yield from spreading.learn(queue_type, name)
    except StoreError as failure:
        return failure
    names = spreading.shards.homes(queue_type)
    return (name,) if learned and name in names else names if learned else error


def _complete_pause(spreading: Spreading, queue_type: str) -> Flow[StoreError | None]:
    try:
        yield from repeat_pause(spreading, queue_type)
    except StoreError as error:
        return error
    return None


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

    `interval` is the time between two rounds, `lease` the length of a lease. While the node of the
    `registry` is away and others are not, the round is claimed at another one, and is for the types
    that are known here. Other servers may know others: each makes a round of its own now and then.
    """

    def __init__(
        self,
        spreading: Spreading,
        interval: float,
        lease: float,
        clock: Callable[[], float],
        registry: Registry | None = None,
    ) -> None:
        self._spreading = spreading
        operations = spreading.operations
        self._registry = Registry(operations, clock) if registry is None else registry
        self._interval = interval
        self._idle_for = min(lease, _LONGEST_IDLE)
        self._clock = clock
        # By the internal names of shards, as the rest.
        self._idle: dict[str, _Idle] = {}
        self._vacant: dict[str, bool] = {}
        self._looked_at: set[str] = set()
        self._expiries: list[tuple[float, str]] = []
        self._round_at = self._own_round_at = clock()
        self._failure: StoreError | None = None
        self._unread: StoreError | None = None
        self._unswept: dict[str, StoreError] = {}

    @classmethod
    def by(
        cls,
        spreading: Spreading,
        settings: QueueSettings,
        clock: Callable[[], float],
        registry: Registry | None = None,
    ) -> Sweeping:
        """The sweep that the settings want."""
        interval, lease = settings.job_requeue_interval, settings.job_expire_interval
        return cls(spreading, interval / 1000, lease / 1000, clock, registry)

    @property
    def due_at(self) -> float:
        """When the next sweep is due."""
        first = self._expiries[0][0] if self._expiries else self._round_at
        return min(first, self._round_at)

    def sweep(self) -> Flow[int]:
        """Do what is due; returns the number of expired leases.

        Raises a `StoreError` as long as there are types that could not be swept, or it is not known
        which there are; the others are swept all the same.
        """
        now = self._clock()
        self._failure = None
        if now < self._round_at:
            due: list[str] = []
            while self._expiries and self._expiries[0][0] <= now:
                due.append(heapq.heappop(self._expiries)[1])
            # One check without effect is enough for a type and an interval.
            self._looked_at.update(due)
            return self._result((yield from self._look_at(dict.fromkeys(due, 0))))
        self._round_at = max(self._round_at + self._interval, now)
        claim = yield from self._registry.claim(max(1, round(self._interval * 1000 * _HOLD)))
        self._unread = claim.failure
        if claim.failure is None:
            yield from self._registry.keep_up(claim)
        if claim.granted:
            total = yield from self._round()
        elif claim.failure is not None and now >= self._own_round_at:
            self._own_round_at = now + _OWN_ROUND * self._interval
            total = yield from self._round()
        else:
            self._expiries.clear()
            total = yield from self._look_again()
        return self._result(total)

    def _round(self) -> Flow[int]:
        self._expiries.clear()
        total = 0
        known: set[str] = set()
        page, seen = Page("", {}), dict[str, int]()
        while page.cursor != "0":
            page = yield from self._registry.pages(page.cursor or "0", seen)
            self._unread = page.failure or self._unread
            ages = {
                name: age
                for queue_type, age in page.types.items()
                for name in self._spreading.shards.homes(queue_type)
            }
            known.update(ages)
            total += yield from self._look_at(
                {name: age for name, age in ages.items() if self._may_have_jobs(name, age)}
            )
        self._looked_at.clear()
        for name in (self._idle.keys() | self._vacant.keys() | self._unswept.keys()) - known:
            self._idle.pop(name, None)
            self._vacant.pop(name, None)
            self._unswept.pop(name, None)
        return total

    def _look_again(self) -> Flow[int]:
        """While another server sweeps: find out whether types can be swept that could not be."""
        if not self._unswept:
            return 0
        first = next(iter(self._unswept))
        total = yield from self._look_at({first: 0})
        if first in self._unswept:
            self._unswept[first] = self._unswept.pop(first)
        else:
            total += yield from self._look_at(dict.fromkeys(self._unswept, 0))
        return total

    def _result(self, total: int) -> int:
        failure = self._failure or next(reversed(self._unswept.values()), self._unread)
        if failure is not None:
            # The same one may be raised many times.
            raise failure.with_traceback(None)
        return total

    def _may_have_jobs(self, queue_type: str, age: int) -> bool:
        if queue_type in self._unswept:
            return True
        if queue_type in self._looked_at:
            return False
        idle = self._idle.get(queue_type)
        if idle is None:
            return True
        now = self._clock()
        registered_again = now - age / 1000 > idle.registered_at + 1
        return registered_again or now - idle.found_at >= self._idle_for

    def _look_at(self, ages: dict[str, int]) -> Flow[int]:
        """Sweep shards; which of them could not be is noted."""
        unregisters = self._unread is None
        try:
            return (
                yield from sweep_shards(
                    self._spreading,
                    ages,
                    self._vacant,
                    self._note,
                    self._fail,
                    unregisters=unregisters,
                )
            )
        except StoreError as error:
            self._failure = error
        return 0

    def _fail(self, name: str, error: StoreError) -> None:
        self._unswept.pop(name, None)
        self._unswept[name] = error

    def _note(self, queue_type: str, age: int, swept: Swept) -> None:
        now = self._clock()
        self._unswept.pop(queue_type, None)
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
