"""Which types a server sweeps, and when: so that idle ones cost nothing. Pure.

A round is claimed in the store, so only one of many servers makes it. A round checks the types that
may have jobs. A type without jobs is skipped until it is registered again, or until a job that came
meanwhile could have expired. Between the rounds a type is checked when its next known lease runs
out. In a cluster each node's types are looked at by themselves, so that a node which hangs delays
no types of others.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from typing import Final, NamedTuple

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Flow
from sharq.operations.lanes import Lanes, Things
from sharq.operations.registry import Registry
from sharq.operations.spreading import Spreading
from sharq.operations.taking_back import (
    complete_pause,
    sweep_shards,
    to_unregister,
    types_that_are_spread,
    unregister,
)
from sharq.results import Swept

_LONGEST_IDLE: Final = 60.0
_HOLD: Final = 0.9
_OWN_ROUND: Final = 10
"""Intervals between rounds of a server that has not claimed them, while the registry is away."""

_SPREAD: Final = 0.01

_REGISTRY: Final = ("registry",)
"""The lane of what is to be done in the registry."""

PlaceOf = Callable[[str], str | None]
"""The name of the node that has a shard, by its internal name; None while it is not known."""


class _Idle(NamedTuple):
    """When a type was found without jobs, and when it was registered; by the same clock."""

    found_at: float
    registered_at: float


class Sweeping:
    """The sweep of one server; `clock` is monotonic, times are in seconds.

    `interval` is the time between two rounds, `lease` the length of a lease. While the node of the
    `registry` is away and others are not, the round is claimed at another one, and is for the types
    that are known here. Other servers may know others: each makes a round of its own now and then.

    With `place_of` what is due is done for each node by itself. What is not done in a while goes on
    by itself: what is due next is not held up, nor is it done twice at a time for any type.
    """

    def __init__(
        self,
        spreading: Spreading,
        interval: float,
        lease: float,
        clock: Callable[[], float],
        registry: Registry | None = None,
        place_of: PlaceOf | None = None,
    ) -> None:
        self._place_of = place_of
        self._lanes = Lanes()
        self._total = 0
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
        self._total = 0
        if now < self._round_at:
            due: list[str] = []
            while self._expiries and self._expiries[0][0] <= now:
                due.append(heapq.heappop(self._expiries)[1])
            # One check without effect is enough for a type and an interval.
            self._looked_at.update(due)
            yield from self._look_at(dict.fromkeys(due, 0))
            return self._result()
        self._round_at = max(self._round_at + self._interval, now)
        claim = yield from self._registry.claim(max(1, round(self._interval * 1000 * _HOLD)))
        self._unread = claim.failure
        if claim.failure is None:
            yield from self._registry.keep_up(claim)
        if claim.granted:
            yield from self._round()
        elif claim.failure is not None and now >= self._own_round_at:
            self._own_round_at = now + _OWN_ROUND * self._interval
            yield from self._round()
        else:
            self._expiries.clear()
            yield from self._look_again()
        return self._result()

    def _round(self) -> Flow[None]:
        self._expiries.clear()
        known: set[str] = set()
        walk = self._registry.walk(self._unread)
        while (page := (yield from walk.next())) is not None:
            self._unread = page.failure or self._unread
            ages = {
                name: age
                for queue_type, age in page.types.items()
                for name in self._spreading.shards.homes(queue_type)
            }
            known.update(ages)
            ages = {name: age for name, age in ages.items() if self._may_have_jobs(name, age)}
            yield from self._look_at(ages)
            yield from self._complete_pauses(ages)
            if self._unread is None:
                yield from self._unregister(ages)
        self._looked_at.clear()
        for name in (self._idle.keys() | self._vacant.keys() | self._unswept.keys()) - known:
            self._idle.pop(name, None)
            self._vacant.pop(name, None)
            self._unswept.pop(name, None)

    def _look_again(self) -> Flow[None]:
        """While another server sweeps: find out whether types can be swept that could not be."""
        if not self._unswept:
            return
        first = next(iter(self._unswept))
        yield from self._look_at({first: 0})
        if first in self._unswept:
            self._unswept[first] = self._unswept.pop(first)
        else:
            yield from self._look_at(dict.fromkeys(self._unswept, 0))

    def _result(self) -> int:
        failure = self._failure or next(reversed(self._unswept.values()), self._unread)
        self._failure = None
        if failure is not None:
            # The same one may be raised many times.
            raise failure.with_traceback(None)
        return self._total

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

    def _look_at(self, ages: dict[str, int]) -> Flow[None]:
        """Sweep shards; which of them could not be is noted."""
        now = self._clock()
        if self._place_of is None:
            yield from self._sweep(ages)
            return
        lanes: dict[Hashable, Things] = {}
        for name, age in ages.items():
            lanes.setdefault(self._place_of(name), {})[name] = now - age / 1000
        yield from self._lanes.do(self._sweep_lane, lanes)

    def _sweep_lane(self, registered: Things) -> Flow[bool]:
        now = self._clock()
        return (
            yield from self._sweep(
                {name: round((now - at) * 1000) for name, at in registered.items()}
            )
        )

    def _sweep(self, ages: dict[str, int]) -> Flow[bool]:
        try:
            total = yield from sweep_shards(
                self._spreading, ages, self._vacant, self._note, self._fail
            )
        except StoreError as error:
            return self._noted(error)
        self._total += total
        return True

    def _complete_pauses(self, ages: dict[str, int]) -> Flow[None]:
        """Do what pauses of types have left undone in some of their shards."""
        types = types_that_are_spread(self._spreading, ages)
        if self._place_of is not None:
            lanes: dict[Hashable, Things] = {("pause", name): {name: 0.0} for name in types}
            yield from self._lanes.do(self._complete, lanes)
        else:
            yield from self._complete(types)

    def _complete(self, types: Iterable[str]) -> Flow[bool]:
        answers = True
        for queue_type in types:
            failure = yield from complete_pause(self._spreading, queue_type)
            answers = self._noted(failure) and answers
        return answers

    def _unregister(self, ages: dict[str, int]) -> Flow[None]:
        """Remove vacant types from the registry, if they have been there for long."""
        old = to_unregister(self._spreading, ages, self._vacant)
        if self._place_of is None:
            yield from self._remove(old)
        elif old:
            yield from self._lanes.do(self._remove, {_REGISTRY: dict.fromkeys(old, 0.0)})

    def _remove(self, types: Iterable[str]) -> Flow[bool]:
        return self._noted((yield from unregister(self._spreading.operations, types)))

    def _noted(self, failure: StoreError | None) -> bool:
        """Note a failure, if it is one; returns whether the node that was asked answers."""
        if failure is not None:
            self._failure = failure
        return not isinstance(failure, StoreUnavailable)

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
