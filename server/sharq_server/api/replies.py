"""THE table: what an outcome or an error becomes in HTTP. No other module knows statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from sharq import results
from sharq.errors import BadArgumentException, JobConflict, SharqException, StoreError
from sharq.failures import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sharq_server.security.refusal import Refusal

_json = msgspec.json.Encoder().encode


class TypeState(Protocol):
    """What is told of a type besides its queues: what holds it back, and its dead letters."""

    @property
    def held_by(self) -> str | None: ...
    @property
    def ready_in(self) -> int | None: ...
    @property
    def dead(self) -> results.DeadSummary: ...


class Reply(NamedTuple):
    """An answer: status, JSON text, and the headers that depend on the case.

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


def of_error(error: SharqException, more: Mapping[str, str] | None = None) -> Reply:
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


def working(warnings: Sequence[str]) -> Reply:
    """The store works; `warnings` are what an operator should know."""
    if not warnings:
        return SUCCESS
    return Reply(200, _json({"status": "success", "warnings": warnings}))


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


def job_status(result: results.JobStatus) -> Reply:
    if result.state == results.NOT_FOUND:
        return NO_SUCH_JOB
    body: dict[str, Any] = {"status": "success", "state": result.state}
    if result.state == results.QUEUED:
        body["position"] = result.position
        body["ready_in"] = result.ready_in
        body["eta"] = result.eta
        body["held_by"] = result.held_by
        if result.estimated:
            body["estimated"] = True
    elif result.state == results.ACTIVE:
        body["lease_expires_in"] = result.lease_expires_in
    if result.first_failed_at is not None:
        body |= _failed(result)
    return Reply(200, _json(body))


def _failed(result: results.JobStatus) -> dict[str, Any]:
    """What is told of a job that failed before."""
    dead = result.state == results.DEAD
    shown: dict[str, Any] = {"reason": result.reason} if dead else {}
    shown |= {
        "attempts" if dead else "attempt": result.attempt,
        "error": _error(result.error),
        "worker": result.worker,
        "first_failed_at": result.first_failed_at,
    }
    if dead:
        shown["died_at"] = result.died_at
    return shown


def _error(error: results.JobError | None) -> dict[str, str] | None:
    return None if error is None else fields_of(error)


def _letter(letter: results.DeadLetter) -> dict[str, Any]:
    return {
        "queue_id": letter.queue_id,
        "job_id": letter.job_id,
        "payload": msgspec.Raw(letter.payload),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed_at,
        "died_at": letter.died_at,
        "error": _error(letter.error),
        "worker": letter.worker,
        "priority": letter.priority,
        "cost": letter.cost,
        "requeue_limit": letter.requeue_limit,
        "interval": letter.interval,
        "burst": letter.burst,
        "concurrency": letter.concurrency,
        "group": letter.group,
    }


def dead_letter(letter: results.DeadLetter) -> Reply:
    return Reply(200, _json({"status": "success", **_letter(letter)}))


def dead_page(page: results.DeadPage) -> Reply:
    letters = [_letter(letter) for letter in page.letters]
    return Reply(200, _json({"status": "success", "jobs": letters, "cursor": page.cursor}))


def dead_changed(outcomes: Iterable[results.Ended]) -> Reply:
    """The outcome of each of the dead letters that were named, in order."""
    words = [each.outcome for each in outcomes]
    return Reply(200, _json({"status": "success", "results": words}))


def bulk_begun(bulk_id: str) -> Reply:
    return Reply(202, _json({"status": "success", "id": bulk_id}))


def bulk_running(bulk_id: str) -> Reply:
    """There is a bulk already, under this id."""
    return failure("bulk_running", "A bulk of this type is running.", id=bulk_id)


def bulk_progress(bulk: results.DeadBulk | None) -> Reply:
    return Reply(200, _json({"status": "success", "bulk": None if bulk is None else _bulk(bulk)}))


def _bulk(bulk: results.DeadBulk) -> dict[str, Any]:
    given = {name: value for name, value in bulk.filter._asdict().items() if value is not None}
    return {
        "id": bulk.id,
        "kind": bulk.kind,
        "filter": given or None,
        "state": bulk.state,
        "started": bulk.started,
        "moved": bulk.moved,
        "left": bulk.left,
        "conflicts": bulk.conflicts,
        "limit": bulk.limit,
    }


def overview(result: results.Overview) -> Reply:
    body = {
        "status": "success",
        "queue_types": result.queue_types,
        "enqueue_counts": result.enqueue_counts,
        "dequeue_counts": result.dequeue_counts,
    }
    return Reply(200, _json(body))


def job_page(page: results.JobPage) -> Reply:
    jobs = []
    for job in page.jobs:
        shown: dict[str, Any] = {
            "job_id": job.job_id,
            "payload": msgspec.Raw(job.payload),
            "requeues_remaining": job.requeues_remaining,
            "position": job.position,
        }
        if job.estimated:
            shown["estimated"] = True
        if job.due_in is not None:
            shown["due_in"] = job.due_in
        jobs.append(shown)
    return Reply(200, _json({"status": "success", "jobs": jobs, "cursor": page.cursor}))


def queue_ids(names: list[str], state: TypeState, **paging: str | None) -> Reply:
    dead = state.dead
    body = {
        "status": "success",
        "queue_ids": names,
        "held_by": state.held_by,
        "ready_in": state.ready_in,
        "dead": {
            "jobs": dead.jobs,
            "bytes": dead.bytes,
            "oldest": dead.oldest,
            "fallen_out": dead.fallen_out,
            "dropped": dead.dropped,
        },
    }
    return Reply(200, _json(body | paging))


def queue_metrics(result: results.QueueMetrics) -> Reply:
    body = {
        "status": "success",
        "queue_length": result.queue_length,
        "enqueue_counts": result.enqueue_counts,
        "dequeue_counts": result.dequeue_counts,
        "interval": result.interval,
        "interval_set_by": result.interval_set_by,
        "active_count": result.active_count,
        "next_ready_in": result.next_ready_in,
        "held_by": result.held_by,
        "ready_in": result.ready_in,
    }
    return Reply(200, _json(body))


def limits(result: results.Limits, *, of_queue: bool) -> Reply:
    """`of_queue`: they are those of a queue, which may have a group."""
    values: dict[str, Any] = {
        "interval": result.interval,
        "burst": result.burst,
        "concurrency": result.concurrency,
    }
    if of_queue:
        values["group"] = result.group
    body: dict[str, Any] = {
        "status": "success",
        "limits": values,
        "set_by": {name: result.set_by[name] for name in values},
        "reason": result.reason,
        "tat": result.tat,
        "active": result.active,
    }
    if of_queue:
        body["queue_length"] = result.queue_length
    body["pause"] = result.pause
    body["held_by"] = result.held_by
    body["ready_in"] = result.ready_in
    return Reply(200, _json(body))


def estimate(result: results.Estimate) -> Reply:
    return Reply(200, _json({"status": "success", **result._asdict()}))


def bulk(each: Iterable[Reply]) -> Reply:
    """One body for many jobs: the answer of each, in order."""
    bodies = b",".join(reply.body for reply in each)
    return Reply(200, b'{"status":"success","results":[%b]}' % bodies)
