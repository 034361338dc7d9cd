"""What the queue promises, in plain Python: no store, and time is a number.

Each method takes what an operation was asked and the answer it gave, and raises `AssertionError`
where that is none of the answers that the promises allow. The choices that they leave open (which
of several queues that have been ready equally long, whether a mark is still kept after its
retention) are taken from the answer or left open here as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from typing import NamedTuple

from sharq import results
from sharq._fastpath import Batch, Job
from sharq.operations.operations import Page, TypeMetrics
from sharq.results import (
    Cleared,
    Ended,
    Enqueued,
    Extended,
    JobStatus,
    NewJob,
    QueueMetrics,
    Swept,
    WaitingJob,
)
from sharq.settings.options import QueueSettings

MINUTE = 60_000
LISTED_MINUTES = 10
COUNTERS_KEPT = 11 * MINUTE
SERIAL_KEPT = 10 * MINUTE


class QueueName(NamedTuple):
    """Where a queue is."""

    queue_type: str
    queue_id: str


class JobName(NamedTuple):
    """Where a job is."""

    queue_type: str
    queue_id: str
    job_id: str

    @property
    def queue(self) -> QueueName:
        return QueueName(self.queue_type, self.queue_id)


@dataclass(slots=True)
class ModelJob:
    """A job that is queued or leased; `place` orders the enqueues, times are in ms."""

    job_id: str
    payload: bytes
    place: int
    left: int
    attempts: int = 0
    due: int = 0
    n: str = ""
    lease_end: int = 0
    request: str | None = None
    doomed: bool = False


@dataclass(slots=True)
class ModelQueue:
    """A queue: its jobs and its rate.

    `last` is the last dispatch, `turn` since when (or from when on) the queue is ready, `api_ends`
    the end of what the API has set and `ends` the end of everything, both while no job is left.
    """

    interval: int | None = None
    by_api: bool = False
    last: int | None = None
    turn: int | None = None
    api_ends: int = 0
    ends: int | None = None
    new: list[ModelJob] = field(default_factory=list)
    back: list[ModelJob] = field(default_factory=list)
    late: list[ModelJob] = field(default_factory=list)
    leased: dict[str, ModelJob] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.new) + len(self.back) + len(self.late)

    @property
    def has_jobs(self) -> bool:
        return self.length > 0 or bool(self.leased)

    def queued(self) -> Iterator[ModelJob]:
        yield from self.back
        yield from self.late
        yield from self.new

    def find(self, job_id: str) -> ModelJob | None:
        waiting = next((job for job in self.queued() if job.job_id == job_id), None)
        return waiting or self.leased.get(job_id)

    def remove(self, job: ModelJob) -> None:
        for jobs in (self.new, self.back, self.late):
            if job in jobs:
                jobs.remove(job)

    def in_order(self, now: int) -> list[ModelJob]:
        """The jobs that may go, in the order in which they will."""
        due = [job for job in self.late if job.due <= now]
        return [*sorted([*self.back, *due], key=lambda job: job.place), *self.new]

    def rate_allows_at(self) -> int:
        """The first ms at which the rate allows a dispatch."""
        return 0 if self.last is None else self.last + (self.interval or 0)

    def ready_at(self) -> int:
        """The first ms at which a job may go."""
        if self.new or self.back:
            return self.rate_allows_at()
        return max(self.rate_allows_at(), min(job.due for job in self.late))

    def room_in(self, now: int, over: int) -> int | None:
        """In how many ms so many jobs, and one more, may have gone; None where no rate tells."""
        if self.turn is None or not self.interval:
            return None
        return max(self.turn - now, 0) + over * self.interval

    def schedule(self, now: int) -> None:
        self.turn = max(self.ready_at(), now) if self.length else None

    def reschedule(self, now: int) -> None:
        """As `schedule`, but a queue that was ready and still is keeps its turn."""
        since = now if self.turn is None else min(self.turn, now)
        self.turn = max(self.ready_at(), since)

    def take(self, now: int) -> ModelJob:
        self.back = [*self.back, *(job for job in self.late if job.due <= now)]
        self.late = [job for job in self.late if job.due > now]
        if self.back:
            job = min(self.back, key=lambda job: job.place)
            self.back.remove(job)
            return job
        return self.new.pop(0)

    def aged(self, now: int) -> tuple[int | None, bool, int | None]:
        """The interval, whether the API's, and the last dispatch, as far as they count by now."""
        if self.has_jobs:
            return self.interval, self.by_api, self.last
        last = self.last if self.rate_allows_at() > now else None
        by_api = self.by_api and self.api_ends > now
        return (self.interval if by_api or last is not None else None), by_api, last

    def age(self, now: int) -> None:
        self.interval, self.by_api, self.last = self.aged(now)

    def settle(self, now: int, retention: int) -> None:
        """Begin to run out, where no job is left."""
        if self.has_jobs:
            return
        ends = self.rate_allows_at()
        if self.by_api:
            self.api_ends = now + retention
            ends = max(ends, self.api_ends)
        self.ends = ends
        if ends <= now:
            self.forget()

    def forget(self) -> None:
        self.interval, self.by_api, self.last, self.ends = None, False, None, None


@dataclass(slots=True)
class Mark:
    """What became of a job. `faded`: its retention has passed once."""

    at: int
    n: str
    state: str
    faded: bool = False


@dataclass(slots=True)
class Answer:
    """What a dequeue with a request_id was answered, and until when that is kept."""

    ends: int
    jobs: list[tuple[JobName, str, int]]


@dataclass(slots=True)
class Minute:
    """The counts of one minute. `faded`: they may have been removed, so that nothing is known."""

    enqueued: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    dequeued: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    faded: bool = False


class Model:
    """All queues of one deployment. With `linger` nothing that ran out leaves the store."""

    def __init__(self, settings: QueueSettings, now_us: int, *, linger: bool) -> None:
        self.settings = settings
        self.now_us = now_us
        self.latest = now_us // 1000
        self.linger = linger
        self.queues: dict[QueueName, ModelQueue] = defaultdict(ModelQueue)
        self.marks: dict[JobName, list[Mark]] = defaultdict(list)
        self.minutes: dict[tuple[str, int], Minute] = defaultdict(Minute)
        self.answers: dict[tuple[str, str], Answer] = {}
        self.tokens: set[str] = set()
        self.newest: dict[str, int] = defaultdict(int)
        self._places = count()

    @property
    def now(self) -> int:
        return self.now_us // 1000

    # Time

    def move_to(self, now_us: int) -> None:
        if now_us < self.now_us:
            # Numbers of leases start from the clock, so that they may now start lower.
            self.newest.clear()
        self.now_us = now_us
        now = self.now
        self.latest = max(self.latest, now)
        for queue in self.queues.values():
            if queue.ends is not None and queue.ends <= now and not self.linger:
                queue.forget()
        for marks in self.marks.values():
            for mark in marks:
                mark.faded |= now >= mark.at + self.settings.finished_retention
        for (_, minute), counts in self.minutes.items():
            counts.faded |= now >= minute * MINUTE + COUNTERS_KEPT
        self.answers = {key: kept for key, kept in self.answers.items() if kept.ends > now}

    def instants(self) -> list[int]:
        """The times (ms) at which something is going to change, sorted."""
        out: set[int] = {(self.now // MINUTE + 1) * MINUTE}
        for queue in self.queues.values():
            out.update(job.due for job in queue.late)
            out.update(job.lease_end for job in queue.leased.values())
            out.update(at for at in (queue.turn, queue.ends, queue.rate_allows_at()) if at)
        out.update(kept.ends for kept in self.answers.values())
        for marks in self.marks.values():
            out.update(mark.at + self.settings.finished_retention for mark in marks)
        return sorted(at for at in out if at > self.now)

    # Operations

    def enqueue(self, job: NewJob, got: Enqueued) -> None:
        queue = self.queues[QueueName(job.queue_type, job.queue_id)]
        length = queue.length
        room_in = None
        known = queue.find(job.job_id)
        if known is not None:
            same = known.payload == job.payload
            outcome = results.DUPLICATE if same else results.CONFLICT
        elif job.max_queued_length is not None and length >= job.max_queued_length:
            outcome = results.FULL
            room_in = queue.room_in(self.now, length - job.max_queued_length)
        else:
            outcome = results.QUEUED
            self._put(queue, job)
        expect("enqueue", got, Enqueued(outcome, length, room_in))

    def _put(self, queue: ModelQueue, job: NewJob) -> None:
        was_empty = queue.length == 0
        all_late = queue.length == len(queue.late)
        queue.age(self.now)
        queue.ends = None
        changed = not queue.by_api and queue.interval != job.interval
        if changed:
            queue.interval = job.interval
        queue.new.append(ModelJob(job.job_id, job.payload, next(self._places), job.requeue_limit))
        if was_empty:
            queue.schedule(self.now)
        elif changed or all_late:
            queue.reschedule(self.now)
        self._minute(job.queue_type).enqueued[job.queue_id] += 1

    def dequeue(self, queue_type: str, limit: int, request: str | None, got: Batch) -> None:
        if request is not None and (queue_type, request) in self.answers:
            self._replay(self.answers[queue_type, request], got)
            return
        taken = [self._dispatch(queue_type, request, job) for job in got.jobs]
        turns = [
            queue.turn
            for name, queue in self.queues.items()
            if name.queue_type == queue_type and queue.turn is not None
        ]
        if len(taken) == limit:
            wait: int | None = 0
        else:
            expect("jobs of a dequeue, no more than asked for", len(taken) < limit, True)
            expect(
                "queues that are ready and gave nothing", [t for t in turns if t <= self.now], []
            )
            wait = min(turns) * 1000 - self.now_us if turns else None
        expect("the wait", got.wait_us, wait)
        if request is not None and taken:
            ends = self.now + self.settings.job_expire_interval
            self.answers[queue_type, request] = Answer(ends, taken)

    def _dispatch(self, queue_type: str, request: str | None, got: Job) -> tuple[JobName, str, int]:
        name = QueueName(queue_type, got.queue_id)
        queue = self.queues[name]
        if queue.turn is None or queue.turn > self.now:
            raise AssertionError(f"{got!r} is early: the turn of its queue is {queue.turn}")
        for other_name, other in self.queues.items():
            if other_name.queue_type == queue_type and other.turn is not None:
                expect(f"{name} has been ready longer than {other_name}", queue.turn <= other.turn)
        expect("the rate allows the dispatch", queue.rate_allows_at() <= self.now)

        job = queue.take(self.now)
        job.attempts += 1
        queue.last = self.now
        queue.schedule(self.now)
        prefix, _, n = got.lease.rpartition("/")
        self._check_token(queue_type, got.lease, int(n))
        job.n, job.request = n, request
        job.lease_end = self.now + self.settings.job_expire_interval
        queue.leased[job.job_id] = job
        self._minute(queue_type).dequeued[got.queue_id] += 1

        full_name = JobName(queue_type, got.queue_id, job.job_id)
        expect(
            "the job and its token",
            (got.queue_type, got.job_id, prefix),
            (queue_type, job.job_id, "/".join(full_name)),
        )
        self._check_delivery(got, queue, job, queue.length)
        return full_name, n, queue.length

    def _check_token(self, queue_type: str, lease: str, n: int) -> None:
        expect("a token that never was", lease not in self.tokens)
        expect("the numbers of leases rise", n > self.newest[queue_type])
        self.tokens.add(lease)
        self.newest[queue_type] = n

    def _check_delivery(self, got: Job, queue: ModelQueue, job: ModelJob, length: int) -> None:
        expect(
            "the delivered job",
            (got.payload, got.requeues_remaining, got.attempt, got.current_queue_length),
            (job.payload, job.left, job.attempts, length),
        )
        expect("the interval in force", got.interval, queue.interval)

    def _replay(self, answer: Answer, got: Batch) -> None:
        held = [
            (name, n, length, job)
            for name, n, length in answer.jobs
            if (job := self.queues[name.queue].leased.get(name.job_id)) and job.n == n
        ]
        leases = ["/".join((*name, n)) for name, n, _, _ in held]
        expect("the repeated answer", [job.lease for job in got.jobs], leases)
        for repeated, (name, _, length, job) in zip(got.jobs, held, strict=True):
            self._check_delivery(repeated, self.queues[name.queue], job, length)

    def finish(self, name: JobName, n: str, got: Ended) -> None:
        job = self._held(name, n, got.outcome)
        if job is not None:
            expect("finish", got.outcome, results.SUCCESS)
            self._end(name, job, results.FINISHED)

    def release(self, name: JobName, n: str, delay: int, counted: bool, got: Ended) -> None:
        job = self._held(name, n, got.outcome)
        if job is not None:
            outcome = self._give_back(name, job, counted, delay)
            expect("release", got.outcome, outcome)

    def cancel(self, name: JobName, n: str, got: Ended) -> None:
        queue = self.queues[name.queue]
        job = queue.leased.get(name.job_id)
        if job is not None:
            entitled = n == job.n
            outcome = results.SUCCESS if entitled else results.JOB_ACTIVE
            expect("cancel of a leased job", got.outcome, outcome)
            if entitled:
                del queue.leased[name.job_id]
                queue.settle(self.now, self.settings.interval_retention)
            return
        job = queue.find(name.job_id)
        if job is None or n:
            if got.outcome == results.NOT_FOUND:
                expect("a lease was given", n, "")
                got = Ended(results.NOT_ACTIVE)
            elif got.outcome == results.NOT_ACTIVE:
                expect("a lease was given", n != "")
            self._held(name, n, got.outcome)
            return
        expect("cancel of a waiting job", got.outcome, results.SUCCESS)
        queue.remove(job)
        if not queue.length:
            queue.turn = None
        elif queue.length == len(queue.late):
            queue.reschedule(self.now)
        queue.settle(self.now, self.settings.interval_retention)

    def extend(self, name: JobName, n: str, by: int, got: Extended) -> None:
        job = self._held(name, n, got.outcome)
        if job is None:
            expect("what is left of no lease", got.lease_ms, 0)
            return
        if self.now + by > job.lease_end:
            job.lease_end = self.now + by
            if (kept := self.answers.get((name.queue_type, job.request or ""))) is not None:
                kept.ends = max(kept.ends, job.lease_end)
        left = max(0, job.lease_end - self.now)
        expect("extend", got, Extended(results.SUCCESS, left))

    def sweep(self, queue_type: str, batch: int, got: Swept) -> None:
        # Of leases that end in the same ms the store takes them by name.
        expired = sorted(
            (job.lease_end, f"{name.queue_id}/{job_id}", name, job)
            for name, job_id, job in self._leases(queue_type)
            if job.lease_end <= self.now
        )[:batch]
        fates = [
            self._give_back(JobName(*name, job.job_id), job, True, 0) for _, _, name, job in expired
        ]
        dead = fates.count(results.DEAD)
        ends = [job.lease_end for _, _, job in self._leases(queue_type)]
        wait = max(0, min(ends) * 1000 - self.now_us) if ends else None
        expect(
            "sweep",
            (got.returned, got.discarded, got.more, got.next_expiry_us),
            (len(fates) - dead, dead, len(fates) == batch, wait),
        )
        if got.vacant:
            expect("a vacant type has neither jobs nor counters", self._may_be_vacant(queue_type))
        else:
            expect("a type that is not vacant", not self._must_be_vacant(queue_type))

    def set_interval(self, name: QueueName, interval: int, got: bool) -> None:
        queue = self.queues[name]
        known = queue.aged(self.now)[0] is not None
        expect("set_interval knows the queue", got, known)
        if not known:
            return
        queue.age(self.now)
        queue.interval, queue.by_api = interval, True
        if queue.length:
            queue.reschedule(self.now)
        queue.settle(self.now, self.settings.interval_retention)

    def reset_interval(self, name: QueueName, got: bool) -> None:
        queue = self.queues[name]
        known = queue.aged(self.now)[1]
        expect("reset_interval knows an interval of the API", got, known)
        if known:
            queue.by_api = False
            queue.settle(self.now, self.settings.interval_retention)

    def clear(self, name: QueueName, purge: bool, got: Cleared) -> None:
        queue = self.queues[name]
        expect("clear", got, Cleared(queue.length, len(queue.leased) if purge else 0))
        if not queue.has_jobs:
            if not purge:
                return
            queue.age(self.now)
        queue.new, queue.back, queue.late, queue.turn = [], [], [], None
        for job in queue.leased.values():
            job.doomed = True
        if purge:
            queue.leased.clear()
            queue.by_api = False
        queue.settle(self.now, self.settings.interval_retention)

    # What is shown

    def check_status(self, name: JobName, got: JobStatus) -> None:
        queue = self.queues[name.queue]
        job = queue.find(name.job_id)
        if job is None:
            seen = self._marks_seen(name)
            states = {mark.state if mark else results.NOT_FOUND for mark in seen}
            expect(f"the state of {name}", got.state in states)
            expect(f"nothing else of {name}", got, JobStatus(got.state))
        elif name.job_id in queue.leased:
            left = max(0, job.lease_end - self.now)
            expect(f"{name}", got, JobStatus(results.ACTIVE, lease_expires_in=left))
        elif job in queue.late and job.due > self.now:
            expect(f"the state of {name}", (got.state, got.estimated), (results.QUEUED, True))
            expect(f"the position of {name}", 0 <= (got.position or 0) < queue.length)
            expect(f"{name} is not early", (got.ready_in or 0) >= job.due - self.now)
        else:
            before = queue.in_order(self.now).index(job)
            first = max(queue.turn or 0, self.now)
            turn = first + before * (queue.interval or 0)
            expect(f"{name}", got, JobStatus(results.QUEUED, before, turn - self.now))

    def check_jobs(self, name: QueueName, got: list[WaitingJob]) -> None:
        """Check the listing of a queue that nothing has changed between its pages."""
        queue = self.queues[name]
        back = sorted(queue.back, key=lambda job: job.place)
        late = sorted(queue.late, key=lambda job: job.due)
        expect(
            f"the listed jobs of {name}",
            [(job.job_id, job.payload, job.requeues_remaining) for job in got if not job.estimated],
            [(job.job_id, job.payload, job.left) for job in (*back, *queue.new)],
        )
        expect(
            f"the delayed jobs of {name}",
            sorted((job.due_in or 0, job.job_id, job.payload) for job in got if job.estimated),
            sorted((max(0, job.due - self.now), job.job_id, job.payload) for job in late),
        )
        expect("the positions", [job.position for job in got], list(range(len(got))))

    def check_queue(self, name: QueueName, got: QueueMetrics, length: int) -> None:
        queue = self.queues[name]
        interval, by_api, _ = queue.aged(self.now)
        expect(f"the length of {name}", length, queue.length)
        expect(
            f"{name}",
            (
                got.queue_length,
                got.active_count,
                got.interval,
                got.interval_set_by,
                got.next_ready_in,
            ),
            (
                queue.length,
                len(queue.leased),
                interval,
                None if interval is None else "api" if by_api else "enqueue",
                None if queue.turn is None else max(0, queue.turn - self.now),
            ),
        )
        for minute in self._minutes(got.enqueue_counts, got.dequeue_counts):
            counts = self.minutes[name.queue_type, minute]
            if not counts.faded:
                expect(
                    f"the counts of {name} at {minute}",
                    (got.enqueue_counts[minute * MINUTE], got.dequeue_counts[minute * MINUTE]),
                    (counts.enqueued[name.queue_id], counts.dequeued[name.queue_id]),
                )

    def check_type(self, queue_type: str, got: TypeMetrics, waiting: Page, leased: Page) -> None:
        queues = {name: q for name, q in self.queues.items() if name.queue_type == queue_type}
        expect(f"{queue_type} has jobs", got.has_jobs, any(q.has_jobs for q in queues.values()))
        for page, names in (
            (waiting, [name.queue_id for name, q in queues.items() if q.length]),
            (leased, [name.queue_id for name, q in queues.items() if q.leased]),
        ):
            expect(f"the queues of {queue_type}", sorted(page.names), sorted(names))
        for minute in self._minutes(got.enqueue_counts, got.dequeue_counts):
            counts = self.minutes[queue_type, minute]
            if not counts.faded:
                expect(
                    f"the counts of {queue_type} at {minute}",
                    (got.enqueue_counts[minute * MINUTE], got.dequeue_counts[minute * MINUTE]),
                    (sum(counts.enqueued.values()), sum(counts.dequeued.values())),
                )

    def check_end(self, name: QueueName, there: bool, end: int | None) -> None:
        """Check that the state of a queue is in the store, or not, and when it leaves it."""
        queue = self.queues[name]
        if self.linger and not queue.has_jobs:
            return
        expect(f"{name} is in the store", there, queue.has_jobs or queue.ends is not None)
        expect(f"the end of {name}", end, None if queue.has_jobs else queue.ends)

    # Inside

    def _leases(self, queue_type: str) -> Iterator[tuple[QueueName, str, ModelJob]]:
        for name, queue in self.queues.items():
            if name.queue_type == queue_type:
                for job_id, job in queue.leased.items():
                    yield name, job_id, job

    def _held(self, name: JobName, n: str, outcome: str) -> ModelJob | None:
        """The job that `n` entitles to; where there is none, the refusal is checked."""
        job = self.queues[name.queue].leased.get(name.job_id)
        if job is not None:
            if n in ("", job.n):
                return job
            expect("a stale lease is refused", outcome, results.STALE_LEASE)
            return None
        allowed = {
            results.ALREADY_FINISHED
            if mark and mark.state == results.FINISHED and n in ("", mark.n)
            else results.NOT_ACTIVE
            for mark in self._marks_seen(name)
        }
        expect(f"{outcome} is one of {allowed}", outcome in allowed)
        return None

    def _give_back(self, name: JobName, job: ModelJob, counted: bool, delay: int) -> str:
        queue = self.queues[name.queue]
        if job.doomed or (counted and job.left == 0):
            self._end(name, job, results.DEAD)
            return results.DEAD
        del queue.leased[job.job_id]
        if counted and job.left > 0:
            job.left -= 1
        if not counted:
            job.attempts -= 1
        if delay > 0:
            job.due = self.now + delay
            queue.late.append(job)
        else:
            queue.back.append(job)
        queue.reschedule(self.now)
        return results.SUCCESS

    def _end(self, name: JobName, job: ModelJob, state: str) -> None:
        queue = self.queues[name.queue]
        del queue.leased[job.job_id]
        self.marks[name].append(Mark(self.now, job.n, state))
        queue.settle(self.now, self.settings.interval_retention)

    def _marks_seen(self, name: JobName) -> list[Mark | None]:
        """The marks that the store may know as a job's newest; None: no mark."""
        retention = self.settings.finished_retention
        if retention == 0:
            return [None]
        quarter = ceil(retention / 4)
        marks = self.marks[name]
        seen: list[Mark | None] = []
        for mark in reversed(marks):
            if mark.at - quarter <= self.now < mark.at + 5 * quarter:
                seen.append(mark)
                newest = all(other.at <= mark.at for other in marks)
                if newest and not mark.faded and self.now >= mark.at:
                    return seen
        return [*seen, None]

    def _minute(self, queue_type: str) -> Minute:
        return self.minutes[queue_type, self.now // MINUTE]

    def _minutes(self, *counts: dict[int, int]) -> list[int]:
        minutes = [self.now // MINUTE - ago for ago in range(LISTED_MINUTES)]
        for shown in counts:
            expect("the minutes of the counts", [at // MINUTE for at in shown], minutes)
        return minutes

    def _has_jobs(self, queue_type: str) -> bool:
        return any(q.has_jobs for name, q in self.queues.items() if name.queue_type == queue_type)

    def _may_be_vacant(self, queue_type: str) -> bool:
        return not self._has_jobs(queue_type) and not any(
            not counts.faded for counts in self._counted(queue_type, LISTED_MINUTES)
        )

    def _must_be_vacant(self, queue_type: str) -> bool:
        kept = COUNTERS_KEPT // MINUTE + 1
        return not self._has_jobs(queue_type) and not any(self._counted(queue_type, kept))

    def _counted(self, queue_type: str, minutes: int) -> Iterator[Minute]:
        """The last `minutes` in which something was counted."""
        for (name, minute), counts in self.minutes.items():
            ago = self.now // MINUTE - minute
            counted = any(counts.enqueued.values()) or any(counts.dequeued.values())
            if name == queue_type and 0 <= ago < minutes and counted:
                yield counts


def expect(what: str, got: object, wanted: object = True) -> None:
    """Raise AssertionError unless the two are equal."""
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, expected {wanted!r}")
