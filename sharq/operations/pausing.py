"""Pauses of a type in all its shards.

What is to be done is noted in one place before, and under a number: so a sweep does it again where
a shard has not answered, and a later pause or resume is never undone by an earlier one.
"""

from __future__ import annotations

from sharq.errors import StoreError, StoreOutcomeUnknown, WrongKind, reason_of
from sharq.operations.call import Flow
from sharq.operations.shard_calls import Pausing
from sharq.operations.spreading import Spreading
from sharq.operations.targets import TYPE, Target
from sharq.results import Removal

API = "api"
"""Who sets pauses through the API."""

WORKER = "worker"
"""Who sets pauses with a release."""

_WHOLE = Target(TYPE)


def pause_type(
    spreading: Spreading, queue_type: str, ms: int | Removal | None, reason: str
) -> Flow[None]:
    """Pause a type for `ms`, or with None until a resume; `REMOVE` resumes it.

    Raises `StoreOutcomeUnknown` if it is not known of all shards: a sweep does it again.
    """
    operations, shards = spreading.operations, spreading.shards
    if not shards.is_spread(queue_type):
        try:
            yield operations.pause(queue_type, _WHOLE, ms, reason, API)
            return
        except WrongKind:
            if not (yield from spreading.learn(queue_type, queue_type)):
                raise
    if not shards.is_spread(queue_type):
        yield operations.pause(queue_type, _WHOLE, ms, reason, API)
        return
    todo: Pausing = yield operations.begin_pausing(queue_type, ms, reason, API)
    yield from _carry_out(spreading, queue_type, todo)


def repeat_pause(spreading: Spreading, queue_type: str) -> Flow[None]:
    """Do what a pause or a resume of a type has left undone, if anything."""
    todo: Pausing | None = yield spreading.operations.pausing(queue_type)
    if todo is not None:
        yield from _carry_out(spreading, queue_type, todo)


def pause_from_worker(spreading: Spreading, queue_type: str, ms: int) -> Flow[None]:
    """Pause all shards of a type for `ms`, those that are not paused for longer."""
    operations = spreading.operations
    try:
        yield from spreading.everywhere(
            queue_type, lambda name: operations.pause(name, _WHOLE, ms, "", WORKER)
        )
    except StoreError as error:
        raise _unknown(queue_type, error) from error


def _carry_out(spreading: Spreading, queue_type: str, todo: Pausing) -> Flow[None]:
    operations = spreading.operations
    number, ms, reason, set_by = todo
    try:
        yield from spreading.everywhere(
            queue_type, lambda name: operations.pause(name, _WHOLE, ms, reason, set_by, number)
        )
    except StoreError as error:
        raise _unknown(queue_type, error) from error
    for name in spreading.shards.homes(queue_type):
        spreading.tell(name)
    # In a list: if it fails, a sweep does all of it again.
    yield [operations.pausing(queue_type, number)]


def _unknown(queue_type: str, error: StoreError) -> StoreOutcomeUnknown:
    return StoreOutcomeUnknown(
        f"Not all shards of `{queue_type}` have confirmed the pause: {reason_of(error)}."
    )
