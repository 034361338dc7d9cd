"""Request bodies and query parameters, decoded and checked for their form.

The library checks values; this module knows the fields of each route, mandatory ones, and invalid
JSON. A payload is cut out of its body as it is and never parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Raw

from sharq.codec import json_text
from sharq.endings import Ending, release_with, scope_alone
from sharq.errors import BadArgumentException, NotJson
from sharq.identifiers import (
    MAX_COUNT,
    check_identifier,
    invalid,
    is_integer,
    missing,
    unknown,
)
from sharq.results import REMOVE
from sharq_server.api import json_decoding
from sharq_server.api.json_decoding import Form

MAX_JOBS: Final = json_decoding.MAX_ITEMS
"""Jobs in one request of the bulk route, at most."""

MAX_DEQUEUED: Final = 100
"""Jobs in one answer of the dequeue route, or in one page of a listing, at most."""

MAX_QUEUES: Final = 1000
MAX_LEASES: Final = 1000
"""Queues that one page of a listing is asked for, at most."""

MAX_WAIT: Final = 30
"""Seconds for which a dequeue waits, at most."""

_PARAMETERS: Final = frozenset(("count", "wait", "request_id"))
_INTERVAL = re.compile(rb"-?[0-9]{1,11}(?:\.[0-9]{1,3})?")
_SECONDS = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,3}", re.ASCII)
_PAGE_COUNT = re.compile(r"[0-9]{1,4}", re.ASCII)
_BOUND: Final = b"max_queued_length"
_GZIP: Final = b"\x1f\x8b"
_FORM = re.compile(rb"[\w.%+-]+=")
_LEASE = re.compile(rb"\blease\b")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


class Job(msgspec.Struct, forbid_unknown_fields=True):
    """A job to enqueue.

    An empty `payload` or `interval` is a missing one: JSON text is never empty.
    """

    payload: Raw = Raw()
    job_id: Any = UNSET
    interval: Raw = Raw()
    requeue_limit: Any = None
    max_queued_length: Any = None
    burst: Any = UNSET
    concurrency: Any = UNSET
    group: Any = UNSET
    cost: Any = None
    priority: Any = None
    delay: Any = None
    queue_id: Any = UNSET
    queue_type: Any = UNSET


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the bulk route."""

    jobs: list[Raw] = []


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a route whose parameters are all in its URL."""


class Finish(msgspec.Struct):
    lease: Any = None
    cost: Any = None


class Interval(msgspec.Struct):
    interval: Raw = Raw()


class Clear(msgspec.Struct):
    purge_all: Any = None


class Release(msgspec.Struct, forbid_unknown_fields=True):
    lease: Any = None
    delay: Any = None
    count_requeue: Any = None
    cost: Any = None
    pause: Any = None
    pause_scope: Any = None


class Fail(msgspec.Struct, forbid_unknown_fields=True):
    lease: Any = None
    error: Any = None
    retry: Any = None
    delay: Any = None
    cost: Any = None
    pause: Any = None
    worker: Any = None


class Cancel(msgspec.Struct, forbid_unknown_fields=True):
    lease: Any = None


class Shards(msgspec.Struct, forbid_unknown_fields=True):
    shards: Any = UNSET


class Extend(msgspec.Struct, forbid_unknown_fields=True):
    by: Any = UNSET
    lease: Any = None


def decode(form: type[Form], body: bytes) -> Form:
    """The body as a `form`. Raises `NotJson` and `BadArgumentException`."""
    return _decode(form, body, "The body")


def decode_optional(form: type[Form], body: bytes) -> Form:
    """The same, but no body means one without fields."""
    return decode(form, body) if body else form()


def finish_of(body: bytes) -> Finish:
    """The body of a finish.

    The original does not read this body, so its clients send anything. A body that is no object is
    ignored, unless it mentions a lease: then its client relies on that.
    """
    try:
        return decode_optional(Finish, body)
    except (NotJson, BadArgumentException):
        if _LEASE.search(body.replace(b"\x00", b"")):
            raise BadArgumentException("`lease` has to be a field of a JSON object.") from None
        return Finish()


def release_of(delay: Any, count_requeue: Any, cost: Any, pause: Any, pause_scope: Any) -> Ending:
    """How a lease ends, by the fields of a release; absent ones are None.

    Raises `BadArgumentException`.
    """
    if pause is None and pause_scope is not None:
        raise scope_alone()
    return release_with(0 if delay is None else delay, count_requeue, cost, pause, pause_scope)


def purge_all(body: bytes, query: str) -> bool:
    """Whether a body or a query string asks for a purge, in any usual form of a flag.

    Raises `BadArgumentException` for another value, and if they contradict each other.
    """
    named = [value for name, value in parse_qsl(query, True) if name == "purge_all"]
    in_body = decode_optional(Clear, body).purge_all
    given = {flag_of("purge_all", value) for value in [*named, in_body] if value is not None}
    if len(given) > 1:
        raise BadArgumentException("`purge_all` is given twice, with different values.")
    return True in given


def flag_of(field: str, value: Any) -> bool:
    """A flag in any usual form: a boolean, 0 or 1, or one of these as text."""
    if isinstance(value, str):
        value = _FLAGS.get(value.lower())
    if isinstance(value, bool) or is_integer(value, 0, 1):
        return bool(value)
    raise invalid(field)


def decode_entry(entry: Raw) -> Job:
    """One of the jobs of a decoded `Bulk`."""
    return _decode(Job, bytes(entry), "A job")


def _decode(form: type[Form], text: bytes, noun: str) -> Form:
    # msgspec does not check the bytes of text that stays text.
    read = json_decoding.decode if json_decoding.is_utf8(text) else json_decoding.decode_carefully
    try:
        return read(form, text, noun)
    except NotJson:
        if text.startswith(_GZIP):
            raise NotJson(f"{noun} is gzip: send it with `Content-Encoding: gzip`.") from None
        if not _FORM.match(text):
            raise
    raise NotJson(f'{noun} is a form. A JSON object is expected, such as {{"job_id": "job-1"}}.')


def payload_of(job: Job) -> bytes:
    """The JSON text of a job's payload, as it was sent."""
    payload = bytes(job.payload)
    if not payload:
        raise missing("payload")
    return payload


def interval_of(text: Raw) -> int | float:
    """A mandatory interval (ms), judged by its text: an integer, or up to three decimals."""
    written = bytes(text)
    if not written:
        raise missing("interval")
    if not _INTERVAL.fullmatch(written):
        raise invalid("interval")
    return float(written) if b"." in written else int(written)


def options_of(job: Job) -> dict[str, Any]:
    """The optional fields of a job, as `Flows.new_job` takes them; those left out are None.

    For a value of its queue, null is `REMOVE`.
    """
    return {
        "burst": removable(job.burst),
        "concurrency": removable(job.concurrency),
        "group": removable(job.group),
        "cost": job.cost,
        "priority": job.priority,
        "delay": job.delay,
    }


def removable(value: Any) -> Any:
    """A field whose null is `REMOVE`; one that is left out is None."""
    if value is UNSET:
        return None
    return REMOVE if value is None else value


def bound_of(job: Job, payload: bytes) -> Any:
    """The bound on a queue's length that came with a job, or None.

    The field of the body takes precedence. Inside a payload that is an object, a value that is no
    length is just a part of the payload. A payload without the word in its bytes is not searched.
    """
    if job.max_queued_length is not None or _BOUND not in payload:
        return job.max_queued_length
    text = json_decoding.field_of(payload, _BOUND.decode())
    value = json_text.read(text) if text is not None and json_text.is_json(text, 0) else None
    return value if is_integer(value, 0, MAX_COUNT) else None


def entries_of(jobs: list[Raw]) -> list[Raw]:
    """Return the jobs of one request; raise if there are none or too many."""
    if not jobs:
        raise BadArgumentException("`jobs` is a mandatory parameter, with one job or more")
    if len(jobs) > MAX_JOBS:
        raise BadArgumentException(f"`jobs` has more than {MAX_JOBS} entries.")
    return jobs


def flag(field: str, value: Any, default: bool) -> bool:
    """Return a boolean field; `default` if it is absent or null."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise invalid(field)
    return value


@dataclass(frozen=True, slots=True)
class Paging:
    """The query of a listing."""

    cursor: str | None
    count: int | None
    prefix: str | None = None


def only_parameters(query: str, *known: str) -> None:
    """Raise `BadArgumentException` for another parameter: the newer routes take no others."""
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise unknown(name)


def paging(query: str) -> Paging:
    """The parameters in a listing's query string. Raises `BadArgumentException`."""
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in ("cursor", "count", "prefix"):
            continue
        if name in given:
            raise BadArgumentException(f"`{name}` is given twice.")
        given[name] = value
    count = given.get("count")
    if count is not None and not _PAGE_COUNT.fullmatch(count):
        raise invalid("count", "an integer")
    pages = None if count is None else int(count)
    return Paging(given.get("cursor"), pages, given.get("prefix"))


def with_payload(query: str) -> bool:
    """Whether a question for a job asks for its payload. Raises `BadArgumentException`."""
    return _flag(query, "payload")


def strict(query: str) -> bool:
    """Whether every node has to take writes. Raises `BadArgumentException`."""
    return _flag(query, "strict")


def _flag(query: str, wanted: str) -> bool:
    """A parameter that is true or false, false where it is not given; others are ignored."""
    values = [value for name, value in parse_qsl(query, True) if name == wanted]
    if len(values) > 1:
        raise BadArgumentException(f"`{wanted}` is given twice.")
    return bool(values) and flag_of(wanted, values[0])


@dataclass(frozen=True, slots=True)
class Wanted:
    """The query of a dequeue. `wait` is in seconds, 0 for none."""

    count: int | None
    request_id: str | None
    wait: float


def dequeue_parameters(query: str) -> Wanted:
    """The parameters in a dequeue's query string. Raises `BadArgumentException`."""
    count: int | None = None
    request_id: str | None = None
    wait = 0.0
    if query:
        seen = set()
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in _PARAMETERS:
                # As in the original: it may be there to avoid caches.
                continue
            if name in seen:
                raise BadArgumentException(f"`{name}` is given twice.")
            seen.add(name)
            if name == "count":
                count = int(value) if _COUNT.fullmatch(value) else 0
                if not 1 <= count <= MAX_DEQUEUED:
                    raise invalid("count", f"an integer from 1 to {MAX_DEQUEUED}")
            elif name == "request_id":
                request_id = check_identifier("request_id", value)
            else:
                wait = float(value) if _SECONDS.fullmatch(value) else -1.0
                if not 0 <= wait <= MAX_WAIT:
                    raise invalid("wait")
    return Wanted(count, request_id, wait)
