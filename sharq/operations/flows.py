"""What a caller asks for: arguments checked, then one or more calls of the store.

A flow is a generator: it yields a `Call` and is sent its result, or yields a list of calls and is
sent a list with a result or a `StoreError` for each. It does no I/O, so the synchronous and the
asynchronous engine run the same flows. `sharq.aio` documents each method for users; methods that
only servers use are documented here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sharq._fastpath import Batch, JobReader
from sharq.errors import StoreError
from sharq.identifiers import (
    MAX_COUNT,
    check_identifier,
    check_integer,
    check_interval,
    check_job,
    check_queue,
    check_requeue_limit,
    invalid,
)
from sharq.observed import TypeMetrics
from sharq.operations.call import Call, Flow
from sharq.operations.cursors import QueueCursor, job_cursor, queue_cursor
from sharq.operations.dead_letters import DeadLetters
from sharq.operations.expiry import Expiry
from sharq.operations.job_options import check_options
from sharq.operations.lease_flows import LeaseFlows
from sharq.operations.limiting import Limiting
from sharq.operations.operations import BULK_SIZE, Operations
from sharq.operations.payloads import check_payload
from sharq.operations.registrations import Registrations
from sharq.operations.sweeping import sweep_types
from sharq.operations.watching import Watching
from sharq.results import (
    Cleared,
    Enqueued,
    JobPage,
    JobStatus,
    NewJob,
    Offer,
    Overview,
    QueueMetrics,
    QueuePage,
    Swept,
)
from sharq.settings.options import QueueSettings

MAX_TAKE = 100
"""Jobs that one dequeue leases, or one page of a listing has, at most."""

MAX_QUEUES = 1000
"""Queues that one page of a listing is asked for, at most."""


class Flows(LeaseFlows):
    """The flows of one deployment. `clock` is monotonic, in seconds.

    With `reclaims` a dequeue first takes back expired leases, if `settings` want sweeps: for
    clients without a sweep of their own. `plain_job` and `plain_jobs` read jobs as most clients
    send them, see `JobReader`. `limiting` has the flows of limits and pauses, `dead` those of dead
    letters, `watching` those of operators who look on.
    """

    def __init__(
        self,
        operations: Operations,
        settings: QueueSettings,
        clock: Callable[[], float],
        *,
        reclaims: bool = False,
    ) -> None:
        super().__init__(operations)
        self.settings = settings
        self._clock = clock
        self._registrations = Registrations(clock)
        self.limiting = Limiting(operations, self._register_one)
        self.dead = DeadLetters(operations)
        self.watching = Watching(operations)
        self._reclaiming: Expiry | None = None
        if reclaims and settings.enable_requeue_script:
            self._reclaiming = Expiry(
                settings.job_requeue_interval / 1000, settings.job_expire_interval / 1000, clock
            )
        reader = JobReader(settings.max_payload_bytes, settings.default_job_requeue_limit)
        self.plain_job = reader.one
        self.plain_jobs = reader.many

    def new_job(
        self,
        payload: bytes,
        interval: Any,
        job_id: Any,
        queue_id: Any,
        queue_type: Any,
        requeue_limit: Any,
        max_queued_length: Any,
        **options: Any,
    ) -> NewJob:
        """Check what a job is made of; no call of the store. `options`: see `check_options`."""
        if requeue_limit is None:
            requeue_limit = self.settings.default_job_requeue_limit
        if max_queued_length is not None:
            check_integer("max_queued_length", max_queued_length, 0, MAX_COUNT)
        # In the original's order, since that decides which error is raised.
        interval = check_interval("interval", interval)
        job_id = check_identifier("job_id", job_id)
        queue_id = check_identifier("queue_id", queue_id)
        queue_type = check_identifier("queue_type", queue_type)
        requeue_limit = check_requeue_limit(requeue_limit)
        text = check_payload(payload, self.settings.max_payload_bytes)
        return NewJob(
            queue_type,
            queue_id,
            job_id,
            text,
            interval,
            requeue_limit,
            max_queued_length,
            check_options(**options) if options else None,
        )

    def submit(self, job: NewJob) -> Flow[Enqueued]:
        """Enqueue one job, after its type was registered."""
        (outcome,) = yield from self.submit_alike(job.queue_type, (job,))
        return outcome

    def submit_alike(self, queue_type: str, jobs: Sequence[NewJob]) -> Flow[list[Enqueued]]:
        """Enqueue up to `BULK_SIZE` jobs of one type, in order."""
        if self._registrations.due(queue_type):
            yield from self._register_one(queue_type)
        outcomes: list[Enqueued] = yield self.operations.enqueue(queue_type, jobs)
        return outcomes

    def submit_many(self, jobs: Sequence[NewJob]) -> Flow[list[Enqueued | StoreError]]:
        """Enqueue jobs in order; the outcome or the failure of each, in the same order."""
        by_type: dict[str, list[int]] = {}
        for index, job in enumerate(jobs):
            by_type.setdefault(job.queue_type, []).append(index)
        results: list[Any] = [None] * len(jobs)

        failures = yield from self._register(list(by_type))
        for queue_type, failure in failures.items():
            for index in by_type.pop(queue_type):
                results[index] = failure

        chunks = [
            (queue_type, indices[at : at + BULK_SIZE])
            for queue_type, indices in by_type.items()
            for at in range(0, len(indices), BULK_SIZE)
        ]
        calls = [
            self.operations.enqueue(queue_type, [jobs[index] for index in chunk])
            for queue_type, chunk in chunks
        ]
        answers = (yield calls) if calls else []
        for (_, chunk), answer in zip(chunks, answers, strict=True):
            failed = isinstance(answer, StoreError)
            for at, index in enumerate(chunk):
                results[index] = answer if failed else answer[at]
        return results

    def take(self, queue_type: Any, count: Any, request_id: Any) -> Flow[Batch]:
        """Lease up to `count` jobs of a type."""
        queue_type = check_identifier("queue_type", queue_type)
        check_integer("count", count, 1, MAX_TAKE)
        if request_id is not None:
            request_id = check_identifier("request_id", request_id)
        call = self.operations.dequeue(queue_type, count, request_id)
        reclaiming = self._reclaiming
        if reclaiming is not None and reclaiming.due(queue_type):
            return (yield from self._take_after_sweep(reclaiming, queue_type, call))
        batch: Batch = yield call
        return batch

    def _take_after_sweep(
        self, reclaiming: Expiry, queue_type: str, call: Call[Batch]
    ) -> Flow[Batch]:
        swept, batch = yield [self.operations.requeue(queue_type), call]
        if isinstance(batch, StoreError):
            raise batch
        reclaiming.note(queue_type, swept)
        if not batch and isinstance(swept, Swept) and swept.vacant:
            # In a list, since its failure must not reach the caller.
            yield [self.operations.unregister(queue_type)]
        taken: Batch = batch
        return taken

    # What servers do

    def dispatch(
        self,
        queue_type: str,
        count: int,
        server_id: str,
        seq: int,
        request_id: str | None,
        more: bool,
    ) -> Flow[Batch]:
        """Lease up to `count` jobs; the server then waits for those that it did not get.

        It is not waiting if the answer's `wait_us` is 0. With `more` it has room beyond `count`,
        and no other server offers jobs until it has asked again. The call may be repeated with the
        same `seq`, unless there was one with a later `seq`, and with the `request_id` of a client:
        it returns the same jobs.
        """
        batch: Batch = yield self.operations.dispatch(
            queue_type, count, server_id, seq, request_id, more
        )
        return batch

    def offer(
        self, queue_type: str, server_id: str, wanted: int, offered: int, offer_ms: int
    ) -> Flow[Offer]:
        """How many jobs are ready, up to `wanted`, that no server has offered to subscribers.

        There are none while a server has room for jobs itself. `offered` is how many this server
        offers already. Its offers are valid for `offer_ms`; it then waits for those that it did not
        get. With 0 `wanted` the answer's `wait_us` is 0 if anything is ready.
        """
        answer: Offer = yield self.operations.offer(
            queue_type, server_id, wanted, offered, offer_ms
        )
        return answer

    def hand_on(self, offered: Mapping[str, int], server_id: str) -> Flow[None]:
        """Stop waiting for jobs of these types, and let other servers know what is next.

        The numbers count the jobs that this server still offers to its subscribers.
        """
        if offered:
            calls = [self.operations.hand_on(name, server_id, n) for name, n in offered.items()]
            _unfailed((yield calls))

    def job_status(self, queue_type: Any, queue_id: Any, job_id: Any) -> Flow[JobStatus]:
        """The state of a job."""
        job = check_job(queue_type, queue_id, job_id)
        status: JobStatus = yield self.operations.status(*job)
        return status

    def set_interval(self, queue_type: Any, queue_id: Any, interval: Any) -> Flow[bool]:
        """Set a queue's interval; enqueues no longer change it."""
        interval = check_interval("interval", interval)
        queue = check_queue(queue_type, queue_id)
        known: bool = yield self.operations.set_interval(*queue, interval)
        return known

    def reset_interval(self, queue_type: Any, queue_id: Any) -> Flow[bool]:
        """Let enqueues set a queue's interval again."""
        queue = check_queue(queue_type, queue_id)
        known: bool = yield self.operations.reset_interval(*queue)
        return known

    def clear(self, queue_type: Any, queue_id: Any, purge_all: Any) -> Flow[Cleared]:
        """Remove the waiting jobs of a queue, with `purge_all` its leases too."""
        queue = check_queue(queue_type, queue_id)
        if not isinstance(purge_all, bool):
            raise invalid("purge_all")
        cleared: Cleared = yield self.operations.clear(*queue, purge_all)
        return cleared

    def queue_length(self, queue_type: Any, queue_id: Any) -> Flow[int]:
        """The number of waiting jobs of a queue."""
        queue_type = check_identifier("queue_type", queue_type)
        queue_id = check_identifier("queue_id", queue_id)
        length: int = yield self.operations.queue_length(queue_type, queue_id)
        return length

    def queue_metrics(self, queue_type: Any, queue_id: Any) -> Flow[QueueMetrics]:
        """Lengths, rate and counts of a queue."""
        queue = check_queue(queue_type, queue_id)
        metrics: QueueMetrics = yield self.operations.queue_metrics(*queue)
        return metrics

    def type_metrics(self, queue_type: Any) -> Flow[TypeMetrics]:
        """What holds a type back, and its counts."""
        queue_type = check_identifier("queue_type", queue_type)
        metrics: TypeMetrics = yield self.operations.type_metrics(queue_type)
        return metrics

    def overview(self) -> Flow[Overview]:
        """The types that have jobs, and the sums of their counts."""
        now = yield self.operations.ping()
        minutes = [(now // 60_000 - ago) * 60_000 for ago in range(10)]
        enqueued = dict.fromkeys(minutes, 0)
        dequeued = dict.fromkeys(minutes, 0)
        with_jobs: list[str] = []
        seen: set[str] = set()
        cursor = ""
        while cursor != "0":
            page = yield self.operations.list_types(cursor or "0")
            cursor = page.cursor
            types = [queue_type for queue_type, _ in page.types if queue_type not in seen]
            seen.update(types)
            answers = (yield [self.operations.type_metrics(t) for t in types]) if types else []
            for queue_type, metrics in zip(types, _unfailed(answers), strict=True):
                if metrics.has_jobs:
                    with_jobs.append(queue_type)
                for minute in minutes:
                    enqueued[minute] += metrics.enqueue_counts.get(minute, 0)
                    dequeued[minute] += metrics.dequeue_counts.get(minute, 0)
        return Overview(with_jobs, enqueued, dequeued)

    def queue_ids(self, queue_type: Any) -> Flow[list[str]]:
        """The queues of a type that have waiting or leased jobs, each once."""
        queue_type = check_identifier("queue_type", queue_type)
        names: dict[str, None] = {}
        cursor: QueueCursor | None = QueueCursor()
        while cursor is not None:
            page = yield self.operations.list_queues(queue_type, cursor)
            cursor = page.cursor
            names.update(dict.fromkeys(page.names))
        return list(names)

    def queue_page(
        self, queue_type: Any, cursor: Any, count: Any, prefix: Any = None
    ) -> Flow[QueuePage]:
        """The queues of a type, among about `count`, whose names begin with `prefix`, if any.

        None of them may do so, though there are more pages.
        """
        queue_type = check_identifier("queue_type", queue_type)
        at = queue_cursor(cursor)
        check_integer("count", count, 1, MAX_QUEUES)
        start = "" if prefix is None else check_identifier("prefix", prefix)
        page = yield self.operations.list_queues(queue_type, at, count, start)
        return QueuePage(page.names, None if page.cursor is None else str(page.cursor))

    def job_page(self, queue_type: Any, queue_id: Any, cursor: Any, count: Any) -> Flow[JobPage]:
        """Waiting jobs of a queue, up to `count`."""
        queue = check_queue(queue_type, queue_id)
        start = job_cursor(cursor)
        check_integer("count", count, 1, MAX_TAKE)
        page: JobPage = yield self.operations.list_jobs(*queue, start, count)
        return page

    def is_swept(self) -> Flow[bool]:
        """Whether some server sweeps now; False is also between two of its rounds.

        A look in such a moment takes the claim for a millisecond, which delays nobody.
        """
        free: bool = yield self.operations.claim_sweep(1)
        return not free

    def has_original(self) -> Flow[bool]:
        """Whether the original has jobs in the same store with the same prefix, or had some.

        False also where the store's user may not look.
        """
        answers = yield self.operations.original_hashes()
        return any(answer is True for answer in answers)

    def sweep(self) -> Flow[int]:
        """Take back the jobs of all types whose leases have run out; returns their number.

        Vacant types are removed from the registry. If a node fails, the other types are still swept
        before its error is raised.
        """
        total = 0
        failure: StoreError | None = None
        cursor = ""
        while cursor != "0":
            page = yield self.operations.list_types(cursor or "0")
            cursor = page.cursor
            try:
                total += yield from sweep_types(self.operations, dict(page.types))
            except StoreError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return total

    def _register_one(self, queue_type: str) -> Flow[None]:
        """Register a type if it is due; raises the failure."""
        failures = yield from self._register([queue_type])
        if failures:
            raise failures[queue_type]

    def _register(self, queue_types: Sequence[str]) -> Flow[dict[str, StoreError]]:
        """Register the types that are due; returns the failures that prevent an enqueue."""
        due = [queue_type for queue_type in queue_types if self._registrations.due(queue_type)]
        if not due:
            return {}
        asked_at = self._clock()
        answers = yield [self.operations.register(queue_type) for queue_type in due]
        failures = {}
        for queue_type, answer in zip(due, answers, strict=True):
            failure = self._registrations.note(queue_type, asked_at, answer)
            if failure is not None:
                failures[queue_type] = failure
        return failures


def _unfailed(answers: Iterable[Any]) -> list[Any]:
    answers = list(answers)
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return answers
