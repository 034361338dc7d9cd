"""Short words for the operations, on the queues of one type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sharq._fastpath import Batch, Job
from sharq.operations.call import Call
from sharq.operations.cursors import QueueCursor, job_cursor
from sharq.operations.operations import BULK_SIZE, Operations
from sharq.operations.replies import TypeMetrics
from sharq.operations.scripts import Scripts
from sharq.results import (
    Cleared,
    Enqueued,
    Extended,
    JobPage,
    JobStatus,
    Lease,
    NewJob,
    QueueMetrics,
    Swept,
)
from sharq.settings.options import QueueSettings
from tests.support.direct import SEED, DirectStore

T = TypeVar("T")

TYPE = "t"
PREFIX = "sharq"

# Fewer bytes than the buffers of a socket hold: neither side waits for the other to read.
_CALLS_AT_ONCE = 100


class PipelinedStore(DirectStore):
    """A connection that also runs many calls in one write."""

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in order; their results. The first error reply is raised."""
        results: list[Any] = []
        for at in range(0, len(calls), _CALLS_AT_ONCE):
            chunk = calls[at : at + _CALLS_AT_ONCE]
            self._socket.sendall(b"".join(call.packed for call in chunk))
            replies = [self._reply_to(b"") for _ in chunk]
            results += [call.parse(reply) for call, reply in zip(chunk, replies, strict=True)]
        return results


class Hands:
    """A producer, a worker and an operator of the queues of type `TYPE`.

    Queue and job are named by their ids; a `Job` stands for itself and its lease. `seed` is the
    word from which the backoffs of calls are drawn.
    """

    def __init__(
        self, store: PipelinedStore, scripts: Scripts, settings: QueueSettings | None = None
    ) -> None:
        store.load(scripts)
        self.store = store
        self.settings = settings or QueueSettings()
        self.seed = SEED
        self.operations = Operations(PREFIX, self.settings, scripts, draw=lambda: self.seed)

    def run(self, call: Call[T]) -> T:
        return self.store.run(call)

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls, many in one write; their results, in order."""
        return self.store.run_many(calls)

    def put(
        self,
        job_id: str,
        queue_id: str = "q",
        *,
        interval: int = 0,
        payload: bytes = b"1",
        limit: int = -1,
        bound: int | None = None,
    ) -> Enqueued:
        job = NewJob(TYPE, queue_id, job_id, payload, interval, limit, bound)
        (outcome,) = self.run(self.operations.enqueue(TYPE, [job]))
        return outcome

    def put_many(self, jobs: Iterable[NewJob]) -> list[Enqueued]:
        jobs = list(jobs)
        chunks = [jobs[at : at + BULK_SIZE] for at in range(0, len(jobs), BULK_SIZE)]
        outcomes = self.run_many([self.operations.enqueue(TYPE, chunk) for chunk in chunks])
        return [outcome for chunk in outcomes for outcome in chunk]

    def take(self, count: int = 1, request: str | None = None) -> list[Job]:
        return self.batch(count, request).jobs

    def batch(self, count: int = 1, request: str | None = None) -> Batch:
        return self.run(self.operations.dequeue(TYPE, count, request))

    def take_ids(self, count: int = 1) -> list[str]:
        return [job.job_id for job in self.take(count)]

    def finish(self, job: Job) -> str:
        """Finish a job under the lease it was delivered with."""
        return self.run(self.operations.finish(*_lease(job))).outcome

    def finish_all(self, jobs: Iterable[Job]) -> list[str]:
        calls = [self.operations.finish(*_lease(job)) for job in jobs]
        return [ended.outcome for ended in self.run_many(calls)]

    def finish_by_name(self, job_id: str, queue_id: str = "q") -> str:
        """Finish a job under whichever lease holds it."""
        return self.run(self.operations.finish(TYPE, queue_id, job_id, "")).outcome

    def release(self, job: Job, delay: int = 0, *, counted: bool = True) -> str:
        (ended,) = self.run(self.operations.release(TYPE, [_lease(job)], delay, counted))
        return ended.outcome

    def cancel(self, job_id: str, queue_id: str = "q", n: str = "") -> str:
        (ended,) = self.run(self.operations.cancel(TYPE, [Lease(TYPE, queue_id, job_id, n)]))
        return ended.outcome

    def extend(self, job: Job, by: int) -> Extended:
        (extended,) = self.run(self.operations.extend(TYPE, [_lease(job)], by))
        return extended

    def sweep(self) -> Swept:
        """One call of the sweep."""
        return self.run(self.operations.requeue(TYPE))

    def sweep_all(self) -> int:
        """Sweep until no more is due; the number of jobs taken back."""
        total = 0
        for _ in range(1_000):
            swept = self.sweep()
            total += swept.returned + swept.discarded
            if not swept.more:
                return total
        raise AssertionError("the sweep does not come to an end")

    def clear(self, queue_id: str = "q", *, purge: bool = False) -> Cleared:
        return self.run(self.operations.clear(TYPE, queue_id, purge))

    def set_interval(self, interval: int, queue_id: str = "q") -> bool:
        return self.run(self.operations.set_interval(TYPE, queue_id, interval))

    def reset_interval(self, queue_id: str = "q") -> bool:
        return self.run(self.operations.reset_interval(TYPE, queue_id))

    def status(self, job_id: str, queue_id: str = "q") -> JobStatus:
        return self.run(self.operations.status(TYPE, queue_id, job_id))

    def page(self, cursor: str | None = None, count: int = 100, queue_id: str = "q") -> JobPage:
        return self.run(self.operations.list_jobs(TYPE, queue_id, job_cursor(cursor), count))

    def length(self, queue_id: str = "q") -> int:
        return self.run(self.operations.queue_length(TYPE, queue_id))

    def metrics(self, queue_id: str = "q") -> QueueMetrics:
        return self.run(self.operations.queue_metrics(TYPE, queue_id))

    def type_metrics(self) -> TypeMetrics:
        return self.run(self.operations.type_metrics(TYPE))

    def listed(self, waiting: bool) -> list[str]:
        """The queues with waiting (or leased) jobs, as the pages of the listing name them."""
        return [name for page in self.listing(waiting) for name in page]

    def listing(self, waiting: bool) -> Iterator[list[str]]:
        """The same, page by page."""
        cursor: QueueCursor | None = QueueCursor("type" if waiting else "leased")
        while cursor is not None and (cursor.part == "leased") is not waiting:
            cursor, page = self.run(self.operations.list_queues(TYPE, cursor))
            yield page

    def key_names(self) -> list[str]:
        """The deployment's keys in the store, sorted."""
        return sorted(key.decode() for key in self.store.command("KEYS", f"{{{PREFIX}*"))


def new_job(
    job_id: str,
    queue_id: str = "q",
    *,
    interval: int = 0,
    payload: bytes = b"1",
    limit: int = -1,
) -> NewJob:
    return NewJob(TYPE, queue_id, job_id, payload, interval, limit)


def _lease(job: Job) -> Lease:
    return Lease(job.queue_type, job.queue_id, job.job_id, job.lease.rpartition("/")[2])
