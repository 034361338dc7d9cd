"""Random histories of operations on a real store, each answer held against the model's."""

from __future__ import annotations

from math import ceil
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sharq.identifiers import Lease
from sharq.operations.call import Call
from sharq.operations.cursors import JobCursor, job_cursor
from sharq.results import NewJob
from sharq.settings.options import QueueSettings
from tests.model.model import COUNTERS_KEPT, SERIAL_KEPT, JobName, Model, QueueName, expect
from tests.support.expiring import ExpiringQueue
from tests.support.hands import PipelinedStore

T = TypeVar("T")

# Names that have a meaning of their own somewhere inside.
QUEUES = [
    QueueName("active", "ready"),
    QueueName("active", "interval"),
    QueueName("active", "active"),
    QueueName("payload", "ready"),
]
TYPES = ["active", "payload"]
JOBS = ["time", "leases", "1", "q", "e"]

LEASE = 1_000
LONGEST_LEASE = 3_000
YEAR = 31_536_000_000

queue_names = st.sampled_from(QUEUES)
queue_types = st.sampled_from(["active", "active", "payload"])
job_names = st.sampled_from([JobName(*queue, job_id) for queue in QUEUES for job_id in JOBS])
payloads = st.sampled_from([b"1", b"1", b'{"a": [1, " "]}', b'"\xc3\xa9\\n"'])
intervals = st.sampled_from([0, 0, 1, 10, 10, 700, 1_500, 90_000, YEAR])
limits = st.sampled_from([-1, -1, 0, 1, 2, 1_000_000_000, 2**63 - 1])
bounds = st.sampled_from([None, None, None, None, None, 0, 1, 2**63 - 1])
delays = st.sampled_from([0, 0, 1, 400, LEASE, 5_000])
picks = st.integers(min_value=0, max_value=11)
tokens = st.sampled_from(["current", "current", "current", "none", "old", "made-up"])


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    queue_type, queue_id, job_id = draw(job_names)
    return NewJob(
        queue_type,
        queue_id,
        job_id,
        draw(payloads),
        draw(intervals),
        draw(limits),
        draw(bounds),
    )


def some_job_is_leased(machine: QueueMachine) -> bool:
    return any(queue.leased for queue in machine.model.queues.values())


class QueueMachine(RuleBasedStateMachine):
    """One history. `socket_path` names the store; what it holds is deleted."""

    socket_path = ""

    def __init__(self) -> None:
        super().__init__()
        self.store = PipelinedStore(self.socket_path)
        self.store.command("FLUSHALL")
        self.sound = True

    @initialize(
        finished_retention=st.sampled_from([0, 7, 2_000, 60_000]),
        interval_retention=st.sampled_from([0, 1_300, 3_600_000]),
        linger=st.booleans(),
        queues=st.lists(st.tuples(queue_names, intervals, limits), min_size=1, max_size=3),
    )
    def begin(
        self,
        finished_retention: int,
        interval_retention: int,
        linger: bool,
        queues: list[tuple[QueueName, int, int]],
    ) -> None:
        settings = QueueSettings(
            job_expire_interval=LEASE,
            finished_retention=finished_retention,
            interval_retention=interval_retention,
        )
        self.queue = ExpiringQueue(self.store, settings, linger=linger)
        self.operations = self.queue.operations
        self.model = Model(settings, self.queue.now_us, linger=linger)
        for name, interval, limit in queues:
            self._fill(name, interval, limit)

    # Producers

    @rule(job=new_jobs())
    def enqueue(self, job: NewJob) -> None:
        self._enqueue_many(job.queue_type, [job])

    @rule(jobs=st.lists(new_jobs(), min_size=1, max_size=6), queue_type=queue_types)
    def enqueue_many(self, jobs: list[NewJob], queue_type: str) -> None:
        self._enqueue_many(queue_type, [job._replace(queue_type=queue_type) for job in jobs])

    @rule(pick=picks, name=queue_names, limit=limits)
    def enqueue_one_more(self, pick: int, name: QueueName, limit: int) -> None:
        name = self._known_queue(pick, name)
        queue = self.model.queues[name]
        new = next((job_id for job_id in JOBS if queue.find(job_id) is None), JOBS[0])
        self.enqueue(NewJob(*name, new, b"1", queue.interval or 0, limit))

    @rule(name=queue_names, interval=intervals, limit=limits)
    def enqueue_to_one(self, name: QueueName, interval: int, limit: int) -> None:
        self._fill(name, interval, limit)

    # Workers

    @rule(
        queue_type=queue_types,
        limit=st.sampled_from([1, 1, 2, 5, 100]),
        request=st.sampled_from([None, "r", "r", "s"]),
    )
    def dequeue(self, queue_type: str, limit: int, request: str | None) -> None:
        self._dequeue(queue_type, limit, request)

    @precondition(some_job_is_leased)
    @rule(fate=st.sampled_from(["finish", "release", "delay"]))
    def end_all_leases(self, fate: str) -> None:
        for name, n in self._leases():
            if fate == "finish":
                self._finish(name, n)
            else:
                self._release(name, n, 400 if fate == "delay" else 0, False)

    @precondition(some_job_is_leased)
    @rule(pick=picks, token=tokens)
    def finish(self, pick: int, token: str) -> None:
        self._finish(*self._lease(pick, token))

    @precondition(some_job_is_leased)
    @rule(chosen=st.lists(st.tuples(picks, tokens), min_size=1, max_size=6))
    def finish_many(self, chosen: list[tuple[int, str]]) -> None:
        """Finish jobs of one type in one call, some of them perhaps twice."""
        leases = [self._lease(pick, token) for pick, token in chosen]
        queue_type = leases[0][0].queue_type
        leases = [(name, n) for name, n in leases if name.queue_type == queue_type]
        call = self.operations.finish_many(queue_type, [Lease(*name, n) for name, n in leases])
        for (name, n), got in zip(leases, self._run(call), strict=True):
            self.model.finish(name, n, got)

    @precondition(some_job_is_leased)
    @rule(pick=picks, token=tokens, delay=delays, counted=st.booleans())
    def release(self, pick: int, token: str, delay: int, counted: bool) -> None:
        self._release(*self._lease(pick, token), delay, counted)

    @precondition(some_job_is_leased)
    @rule(
        pick=picks,
        token=tokens,
        by=st.sampled_from([1, LEASE - 1, LEASE, LEASE + 1, LONGEST_LEASE]),
    )
    def extend(self, pick: int, token: str, by: int) -> None:
        self._extend(*self._lease(pick, token), by)

    @rule(queue_type=queue_types, limit=st.sampled_from([1, 2]))
    def dequeue_when_one_is_ready(self, queue_type: str, limit: int) -> None:
        turns = [
            queue.turn
            for name, queue in self.model.queues.items()
            if name.queue_type == queue_type and queue.turn is not None
        ]
        if turns:
            self._move_to(max(min(turns) * 1000, self.model.now_us))
        self._dequeue(queue_type, limit, None)

    @rule(pick=picks, name=job_names, known=st.booleans())
    def end_what_may_not_be_leased(self, pick: int, name: JobName, known: bool) -> None:
        ended = sorted(self.model.marks)
        if ended and pick > 2:
            name = ended[pick % len(ended)]
        n = self._old_number(pick, name) if known else ""
        (
            self._finish,
            lambda name, n: self._release(name, n, 0, True),
            lambda name, n: self._extend(name, n, LEASE),
            self._cancel,
        )[pick % 4](name, n)

    @rule(chosen=st.lists(job_names, min_size=1, max_size=4), queue_type=queue_types)
    def cancel_many(self, chosen: list[JobName], queue_type: str) -> None:
        """Cancel jobs of one type in one call, some of them perhaps twice."""
        names = [name for name in chosen if name.queue_type == queue_type]
        call = self.operations.cancel(queue_type, [Lease(*name, "") for name in names])
        for name, got in zip(names, self._run(call), strict=True):
            self.model.cancel(name, "", got)

    @rule(pick=picks)
    def cancel_one_that_waits(self, pick: int) -> None:
        waiting = [
            JobName(*name, job.job_id)
            for name, queue in sorted(self.model.queues.items())
            for job in queue.queued()
        ]
        if waiting:
            self._cancel(waiting[pick % len(waiting)], "")

    @precondition(some_job_is_leased)
    @rule(pick=picks, token=tokens)
    def cancel_one_that_is_leased(self, pick: int, token: str) -> None:
        self._cancel(*self._lease(pick, token))

    # Operators

    @rule(pick=picks, name=queue_names, interval=intervals)
    def set_interval(self, pick: int, name: QueueName, interval: int) -> None:
        name = self._known_queue(pick, name)
        got = self._run(self.operations.set_interval(*name, interval))
        self.model.set_interval(name, interval, got)

    @rule(pick=picks, name=queue_names)
    def reset_interval(self, pick: int, name: QueueName) -> None:
        name = self._known_queue(pick, name)
        self.model.reset_interval(name, self._run(self.operations.reset_interval(*name)))

    @rule(pick=picks, name=queue_names, purge=st.booleans())
    def clear(self, pick: int, name: QueueName, purge: bool) -> None:
        name = self._known_queue(pick, name)
        self.model.clear(name, purge, self._run(self.operations.clear(*name, purge)))

    # Time

    @rule(queue_type=queue_types, batch=st.sampled_from([1, 2, 3, 100]))
    def sweep(self, queue_type: str, batch: int) -> None:
        self.sound = False
        self.model.sweep(queue_type, batch, self.queue.sweep_some(queue_type, batch))

    @precondition(some_job_is_leased)
    @rule(pick=picks, us=st.sampled_from([-1, 0, 0, 1]), batch=st.sampled_from([1, 2, 100]))
    def let_leases_end(self, pick: int, us: int, batch: int) -> None:
        queue_type, ends = sorted(
            (name.queue_type, job.lease_end)
            for name, queue in self.model.queues.items()
            for job in queue.leased.values()
        )[-1 - pick % 2 :][0]
        self._move_to(max(ends * 1000 + us, self.model.now_us))
        self.sound = False
        self.model.sweep(queue_type, batch, self.queue.sweep_some(queue_type, batch))

    @rule(pick=picks, us=st.sampled_from([-1_000, -1, 0, 0, 0, 1, 999, 1_000]))
    def advance_to_an_edge(self, pick: int, us: int) -> None:
        instants = self.model.instants()
        at = instants[pick % len(instants)] * 1000 + us
        self._move_to(max(at, self.model.now_us))

    @rule(us=st.sampled_from([1, 300, 1_000, 10_000, 333_333, 1_000_000, 61_000_000]))
    def advance(self, us: int) -> None:
        self._move_to(self.model.now_us + us)

    @rule(us=st.sampled_from([1, 1_000, 700_000, 5_000_000, 300_000_000]))
    def step_back(self, us: int) -> None:
        self._move_to(self.model.now_us - us)

    @rule(name=queue_names, count=st.sampled_from([1, 1, 2, 100]))
    def list_jobs(self, name: QueueName, count: int) -> None:
        jobs, cursor = [], JobCursor()
        for _ in range(len(JOBS) + 1):
            page = self._run(self.operations.list_jobs(*name, cursor, count))
            jobs += page.jobs
            if page.cursor is None:
                break
            cursor = job_cursor(page.cursor)
        self.model.check_jobs(name, jobs)

    # What must hold after each

    @invariant()
    @precondition(lambda self: hasattr(self, "model"))
    def all_is_as_in_the_model(self) -> None:
        operations, model = self.operations, self.model
        names = sorted(model.queues)
        jobs = [JobName(*name, job_id) for name in names for job_id in JOBS]
        calls: list[Call[Any]] = []
        for name in names:
            calls += [operations.queue_metrics(*name), operations.queue_length(*name)]
        calls += [operations.status(*job) for job in jobs]
        for queue_type in TYPES:
            calls += [
                operations.type_metrics(queue_type),
                operations.list_queues(queue_type, True, "0"),
                operations.list_queues(queue_type, False, "0"),
            ]

        replies = iter(self.queue.run_many(calls))
        for name in names:
            model.check_queue(name, next(replies), next(replies))
        for job in jobs:
            model.check_status(job, next(replies))
        for queue_type in TYPES:
            model.check_type(queue_type, next(replies), next(replies), next(replies))
        self._check_keys()
        self.sound = True

    def teardown(self) -> None:
        try:
            if self.sound and hasattr(self, "model"):
                self._end_all_jobs()
                self._check_that_nothing_is_left()
        finally:
            self.store.close()

    def _end_all_jobs(self) -> None:
        """Deliver and finish every job, in the order in which they come."""
        while any(queue.has_jobs for queue in self.model.queues.values()):
            for queue_type in TYPES:
                self._dequeue(queue_type, 100, None)
            for name, queue in self.model.queues.items():
                for job_id, job in list(queue.leased.items()):
                    self._finish(JobName(*name, job_id), job.n)
            turns = [queue.turn for queue in self.model.queues.values() if queue.turn is not None]
            if turns:
                self._move_to(max(min(turns) * 1000, self.model.now_us))
        self.all_is_as_in_the_model()

    def _check_keys(self) -> None:
        """Check that every key is there for something, and has an end unless that is jobs."""
        ends = {key_parts(key): end for key, end in self.queue.ends().items()}
        waiting, leased = set(), set()
        for name, queue in self.model.queues.items():
            state = (name.queue_type, "q", name.queue_id)
            self.model.check_end(name, state in ends, ends.get(state))
            if queue.length:
                waiting |= {(name.queue_type, "ready", ""), state}
                waiting |= {(name.queue_type, kind, name.queue_id) for kind in "jrd"}
            if queue.leased:
                leased |= {(name.queue_type, kind, "") for kind in ("leases", "held")}
                leased.add(state)
        for key, end in ends.items():
            if end is None:
                expect(f"{key} is there for jobs", key in waiting | leased)

    def _check_that_nothing_is_left(self) -> None:
        """Check that what is left is of a kind that may be, and ends in time."""
        settings = self.model.settings
        longest = {
            "q": YEAR,
            "c": COUNTERS_KEPT,
            "f": settings.finished_retention + ceil(settings.finished_retention / 4),
            "x": LONGEST_LEASE,
            "serial": SERIAL_KEPT,
        }
        for key, ends in self.queue.ends().items():
            kind = key_parts(key)[1]
            expect(f"{key} may be left", kind in longest)
            if ends is None:
                raise AssertionError(f"{key} never ends")
            if ends > self.model.latest + longest[kind]:
                raise AssertionError(f"{key} is kept for too long: until {ends}")

    def _run(self, call: Call[T]) -> T:
        self.sound = False
        return self.queue.run(call)

    def _move_to(self, us: int) -> None:
        self.queue.move_to(us)
        self.model.move_to(us)

    def _enqueue_many(self, queue_type: str, jobs: list[NewJob]) -> None:
        outcomes = self._run(self.operations.enqueue(queue_type, jobs))
        for job, got in zip(jobs, outcomes, strict=True):
            self.model.enqueue(job, got)

    def _fill(self, name: QueueName, interval: int, limit: int) -> None:
        jobs = [NewJob(*name, job_id, b"1", interval, limit) for job_id in JOBS[:3]]
        self._enqueue_many(name.queue_type, jobs)

    def _dequeue(self, queue_type: str, limit: int, request: str | None) -> None:
        batch = self._run(self.operations.dequeue(queue_type, limit, request))
        self.model.dequeue(queue_type, limit, request, batch)

    def _finish(self, name: JobName, n: str) -> None:
        self.model.finish(name, n, self._run(self.operations.finish(*name, n)))

    def _release(self, name: JobName, n: str, delay: int, counted: bool) -> None:
        leases = [Lease(*name, n)]
        (ended,) = self._run(self.operations.release(name.queue_type, leases, delay, counted))
        self.model.release(name, n, delay, counted, ended)

    def _cancel(self, name: JobName, n: str) -> None:
        (got,) = self._run(self.operations.cancel(name.queue_type, [Lease(*name, n)]))
        self.model.cancel(name, n, got)

    def _extend(self, name: JobName, n: str, by: int) -> None:
        (extended,) = self._run(self.operations.extend(name.queue_type, [Lease(*name, n)], by))
        self.model.extend(name, n, by, extended)

    def _known_queue(self, pick: int, name: QueueName) -> QueueName:
        """A queue that has something in the store, if there is one, more often than not."""
        known = sorted(
            name
            for name, queue in self.model.queues.items()
            if queue.has_jobs or queue.ends is not None
        )
        return known[pick % len(known)] if known and pick > 2 else name

    def _leases(self) -> list[tuple[JobName, str]]:
        return [
            (JobName(*name, job_id), job.n)
            for name, queue in sorted(self.model.queues.items())
            for job_id, job in sorted(queue.leased.items())
        ]

    def _lease(self, pick: int, token: str) -> tuple[JobName, str]:
        """A leased job and a number that is, or is not, of its lease."""
        leased = self._leases()
        name, n = leased[pick % len(leased)]
        numbers = {"current": n, "none": "", "old": self._old_number(pick, name), "made-up": "1"}
        return name, numbers[token]

    def _old_number(self, pick: int, name: JobName) -> str:
        """The number of a lease that a job of this name has or had."""
        prefix = "/".join(name) + "/"
        old = sorted(lease for lease in self.model.tokens if lease.startswith(prefix))
        return old[pick % len(old)].removeprefix(prefix) if old else "1"


def key_parts(key: str) -> tuple[str, str, str]:
    """The type, the kind and what follows it, of a key of a type."""
    tag, _, rest = key.partition("}:")
    kind, _, name = rest.partition(":")
    return tag.removeprefix("{sharq:"), kind, name
