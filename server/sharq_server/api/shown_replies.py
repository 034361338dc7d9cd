"""What operators are shown: types, queues, jobs, leases, limits, and what the doctor found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sharq import __version__, results
from sharq_server.api.replies import NO_SUCH_JOB, Reply, error_fields, told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sharq.observed import LeasePage, ShownJob, TotalsCorrected
    from sharq_server.api.doctor import Finding


class TypeState(Protocol):
    """What is told of a type besides the names of its queues."""

    @property
    def held_by(self) -> str | None: ...
    @property
    def ready_in(self) -> int | None: ...
    @property
    def dead(self) -> results.DeadSummary: ...
    @property
    def waiting(self) -> int: ...
    @property
    def delayed(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def ready(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def oldest_ready(self) -> int | None: ...
    @property
    def early(self) -> int: ...
    @property
    def enqueue_counts(self) -> dict[int, int]: ...
    @property
    def dequeue_counts(self) -> dict[int, int]: ...
    @property
    def finish_counts(self) -> dict[int, int]: ...


def findings(found: Iterable[Finding], at: int) -> Reply:
    """What the doctor has found, at a time in ms since 1970."""
    listed = [each._asdict() for each in found]
    body = {"version": __version__, "at": at, "findings": listed}
    return told(body)


def job_status(result: results.JobStatus) -> Reply:
    return NO_SUCH_JOB if result.state == results.NOT_FOUND else told(_state(result))


def shown_job(job: ShownJob) -> Reply:
    """The state of a job, with its payload as far as it is there."""
    if job.status.state == results.NOT_FOUND:
        return NO_SUCH_JOB
    body = _state(job.status)
    if job.payload is not None:
        body["payload"] = msgspec.Raw(job.payload)
    if job.lease is not None:
        body["lease"] = job.lease
    return told(body)


def _state(result: results.JobStatus) -> dict[str, Any]:
    body: dict[str, Any] = {"state": result.state}
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
    return body


def _failed(result: results.JobStatus) -> dict[str, Any]:
    """What is told of a job that failed before."""
    dead = result.state == results.DEAD
    shown: dict[str, Any] = {"reason": result.reason} if dead else {}
    shown |= {
        "attempts" if dead else "attempt": result.attempt,
        "error": error_fields(result.error),
        "worker": result.worker,
        "first_failed_at": result.first_failed_at,
    }
    if dead:
        shown["died_at"] = result.died_at
    return shown


def lease_page(page: LeasePage, queue_type: str, queue_id: str) -> Reply:
    leases = [
        {
            "job_id": job.job_id,
            "lease": f"{queue_type}/{queue_id}/{job.job_id}/{job.n}",
            "ends_in": job.ends_in,
            "attempt": job.attempt,
        }
        for job in page.leases
    ]
    return told({"leases": leases, "cursor": page.cursor})


def recounted(result: TotalsCorrected) -> Reply:
    body = {
        "waiting": result.waiting,
        "delayed": result.delayed,
        "exact": result.exact,
    }
    return told(body)


def overview(result: results.Overview) -> Reply:
    body: dict[str, Any] = {
        "queue_types": result.queue_types,
        "enqueue_counts": result.enqueue_counts,
        "dequeue_counts": result.dequeue_counts,
    }
    if not result.complete:
        body |= {"complete": False, "unreached_types": result.unreached}
    return told(body)


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
    return told({"jobs": jobs, "cursor": page.cursor})


def queue_ids(names: list[str], state: TypeState, **paging: str | None) -> Reply:
    dead = state.dead
    body = {
        "queue_ids": names,
        "held_by": state.held_by,
        "ready_in": state.ready_in,
        "waiting": state.waiting,
        "delayed": state.delayed,
        "active": state.active,
        "ready": state.ready,
        "held": state.held,
        "oldest_ready": state.oldest_ready,
        "early": state.early,
        "enqueue_counts": state.enqueue_counts,
        "dequeue_counts": state.dequeue_counts,
        "finish_counts": state.finish_counts,
        "dead": {
            "jobs": dead.jobs,
            "bytes": dead.bytes,
            "oldest": dead.oldest,
            "fallen_out": dead.fallen_out,
            "dropped": dead.dropped,
        },
    }
    return told(body | paging)


def queue_metrics(result: results.QueueMetrics) -> Reply:
    body = {
        "queue_length": result.queue_length,
        "enqueue_counts": result.enqueue_counts,
        "dequeue_counts": result.dequeue_counts,
        "interval": result.interval,
        "interval_set_by": result.interval_set_by,
        "active_count": result.active_count,
        "next_ready_in": result.next_ready_in,
        "held_by": result.held_by,
        "ready_in": result.ready_in,
        "early": result.early,
    }
    return told(body)


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
    return told(body)


def estimate(result: results.Estimate) -> Reply:
    return told(result._asdict())
