"""What a job may say of its queue's limits and of its own place: checked on its way in. Pure."""

from __future__ import annotations

from typing import Any

from sharq.identifiers import (
    MAX_LIMIT,
    MAX_PRIORITY,
    check_group,
    check_integer,
    check_time,
)
from sharq.results import REMOVE, JobOptions, Removal

_PLAIN = JobOptions()


def check_options(
    burst: Any = None,
    concurrency: Any = None,
    group: Any = None,
    cost: Any = None,
    priority: Any = None,
    delay: Any = None,
) -> JobOptions | None:
    """The options of a job; None if there are none.

    None means that a field is left out. `REMOVE` takes away what enqueues have set: it is for the
    fields of the queue only. Raises `BadArgumentException`.
    """
    options = JobOptions(
        check_limit("burst", burst),
        check_limit("concurrency", concurrency),
        check_membership(group),
        1 if cost is None else check_integer("cost", cost, 1, MAX_LIMIT),
        0 if priority is None else check_integer("priority", priority, 0, MAX_PRIORITY),
        0 if delay is None else check_time("delay", delay),
    )
    return None if options == _PLAIN else options


def check_limit(field: str, value: Any) -> int | Removal | None:
    """Return `value` if it is a valid burst or concurrency, None or `REMOVE`; raise otherwise."""
    if value is None or value is REMOVE:
        return value
    return check_integer(field, value, 1, MAX_LIMIT)


def check_membership(value: Any) -> str | Removal | None:
    """Return `value` if it is the name of a group, None or `REMOVE`; raise otherwise."""
    if value is None or value is REMOVE:
        return value
    return check_group("group", value)
