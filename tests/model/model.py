"""What the queue promises, in plain Python: no store, and time is a number.

Each method takes what an operation was asked and the answer it gave, and raises `AssertionError`
where that is none of the answers that the promises allow. The choices that they leave open (which
of several queues that have been ready equally long, whether a mark is still kept after its
retention) are taken from the answer or left open here as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from math import ceil, inf

from sharq import results
from sharq._fastpath import Batch, Job
from sharq.operations.targets import Target as LevelName
from sharq.results import Cleared, Ended, Enqueued, Extended, JobOptions, NewJob, Offer, Swept
from sharq.settings.options import QueueSettings
from tests.model.changes import LimitChanges
from tests.model.failures import EXPIRY, End, delay_after, history_after
from tests.model.letters import Letter, Letters
from tests.model.levels import Levels
from tests.model.names import GroupName, JobName, QueueName, expect
from tests.model.queues import ModelJob, ModelQueue
from tests.model.rates import Instant, Level, Ms, Until, exact
from tests.model.records import BURIED, Answer, Mark, Minute

_REASONS = {
    "release": results.EXHAUSTED,
    "fail": results.EXHAUSTED,
    "expiry": results.EXPIRED,
    "reject": results.REJECTED,
}

MINUTE = 60_000
LISTED_MINUTES = 10
COUNTERS_KEPT = 11 * MINUTE
SERIAL_KEPT = 1_000


class Model:
    """All queues of one deployment. With `linger` nothing that ran out leaves the store."""

    def __init__(self, settings: QueueSettings, now_us: int, *, linger: bool) -> None:
        self.settings = settings
        self.now_us = now_us
        self.latest = now_us // 1000
        self.linger = linger
        self.queues: dict[QueueName, ModelQueue] = defaultdict(ModelQueue)
        self.levels = Levels(self.queues)
        self.marks: dict[JobName, list[Mark]] = defaultdict(list)
        self.minutes: dict[tuple[str, int], Minute] = defaultdict(Minute)
        self.began: dict[str, int] = defaultdict(int)
        self.answers: dict[tuple[str, str], Answer] = {}
        self.tokens: set[str] = set()
        self.newest: dict[str, int] = defaultdict(int)
        self.letters: dict[str, Letters] = defaultdict(Letters)
        self._places = count()

    @property
    def now(self) -> int:
        return self.now_us // 1000

    @property
    def at(self) -> Instant:
        return Instant(self.now_us)

    # Time

    def move_to(self, now_us: int) -> None:
        if now_us < self.now_us:
            # Numbers of leases start from the clock, so that they may now start lower.
            self.newest.clear()
        self.now_us = now_us
        now = self.now
        self.latest = max(self.latest, now)
        for queue in self.queues.values():
            over = queue.ends is not None and queue.ends <= now and not queue.has_jobs
            if over and not self.linger:
                queue.forget()
        for marks in self.marks.values():
            for mark in marks:
                mark.faded |= now >= mark.at + self.settings.finished_retention
        for (_, minute), counts in self.minutes.items():
            counts.faded |= now >= minute * MINUTE + COUNTERS_KEPT
        self.answers = {key: kept for key, kept in self.answers.items() if kept.ends > now}
        for letters in self.letters.values():
            letters.pass_time(now, linger=self.linger)

    def instants(self) -> list[int]:
        """The times (ms) at which something is going to change, sorted."""
        out: set[int] = {(self.now // MINUTE + 1) * MINUTE}
        for queue in self.queues.values():
            out.update(job.due for job in queue.late)
            out.update(job.lease_end for job in queue.leased.values())
            times = (queue.turn, queue.ends, queue.rate_allows_at(), queue.paused)
            out.update(ceil(at) for at in times if at and at != inf)
        for level in (*self.levels.groups.values(), *self.levels.types.values()):
            out.update(ceil(at) for at in (level.rate_allows_at(), level.paused) if at != inf)
        out.update(kept.ends for kept in self.answers.values())
        for marks in self.marks.values():
            out.update(mark.at + self.settings.finished_retention for mark in marks)
        for letters in self.letters.values():
            out.update(letters.instants(self.settings))
        return sorted(at for at in out if at > self.now)

    # Operations

    def enqueue(self, jobs: Sequence[NewJob], got: Sequence[Enqueued]) -> None:
        stood = {name: queue.turn for name, queue in self.queues.items()}
        with self.levels.freeing(self.at):
            for job, outcome in zip(jobs, got, strict=True):
                name = QueueName(job.queue_type, job.queue_id)
                self._enqueue(self.queues[name], job, outcome, stood.get(name))

    def _enqueue(self, queue: ModelQueue, job: NewJob, got: Enqueued, stood: Until | None) -> None:
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
            queue.turn = stood
            queue.reschedule(self.now)
        expect("enqueue", got, Enqueued(outcome, length, room_in))

    def _put(self, queue: ModelQueue, job: NewJob) -> None:
        queue.age(self.now)
        queue.ends = None
        options = job.options or JobOptions()
        queue.set_by_enqueue(options)
        if not queue.by_api:
            queue.change_interval(exact(job.interval), self.at)
        queue.known = True
        self._add(queue, job, options)

    def _add(self, queue: ModelQueue, job: NewJob, options: JobOptions) -> None:
        place = (-options.priority, next(self._places))
        limit = job.requeue_limit
        new = ModelJob(job.job_id, job.payload, place, limit, limit, options.cost)
        queue.add(new, self.now, options.delay)
        self._minute(job.queue_type).enqueued[job.queue_id] += 1

    def dequeue(self, queue_type: str, limit: int, request: str | None, got: Batch) -> None:
        if request is not None and (queue_type, request) in self.answers:
            self._replay(self.answers[queue_type, request], got)
            return
        self._lift(queue_type)
        taken = [self._dispatch(queue_type, request, job) for job in got.jobs]
        if len(taken) == limit:
            wait: int | None = 0
        else:
            expect("jobs of a dequeue, no more than asked for", len(taken) < limit, True)
            turn = self.levels.next_turn(queue_type)
            expect(f"jobs that may go since {turn} are given", turn > self.at.exact)
            wait = None if turn == inf else ceil(turn * 1000 - self.now_us)
        expect("the wait", got.wait_us, wait)
        if request is not None and taken:
            ends = self.now + self.settings.job_expire_interval
            self.answers[queue_type, request] = Answer(ends, taken)

    def _dispatch(self, queue_type: str, request: str | None, got: Job) -> tuple[JobName, str, int]:
        name = QueueName(queue_type, got.queue_id)
        queue = self.queues[name]
        self._check_turn(name, queue)
        job = queue.take(self.now)
        job.attempts += 1
        group = self.levels.group_name(name)
        queue.charge(self.at, job.cost)
        if queue.paused:
            queue.paused = 0
        if group is not None:
            self.levels.groups[group].charge(self.at, job.cost)
        self.levels.types[queue_type].charge(self.at, job.cost)
        prefix, _, n = got.lease.rpartition("/")
        self._check_token(queue_type, got.lease, int(n))
        job.n, job.request = n, request
        job.lease_end = self.now + self.settings.job_expire_interval
        queue.leased[job.job_id] = job
        queue.schedule(self.now)
        self._minute(queue_type).dequeued[got.queue_id] += 1

        full_name = JobName(queue_type, got.queue_id, job.job_id)
        expect(
            "the job and its token",
            (got.queue_type, got.job_id, prefix),
            (queue_type, job.job_id, "/".join(full_name)),
        )
        self._check_delivery(got, queue, job, queue.length)
        return full_name, n, queue.length

    def offer(self, queue_type: str, wanted: int, got: Offer) -> None:
        """The only server asks what it may offer."""
        ready = min(wanted, self.levels.ready_jobs(queue_type, self.at))
        turn = self.levels.later_turn(queue_type, self.at)
        wait = None if turn == inf else ceil(turn * 1000 - self.now_us)
        expect("an offer", got, Offer(int(ready), 0 if ready == wanted else wait, 0))

    def _check_turn(self, name: QueueName, queue: ModelQueue) -> None:
        """Check that a dispatch is allowed by all levels, and is the turn of this queue."""
        turn, group = self.levels.turn(name), self.levels.group_name(name)
        if turn > self.at.exact:
            raise AssertionError(f"{name} is early: its turn is {turn}")
        of_type = self.levels.own_time(name.queue_type)
        expect(f"the type allows it, since {of_type}", of_type <= self.at.exact)
        own = queue.allows_at(len(queue.leased))
        expect(f"its own limits allow it, since {own}", own <= self.at.exact)
        for other_name, other in self.levels.of_type(name.queue_type):
            other_turn = self.levels.turn(other_name)
            longer = turn <= other_turn
            expect(f"{name} ({turn}) is ready longer than {other_name} ({other_turn})", longer)
            if group is not None and other.group == group.group and other.turn is not None:
                expect(f"{name} is before {other_name} in its group", queue.turn <= other.turn)

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
        expect("the interval in force", got.interval, float(queue.interval))

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

    def settle(
        self, queue_type: str, ends: Sequence[tuple[JobName, str, End]], seed: str,
        got: Sequence[Ended],
    ) -> None:  # fmt: skip
        """End several leases in one call; `seed` is what the caller has drawn."""
        for (name, n, end), ended in zip(ends, got, strict=True):
            job = self._held(name, n, ended.outcome)
            if job is not None and end.how == "finish":
                expect("finish", ended.outcome, results.SUCCESS)
                self._end(name, job, results.FINISHED)
            elif job is not None:
                outcome = self._give_back(name, job, end, seed)
                expect(end.how, ended.outcome, outcome)
        self.letters[queue_type].trim_added(self.settings, self.now_us)

    def cancel(self, name: JobName, n: str, got: Ended) -> None:
        queue = self.queues[name.queue]
        job = queue.leased.get(name.job_id)
        if job is not None:
            entitled = n == job.n
            outcome = results.SUCCESS if entitled else results.JOB_ACTIVE
            expect("cancel of a leased job", got.outcome, outcome)
            if entitled:
                self._begin_minute(name.queue_type)
                self._unlease(name)
            return
        self._begin_minute(name.queue_type)
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
        if not queue.length or queue.length == len(queue.late):
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

    def sweep(self, queue_type: str, batch: int, seed: str, got: Swept) -> None:
        self._lift(queue_type)
        if self._has_jobs(queue_type) or self.letters[queue_type].bulk is not None:
            self._begin_minute(queue_type)
        # Of leases that end in the same ms the store takes them by name.
        expired = sorted(
            (job.lease_end, f"{name.queue_id}/{job_id}", name, job)
            for name, job_id, job in self._leases(queue_type)
            if job.lease_end <= self.now
        )[:batch]
        fates = [
            self._give_back(JobName(*name, job.job_id), job, EXPIRY, seed)
            for _, _, name, job in expired
        ]
        more = self.letters[queue_type].trim(self.settings, self.now_us) or len(fates) == batch
        dead = fates.count(results.DEAD)
        ends = [job.lease_end for _, _, job in self._leases(queue_type)]
        wait = max(0, min(ends) * 1000 - self.now_us) if ends else None
        expect(
            "sweep",
            (got.returned, got.discarded, got.more, got.next_expiry_us),
            (len(fates) - dead, dead, more, wait),
        )
        if got.vacant:
            expect("a vacant type has neither jobs nor counters", self._may_be_vacant(queue_type))
        else:
            vacant = self._must_be_vacant(queue_type) and self.now == self.latest
            expect("a type that is not vacant", not vacant)

    def set_interval(self, name: QueueName, interval: float, got: bool) -> None:
        queue = self.queues[name]
        known = queue.aged(self.now).known
        expect("set_interval knows the queue", got, known)
        if not known:
            return
        queue.age(self.now)
        queue.change_interval(exact(interval), self.at)
        queue.by_api = True
        queue.reschedule(self.now)
        queue.settle(self.now, self.settings.interval_retention)

    def reset_interval(self, name: QueueName, got: bool) -> None:
        queue = self.queues[name]
        known = queue.aged(self.now).by_api
        expect("reset_interval knows an interval of the API", got, known)
        if known:
            queue.age(self.now)
            queue.by_api = False
            queue.settle(self.now, self.settings.interval_retention)

    def limits(self, queue_type: str, level: LevelName, changes: LimitChanges, got: bool) -> None:
        expect("limits", got)
        if level.kind == "queue":
            with self.levels.freeing(self.at):
                self._limit_queue(QueueName(queue_type, level.name), changes)
            return
        with self.levels.changing(_name_of(queue_type, level), self.at) as limited:
            if changes.interval:
                limited.set_interval(_number(changes.interval), self.at)
            if changes.burst:
                limited.burst = max(1, int(_number(changes.burst)))
                limited.burst_set = changes.burst != "-"
            if changes.concurrency:
                limited.concurrency = int(_number(changes.concurrency)) or None
        if level.kind == "type":
            self._lift(queue_type)

    def _limit_queue(self, name: QueueName, changes: LimitChanges) -> None:
        queue = self.queues[name]
        queue.age(self.now)
        queue.known = True
        if changes.interval:
            queue.by_api = changes.interval != "-"
            if queue.by_api:
                queue.change_interval(exact(changes.interval), self.at)
        if changes.burst:
            queue.api.burst = int(_number(changes.burst)) or None
        if changes.concurrency:
            queue.api.concurrency = int(_number(changes.concurrency)) or None
        if changes.group:
            queue.api.group = None if changes.group == "-" else changes.group
        queue.take_effect()
        queue.reschedule(self.now)
        queue.settle(self.now, self.settings.interval_retention)

    def pause(self, queue_type: str, level: LevelName, ms: str, got: bool) -> None:
        """Pause a level for `ms` ("": until it is resumed), or resume it ("-")."""
        expect("pause", got)
        till = 0 if ms == "-" else inf if ms == "" else self.now + int(ms)
        if level.kind != "queue":
            with self.levels.changing(_name_of(queue_type, level), self.at) as paused:
                paused.paused = till
            if level.kind == "type":
                self._lift(queue_type)
            return
        queue = self.queues[QueueName(queue_type, level.name)]
        queue.age(self.now)
        queue.known, queue.paused = True, till
        queue.reschedule(self.now)
        queue.settle(self.now, self.settings.interval_retention)

    def _lift(self, queue_type: str) -> None:
        """Forget a type whose limits were given back and whose pause has ended."""
        level = self.levels.types[queue_type]
        if not level.limited and level.paused <= self.now:
            self.levels.types[queue_type] = Level()

    def clear(self, name: QueueName, purge: bool, got: Cleared) -> None:
        queue = self.queues[name]
        expect("clear", got, Cleared(queue.length, len(queue.leased) if purge else 0))
        if not queue.has_jobs:
            if not purge:
                return
            queue.age(self.now)
        self._begin_minute(name.queue_type)
        queue.new, queue.back, queue.late, queue.turn = [], [], [], None
        for job in queue.leased.values():
            job.doomed = True
        if purge:
            with self.levels.freeing(self.at):
                queue.leased.clear()
                queue.give_back()
        queue.settle(self.now, self.settings.interval_retention)

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

    def _give_back(self, name: JobName, job: ModelJob, end: End, seed: str) -> str:
        queue = self.queues[name.queue]
        self._begin_minute(name.queue_type)
        job.history = history_after(job.history, end, self.now)
        if job.doomed or end.how == "reject" or (end.counted and job.left == 0):
            buried = not job.doomed and self._bury(name, job, end.how)
            self._end(name, job, BURIED if buried else results.DEAD)
            return results.DEAD
        delay = delay_after(end, job.history, self.settings, seed, name, job.n, job.attempts)
        with self.levels.freeing(self.at):
            del queue.leased[job.job_id]
        if end.counted and job.left > 0:
            job.left -= 1
        if not end.counted:
            job.attempts -= 1
        queue.ends = None
        if delay > 0:
            job.due = self.now + delay
            queue.late.append(job)
        else:
            queue.back.append(job)
        queue.reschedule(self.now)
        return results.SUCCESS

    def _bury(self, name: JobName, job: ModelJob, how: str) -> bool:
        """Make a dead letter of a job, if any are kept."""
        if self.settings.dead_max_jobs == 0:
            return False
        queue, history = self.queues[name.queue], job.history
        return self.letters[name.queue_type].add(
            Letter(
                queue_id=name.queue_id,
                job_id=name.job_id,
                payload=job.payload,
                reason=_REASONS[how],
                n=job.n,
                attempts=job.attempts,
                first=history.first if history else self.now,
                limit=job.limit,
                priority=job.priority,
                cost=job.cost,
                interval=queue.interval,
                burst=queue.enqueued.burst,
                concurrency=queue.enqueued.concurrency,
                group=queue.enqueued.group,
                worker=history.worker if history else None,
                error=history.error if history else None,
            ),
            self.now_us,
            self.settings.dead_max_bytes,
        )

    def _end(self, name: JobName, job: ModelJob, state: str) -> None:
        self._unlease(name)
        self.marks[name].append(Mark(self.now, job.n, state))

    def _unlease(self, name: JobName) -> None:
        """End a lease, and let go what it held back."""
        queue = self.queues[name.queue]
        with self.levels.freeing(self.at):
            del queue.leased[name.job_id]
        if queue.concurrency is not None:
            queue.reschedule(self.now)
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

    def _begin_minute(self, queue_type: str) -> None:
        """Something may be counted in this minute."""
        self.began[queue_type] = max(self.began[queue_type], self.now // MINUTE)

    def _minute(self, queue_type: str) -> Minute:
        self._begin_minute(queue_type)
        return self.minutes[queue_type, self.now // MINUTE]

    def _has_jobs(self, queue_type: str) -> bool:
        return any(q.has_jobs for name, q in self.queues.items() if name.queue_type == queue_type)

    def _is_idle(self, queue_type: str) -> bool:
        letters = self.letters[queue_type]
        bulk = letters.bulk is not None and letters.bulk.runs
        return not (self._has_jobs(queue_type) or self.kept(queue_type) or letters.all or bulk)

    def kept(self, queue_type: str) -> set[str]:
        """What is set without jobs: groups, the type, and queues that are paused."""
        out = {
            f"={name.group}"
            for name, level in self.levels.groups.items()
            if name.queue_type == queue_type and (level.limited or level.paused > self.now)
        }
        of_type = self.levels.types[queue_type]
        if of_type.limited or of_type.paused > self.now:
            out.add("=")
        paused = [name for name, q in self.levels.of_type(queue_type) if q.paused > self.now]
        return out | {name.queue_id for name in paused}

    def _may_be_vacant(self, queue_type: str) -> bool:
        return self._is_idle(queue_type) and not any(
            not counts.faded for counts in self._counted(queue_type, LISTED_MINUTES)
        )

    def _must_be_vacant(self, queue_type: str) -> bool:
        kept = COUNTERS_KEPT // MINUTE + 1
        return self._is_idle(queue_type) and self.began[queue_type] + kept <= self.now // MINUTE

    def _counted(self, queue_type: str, minutes: int) -> Iterator[Minute]:
        """The last `minutes` in which something was counted."""
        for (name, minute), counts in self.minutes.items():
            ago = self.now // MINUTE - minute
            counted = any(counts.enqueued.values()) or any(counts.dequeued.values())
            if name == queue_type and 0 <= ago < minutes and counted:
                yield counts


def _name_of(queue_type: str, level: LevelName) -> GroupName | str:
    return queue_type if level.kind == "type" else GroupName(queue_type, level.name)


def _number(text: str) -> Ms:
    """A limit that is set; 0 if it is given back."""
    return 0 if text == "-" else exact(text)
