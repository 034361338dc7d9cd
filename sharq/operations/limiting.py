"""Limits and pauses of queues, groups and types: arguments checked, then calls of the store.

Each flow takes the type, and the queue or the group by its name; neither means the whole type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from sharq.errors import BadArgumentException
from sharq.identifiers import (
    MAX_INTERVAL,
    MAX_REASON_BYTES,
    check_identifier,
    check_integer,
    check_interval,
    invalid,
)
from sharq.operations import sums
from sharq.operations.call import Call, Flow
from sharq.operations.job_options import check_limit, check_membership
from sharq.operations.operations import Operations
from sharq.operations.pausing import API, pause_type
from sharq.operations.sharding import is_shard
from sharq.operations.spreading import Spreading, sharded
from sharq.operations.targets import QUEUE, TYPE, Target, target_of
from sharq.results import REMOVE, Estimate, Limits, LimitValues, Removal

T = TypeVar("T")

_NOTHING: Final = LimitValues()


class Limiting:
    """The flows of limits and pauses; `register` enters a type in the registry, if it is due."""

    def __init__(
        self,
        operations: Operations,
        register: Callable[[str], Flow[None]],
        spreading: Spreading | None = None,
    ) -> None:
        self._operations = operations
        self._register = register
        self._spreading = spreading or Spreading(operations)

    def set(
        self, queue_type: Any, queue_id: Any = None, group_id: Any = None, **values: Any
    ) -> Flow[None]:
        """Set limits, give them back (`REMOVE`) or leave them (None), see `LimitValues`."""
        queue_type, target = _level(queue_type, queue_id, group_id)
        checked = _checked(target, values)
        yield from self._register(queue_type)
        yield from self._set(queue_type, target, checked)

    def reset(self, queue_type: Any, queue_id: Any = None, group_id: Any = None) -> Flow[None]:
        """Give all limits back."""
        queue_type, target = _level(queue_type, queue_id, group_id)
        group = REMOVE if target.kind == QUEUE else None
        values = LimitValues(REMOVE, REMOVE, REMOVE, group, REMOVE)
        yield from self._set(queue_type, target, values)

    def show(self, queue_type: Any, queue_id: Any = None, group_id: Any = None) -> Flow[Limits]:
        """What is in force, who set it, and what holds the work back."""
        queue_type, target = _level(queue_type, queue_id, group_id)
        if target.kind == QUEUE:
            return (
                yield from self._spreading.at_home(
                    queue_type,
                    target.name,
                    lambda name: self._operations.show_limits(name, target),
                )
            )
        return sums.limits(
            (
                yield from self._spreading.everywhere(
                    queue_type, lambda name: self._operations.show_limits(name, target)
                )
            )
        )

    def estimate(
        self, queue_type: Any, queue_id: Any = None, group_id: Any = None, **values: Any
    ) -> Flow[Estimate]:
        """How long the work would take with other limits; changes nothing."""
        queue_type, target = _level(queue_type, queue_id, group_id)
        checked = _checked(target, values)
        return (
            yield from self._decided(
                queue_type, target, lambda name: self._operations.estimate(name, target, checked)
            )
        )

    def pause(
        self,
        queue_type: Any,
        queue_id: Any = None,
        group_id: Any = None,
        duration: Any = None,
        reason: Any = None,
    ) -> Flow[None]:
        """Dispatch nothing for `duration` ms or, with None, until a resume."""
        queue_type, target = _level(queue_type, queue_id, group_id)
        if duration is not None:
            duration = check_integer("duration", duration, 1, MAX_INTERVAL)
        text = "" if reason is None else check_reason(reason)
        yield from self._register(queue_type)
        yield from self._pause(queue_type, target, duration, text)

    def resume(self, queue_type: Any, queue_id: Any = None, group_id: Any = None) -> Flow[None]:
        """End a pause."""
        queue_type, target = _level(queue_type, queue_id, group_id)
        yield from self._pause(queue_type, target, REMOVE, "")

    def _set(self, queue_type: str, target: Target, values: LimitValues) -> Flow[None]:
        def make_call(name: str) -> Call[bool]:
            if is_shard(name) and values.group not in (None, REMOVE):
                raise sharded(queue_type, "limits of a group")
            return self._operations.set_limits(name, target, values)

        yield from self._decided(queue_type, target, make_call)

    def _pause(
        self, queue_type: str, target: Target, ms: int | Removal | None, reason: str
    ) -> Flow[None]:
        if target.kind == TYPE:
            yield from pause_type(self._spreading, queue_type, ms, reason)
            return
        yield from self._decided(
            queue_type,
            target,
            lambda name: self._operations.pause(name, target, ms, reason, API),
        )

    def _decided(
        self, queue_type: str, target: Target, make_call: Callable[[str], Call[T]]
    ) -> Flow[T]:
        """A call at the home of a queue, or for a group or a type that is not spread."""

        def in_one_place(name: str) -> Call[T]:
            if is_shard(name) and target.kind != QUEUE:
                raise sharded(queue_type, f"limits of a {target.kind}")
            return make_call(name)

        return (yield from self._spreading.at_home(queue_type, target.name, in_one_place))


def _level(queue_type: Any, queue_id: Any, group_id: Any) -> tuple[str, Target]:
    target = target_of(queue_id, group_id)
    return check_identifier("queue_type", queue_type), target


def _checked(target: Target, values: dict[str, Any]) -> LimitValues:
    given = LimitValues(**values)
    if target.kind != QUEUE and given.group is not None:
        raise BadArgumentException(f"`group` is a value of a queue, and not of a {target.kind}.")
    checked = LimitValues(
        _interval(given.interval),
        check_limit("burst", given.burst),
        check_limit("concurrency", given.concurrency),
        check_membership(given.group),
        _reason(given.reason),
    )
    if checked == _NOTHING:
        fields = [f"`{name}`" for name in LimitValues._fields if name != "group"]
        if target.kind == QUEUE:
            fields.insert(3, "`group`")
        raise BadArgumentException(f"Nothing is given: name one or more of {', '.join(fields)}.")
    return checked


def _interval(value: Any) -> float | Removal | None:
    if value is None or value is REMOVE:
        removal: Removal | None = value
        return removal
    return check_interval("interval", value)


def _reason(value: Any) -> str | Removal | None:
    if value is None or value is REMOVE:
        removal: Removal | None = value
        return removal
    # No reason is one that was given back.
    return check_reason(value) or REMOVE


def check_reason(value: Any) -> str:
    """Return `value` if it is a text of up to 200 bytes in UTF-8; raise otherwise."""
    if not isinstance(value, str):
        raise invalid("reason")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise invalid("reason") from None
    if size > MAX_REASON_BYTES:
        raise invalid("reason")
    return str.__str__(value)
