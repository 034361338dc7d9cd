"""THE table: what an outcome or an error becomes in HTTP. No other module knows statuses.

What operators are shown, and dead letters, are subjects of their own: `shown_replies` and
`dead_replies` say it in these terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from sharq import results
from sharq.errors import BadArgumentException, JobConflict, SharqException, StoreError
from sharq.failures import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sharq_server.security.refusal import Refusal


_json = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    """An answer: status, body, and the headers that depend on the case.

    `retry_after` is in seconds. `allow` names the methods of a route. `unsent` is called if the
    client is gone before the answer could be sent. `more` are header fields for the page that has
    sent the request (CORS).
    """

    status: int
    body: bytes
    retry_after: int | None = None
    allow: str | None = None
    unsent: Callable[[], None] | None = None
    more: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The optional headers of an answer."""
        fields = []
        if self.status == 401:
            fields.append(("WWW-Authenticate", "Bearer"))
        if self.retry_after is not None:
            fields.append(("Retry-After", str(self.retry_after)))
        if self.status == 426:
            fields.append(("Sec-WebSocket-Version", "13"))
        if self.allow is not None:
            fields.append(("Allow", self.allow))
        return [*fields, *self.more]


STATUS_OF_CODE: Final = {
    # what a client sent
    "bad_request": 400,
    "invalid_argument": 400,
    "not_json": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "nothing_ready": 404,
    "not_active": 404,
    "stale_lease": 404,
    "already_finished": 404,
    "no_bulk": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "job_conflict": 409,
    "job_active": 409,
    "bulk_running": 409,
    "sharded": 409,
    "not_empty": 409,
    "length_required": 411,
    "payload_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "upgrade_required": 426,
    "queue_full": 429,
    "headers_too_large": 431,
    # what the server or its store could not do
    "internal": 500,
    "overloaded": 503,
    "stopping": 503,
    "store_auth": 503,
    "store_full": 503,
    "store_unavailable": 503,
}


def told(fields: Mapping[str, Any]) -> Reply:
    """The answer that tells these fields."""
    return Reply(200, _json({"status": "success", **fields}))


def begun(fields: Mapping[str, Any]) -> Reply:
    """The answer to a request that is carried out in the background."""
    return told(fields)._replace(status=202)


def text(body: bytes, content_type: str) -> Reply:
    """An answer that is no JSON."""
    return Reply(200, body, content_type=content_type)


def error_fields(error: results.JobError | None) -> dict[str, str] | None:
    """The error of a job, as answers have it."""
    return None if error is None else fields_of(error)


def failure(code: str, message: str, **more: Any) -> Reply:
    """The answer for the error `code`; `more` are further fields of the body."""
    body = {"status": "failure", "message": message, "code": code, **more}
    return Reply(STATUS_OF_CODE[code], _json(body))


def refused(refusal: Refusal) -> Reply:
    """The answer to a client that is not let in."""
    return failure(*refusal)


def preflight(fields: Iterable[tuple[str, str]]) -> Reply:
    """The answer to a browser that asks whether a page may send a request: it may."""
    return Reply(204, b"", more=tuple(fields))


def is_internal(error: BaseException) -> bool:
    """Tell whether `error` is a bug, to be logged and not described to a client."""
    return not isinstance(error, SharqException) or error.code not in _CLIENT_CODES


_CLIENT_CODES: Final = STATUS_OF_CODE.keys() - {"internal"}


def more_about(error: SharqException) -> dict[str, str]:
    """Further fields of an error's answer, besides its code and message."""
    if isinstance(error, BadArgumentException) and error.expected is not None:
        return {"expected": error.expected}
    unknown = isinstance(error, StoreError) and error.outcome_unknown
    return {"outcome": "unknown"} if unknown else {}


def of_error(error: SharqException, more: Mapping[str, Any] | None = None) -> Reply:
    """The answer for an error; `more` are further fields, by default those of the error."""
    fields = more_about(error) if more is None else more
    retry_after = getattr(error, "retry_after", None)
    return failure(error.code, error.message, **fields)._replace(retry_after=retry_after)


def method_not_allowed(allow: str) -> Reply:
    """The answer for a method that a route does not have; `allow` lists those it has."""
    return failure("method_not_allowed", f"This route takes {allow}.")._replace(allow=allow)


HELLO: Final = Reply(200, b'{"message":"Hello, SharQ!"}')
SUCCESS: Final = Reply(200, b'{"status":"success"}')
UNKNOWN_ROUTE: Final = failure("not_found", "There is no such route.")
NO_SUCH_QUEUE: Final = failure("not_found", "The queue does not exist.")
NO_INTERVAL_SET: Final = failure("not_found", "No interval was set through the API.")
NO_SUCH_JOB: Final = failure("not_found", "The job is not known.")
NO_BULK: Final = failure("no_bulk", "No bulk is running.")

_NOTHING_READY: Final = failure("nothing_ready", "No job is ready.").body[:-1] + b',"ready_in":%d}'
_NONE_SCHEDULED: Final = Reply(404, _NOTHING_READY.replace(b"%d", b"null"), retry_after=1)

_QUEUED: Final = Reply(201, b'{"status":"queued"}')
_DUPLICATE: Final = Reply(201, b'{"status":"queued","duplicate":true}')
_CONFLICT: Final = of_error(JobConflict())

_NOT_ENDED: Final = {
    results.NOT_ACTIVE: failure("not_active", "The job is not active."),
    results.STALE_LEASE: failure("stale_lease", "The job is active under another lease."),
    results.ALREADY_FINISHED: failure("already_finished", "The job is finished already."),
}
_FINISHED: Final = {results.SUCCESS: SUCCESS, **_NOT_ENDED}
_RELEASED: Final = {
    results.SUCCESS: Reply(200, b'{"status":"success","state":"queued"}'),
    results.DEAD: Reply(200, b'{"status":"success","state":"dead"}'),
    **_NOT_ENDED,
}
_CANCELLED: Final = {
    results.SUCCESS: SUCCESS,
    results.NOT_FOUND: NO_SUCH_JOB,
    results.JOB_ACTIVE: failure("job_active", "The job is active: only its lease can cancel it."),
    **_NOT_ENDED,
}

_NONE_CLEARED: Final = Reply(200, b'{"status":"Failure","message":"No queued calls found"}')
_CLEARED: Final = Reply(
    200, b'{"status":"Success","message":"Successfully removed all queued calls"}'
)
_PURGED: Final = Reply(
    200,
    b'{"status":"Success","message":'
    b'"Successfully removed all queued calls and purged related resources"}',
)


def working(warnings: Sequence[str], **more: Any) -> Reply:
    """The store works; `warnings` are what an operator should know, `more` further fields."""
    if not warnings and not more:
        return SUCCESS
    listed = {"warnings": warnings} if warnings else {}
    return Reply(200, _json({"status": "success", **listed, **more}))


def nodes(told: Mapping[str, StoreError | None]) -> dict[str, Any]:
    """Which nodes of a cluster take writes, as a field of an answer."""
    up = [name for name, error in told.items() if error is None]
    down = [name for name, error in told.items() if error is not None]
    return {"nodes": {"up": sorted(up), "down": sorted(down)}}


def enqueued(result: results.Enqueued, bounded: bool) -> Reply:
    """`bounded`: the job came with a bound on its queue's length."""
    if result.outcome == results.QUEUED:
        if not bounded:
            return _QUEUED
        return Reply(201, b'{"status":"queued","current_queue_length":%d}' % result.length)
    if result.outcome == results.DUPLICATE:
        return _DUPLICATE
    if result.outcome == results.FULL:
        return _full(result)
    return _CONFLICT


def _full(result: results.Enqueued) -> Reply:
    more = {"current_queue_length": result.length}
    if result.room_in is None:
        return failure("queue_full", "Max queue length reached", **more)
    full = failure("queue_full", "Max queue length reached", **more, room_in=result.room_in)
    return full._replace(retry_after=_seconds(result.room_in))


def nothing_ready(wait_us: int | None) -> Reply:
    """The answer to a dequeue that got nothing: a job is due in `wait_us`, or none is scheduled."""
    if wait_us is None:
        return _NONE_SCHEDULED
    due = -(-wait_us // 1000)
    return Reply(404, _NOTHING_READY % due, _seconds(due))


def ready_in(wait_us: int | None) -> int | None:
    """The same in milliseconds, rounded so that a client that waits for it is not too early."""
    return None if wait_us is None else -(-wait_us // 1000)


def _seconds(ms: int) -> int:
    """The value of Retry-After for `ms`."""
    return -(-ms // 1000) or 1


def finished(result: results.Ended) -> Reply:
    return _FINISHED[result.outcome]


def released(result: results.Ended) -> Reply:
    return _RELEASED[result.outcome]


def cancelled(result: results.Ended) -> Reply:
    return _CANCELLED[result.outcome]


def extended(result: results.Extended) -> Reply:
    if result.outcome == results.SUCCESS:
        return Reply(200, b'{"status":"success","lease_expires_in":%d}' % result.lease_ms)
    return _NOT_ENDED[result.outcome]


def cleared(result: results.Cleared, purge_all: bool) -> Reply:
    if not result.waiting and not result.leased:
        return _NONE_CLEARED
    return _PURGED if purge_all else _CLEARED


def bulk(each: Iterable[Reply]) -> Reply:
    """One body for many jobs: the answer of each, in order."""
    bodies = b",".join(reply.body for reply in each)
    return Reply(200, b'{"status":"success","results":[%b]}' % bodies)
