"""The frames of push, `sharq.v1.json`: a client's decoded and checked, the server's encoded. Pure.

Jobs and results come as JSON text and are put into their frames as they are. docs/push-protocol.md
explains each frame.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Raw

from sharq import results
from sharq.codec import json_text
from sharq.endings import Ending, fail_with, finish_with
from sharq.errors import BadArgumentException, NotJson, SharqException, StoreError
from sharq.failures import check_worker
from sharq.identifiers import (
    MAX_INTERVAL,
    check_identifier,
    check_integer,
    check_leased,
    invalid,
)
from sharq.settings.tokens import OPERATIONS
from sharq_server.api import bodies, json_decoding, replies
from sharq_server.api.json_decoding import mandatory
from sharq_server.watch.topics import topics_of

PROTOCOL: Final = "sharq.v1.json"

LIMITS: Final = {
    "max_jobs": bodies.MAX_JOBS,
    "max_leases": 1000,
    "max_subscriptions": 1000,
    "max_credit": 10_000,
}
"""The limits of a frame and of a connection."""

_MAX_ID_BYTES: Final = 128

_json = msgspec.json.Encoder().encode


class BadFrame(Exception):
    """The frame is not valid. `id`: that of the frame as it came, if it has a valid one."""

    def __init__(self, error: SharqException, frame_id: bytes | None) -> None:
        super().__init__(error.message)
        self.code = error.code
        self.message = error.message
        self.more = replies.more_about(error)
        self.id = frame_id


class _Frame(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    op: Any = UNSET
    raw_id: Raw = msgspec.field(default=Raw(), name="id")

    @property
    def id(self) -> bytes | None:
        """The frame's own name, a JSON scalar as it came."""
        return bytes(self.raw_id) or None

    def check(self) -> None:
        """Raise `BadArgumentException` for a field that is missing or not valid."""


class Subscribe(_Frame):
    queue_type: Any = UNSET
    mode: Any = None
    credit: Any = UNSET
    leases: Any = None
    on_disconnect: Any = None
    worker: Any = None

    def check(self) -> None:
        check_identifier("queue_type", mandatory("queue_type", self.queue_type))
        check_integer("credit", mandatory("credit", self.credit), 0, LIMITS["max_credit"])
        self.mode = _word("mode", self.mode, ("deliver", "notify"))
        self.on_disconnect = _word("on_disconnect", self.on_disconnect, ("keep", "release"))
        self.worker = check_worker(self.worker)
        self.leases = [] if self.leases is None else _leases(self.leases, 0)


class Credit(_Frame):
    queue_type: Any = None
    credit: Any = UNSET

    def check(self) -> None:
        if self.queue_type is not None:
            check_identifier("queue_type", self.queue_type)
        check_integer("credit", mandatory("credit", self.credit), 0, LIMITS["max_credit"])


class Unsubscribe(_Frame):
    queue_type: Any = UNSET

    def check(self) -> None:
        check_identifier("queue_type", mandatory("queue_type", self.queue_type))


class _Ends(_Frame):
    """Ends leases: `leases` in one way, by the other fields, or `items`, each in its own.

    When it is checked, `leases` has all tokens, and `items` the one way, or that of each; None is
    one that is not valid.
    """

    leases: Any = UNSET
    items: Any = UNSET

    def check(self) -> None:
        values = {name: getattr(self, name) for name in self._values()}
        if self.items is UNSET:
            self.leases = _leases(mandatory("leases", self.leases), 1)
            self.items = self._ending(values)
            return
        if self.leases is not UNSET:
            raise BadArgumentException("`leases` and `items` cannot be given together.")
        for name, value in values.items():
            if value is not None:
                raise BadArgumentException(f"`{name}` is a field of each of the `items`.")
        items = _items(self.items)
        self.leases = [_token_of(item) for item in items]
        self.items = [self._ending_of(item) for item in items]

    @classmethod
    def _values(cls) -> tuple[str, ...]:
        """The fields that say how a lease ends."""
        return tuple(name for name in cls.__struct_fields__ if name not in _Ends.__struct_fields__)

    def _ending(self, values: dict[str, Any]) -> Ending:
        """The way that all fields tell together. Raises `BadArgumentException`."""
        raise NotImplementedError

    def _ending_of(self, item: Any) -> Ending | None:
        names = self._values()
        if not isinstance(item, dict) or not item.keys() <= {"lease", *names}:
            return None
        try:
            return self._ending({name: item.get(name) for name in names})
        except BadArgumentException:
            return None


class Finish(_Ends):
    cost: Any = None

    def _ending(self, values: dict[str, Any]) -> Ending:
        return finish_with(**values)


class Release(_Ends):
    delay: Any = None
    count_requeue: Any = None
    cost: Any = None
    pause: Any = None
    pause_scope: Any = None

    def _ending(self, values: dict[str, Any]) -> Ending:
        return bodies.release_of(**values)


class Fail(_Ends):
    error: Any = None
    retry: Any = None
    delay: Any = None
    cost: Any = None
    pause: Any = None
    worker: Any = None

    def _ending(self, values: dict[str, Any]) -> Ending:
        return fail_with(**values)

    def by(self, worker: str | None) -> None:
        """Let `worker` be the one that failed, where no other name is told."""
        if worker is None:
            return
        if isinstance(self.items, Ending):
            self.items = _failed_by(worker, self.items)
        else:
            self.items = [each and _failed_by(worker, each) for each in self.items]


class Extend(_Frame):
    leases: Any = UNSET
    by: Any = UNSET

    def check(self) -> None:
        self.leases = _leases(mandatory("leases", self.leases), 1)
        check_integer("by", mandatory("by", self.by), 1, MAX_INTERVAL)


class Cancel(_Frame):
    jobs: Any = UNSET

    def check(self) -> None:
        values = mandatory("jobs", self.jobs)
        if not isinstance(values, list | tuple) or not values:
            raise invalid("jobs")
        if len(values) > LIMITS["max_jobs"]:
            raise BadArgumentException(f"`jobs` has more than {LIMITS['max_jobs']} entries.")
        self.jobs = [_named_job(value) for value in values]


class Enqueue(_Frame):
    jobs: list[Raw] = []

    def check(self) -> None:
        bodies.entries_of(self.jobs)


class Dequeue(_Frame):
    queue_type: Any = UNSET
    count: Any = None
    request_id: Any = None

    def check(self) -> None:
        check_identifier("queue_type", mandatory("queue_type", self.queue_type))
        count = 1 if self.count is None else self.count
        self.count = check_integer("count", count, 1, bodies.MAX_DEQUEUED)
        if self.request_id is not None:
            check_identifier("request_id", self.request_id)


class Watch(_Frame):
    topics: Any = UNSET

    def check(self) -> None:
        self.topics = topics_of(mandatory("topics", self.topics))


class Ping(_Frame):
    pass


Frame = (
    Subscribe
    | Credit
    | Unsubscribe
    | Finish
    | Release
    | Fail
    | Extend
    | Cancel
    | Enqueue
    | Dequeue
    | Watch
    | Ping
)

_FORMS: Final[dict[Any, type[Any]]] = {form.__name__.lower(): form for form in get_args(Frame)}


class _Op(msgspec.Struct):
    op: Any = UNSET
    raw_id: Raw = msgspec.field(default=Raw(), name="id")


def decode(text: str | bytes) -> Frame:
    """The frame that `text` is. Raises `BadFrame`."""
    frame_id: bytes | None = None
    try:
        data = _utf8(text)
        head = json_decoding.decode(_Op, data, "The frame", later="jobs")
        frame_id = _id_of(head.raw_id)
        op = mandatory("op", head.op)
        form = _FORMS.get(op) if isinstance(op, str) else None
        if form is None:
            raise invalid("op")
        frame: Frame = json_decoding.decode(form, data, "The frame")
        frame.check()
    except SharqException as error:
        raise BadFrame(error, frame_id) from None
    return frame


def _utf8(text: str | bytes) -> bytes:
    try:
        if isinstance(text, str):
            return text.encode()
        text.decode()
    except UnicodeDecodeError as error:
        raise NotJson(f"The frame is not UTF-8: byte {error.start}.") from None
    except UnicodeEncodeError:
        raise NotJson("The frame is not UTF-8.") from None
    return text


def _id_of(raw: Raw) -> bytes | None:
    """The `id` of a frame as it came; a JSON scalar."""
    frame_id = bytes(raw)
    if not frame_id:
        return None
    if frame_id[:1] in b"[{" or len(frame_id) > _MAX_ID_BYTES or _has_half_a_pair(frame_id):
        raise invalid("id")
    return frame_id


def _has_half_a_pair(frame_id: bytes) -> bool:
    """Whether a strict reader of the answer could not read its id."""
    if b"\\u" not in frame_id:
        return False
    try:
        json_text.read(frame_id).encode()
    except UnicodeEncodeError:
        return True
    return False


def _leases(values: Any, fewest: int) -> list[str]:
    """Lease tokens; an invalid one gets its own result."""
    if not isinstance(values, list | tuple) or len(values) < fewest:
        raise invalid("leases")
    if len(values) > LIMITS["max_leases"]:
        raise BadArgumentException(f"`leases` has more than {LIMITS['max_leases']} entries.")
    return [value if isinstance(value, str) else "" for value in values]


def _items(values: Any) -> list[Any]:
    """Items of a frame; an invalid one gets its own result."""
    if not isinstance(values, list | tuple) or not values:
        raise invalid("items")
    if len(values) > LIMITS["max_leases"]:
        raise BadArgumentException(f"`items` has more than {LIMITS['max_leases']} entries.")
    return list(values)


def _token_of(item: Any) -> str:
    token = item.get("lease") if isinstance(item, dict) else None
    return token if isinstance(token, str) else ""


def _failed_by(worker: str, ending: Ending) -> Ending:
    failure = ending.failure
    if failure is None or failure.worker is not None:
        return ending
    return ending._replace(failure=failure._replace(worker=worker))


def _named_job(value: Any) -> results.Lease | None:
    """A job to be cancelled, with an empty `n` if there is no lease; None for an invalid one."""
    if not isinstance(value, dict) or not value.keys() <= _NAMING:
        return None
    try:
        return check_leased(
            value.get("queue_type"), value.get("queue_id"), value.get("job_id"), value.get("lease")
        )
    except BadArgumentException:
        return None


_NAMING: Final = frozenset(("queue_type", "queue_id", "job_id", "lease"))


def _word(field: str, value: Any, words: tuple[str, ...]) -> str:
    """Return one of `words`; the first if the field is absent or null."""
    if value is None:
        return words[0]
    if not isinstance(value, str) or value not in words:
        raise invalid(field)
    return value


# What the server says


def welcome(
    server_time: int, heartbeat: int, limits: Mapping[str, int], operations: Collection[str]
) -> bytes:
    """The first frame; times are in ms. `operations` are those that the client's token allows."""
    return _event(
        "welcome",
        protocol=PROTOCOL,
        server_time=server_time,
        heartbeat=heartbeat,
        limits=dict(limits),
        operations=[each for each in OPERATIONS if each in operations],
    )


def jobs(queue_type: str, server_time: int, jobs_json: bytes) -> bytes:
    """Leased jobs; `jobs_json` is their array."""
    return b'{"event":"jobs","queue_type":"%b","server_time":%d,"jobs":%b}' % (
        queue_type.encode(),
        server_time,
        jobs_json,
    )


def ready(queue_type: str, ready: int, offer_ms: int) -> bytes:
    """An offer of `ready` jobs, valid for `offer_ms`."""
    return _event("ready", queue_type=queue_type, ready=ready, offer_ms=offer_ms)


def reply(
    frame_id: bytes | None,
    results: bytes | None = None,
    jobs: bytes | None = None,
    dead: Sequence[int] = (),
) -> bytes:
    """The answer to a frame that was carried out; `results` and `jobs` are JSON arrays.

    The results at the places `dead` are those of jobs that died.
    """
    parts = [b'{"event":"reply"']
    if frame_id is not None:
        parts.append(b',"id":' + frame_id)
    parts.append(b',"status":"success"')
    if results is not None:
        parts.append(b',"results":' + results)
    if dead:
        parts.append(b',"dead":' + _json(dead))
    if jobs is not None:
        parts.append(b',"jobs":' + jobs)
    parts.append(b"}")
    return b"".join(parts)


def nothing_ready(frame_id: bytes | None, ready_in: int | None) -> bytes:
    """The answer to a dequeue that got nothing; `ready_in` (ms) is None if none is scheduled."""
    return b'%b,"ready_in":%b}' % (reply(frame_id, jobs=b"[]")[:-1], _json(ready_in))


def error(frame_id: bytes | None, code: str, message: str, **more: Any) -> bytes:
    """The answer to a frame that was not carried out."""
    fields = _json({"code": code, "message": message, **more})
    named = b"" if frame_id is None else b',"id":' + frame_id
    return b'{"event":"error"%b,%b' % (named, fields[1:])


def expired(leases: Sequence[str]) -> bytes:
    """Leases that have ended without a finish."""
    return _event("expired", leases=list(leases))


def paused(code: str) -> bytes:
    """The store is away; `code` names the reason."""
    return _event("paused", code=code)


def resumed() -> bytes:
    """The store is back."""
    return _event("resumed")


def types_away(code: str, queue_types: Sequence[str]) -> bytes:
    """A part of the store is away, and with it some of the types of this connection."""
    return _event("types_away", code=code, queue_types=list(queue_types))


def types_back(queue_types: Sequence[str]) -> bytes:
    """Types that were away are back."""
    return _event("types_back", queue_types=list(queue_types))


def draining(after_ms: int) -> bytes:
    """The server stops in `after_ms` at the latest."""
    return _event("draining", after_ms=after_ms)


def pong(server_time: int, frame_id: bytes | None = None) -> bytes:
    """The answer to a ping frame; `server_time` is in ms."""
    named = b"" if frame_id is None else b',"id":' + frame_id
    return b'{"event":"pong"%b,"server_time":%d}' % (named, server_time)


def ended(outcomes: Sequence[results.Ended | StoreError]) -> bytes:
    """The results of a finish, a release, a failure or a cancellation: an array of words."""
    return b"[%b]" % b",".join([_ENDED.get(outcome) or _failed(outcome) for outcome in outcomes])


def extended(outcomes: Sequence[results.Extended | StoreError]) -> bytes:
    """The results of an extension: an array of objects."""
    return b"[%b]" % b",".join(
        [
            b'{"status":"success","lease_ms":%d}' % outcome.lease_ms
            if not isinstance(outcome, StoreError) and outcome.outcome == results.SUCCESS
            else b'{"status":%b}' % _failed(outcome)
            for outcome in outcomes
        ]
    )


def _failed(outcome: Any) -> bytes:
    return _json(outcome.code if isinstance(outcome, StoreError) else outcome.outcome)


_ENDED: Final[dict[Any, bytes]] = {
    results.Ended(word): _json(results.SUCCESS if word == results.DEAD else word)
    for word in (
        results.SUCCESS,
        results.DEAD,
        results.NOT_ACTIVE,
        results.STALE_LEASE,
        results.ALREADY_FINISHED,
        results.NOT_FOUND,
        results.JOB_ACTIVE,
        results.INVALID,
    )
}


_Event = Literal[
    "welcome", "ready", "expired", "paused", "resumed", "types_away", "types_back", "draining"
]


def _event(event: _Event, **fields: Any) -> bytes:
    return _json({"event": event, **fields})
