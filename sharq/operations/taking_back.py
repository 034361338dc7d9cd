"""Taking back expired leases, in given types and shards, as flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sharq.errors import LayoutChanging, StoreError, WrongKind
from sharq.operations.call import Flow
from sharq.operations.operations import REGISTRATION_AGE, Operations
from sharq.operations.pausing import repeat_pause
from sharq.operations.sharding import type_of
from sharq.operations.spreading import Spreading
from sharq.results import Swept

_STEPS: Final = 10

SWEEP: Final = "sweep"
"""Who advances a bulk of dead letters that its server has left: whichever server sweeps."""


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
    total = 0
    vacant: dict[str, bool] = {}
    failure: StoreError | None = None
    try:
        total = yield from sweep_shards(spreading, names, vacant)
    except StoreError as first:
        failure = first
    for queue_type in types_that_are_spread(spreading, names):
        failure = (yield from complete_pause(spreading, queue_type)) or failure
    if unregisters:
        old = to_unregister(spreading, names, vacant)
        error = yield from unregister(spreading.operations, old)
        failure = failure or error
    if failure is not None:
        raise failure
    return total


def sweep_shards(
    spreading: Spreading,
    ages: Mapping[str, int],
    vacant: dict[str, bool],
    note: Callable[[str, int, Swept], None] | None = None,
    fail: Callable[[str, StoreError], None] | None = None,
) -> Flow[int]:
    """Take back the expired leases of shards, by their internal names; an unsharded type is one.

    `vacant` tells of shards whether they were when they were looked at last. `note` gets the last
    answer for each, `fail` the failure of one that was not swept. The first failure is raised.
    """
    operations = spreading.operations
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
                if isinstance(found, LayoutChanging):
                    # It has no leases then, or is left as it is: the next round looks.
                    continue
                if not isinstance(found, StoreError):
                    again += [each for each in found if each == name or each not in ages]
                    ages.update(dict.fromkeys(found, ages[name]))
                    continue
                swept = found
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


def types_that_are_spread(spreading: Spreading, names: Iterable[str]) -> list[str]:
    """The types of shards, without those that are not spread."""
    shards = spreading.shards
    types = dict.fromkeys(map(type_of, names)) if shards else ()
    return [queue_type for queue_type in types if shards.is_spread(queue_type)]


def complete_pause(spreading: Spreading, queue_type: str) -> Flow[StoreError | None]:
    """Do what a pause of all shards has left undone; the failure, if any."""
    try:
        yield from repeat_pause(spreading, queue_type)
    except StoreError as error:
        return error
    return None


def to_unregister(
    spreading: Spreading, ages: Mapping[str, int], vacant: Mapping[str, bool]
) -> list[str]:
    """The types of shards that were registered long ago, and are vacant in all their shards."""
    types = dict.fromkeys(type_of(name) for name, age in ages.items() if age >= REGISTRATION_AGE)
    return [
        queue_type
        for queue_type in types
        if all(vacant.get(name, False) for name in spreading.shards.homes(queue_type))
    ]


def unregister(operations: Operations, queue_types: Iterable[str]) -> Flow[StoreError | None]:
    """Remove types from the registry that were not registered meanwhile; the failure, if any."""
    calls = [operations.unregister(name) for name in queue_types]
    answers = (yield calls) if calls else []
    return next((each for each in answers if isinstance(each, StoreError)), None)


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
