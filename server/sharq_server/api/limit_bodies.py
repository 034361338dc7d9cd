"""Bodies and query parameters of the routes of limits and pauses, checked for their form."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Raw

from sharq.errors import BadArgumentException
from sharq.identifiers import MAX_INTERVAL, check_group, check_integer
from sharq.results import REMOVE
from sharq_server.api import bodies

GROUP: Final = "group"
DRY_RUN: Final = "dry_run"


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Limits of a group or a type. An empty `interval` is left out: JSON text is never empty."""

    interval: Raw = Raw()
    burst: Any = UNSET
    concurrency: Any = UNSET
    reason: Any = UNSET


class QueueLimits(msgspec.Struct, forbid_unknown_fields=True):
    """Limits of a queue."""

    interval: Raw = Raw()
    burst: Any = UNSET
    concurrency: Any = UNSET
    group: Any = UNSET
    reason: Any = UNSET


class Pause(msgspec.Struct, forbid_unknown_fields=True):
    """A pause; without a duration it lasts until it is resumed."""

    duration: Any = msgspec.field(default=None, name="for")
    reason: Any = None


class Level(NamedTuple):
    """The queue or the group that a request is about; neither means the type."""

    queue_id: str | None
    group_id: str | None


def level_of(names: tuple[str, ...], query: str, *known: str) -> tuple[Level, dict[str, str]]:
    """The level of a request, and its other parameters, which are among `known`.

    `names` are those in its path. Raises `BadArgumentException`.
    """
    bodies.only_parameters(query, GROUP, *known)
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in given:
            raise BadArgumentException(f"`{name}` is given twice.")
        given[name] = value
    queue_id = names[1] if len(names) > 1 else None
    group = given.pop(GROUP, None)
    if group is None:
        return Level(queue_id, None), given
    if queue_id is not None:
        raise BadArgumentException("`group` is not for a path that names a queue.")
    return Level(None, check_group(GROUP, group)), given


def values_of(body: bytes, level: Level) -> dict[str, Any]:
    """The limits in a body, as `Limiting` takes them: null is `REMOVE`, what is left out is None.

    No body is one without fields.
    """
    if level.queue_id is None:
        form: Limits | QueueLimits = bodies.decode_optional(Limits, body)
    else:
        form = bodies.decode_optional(QueueLimits, body)
    values = {name: bodies.removable(getattr(form, name)) for name in form.__struct_fields__[1:]}
    return {"interval": _interval(form.interval), **values}


def _interval(text: Raw) -> Any:
    written = bytes(text)
    if not written:
        return None
    return REMOVE if written == b"null" else bodies.interval_of(text)


def dry_run(given: dict[str, str]) -> bool:
    """Whether a request only asks what its limits would do."""
    value = given.get(DRY_RUN)
    return value is not None and bodies.flag_of(DRY_RUN, value)


def pause_of(body: bytes) -> Pause:
    """The pause in a body, with a checked duration; no body is one without fields."""
    pause = bodies.decode_optional(Pause, body)
    if pause.duration is not None:
        check_integer("for", pause.duration, 1, MAX_INTERVAL)
    return pause
