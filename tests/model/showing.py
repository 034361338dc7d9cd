"""What the operations that only show something answer: status, listings, metrics."""

from __future__ import annotations

from math import inf

from sharq import results
from sharq.operations.replies import TypeMetrics
from sharq.results import DeadSummary, JobError, JobStatus, QueueMetrics, WaitingJob
from tests.model.burials import BuryingModel
from tests.model.model import LISTED_MINUTES, MINUTE
from tests.model.names import JobName, QueueName, expect
from tests.model.queues import ModelJob, ModelQueue, plain_until
from tests.model.records import BURIED, Mark


class ShownModel(BuryingModel):
    """The model, with checks of what is shown of it."""

    def check_status(self, name: JobName, got: JobStatus) -> None:
        queue = self.queues[name.queue]
        job = queue.find(name.job_id)
        if job is None:
            allowed = [self._status_by(name, mark) for mark in self._marks_seen(name)]
            expect(f"the status of {name}, {got}, is one of {allowed}", got in allowed)
            return
        leased = name.job_id in queue.leased
        failures = self._failures(job, job.attempts if leased else job.attempts + 1)
        told = (got.attempt, got.error, got.worker, got.first_failed_at, got.reason, got.died_at)
        expect(f"what {name} failed with", told, (*failures, None, None))
        if leased:
            left = max(0, job.lease_end - self.now)
            shown = (got.state, got.lease_expires_in, got.position, got.eta)
            expect(f"{name}", shown, (results.ACTIVE, left, None, None))
        else:
            self._check_waiting(name, queue, job, got)

    def _status_by(self, name: JobName, mark: Mark | None) -> JobStatus:
        """The status of a job that is not there, by its dead letter and its mark."""
        letter = self.letters[name.queue_type].all.get((name.queue_id, name.job_id))
        finished = mark is not None and mark.state == results.FINISHED
        if letter is not None and not (mark and finished and int(mark.n) > int(letter.n)):
            return JobStatus(
                results.DEAD,
                attempt=letter.attempts,
                error=letter.error,
                worker=letter.worker,
                first_failed_at=letter.first,
                reason=letter.reason,
                died_at=letter.died_at,
            )
        return JobStatus(results.NOT_FOUND if mark is None or mark.state == BURIED else mark.state)

    def _failures(
        self, job: ModelJob, attempt: int
    ) -> tuple[int | None, JobError | None, str | None, int | None]:
        """What is told of a job that failed: attempt, error, worker, first failure."""
        history = job.history
        if history is None:
            return None, None, None, None
        return attempt, history.error, history.worker, history.first

    def _check_waiting(
        self, name: JobName, queue: ModelQueue, job: ModelJob, got: JobStatus
    ) -> None:
        due = job.due if job in queue.late else 0
        held_by, _ = self.levels.held_by(name.queue, due, self.at)
        expect(f"the state of {name}", (got.state, got.held_by), (results.QUEUED, held_by))
        of_type = self.levels.types[name.queue_type]
        alone = queue.group is None and not (of_type.limited or of_type.paused)
        if due > self.now:
            expect(f"{name} is an estimate", got.estimated)
            expect(f"the position of {name}", 0 <= (got.position or 0) < queue.length)
            if got.ready_in is not None:
                expect(f"{name} is not early", got.ready_in >= job.due - self.now)
            return
        order = queue.in_order(self.now)
        before = order.index(job)
        expect(f"the position of {name}", got.position, before)
        if not before or (queue.burst == 1 and all(j.cost == 1 for j in order[:before])):
            first = max(queue.turn or 0, self.now)
            wait = plain_until(first + before * queue.interval, self.now)
            expect(f"the turn of {name}", got.ready_in, wait)
        if not alone:
            expect(f"{name} is an estimate", got.estimated)
        elif not before and (eta := self._eta(name)) is not None:
            expect(f"{name} is exact", (got.estimated, got.eta), (False, eta))

    def _eta(self, name: JobName) -> int | None:
        turn = max(self.levels.turn(name.queue), self.levels.own_time(name.queue_type))
        return plain_until(turn, self.now)

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
        aged, has_interval = queue.aged(self.now), queue.has_interval(self.now)
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
                float(aged.interval) if has_interval else None,
                None if not has_interval else "api" if aged.by_api else "enqueue",
                plain_until(queue.turn, self.now),
            ),
        )
        self._check_held(name, queue, got)
        for minute in self._minutes(got.enqueue_counts, got.dequeue_counts):
            counts = self.minutes[name.queue_type, minute]
            if not counts.faded:
                expect(
                    f"the counts of {name} at {minute}",
                    (got.enqueue_counts[minute * MINUTE], got.dequeue_counts[minute * MINUTE]),
                    (counts.enqueued[name.queue_id], counts.dequeued[name.queue_id]),
                )

    def _check_held(self, name: QueueName, queue: ModelQueue, got: QueueMetrics) -> None:
        wanted: tuple[str | None, int | None] = (None, None)
        if queue.length:
            word, ends = self.levels.held_by(name, queue.first_due(), self.at)
            wanted = word, plain_until(ends, self.now)
        expect(f"what holds {name} back", (got.held_by, got.ready_in), wanted)

    def check_type(
        self, queue_type: str, got: TypeMetrics, waiting: list[str], leased: list[str]
    ) -> None:
        queues = dict(self.levels.of_type(queue_type))
        expect(f"{queue_type} has jobs", got.has_jobs, any(q.has_jobs for q in queues.values()))
        for shown, names in (
            (waiting, [name.queue_id for name, q in queues.items() if q.length]),
            (leased, [name.queue_id for name, q in queues.items() if q.leased]),
        ):
            expect(f"the queues of {queue_type}", sorted(shown), sorted(names))
        wanted: tuple[str | None, int | None] = (None, None)
        if any(q.length for q in queues.values()):
            word, ends = self.levels.type_held_by(queue_type, self.at)
            wanted = word, plain_until(ends, self.now)
        expect(f"what holds {queue_type} back", (got.held_by, got.ready_in), wanted)
        letters = self.letters[queue_type]
        oldest = letters.oldest.died_at if letters.oldest else None
        summary = DeadSummary(
            len(letters.all), letters.bytes, oldest, letters.fallen, letters.dropped
        )
        expect(f"the dead letters of {queue_type}", got.dead, summary)
        jobs = (got.waiting + got.delayed, got.active)
        lengths = (
            sum(q.length for q in queues.values()),
            sum(len(q.leased) for q in queues.values()),
        )
        expect(f"the jobs of {queue_type}", jobs, lengths)
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
        never = queue.has_jobs or queue.ends == inf
        expect(f"the end of {name}", end, None if never else queue.ends)

    def _minutes(self, *counts: dict[int, int]) -> list[int]:
        minutes = [self.now // MINUTE - ago for ago in range(LISTED_MINUTES)]
        for shown in counts:
            expect("the minutes of the counts", [at // MINUTE for at in shown], minutes)
        return minutes
