"""What a caller asks for: arguments checked, then one or more calls of the store.

A flow is a generator: it yields a `Call` and is sent its result, or yields a list of calls and is
sent a list with a result or a `StoreError` for each. It does no I/O, so the synchronous and the
asynchronous engine run the same flows. `sharq.aio` documents each method for users; methods that
only servers use are documented here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sharq._fastpath import Batch, JobReader
from sharq.endings import Ending, EndingLease, finish_with, release_with
from sharq.errors import StoreError
from sharq.identifiers import (
    MAX_COUNT,
    MAX_INTERVAL,
    check_identifier,
    check_integer,
    check_interval,
    check_job,
    check_leased,
    check_queue,
    check_requeue_limit,
    find_lease,
    invalid,
)
from sharq.operations.call import Call, Flow
from sharq.operations.cursors import QueueCursor, job_cursor, queue_cursor
from sharq.operations.expiry import Expiry
from sharq.operations.job_options import check_options
from sharq.operations.limiting import Limiting
from sharq.operations.operations import BULK_SIZE, Operations, TypeMetrics
from sharq.operations.payloads import check_payload
from sharq.operations.registrations import Registrations
from sharq.operations.sweeping import sweep_types
from sharq.results import (
    INVALID,
    Cleared,
    Ended,
    Enqueued,
    Extended,
    JobPage,
    JobStatus,
    Lease,
    NewJob,
    Offer,
    Overview,
    QueueMetrics,
    QueuePage,
    Swept,
    Told,
)
from sharq.settings.options import QueueSettings

T = TypeVar("T")


class _OfType(Protocol):
    @property
    def queue_type(self) -> str: ...


L = TypeVar("L", bound=_OfType)

MAX_TAKE = 100
"""Jobs that one dequeue leases, or one page of a listing has, at most."""

MAX_QUEUES = 1000
"""Queues that one page of a listing is asked for, at most."""


class Flows:
    """The flows of one deployment. `clock` is monotonic, in seconds.

    With `reclaims` a dequeue first takes back expired leases, if `settings` want sweeps: for
    clients without a sweep of their own. `plain_job` and `plain_jobs` read jobs as most clients
    send them, see `JobReader`. `limiting` has the flows of limits and pauses.
    """

    def __init__(
        self,
        operations: Operations,
        settings: QueueSettings,
        clock: Callable[[], float],
        *,
        reclaims: bool = False,
    ) -> None:
        self.settings = settings
        self.operations = operations
        self._clock = clock
        self._registrations = Registrations(clock)
        self.limiting = Limiting(operations, self._register_one)
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

    def finish_job(
        self, queue_type: Any, queue_id: Any, job_id: Any, lease: Any, cost: Any = None
    ) -> Flow[Ended]:
        """End a leased job for good."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        return (yield from self.end_job(meant, finish_with(cost)))

    def release_job(
        self,
        queue_type: Any,
        queue_id: Any,
        job_id: Any,
        lease: Any,
        delay: Any,
        count_requeue: Any,
        **more: Any,
    ) -> Flow[Ended]:
        """Give a leased job back. `more`: see `release_with`."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        return (yield from self.end_job(meant, release_with(delay, count_requeue, **more)))

    def end_job(self, meant: Lease, ending: Ending) -> Flow[Ended]:
        """End a lease; an empty `n` means any."""
        queue_type = meant.queue_type
        if not ending.is_plain:
            outcomes: list[Ended] = yield self.operations.settle(queue_type, [ending.of(meant)])
        elif ending.finishes:
            outcomes = [(yield self.operations.finish(*meant))]
        else:
            outcomes = yield self.operations.release(
                queue_type, [meant], ending.delay, ending.counted
            )
        return outcomes[0]

    def extend_job(
        self, queue_type: Any, queue_id: Any, job_id: Any, by: Any, lease: Any
    ) -> Flow[Extended]:
        """Let a lease end later."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        check_integer("by", by, 1, MAX_INTERVAL)
        outcomes: list[Extended] = yield self.operations.extend(meant.queue_type, [meant], by)
        return outcomes[0]

    def cancel_job(self, queue_type: Any, queue_id: Any, job_id: Any, lease: Any) -> Flow[Ended]:
        """Remove a waiting job, or a leased one by its lease."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        outcomes: list[Ended] = yield self.operations.cancel(meant.queue_type, [meant])
        return outcomes[0]

    def cancel_many(self, jobs: Sequence[Lease | None]) -> Flow[list[Ended | StoreError]]:
        """Remove jobs as `cancel_job` does; the outcome or the failure of each, in order.

        None stands for an invalid one. An empty `n` means that no lease was given.
        """
        return (yield from self._of_types(jobs, self.operations.cancel, _NOT_ENDED))

    def finish_many(
        self, leases: Sequence[Any], cost: Any = None
    ) -> Flow[list[Ended | StoreError]]:
        """End leased jobs for good; the outcome or the failure of each, in order."""
        return (yield from self.end_many(leases, finish_with(cost)))

    def finish_alike(self, queue_type: str, leases: Sequence[Lease]) -> Flow[list[Ended]]:
        """End up to `BULK_SIZE` leased jobs of one type; an empty `n` means any lease."""
        if len(leases) == 1:
            ended: Ended = yield self.operations.finish(*leases[0])
            return [ended]
        outcomes: list[Ended] = yield self.operations.finish_many(queue_type, list(leases))
        return outcomes

    def settle_alike(self, queue_type: str, told: Sequence[Told]) -> Flow[list[Ended]]:
        """End up to `BULK_SIZE` leases of one type, with what their holders tell."""
        outcomes: list[Ended] = yield self.operations.settle(queue_type, list(told))
        return outcomes

    def release_many(
        self, leases: Sequence[Any], delay: Any, count_requeue: Any, **more: Any
    ) -> Flow[list[Ended | StoreError]]:
        """Give leased jobs back; the outcome or the failure of each, in order.

        `more`: see `release_with`.
        """
        return (yield from self.end_many(leases, release_with(delay, count_requeue, **more)))

    def end_many(self, leases: Sequence[Any], ending: Ending) -> Flow[list[Ended | StoreError]]:
        """End leases in one way; the outcome or the failure of each, in order."""
        if not ending.is_plain:
            return (yield from self.settle_many([(lease, ending) for lease in leases]))
        if ending.finishes:
            return (yield from self._with_leases(leases, self.operations.finish_many, _NOT_ENDED))

        def release(queue_type: str, chunk: list[Lease]) -> Call[list[Ended]]:
            return self.operations.release(queue_type, chunk, ending.delay, ending.counted)

        return (yield from self._with_leases(leases, release, _NOT_ENDED))

    def settle_many(
        self, leases: Sequence[tuple[Any, Ending | None]]
    ) -> Flow[list[Ended | StoreError]]:
        """End leases, each in its way; the outcome or the failure of each, in order.

        None stands for an ending that is not valid.
        """
        meant = [EndingLease.of(token, ending) for token, ending in leases]

        def settle(queue_type: str, chunk: list[EndingLease]) -> Call[list[Ended]]:
            return self.operations.settle(queue_type, [each.told for each in chunk])

        return (yield from self._of_types(meant, settle, _NOT_ENDED))

    def extend_many(self, leases: Sequence[Any], by: Any) -> Flow[list[Extended | StoreError]]:
        """Let leases end later; the outcome or the failure of each, in order."""
        check_integer("by", by, 0, MAX_INTERVAL)

        def extend(queue_type: str, chunk: list[Lease]) -> Call[list[Extended]]:
            return self.operations.extend(queue_type, chunk, by)

        return (yield from self._with_leases(leases, extend, _NOT_EXTENDED))

    def _with_leases(
        self,
        tokens: Sequence[Any],
        make_call: Callable[[str, list[Lease]], Call[list[T]]],
        not_valid: T,
    ) -> Flow[list[T | StoreError]]:
        """Calls for leases of any types, by their tokens."""
        leases = [find_lease(token) for token in tokens]
        return (yield from self._of_types(leases, make_call, not_valid))

    def _of_types(
        self,
        leases: Sequence[L | None],
        make_call: Callable[[str, list[L]], Call[list[T]]],
        not_valid: T,
    ) -> Flow[list[T | StoreError]]:
        """The same for leases; those of a type together, `BULK_SIZE` in each call."""
        results: list[T | StoreError] = [not_valid] * len(leases)
        by_type: dict[str, list[tuple[int, L]]] = {}
        for index, lease in enumerate(leases):
            if lease is not None:
                by_type.setdefault(lease.queue_type, []).append((index, lease))
        chunks = [
            (queue_type, meant[at : at + BULK_SIZE])
            for queue_type, meant in by_type.items()
            for at in range(0, len(meant), BULK_SIZE)
        ]
        calls = [make_call(name, [lease for _, lease in chunk]) for name, chunk in chunks]
        answers = (yield calls) if calls else []
        for (_, chunk), answer in zip(chunks, answers, strict=True):
            failed = isinstance(answer, StoreError)
            for at, (index, _) in enumerate(chunk):
                results[index] = answer if failed else answer[at]
        return results

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

    def queue_page(self, queue_type: Any, cursor: Any, count: Any) -> Flow[QueuePage]:
        """About `count` queues of a type."""
        queue_type = check_identifier("queue_type", queue_type)
        at = queue_cursor(cursor)
        check_integer("count", count, 1, MAX_QUEUES)
        page = yield self.operations.list_queues(queue_type, at, count)
        return QueuePage(page.names, None if page.cursor is None else str(page.cursor))

    def job_page(self, queue_type: Any, queue_id: Any, cursor: Any, count: Any) -> Flow[JobPage]:
        """Waiting jobs of a queue, up to `count`."""
        queue = check_queue(queue_type, queue_id)
        start = job_cursor(cursor)
        check_integer("count", count, 1, MAX_TAKE)
        page: JobPage = yield self.operations.list_jobs(*queue, start, count)
        return page

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


_NOT_ENDED = Ended(INVALID)
_NOT_EXTENDED = Extended(INVALID, 0)


def _unfailed(answers: Iterable[Any]) -> list[Any]:
    answers = list(answers)
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return answers
