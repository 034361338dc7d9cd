"""What a valid name, interval, limit and length is."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from sharq import _fastpath
from sharq.errors import BadArgumentException
from sharq.results import Lease

MAX_INTERVAL = 31_536_000_000
"""The longest interval, delay or extension: 365 days in milliseconds."""

MAX_LIMIT = 1_000_000
"""The largest burst, concurrency or cost."""

MAX_PAUSE = 3_600_000
"""The longest pause that a worker may set with a release: an hour in milliseconds."""

MAX_REASON_BYTES = 200
"""The length of the reason for a limit or a pause, at most."""

MAX_PRIORITY = 9
"""The highest priority of a job."""

MAX_SHARDS = 256
"""Shards that a type can have, at most."""

MAX_COUNT = 2**63 - 1
"""The largest requeue limit or queue length: what a signed 64-bit integer holds."""

is_identifier: Final = _fastpath.is_name
"""Tells whether a value is a `str` of 1 to 100 characters of ``A-Z a-z 0-9 _ -``."""

_lease_parts: Final = _fastpath.lease_parts


_NAME: Final = "1 to 100 of the characters A-Z a-z 0-9 _ -"
_TIME: Final = f"an integer from 0 to {MAX_INTERVAL} (milliseconds)"

EXPECTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("queue_type", "queue_id", "job_id", "request_id", "prefix"), _NAME),
    **dict.fromkeys(("group", "group_id"), f"{_NAME}, but not - alone"),
    "interval": f"a number from 0 to {MAX_INTERVAL} (milliseconds), with up to three decimals",
    **dict.fromkeys(("burst", "concurrency", "cost"), f"an integer from 1 to {MAX_LIMIT}"),
    "priority": f"an integer from 0 to {MAX_PRIORITY}",
    "delay": _TIME,
    **dict.fromkeys(
        ("by", "for", "duration"), f"an integer from 1 to {MAX_INTERVAL} (milliseconds)"
    ),
    "pause": f"an integer from 1 to {MAX_PAUSE} (milliseconds)",
    "pause_scope": "queue, group or type",
    "shards": f"an integer from 1 to {MAX_SHARDS}",
    "reason": f"a text of up to {MAX_REASON_BYTES} bytes in UTF-8",
    "dry_run": "true or false",
    "requeue_limit": f"an integer from -1 (no limit) to {MAX_COUNT}",
    "max_queued_length": f"an integer from 0 to {MAX_COUNT}",
    "payload": "any JSON value",
    "lease": "the token of a lease of this job, queue_type/queue_id/job_id/number",
    "leases": "a list of 1 to 1000 lease tokens",
    "items": "a list of 1 to 1000 objects, each with the token of a lease",
    "jobs": "a list of 1 to 1000 jobs",
    "count_requeue": "true or false",
    "error": "an object with the texts type, message and trace, or some of them",
    "retry": "true or false",
    "worker": "a text of 1 to 100 printable characters",
    "filter": "an object with queue_id, reason, error and before, or some of them",
    "all": "true",
    "limit": f"an integer from 1 to {MAX_COUNT}",
    "before": f"an integer from 0 to {MAX_COUNT} (milliseconds since 1970)",
    "kind": "retry or delete",
    "purge_all": "true or false",
    "strict": "true or false",
    "cursor": "the cursor of another page of this listing",
    "wait": "seconds from 0 to 30, with up to six decimals",
    "credit": "an integer from 0 to 10000",
    "op": (
        "subscribe, credit, unsubscribe, finish, release, fail, extend, cancel, enqueue, dequeue, "
        "watch or ping"
    ),
    "mode": "deliver or notify",
    "topics": "up to 8 of types, type/<queue_type>, queue/<queue_type>/<queue_id>, workers, "
    "tail/<queue_type>, holder/<lease>",
    "on_disconnect": "keep or release",
    "id": "a string, number, true, false or null, of up to 128 bytes",
}
"""What is valid in each field."""


def ascii_word(text: str) -> str:
    """A text as a word of ASCII without spaces, and never "-", which stands for none."""
    # A hyphen is never encoded by itself.
    return "%2D" if text == "-" else quote(text, safe="")


def invalid(field: str, expected: str | None = None) -> BadArgumentException:
    """The original's message for a field with an invalid value, and what would be valid."""
    return BadArgumentException(f"`{field}` has an invalid value.", expected or EXPECTED.get(field))


def missing(field: str) -> BadArgumentException:
    """The original's message for a field that has to be there, and what would be valid."""
    return BadArgumentException(f"`{field}` is a mandatory parameter", EXPECTED.get(field))


def unknown(name: str) -> BadArgumentException:
    """The error for a field or parameter with a name that a client chose."""
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    # Half a surrogate pair cannot be sent as it is.
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return BadArgumentException(f"`{shown}` is not a known parameter.")


def is_integer(value: Any, low: int, high: int) -> bool:
    """Tell whether `value` is an `int` (not a `bool`) with low ≤ value ≤ high."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def check_identifier(field: str, value: Any) -> str:
    """Return `value` as a plain `str` if it is a valid name.

    Raises `BadArgumentException` otherwise.
    """
    if not is_identifier(value):
        raise invalid(field, EXPECTED.get(field, _NAME))
    # Not str(value): an enumeration's text shows its class.
    text: str = value if type(value) is str else str.__str__(value)
    return text


def check_group(field: str, value: Any) -> str:
    """Return `value` if it is a valid name of a group: as `check_identifier`, but not "-".

    A hyphen alone stands for a removal in the calls of the store.
    """
    if value == "-":
        raise invalid(field)
    return check_identifier(field, value)


def check_integer(field: str, value: Any, low: int, high: int) -> int:
    """Return `value` if it is an integer between the bounds; raise otherwise."""
    if type(value) is int and low <= value <= high:
        return value
    if not is_integer(value, low, high):
        raise invalid(field, EXPECTED.get(field) or f"an integer from {low} to {high}")
    return int(value)


def check_time(field: str, value: Any) -> int:
    """Return `value` if it is a valid time span in whole milliseconds, 0 to 365 days."""
    return check_integer(field, value, 0, MAX_INTERVAL)


def check_interval(field: str, value: Any) -> float:
    """Return `value` if it is a valid interval: milliseconds, 0 to 365 days.

    It is an `int`, a `float` or a `Decimal` with up to three decimals; a whole one becomes an
    `int`, any other a `float`. Raises `BadArgumentException` otherwise.
    """
    if type(value) is int and 0 <= value <= MAX_INTERVAL:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise invalid(field, EXPECTED["interval"])
    # NaN is in no range; a Decimal of that kind may not even be compared.
    if (isinstance(value, Decimal) and value.is_nan()) or not 0 <= value <= MAX_INTERVAL:
        raise invalid(field, EXPECTED["interval"])
    if isinstance(value, Decimal):
        numerator, denominator = value.as_integer_ratio()
        thousandths, rest = divmod(1000 * numerator, denominator)
        exact = rest == 0
    else:
        thousandths = round(value * 1000)
        exact = thousandths / 1000 == value
    if not exact:
        raise invalid(field, EXPECTED["interval"])
    return thousandths / 1000 if thousandths % 1000 else thousandths // 1000


def check_requeue_limit(value: Any) -> int:
    """Return `value` if it is a valid requeue limit: -1 (none) or a count."""
    return check_integer("requeue_limit", value, -1, MAX_COUNT)


def find_lease(token: Any) -> Lease | None:
    """Return the parts of a well-formed lease token, or None."""
    parts = _lease_parts(token)
    return None if parts is None else Lease._make(parts)


def check_lease(token: Any) -> Lease:
    """Return the parts of a well-formed lease token; raise `BadArgumentException` otherwise."""
    lease = find_lease(token)
    if lease is None:
        raise invalid("lease")
    return lease


# Names are checked in the original's order, since that decides which error is raised.


def check_queue(queue_type: Any, queue_id: Any) -> tuple[str, str]:
    """Return the names of a queue, as `check_identifier` does each."""
    queue_id = check_identifier("queue_id", queue_id)
    return check_identifier("queue_type", queue_type), queue_id


def check_job(queue_type: Any, queue_id: Any, job_id: Any) -> tuple[str, str, str]:
    """Return the names of a job, as `check_identifier` does each."""
    job_id = check_identifier("job_id", job_id)
    return *check_queue(queue_type, queue_id), job_id


def check_leased(queue_type: Any, queue_id: Any, job_id: Any, lease: Any) -> Lease:
    """The lease that is meant; its `n` is empty (any lease) if no token is given.

    Raises `BadArgumentException`.
    """
    job = check_job(queue_type, queue_id, job_id)
    if lease is None:
        return Lease(*job, n="")
    meant = check_lease(lease)
    if meant[:3] != job:
        raise invalid("lease")
    return meant
