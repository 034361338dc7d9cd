"""What comes in: request bodies and query parameters, decoded and checked for their form.

What a value may be is the library's to say; here are the fields that a route knows, those it
insists on, and JSON that is none. A payload is cut out of its body as it is and never parsed.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Raw

from sharq.errors import BadArgumentException, NotJson
from sharq.identifiers import MAX_COUNT, check_identifier, invalid, is_integer

MAX_JOBS: Final = 1000
"""Jobs in one request of the bulk route, at most."""

MAX_DEQUEUED: Final = 100
"""Jobs in one answer of the dequeue route, at most."""

_COUNT = re.compile(r"[0-9]{1,3}", re.ASCII)
_BOUND: Final = b"max_queued_length"


class Job(msgspec.Struct, forbid_unknown_fields=True):
    """A job to enqueue. An empty `payload` is a missing one: JSON text is never empty."""

    payload: Raw = Raw()
    job_id: Any = UNSET
    interval: Any = UNSET
    requeue_limit: Any = None
    max_queued_length: Any = None
    queue_id: Any = UNSET
    queue_type: Any = UNSET


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the bulk route."""

    jobs: list[Raw] = []


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a route whose parameters are all in its URL."""


class Finish(msgspec.Struct):
    lease: Any = None


class Interval(msgspec.Struct):
    interval: Any = UNSET


class Clear(msgspec.Struct):
    purge_all: Any = None


class Release(msgspec.Struct, forbid_unknown_fields=True):
    lease: Any = None
    delay: Any = None
    count_requeue: Any = None


class Extend(msgspec.Struct, forbid_unknown_fields=True):
    by: Any = UNSET
    lease: Any = None


_Body = TypeVar("_Body", bound=msgspec.Struct)

_decoders: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {
    form: msgspec.json.Decoder(form)
    for form in (Job, Bulk, Nothing, Finish, Interval, Clear, Release, Extend)
}
_object_decoder: Final = msgspec.json.Decoder(dict[str, Raw])


def decode(form: type[_Body], body: bytes) -> _Body:
    """The body as a `form`. Raises `NotJson` and `BadArgumentException`."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise NotJson(f"The body is not UTF-8: byte {error.start}.") from None
    return _decode(form, body, "The body")


def decode_optional(form: type[_Body], body: bytes) -> _Body:
    """The same, where no body at all means one without fields."""
    return decode(form, body) if body else form()


def decode_entry(entry: Raw) -> Job:
    """One of the jobs of a decoded `Bulk`."""
    return _decode(Job, bytes(entry), "A job")


def mandatory(field: str, value: Any) -> Any:
    """Return `value`; raise where the body did not have it."""
    if value is UNSET:
        raise BadArgumentException(f"`{field}` is a mandatory parameter")
    return value


def payload_of(job: Job) -> bytes:
    """The JSON text of a job's payload, as it was sent."""
    payload = bytes(job.payload)
    if not payload:
        raise BadArgumentException("`payload` is a mandatory parameter")
    return payload


def bound_of(job: Job, payload: bytes) -> Any:
    """The bound on a queue's length that came with a job, or None.

    The field of the body wins. Inside a payload that is an object, what is no length is just a
    part of the payload, and a payload whose bytes do not have the word is not looked into.
    """
    if job.max_queued_length is not None or _BOUND not in payload:
        return job.max_queued_length
    try:
        value = msgspec.json.decode(_object_decoder.decode(payload)[_BOUND.decode()])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    return value if is_integer(value, 0, MAX_COUNT) else None


def entries_of(bulk: Bulk) -> list[Raw]:
    """The jobs of a bulk request."""
    if not bulk.jobs:
        raise BadArgumentException("`jobs` is a mandatory parameter, with one job or more")
    if len(bulk.jobs) > MAX_JOBS:
        raise BadArgumentException(f"`jobs` has more than {MAX_JOBS} entries.")
    return bulk.jobs


def flag(field: str, value: Any, default: bool) -> bool:
    """Return a boolean field; `default` where it is absent or null."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise invalid(field)
    return value


def dequeue_parameters(query: str) -> tuple[int | None, str | None]:
    """`count` and `request_id` of a dequeue's query string, None where it has none."""
    count: int | None = None
    request_id: str | None = None
    if query:
        seen = set()
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in seen:
                raise BadArgumentException(f"`{_shown(name)}` is given twice.")
            seen.add(name)
            if name == "count":
                count = int(value) if _COUNT.fullmatch(value) else 0
                if not 1 <= count <= MAX_DEQUEUED:
                    raise invalid("count")
            elif name == "request_id":
                request_id = check_identifier("request_id", value)
            else:
                raise BadArgumentException(f"`{_shown(name)}` is not a known parameter.")
    return count, request_id


def _decode(form: type[_Body], body: bytes, noun: str) -> _Body:
    try:
        try:
            decoded = _decoders[form].decode(body)
        except msgspec.ValidationError:
            raise _explained(form, body, noun) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"{noun} is not valid JSON: {error}.") from None
    except RecursionError:
        raise BadArgumentException(f"{noun} nests too deep.") from None
    assert isinstance(decoded, form)
    return decoded


def _explained(form: type[_Body], body: bytes, noun: str) -> BadArgumentException:
    """Why `body` is no `form`. What is no JSON at all raises on."""
    try:
        values = _object_decoder.decode(body)
    except msgspec.ValidationError:
        return BadArgumentException(f"{noun} has to be a JSON object.")
    known = {field.encode_name: field.type for field in msgspec.structs.fields(form)}
    for name in values:
        if name not in known:
            return BadArgumentException(f"`{_shown(name)}` is not a known parameter.")
    for name, value in values.items():
        try:
            msgspec.json.decode(value, type=known[name])
        except msgspec.ValidationError:
            return invalid(name)
    return BadArgumentException(f"{noun} has an invalid value.")


def _shown(name: str) -> str:
    """A name that a client chose, for a message."""
    return name if len(name) <= 100 else f"{name[:100]}…"
