"""Random histories of operations on a real store, each answer held against the model's."""

from __future__ import annotations

from itertools import count
from math import ceil, inf
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sharq.endings import EndingLease
from sharq.identifiers import Lease
from sharq.operations.call import Call, Flow
from sharq.operations.cursors import JobCursor, QueueCursor, job_cursor
from sharq.operations.flows import Flows
from sharq.operations.targets import Target as Level
from sharq.results import DeadFilter, DeadPage, JobOptions, NewJob
from sharq.settings.options import QueueSettings
from tests.model.changes import LimitChanges, pause_for
from tests.model.failures import End
from tests.model.inside import check_counters, check_inside, look
from tests.model.inside_dead import check_dead, look_at_dead
from tests.model.inside_jobs import check_jobs_inside, look_at_jobs
from tests.model.letters import DAY, Letter
from tests.model.model import COUNTERS_KEPT, MINUTE, SERIAL_KEPT
from tests.model.names import GroupName, JobName, QueueName, expect
from tests.model.rates import FARTHEST, Rates
from tests.model.showing import ShownModel
from tests.model.strategies import (
    GROUPS,
    JOBS,
    LEASE,
    LONGEST_LEASE,
    QUEUES,
    TYPES,
    changes,
    decimals,
    delays,
    ends,
    intervals,
    job_names,
    levels,
    limits,
    new_jobs,
    options,
    pauses,
    picks,
    queue_names,
    queue_types,
    some_filters,
    tokens,
)
from tests.support.direct import follow
from tests.support.expiring import ExpiringQueue
from tests.support.hands import PREFIX, PipelinedStore

T = TypeVar("T")

REGISTRY = ("{sharq", "types", "")
"""The parts of the key of the registry of types."""


def some_job_is_leased(machine: QueueMachine) -> bool:
    return any(queue.leased for queue in machine.model.queues.values())


def some_job_is_dead(machine: QueueMachine) -> bool:
    return any(letters.all for letters in machine.model.letters.values())


def some_bulk_runs(machine: QueueMachine) -> bool:
    return any(of.bulk is not None and of.bulk.runs for of in machine.model.letters.values())


class QueueMachine(RuleBasedStateMachine):
    """One history. `socket_path` names the store; what it holds is deleted."""

    socket_path = ""

    def __init__(self) -> None:
        super().__init__()
        self.store = PipelinedStore(self.socket_path)
        self.store.command("FLUSHALL")
        self.sound = True
        self.numbers = count()

    @initialize(
        finished_retention=st.sampled_from([0, 7, 2_000, 60_000]),
        interval_retention=st.sampled_from([0, 1_300, 3_600_000]),
        linger=st.booleans(),
        limited=st.sampled_from([True, True, True, False]),
        backoff=st.sampled_from([(0, 1_000), (1, 1), (300, 1_000), (1_000, 3_600_000)]),
        kept=st.sampled_from([(10_000, 2**26), (10_000, 2**26), (3, 2**26), (10, 400), (0, 2**26)]),
        dead_retention=st.sampled_from([2_592_000_000, 5_000, 61_000]),
        focus=queue_names,
        queues=st.lists(st.tuples(queue_names, intervals, limits), min_size=1, max_size=3),
    )
    def begin(
        self,
        finished_retention: int,
        interval_retention: int,
        linger: bool,
        limited: bool,
        backoff: tuple[int, int],
        kept: tuple[int, int],
        dead_retention: int,
        focus: QueueName,
        queues: list[tuple[QueueName, int, int]],
    ) -> None:
        settings = QueueSettings(
            job_expire_interval=LEASE,
            finished_retention=finished_retention,
            interval_retention=interval_retention,
            backoff_min=backoff[0],
            backoff_max=backoff[1],
            dead_max_jobs=kept[0],
            dead_max_bytes=kept[1],
            dead_retention=dead_retention,
        )
        self.queue = ExpiringQueue(self.store, settings, linger=linger)
        self.operations = self.queue.operations
        self.dead = Flows(self.operations, settings, lambda: 0.0).dead
        self.model = ShownModel(settings, self.queue.now_us, linger=linger)
        self.limited, self.focus = limited, focus
        for name, interval, limit in queues:
            self._fill(name, interval, limit)

    # Producers

    @rule(job=new_jobs())
    def enqueue(self, job: NewJob) -> None:
        self._enqueue_many(job.queue_type, [job])

    @precondition(lambda self: self.limited)
    @rule(job=new_jobs(), interval=decimals, chosen=options)
    def enqueue_with_options(self, job: NewJob, interval: float, chosen: JobOptions) -> None:
        self.enqueue(job._replace(interval=interval, options=chosen))

    @precondition(lambda self: self.limited)
    @rule(chosen=options, interval=decimals, times=st.sampled_from([1, 1, 2]))
    def enqueue_to_the_focus(self, chosen: JobOptions, interval: float, times: int) -> None:
        """One queue of each history is given more of what limits it."""
        queue = self.model.queues[self.focus]
        new = [job_id for job_id in JOBS if queue.find(job_id) is None][:times]
        jobs = [NewJob(*self.focus, job_id, b"1", interval, -1, None, chosen) for job_id in new]
        self._enqueue_many(self.focus.queue_type, jobs)

    @precondition(lambda self: self.limited)
    @rule(change=changes, group=st.sampled_from(["", "", "-", *GROUPS]))
    def limit_the_focus(self, change: LimitChanges, group: str) -> None:
        level = Level("queue", self.focus.queue_id)
        self._limit(self.focus.queue_type, level, change._replace(group=group))

    @precondition(lambda self: self.limited and bool(self.model.queues[self.focus].leased))
    @rule(purge=st.booleans())
    def clear_the_focus(self, purge: bool) -> None:
        self.clear(0, self.focus, purge)

    @precondition(lambda self: self.limited)
    @rule(
        name=queue_names,
        limit=limits,
        jobs=st.lists(st.tuples(decimals, options), min_size=1, max_size=5),
    )
    def enqueue_many_with_options(
        self, name: QueueName, limit: int, jobs: list[tuple[float, JobOptions]]
    ) -> None:
        new = [
            NewJob(*name, job_id, b"1", interval, limit, None, chosen)
            for job_id, (interval, chosen) in zip(JOBS, jobs, strict=False)
        ]
        self._enqueue_many(name.queue_type, new)

    @precondition(lambda self: self.limited)
    @rule(group=st.sampled_from(GROUPS), interval=decimals, cost=st.sampled_from([1, 1, 2]))
    def enqueue_to_a_group(self, group: str, interval: float, cost: int) -> None:
        for name in QUEUES[:3]:
            chosen = JobOptions(group=group, cost=cost)
            jobs = [NewJob(*name, job_id, b"1", interval, -1, None, chosen) for job_id in JOBS[:2]]
            self._enqueue_many(name.queue_type, jobs)
            self.all_is_as_in_the_model()

    @rule(jobs=st.lists(new_jobs(), min_size=1, max_size=6), queue_type=queue_types)
    def enqueue_many(self, jobs: list[NewJob], queue_type: str) -> None:
        self._enqueue_many(queue_type, [job._replace(queue_type=queue_type) for job in jobs])

    @rule(pick=picks, name=queue_names, limit=limits)
    def enqueue_one_more(self, pick: int, name: QueueName, limit: int) -> None:
        name = self._known_queue(pick, name)
        queue = self.model.queues[name]
        new = next((job_id for job_id in JOBS if queue.find(job_id) is None), JOBS[0])
        self.enqueue(NewJob(*name, new, b"1", float(queue.interval), limit))

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

    @rule(queue_type=queue_types, wanted=st.sampled_from([1, 2, 100]))
    def offer(self, queue_type: str, wanted: int) -> None:
        """A server asks what it may offer, and goes away."""
        offer = self.operations.offer(queue_type, "server", wanted, 0, 1_000)
        got, _ = self.queue.run_many([offer, self.operations.hand_on(queue_type, "server", 0)])
        self.model.offer(queue_type, wanted, got)

    @precondition(some_job_is_leased)
    @rule(fate=st.sampled_from(["finish", "release", "delay", "fail", "reject"]))
    def end_all_leases(self, fate: str) -> None:
        for name, n in self._leases():
            if fate == "finish":
                self._finish(name, n)
            elif fate in ("fail", "reject"):
                self._settle(name.queue_type, [(name, n, End(fate, None))])
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
    @rule(pick=picks, token=tokens, end=ends)
    def end_in_a_failure(self, pick: int, token: str, end: End) -> None:
        name, n = self._lease(pick, token)
        self._settle(name.queue_type, [(name, n, end)])

    @precondition(some_job_is_leased)
    @rule(chosen=st.lists(st.tuples(picks, tokens, ends), min_size=1, max_size=6))
    def end_many(self, chosen: list[tuple[int, str, End]]) -> None:
        """End jobs of one type in one call, some of them perhaps twice."""
        told = [(*self._lease(pick, token), end) for pick, token, end in chosen]
        queue_type = told[0][0].queue_type
        self._settle(queue_type, [each for each in told if each[0].queue_type == queue_type])

    @rule(queue_type=queue_types, limit=st.sampled_from([1, 2, 100]), times=st.sampled_from([2, 4]))
    def kill_the_workers(self, queue_type: str, limit: int, times: int) -> None:
        """Leases run out, time and again."""
        for _ in range(times):
            self._move_to_a_turn([queue_type])
            self._dequeue(queue_type, limit, None)
            self._let_leases_end(queue_type, 100)

    @rule(queue_type=queue_types, limit=st.sampled_from([1, 2, 100]), end=ends)
    def dequeue_and_fail(self, queue_type: str, limit: int, end: End) -> None:
        self._move_to_a_turn([queue_type])
        self._dequeue(queue_type, limit, None)
        for name, n in self._leases():
            if name.queue_type == queue_type:
                self._settle(queue_type, [(name, n, end)])

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
        self._move_to_a_turn([queue_type])
        self._dequeue(queue_type, limit, None)

    @precondition(lambda self: self.limited)
    @rule(queue_type=queue_types, limit=st.sampled_from([1, 2]), finish=st.booleans())
    def dequeue_at_each_turn(self, queue_type: str, limit: int, finish: bool) -> None:
        """Some dequeues, each at the first moment at which a job may go."""
        for _ in range(4):
            self._move_to_a_turn([queue_type])
            self._dequeue(queue_type, limit, None)
            for name, n in self._leases() if finish else ():
                self._finish(name, n)

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

    # Those who look after dead letters

    @rule(name=queue_names, end=ends, chosen=options, expires=st.booleans())
    def let_jobs_die(self, name: QueueName, end: End, chosen: JobOptions, expires: bool) -> None:
        """Some jobs without a requeue are delivered, if they may be, and end badly."""
        own = (chosen if self.limited else JobOptions())._replace(delay=0)
        queue = self.model.queues[name]
        new = [job_id for job_id in JOBS if queue.find(job_id) is None]
        jobs = [NewJob(*name, job_id, b"1", float(queue.interval), 0, None, own) for job_id in new]
        self._enqueue_many(name.queue_type, jobs)
        self._dequeue(name.queue_type, 100, None)
        if expires:
            self._let_leases_end(name.queue_type, 100)
        else:
            leases = [each for each in self._leases() if each[0].queue == name]
            self._settle(name.queue_type, [(job, n, end) for job, n in leases])

    @precondition(some_job_is_dead)
    @rule(chosen=st.lists(picks, min_size=1, max_size=4))
    def retry(self, chosen: list[int]) -> None:
        queue_type, members = self._dead(chosen)
        got = self._follow(self.dead.retry(queue_type, members))
        self.model.retry(queue_type, members, got)

    @precondition(some_job_is_dead)
    @rule(chosen=st.lists(picks, min_size=1, max_size=4))
    def delete(self, chosen: list[int]) -> None:
        queue_type, members = self._dead(chosen)
        got = self._follow(self.dead.delete(queue_type, members))
        self.model.delete(queue_type, members, got)

    @rule(chosen=st.lists(job_names, min_size=1, max_size=3), deletes=st.booleans())
    def bring_back_what_may_not_be_dead(self, chosen: list[JobName], deletes: bool) -> None:
        queue_type = chosen[0].queue_type
        members = [(name.queue_id, name.job_id) for name in chosen if name.queue_type == queue_type]
        if deletes:
            self.model.delete(
                queue_type, members, self._follow(self.dead.delete(queue_type, members))
            )
        else:
            self.model.retry(
                queue_type, members, self._follow(self.dead.retry(queue_type, members))
            )

    @precondition(some_job_is_dead)
    @rule(pick=picks, interval=intervals, jobs=st.sampled_from([0, 1]))
    def retry_into_a_queue_that_lives(self, pick: int, interval: int, jobs: int) -> None:
        """The queue has other limits by now, or the job is there again."""
        queue_type, ((queue_id, job_id),) = self._dead([pick])
        name = QueueName(queue_type, queue_id)
        other = next(each for each in JOBS if each != job_id)
        self._enqueue_many(
            queue_type, [NewJob(*name, (other, job_id)[jobs], b"1", float(interval), -1)]
        )
        members = [(queue_id, job_id)]
        self.model.retry(queue_type, members, self._follow(self.dead.retry(queue_type, members)))

    @precondition(some_job_is_dead)
    @rule(
        chosen=some_filters, pick=picks, count=st.sampled_from([1, 2, 100]), of_time=st.booleans()
    )
    def list_dead_letters(self, chosen: DeadFilter, pick: int, count: int, of_time: bool) -> None:
        letter = self._letter(pick)
        queue_type, chosen = letter[0], self._before(chosen, letter[1], of_time)
        pages: list[DeadPage] = []
        cursor: str | None = None
        for _ in range(2 * len(JOBS) * len(QUEUES)):
            page = self._follow(
                self.dead.page(queue_type, **chosen._asdict(), cursor=cursor, count=count)
            )
            expect("no more than asked for", len(page.letters) <= count)
            pages.append(page)
            cursor = page.cursor
            if cursor is None:
                break
        expect("the last page", cursor, None)
        self.model.page(queue_type, chosen, pages)

    @rule(name=job_names)
    def show_a_dead_letter(self, name: JobName) -> None:
        got = self._follow(self.dead.show(*name))
        self.model.show(name.queue_type, (name.queue_id, name.job_id), got)

    @precondition(some_job_is_dead)
    @rule(
        kind=st.sampled_from(["retry", "retry", "delete"]),
        chosen=st.one_of(st.none(), some_filters),
        pick=picks,
        of_time=st.booleans(),
        limit=st.sampled_from([None, None, 1, 2]),
        steps=st.booleans(),
    )
    def begin_a_bulk(
        self,
        kind: str,
        chosen: DeadFilter | None,
        pick: int,
        of_time: bool,
        limit: int | None,
        steps: bool,
    ) -> None:
        queue_type, letter = self._letter(pick)
        named = None
        if chosen is not None:
            chosen = self._before(chosen, letter, of_time)
            named = {word: value for word, value in chosen._asdict().items() if value is not None}
        got = self._follow(self.dead.begin(queue_type, kind, named or None, limit))
        self.model.begin(queue_type, kind, chosen or DeadFilter(), limit, got)
        if steps:
            self._advance_bulk(queue_type, "a")

    @rule(queue_type=queue_types, server=st.sampled_from(["a", "a", "b"]))
    def advance_a_bulk(self, queue_type: str, server: str) -> None:
        self._advance_bulk(queue_type, server)

    @rule(queue_type=queue_types)
    def cancel_a_bulk(self, queue_type: str) -> None:
        self.model.cancel_bulk(queue_type, self._follow(self.dead.cancel(queue_type)))

    @precondition(some_bulk_runs)
    @rule(pick=picks, end=ends)
    def die_while_a_bulk_runs(self, pick: int, end: End) -> None:
        """What dies after it began is not taken."""
        leases = self._leases()
        if leases:
            name, n = leases[pick % len(leases)]
            self._settle(name.queue_type, [(name, n, End("reject"))])
        self._advance_bulk(TYPES[pick % 2], "a")

    # Operators

    @precondition(lambda self: self.limited)
    @rule(of=levels(), change=changes, group=st.sampled_from(["", "", "-", *GROUPS]))
    def set_limits(self, of: tuple[str, Level], change: LimitChanges, group: str) -> None:
        queue_type, level = of
        self._limit(
            queue_type, level, change._replace(group=group if level.kind == "queue" else "")
        )

    @precondition(lambda self: self.limited)
    @rule(of=levels(), ms=pauses)
    def pause(self, of: tuple[str, Level], ms: str) -> None:
        self._pause(*of, ms)

    @precondition(lambda self: self.limited and some_job_is_leased(self))
    @rule(pick=picks, slots=st.sampled_from(["1", "2", "-"]))
    def limit_beside_leases(self, pick: int, slots: str) -> None:
        """A concurrency that is set later counts the leases that are there."""
        name, _ = self._leases()[pick % len(self._leases())]
        group = self.model.queues[name.queue].group
        level = Level("group", group) if group and pick % 2 else Level("type")
        self._limit(name.queue_type, level, LimitChanges(concurrency=slots))

    @precondition(lambda self: self.limited)
    @rule(pick=picks, us=st.sampled_from([1_000, 10_000, 700_000]), how=changes)
    def block_a_group_for_a_while(self, pick: int, us: int, how: LimitChanges) -> None:
        """A group that was blocked until then does not go before what has been ready longer."""
        groups = sorted({g for name in self.model.queues if (g := self._waiting_in(name))})
        if groups:
            queue_type, name = groups[pick % len(groups)]
            level = Level("group", name)
            self._pause(queue_type, level, "")
            self._limit(queue_type, level, how)
            self._move_to(self.model.now_us + us)
            self._pause(queue_type, level, "-")

    def _waiting_in(self, name: QueueName) -> GroupName | None:
        """The group of a queue that has jobs."""
        return self.model.levels.group_name(name) if self.model.queues[name].length else None

    @precondition(lambda self: self.limited)
    @rule(pick=picks, change=changes)
    def change_what_is_set(self, pick: int, change: LimitChanges) -> None:
        """Resume what is paused, or change other limits that are set."""
        blocked = self._limited_levels()
        if blocked:
            queue_type, level, rates = blocked[pick % len(blocked)]
            if rates.paused:
                self._pause(queue_type, level, "-")
            else:
                self._limit(queue_type, level, change)

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
        self._sweep(queue_type, batch)

    @precondition(some_job_is_leased)
    @rule(pick=picks, us=st.sampled_from([-1, 0, 0, 1]), batch=st.sampled_from([1, 2, 100]))
    def let_leases_end(self, pick: int, us: int, batch: int) -> None:
        queue_type, ends = sorted(
            (name.queue_type, job.lease_end)
            for name, queue in self.model.queues.items()
            for job in queue.leased.values()
        )[-1 - pick % 2 :][0]
        self._move_to(max(ends * 1000 + us, self.model.now_us))
        self._sweep(queue_type, batch)

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
        if not self.model.levels.may_be_moved_back():
            return
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
        for queue_type in TYPES:
            queue_ids = [name.queue_id for name in names if name.queue_type == queue_type]
            seen = look(self.store, PREFIX, queue_type, GROUPS, queue_ids)
            check_inside(model, queue_type, seen)
            check_jobs_inside(
                model, queue_type, *look_at_jobs(self.store, PREFIX, queue_type, queue_ids)
            )
        jobs = [JobName(*name, job_id) for name in names for job_id in JOBS]
        calls: list[Call[Any]] = []
        for name in names:
            calls += [operations.queue_metrics(*name), operations.queue_length(*name)]
        calls += [operations.status(*job) for job in jobs]
        for queue_type in TYPES:
            calls += [
                operations.type_metrics(queue_type),
            ]

        replies = iter(self.queue.run_many(calls))
        for name in names:
            model.check_queue(name, next(replies), next(replies))
        for job in jobs:
            model.check_status(job, next(replies))
        for queue_type in TYPES:
            shown = self._listed(queue_type, True), self._listed(queue_type, False)
            model.check_type(queue_type, next(replies), *shown)
        for queue_type in TYPES:
            self.offer(queue_type, 100)
            model.progress(queue_type, self._follow(self.dead.progress(queue_type)))
        self._check_keys()
        self.sound = True

    def teardown(self) -> None:
        try:
            if self.sound and hasattr(self, "model"):
                self._end_all_jobs()
                self._delete_all_dead_letters()
                self._give_all_limits_back()
                self.all_is_as_in_the_model()
                self._let_counters_end()
                self._check_that_nothing_is_left()
        finally:
            self.store.close()

    def _end_all_jobs(self) -> None:
        """Deliver and finish every job, in the order in which they come."""
        self._resume_all()
        while any(queue.has_jobs for queue in self.model.queues.values()):
            for queue_type in TYPES:
                self._dequeue(queue_type, 100, None)
            for name, queue in self.model.queues.items():
                for job_id, job in list(queue.leased.items()):
                    self._finish(JobName(*name, job_id), job.n)
            self._move_to_a_turn(TYPES)
        self.all_is_as_in_the_model()

    def _delete_all_dead_letters(self) -> None:
        for queue_type in TYPES:
            self.model.cancel_bulk(queue_type, self._follow(self.dead.cancel(queue_type)))
            begun = self._follow(self.dead.begin(queue_type, "delete", None))
            self.model.begin(queue_type, "delete", DeadFilter(), None, begun)
            for _ in range(3):
                self._advance_bulk(queue_type, "a")

    def _resume_all(self) -> None:
        """End the pauses that would never end."""
        for queue_type, level, rates in self._limited_levels():
            if rates.paused == inf:
                self._pause(queue_type, level, "-")

    def _limited_levels(self) -> list[tuple[str, Level, Rates]]:
        """The levels with a pause, and groups and types with limits: sorted."""
        levels = self.model.levels
        found: list[tuple[str, Level, Rates]] = [
            (name.queue_type, Level("queue", name.queue_id), queue)
            for name, queue in sorted(self.model.queues.items())
            if queue.paused
        ]
        for group, level in sorted(levels.groups.items()):
            if level.limited or level.paused:
                found.append((group.queue_type, Level("group", group.group), level))
        for queue_type, level in sorted(levels.types.items()):
            if level.limited or level.paused:
                found.append((queue_type, Level("type"), level))
        return found

    def _give_all_limits_back(self) -> None:
        """Give back what the API has set of groups and types."""
        removed = LimitChanges("-", "-", "-")
        for queue_type in TYPES:
            for group in GROUPS:
                self._pause(queue_type, Level("group", group), "-")
                self._limit(queue_type, Level("group", group), removed)
            self._pause(queue_type, Level("type"), "-")
            self._limit(queue_type, Level("type"), removed)

    def _move_to_a_turn(self, queue_types: list[str]) -> None:
        """Let time pass until some job may go, if one waits that may."""
        turn = min(self.model.levels.next_turn(queue_type) for queue_type in queue_types)
        if turn != inf:
            self._move_to(max(ceil(turn * 1000), self.model.now_us))

    def _listed(self, queue_type: str, waiting: bool) -> list[str]:
        """The queues with waiting (or leased) jobs, from all pages."""
        names: list[str] = []
        cursor: QueueCursor | None = QueueCursor("type" if waiting else "leased")
        while cursor is not None and (cursor.part == "leased") is not waiting:
            cursor, page = self.queue.run(self.operations.list_queues(queue_type, cursor))
            names += page
        return names

    def _check_keys(self) -> None:
        """Check that every key is there for something, and has an end unless that is jobs."""
        ends = {key_parts(key): end for key, end in self.queue.ends().items()}
        ends.pop(REGISTRY, None)
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
            if queue.ends == inf:
                waiting.add(state)
        for queue_type in TYPES:
            of_type = {
                f"{kind}:{rest}" if rest else kind: end
                for (of, kind, rest), end in ends.items()
                if of == queue_type
            }
            seen = look_at_dead(self.store, PREFIX, queue_type)
            check_dead(self.model.letters[queue_type], queue_type, seen, of_type)
            check_counters(queue_type, of_type)
        for key, end in ends.items():
            if end is None and key[1] not in ("limit", "dead", "c"):
                expect(f"{key} is there for jobs", key in waiting | leased)

    def _let_counters_end(self) -> None:
        """The newest counters of a type without jobs go with a sweep when they are old."""
        self._move_to((self.model.latest + COUNTERS_KEPT + MINUTE) * 1000)
        for queue_type in TYPES:
            self._sweep(queue_type, 100)

    def _check_that_nothing_is_left(self) -> None:
        """Check that what is left is of a kind that may be, and ends in time."""
        settings = self.model.settings
        longest = {
            "q": FARTHEST,
            "c": COUNTERS_KEPT,
            "f": settings.finished_retention + ceil(settings.finished_retention / 4),
            "x": LONGEST_LEASE,
            "serial": SERIAL_KEPT,
            "dead": DAY,
        }
        for key, end in self.queue.ends().items():
            kind = key_parts(key)[1]
            if key_parts(key)[1:] == ("limit", "kept") or key_parts(key) == REGISTRY:
                continue
            expect(f"{key} may be left", kind in longest)
            if end is None:
                raise AssertionError(f"{key} never ends")
            if end > self.model.latest + longest[kind]:
                raise AssertionError(f"{key} is kept for too long: until {end}")

    def _run(self, call: Call[T]) -> T:
        self.sound = False
        return self.queue.run(call)

    def _move_to(self, us: int) -> None:
        self.queue.move_to(us)
        self.model.move_to(us)

    def _enqueue_many(self, queue_type: str, jobs: list[NewJob]) -> None:
        outcomes = self._run(self.operations.enqueue(queue_type, jobs))
        self.model.enqueue(jobs, outcomes)

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
        got = self._run(self.operations.release(name.queue_type, leases, delay, counted))
        end = End("release" if counted else "return", delay)
        self.model.settle(name.queue_type, [(name, n, end)], self.queue.seed, got)

    def _settle(self, queue_type: str, ends: list[tuple[JobName, str, End]]) -> None:
        self.queue.seed = f"s{next(self.numbers)}"
        told = [EndingLease(Lease(*name, n), end.ending()).told for name, n, end in ends]
        got = self._run(self.operations.settle(queue_type, told))
        self.model.settle(queue_type, ends, self.queue.seed, got)

    def _sweep(self, queue_type: str, batch: int) -> None:
        self.sound = False
        self.queue.seed = f"s{next(self.numbers)}"
        swept = self.queue.sweep_some(queue_type, batch)
        self.model.sweep(queue_type, batch, self.queue.seed, swept)

    def _let_leases_end(self, queue_type: str, batch: int) -> None:
        """Sweep when all leases of a type have run out."""
        ends = [
            job.lease_end
            for name, queue in self.model.queues.items()
            for job in queue.leased.values()
            if name.queue_type == queue_type
        ]
        self._move_to(max([self.model.now_us, *(end * 1000 for end in ends)]))
        self._sweep(queue_type, batch)

    def _letter(self, pick: int) -> tuple[str, Letter]:
        """A dead letter, and its type."""
        every = [
            (queue_type, letter)
            for queue_type in TYPES
            for letter in self.model.letters[queue_type].all.values()
        ]
        return every[pick % len(every)]

    def _dead(self, chosen: list[int]) -> tuple[str, list[tuple[str, str]]]:
        """The type and the names of dead letters, some of them perhaps twice."""
        queue_type, _ = self._letter(chosen[0])
        members = list(self.model.letters[queue_type].all)
        return queue_type, [members[pick % len(members)] for pick in chosen]

    def _before(self, chosen: DeadFilter, letter: Letter, of_time: bool) -> DeadFilter:
        return chosen._replace(before=letter.died_at) if of_time else chosen

    def _advance_bulk(self, queue_type: str, server: str) -> None:
        self.model.advance(queue_type, server, self._follow(self.dead.advance(queue_type, server)))

    def _follow(self, flow: Flow[T]) -> T:
        return follow(flow, self._run)

    def _cancel(self, name: JobName, n: str) -> None:
        (got,) = self._run(self.operations.cancel(name.queue_type, [Lease(*name, n)]))
        self.model.cancel(name, n, got)

    def _extend(self, name: JobName, n: str, by: int) -> None:
        (extended,) = self._run(self.operations.extend(name.queue_type, [Lease(*name, n)], by))
        self.model.extend(name, n, by, extended)

    def _limit(self, queue_type: str, level: Level, change: LimitChanges) -> None:
        got = self._run(self.operations.set_limits(queue_type, level, change.values()))
        self.model.limits(queue_type, level, change, got)

    def _pause(self, queue_type: str, level: Level, ms: str) -> None:
        got = self._run(self.operations.pause(queue_type, level, pause_for(ms), "closed", "api"))
        self.model.pause(queue_type, level, ms, got)

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
