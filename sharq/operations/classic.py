"""The original's operations as flows: its arguments, its messages, its dictionaries.

Users of the original compare the results whole, so no key may be added to them.
"""

from __future__ import annotations

from typing import Any

from sharq import results
from sharq.errors import BadArgumentException, JobConflict
from sharq.identifiers import check_identifier, check_interval, check_requeue_limit
from sharq.operations.call import Flow
from sharq.operations.flows import Flows
from sharq.operations.payloads import decode_payload, encode_payload
from sharq.results import NewJob

CLEARED = "Successfully removed all queued calls"
PURGED = "Successfully removed all queued calls and purged related resources"
NOTHING_CLEARED = "No queued calls found"


class Classic:
    """The original's operations on top of `Flows`."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    def enqueue(
        self,
        payload: Any,
        interval: Any,
        job_id: Any,
        queue_id: Any,
        queue_type: Any,
        requeue_limit: Any,
    ) -> Flow[dict[str, Any]]:
        """``{'status': 'queued'}``, for a duplicate too; a conflict raises `JobConflict`."""
        settings = self._flows.settings
        if requeue_limit is None:
            requeue_limit = settings.default_job_requeue_limit
        # In the original's order, since that decides which error is raised.
        interval = check_interval("interval", interval)
        job_id = check_identifier("job_id", job_id)
        queue_id = check_identifier("queue_id", queue_id)
        queue_type = check_identifier("queue_type", queue_type)
        requeue_limit = check_requeue_limit(requeue_limit)
        encoded = encode_payload(payload, settings.max_payload_bytes)
        job = NewJob(queue_type, queue_id, job_id, encoded, interval, requeue_limit)
        outcome = yield from self._flows.submit(job)
        if outcome.outcome == results.CONFLICT:
            raise JobConflict
        return {"status": "queued"}

    def dequeue(self, queue_type: Any) -> Flow[dict[str, Any]]:
        """The job, or ``{'status': 'failure'}`` if none is ready."""
        batch = yield from self._flows.take(queue_type, 1, None)
        if not batch:
            return {"status": "failure"}
        job = batch.jobs[0]
        return {
            "status": "success",
            "queue_id": job.queue_id,
            "job_id": job.job_id,
            "payload": decode_payload(job.payload, job.lease),
            "requeues_remaining": job.requeues_remaining,
        }

    def finish(self, job_id: Any, queue_id: Any, queue_type: Any) -> Flow[dict[str, Any]]:
        """Success, or failure if the job is not active."""
        ended = yield from self._flows.finish_job(queue_type, queue_id, job_id, None)
        return _status(ended.outcome == results.SUCCESS)

    def interval(self, interval: Any, queue_id: Any, queue_type: Any) -> Flow[dict[str, Any]]:
        """Success, or failure if there is no such queue."""
        known = yield from self._flows.set_interval(queue_type, queue_id, interval)
        return _status(known)

    def metrics(self, queue_type: Any, queue_id: Any) -> Flow[dict[str, Any]]:
        """Counts of all, queues of a type, or length and counts of a queue."""
        if queue_id is not None:
            check_identifier("queue_id", queue_id)
        if queue_type is not None:
            check_identifier("queue_type", queue_type)
        if queue_type is None:
            if queue_id is not None:
                raise BadArgumentException("`queue_id` should be accompanied by `queue_type`.")
            overview = yield from self._flows.overview()
            told: dict[str, Any] = {
                "status": "success",
                "queue_types": overview.queue_types,
                "enqueue_counts": _by_text(overview.enqueue_counts),
                "dequeue_counts": _by_text(overview.dequeue_counts),
            }
            if not overview.complete:
                told |= {"complete": False, "unreached_types": overview.unreached}
            return told
        if queue_id is None:
            queue_ids = yield from self._flows.queue_ids(queue_type)
            return {"status": "success", "queue_ids": queue_ids}
        metrics = yield from self._flows.queue_metrics(queue_type, queue_id)
        return {
            "status": "success",
            "queue_length": metrics.queue_length,
            "enqueue_counts": _by_text(metrics.enqueue_counts),
            "dequeue_counts": _by_text(metrics.dequeue_counts),
        }

    def clear_queue(self, queue_type: Any, queue_id: Any, purge_all: Any) -> Flow[dict[str, Any]]:
        """Success if a job was removed; the statuses are capitalised, as in the original."""
        cleared = yield from self._flows.clear(queue_type, queue_id, bool(purge_all))
        if cleared.waiting + cleared.leased == 0:
            return {"status": "Failure", "message": NOTHING_CLEARED}
        return {"status": "Success", "message": PURGED if purge_all else CLEARED}


def _status(succeeded: bool) -> dict[str, Any]:
    return {"status": "success" if succeeded else "failure"}


def _by_text(counts: dict[int, int]) -> dict[str, int]:
    return {str(minute): count for minute, count in counts.items()}
