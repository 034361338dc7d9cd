"""What is in the store after each entry of the audit, by the rules alone.

A `Replay` is told of entries one after another. It believes them: what may not be is for the
checks to say, which see each entry before it is applied, together with its queue and its job. What
the entries do not tell follows from the semantics: which interval is in force, when the state of a
queue has run out, which jobs a clear removes.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Final

from sharq.operations.sharding import is_shard, type_of
from tests.faults.audit import Entry
from tests.faults.checker.levels import Level, split_name

QUEUED: Final = "queued"
ACTIVE: Final = "active"
FINISHED: Final = "finished"
DEAD: Final = "dead"
CLEARED: Final = "cleared"

RETRIES: Final = ("dead_retry", "dead_advance")
"""The scripts by which dead letters are put in again."""

PLACES: Final = 10**14
"""A place is a number in the order of enqueues, less so much for each priority."""

_numbers = itertools.count()

RETURNED: Final = "returned"
"""How a lease may end, beside with the end of its job."""


class Job:
    """One life of a job_id, from its enqueue to its end.

    `limit`: the requeue limit, `left`: requeues that remain; `ended`: attempts that have ended,
    which a give-back that does not count is not; `expiries`: so many of them in a row, the last
    ones, by a lease that ran out. `lease` is the last one.
    `doomed`: its queue was cleared while it was leased. `rank` orders the jobs of a queue: by
    priority, then by their enqueues. It waits since `since` (ms of the store's own clock), for
    the `waits`-th time, and is not to go before `due` (ms).
    """

    __slots__ = ("born", "cost", "doomed", "due", "ended", "expiries", "id", "lease", "left",
                 "limit", "place", "priority", "queue", "rank", "sha", "since", "state",
                 "waits")  # fmt: skip

    def __init__(self, queue: Queue, entry: Entry) -> None:
        self.queue = queue
        self.id = entry.job
        self.place = entry.place
        self.limit = self.left = entry.left
        self.sha = entry.sha
        self.born = entry.at
        self.state = QUEUED
        self.ended = 0
        self.expiries = 0
        self.due = entry.due
        self.cost = entry.cost
        self.priority = entry.priority
        self.rank = queue.enqueued - entry.priority * _PRIORITY
        self.since = entry.at
        self.waits = 1
        self.doomed = False
        self.lease: Lease | None = None


class Lease:
    """One dispatch. `ends` (ms): when it runs out; `end`: how it has ended, "" while it is held.

    `began` (ms) is by the store's own clock. `spacing` (ms): the interval in force, 0 where no
    dispatch before it counts, or with a burst. `charges`, where the script has kept it: for each
    level that was charged, the TAT that it left and the interval. `how` (fail, reject, …) and
    `delay` (ms, until the job may go again) are of its end. What clients saw of it: `holder`
    was told of it, and `finishes` are the successes they were told of, `attempts` those whose
    answer was lost.
    """

    __slots__ = ("attempt", "attempts", "began", "charges", "delay", "end", "ends", "finishes",
                 "holder", "how", "job", "left", "n", "spacing")  # fmt: skip

    def __init__(self, job: Job, entry: Entry) -> None:
        self.job = job
        self.n = entry.n
        self.left = entry.left
        self.ends = entry.ends
        self.began = entry.at
        self.spacing = job.queue.spacing
        self.charges: tuple[tuple[Level, float, float], ...] = ()
        self.attempt = entry.attempt
        self.end = self.how = ""
        self.delay = 0
        self.holder: str | None = None
        self.finishes = 0
        self.attempts = 0


class Letter:
    """A dead letter: the life that has ended, why, and when it did by the script's clock (ms)."""

    __slots__ = ("died", "job", "n", "reason")

    def __init__(self, job: Job, entry: Entry) -> None:
        self.job = job
        self.n = entry.n
        self.reason = entry.reason
        self.died = entry.now


class Queue(Level):
    """One queue.

    `jobs` are those that wait or are leased; `past` has the last life that is over of each job_id.
    `ready` are those that wait by their ranks, `delayed` those that are not due, by their times;
    both may hold jobs that do not wait any more. `group` is the one that it belongs to. `place` is
    the last one that was given, `enqueued` how many jobs there were. `interval` stays where the
    state of a queue has run out: the next enqueue sets it.
    """

    __slots__ = ("api", "delayed", "enqueued", "group", "id", "jobs", "lives", "past", "place",
                 "ready", "retained", "retention", "type", "waiting")  # fmt: skip

    def __init__(self, queue_type: str, queue_id: str, retention: int) -> None:
        super().__init__()
        self.type = queue_type
        self.id = queue_id
        self.retention = retention
        self.jobs: dict[str, Job] = {}
        self.past: dict[str, Job] = {}
        self.lives: dict[str, int] = {}
        # The numbers keep jobs apart that follow one another at one place: the queue began anew.
        self.ready: list[tuple[int, int, int, Job]] = []
        self.delayed: list[tuple[int, int, int, int, Job]] = []
        self.waiting = 0
        self.group: Group | None = None
        self.api = False
        self.retained = 0
        self.place = 0
        self.enqueued = 0

    @property
    def idle(self) -> bool:
        """Whether it has neither waiting nor leased jobs."""
        return not self.jobs

    @property
    def spacing(self) -> float:
        """The interval (ms) between the last dispatch and the next, 0 where there is none."""
        return self.interval if self.tat and self.burst == 1 else 0

    def api_stands(self, now: int) -> bool:
        """Whether the interval is one of the API, which an enqueue does not change."""
        return self.api and not (self.idle and self.retained <= now)

    def begin_anew(self, now: int) -> None:
        """What has run out by now is gone, where no job is left."""
        if not self.idle:
            return
        if self.tat <= now:
            self.tat, self.last = 0, None
        self.api = self.api_stands(now)

    def run_out(self, now: int) -> None:
        """Something has ended: where no job is left, the state lives on for a time only."""
        if not self.idle:
            return
        self.retained = now + self.retention if self.api else 0
        if max(self.tat, self.retained) <= now:
            self.tat, self.last, self.api = 0, None, False

    def wait(self, job: Job, now: int) -> None:
        """A job waits, at its place or until it is due."""
        if job.due > now:
            heapq.heappush(self.delayed, (job.due, job.rank, job.waits, next(_numbers), job))
        else:
            heapq.heappush(self.ready, (job.rank, job.waits, next(_numbers), job))

    def next_due(self, now: int) -> Job | None:
        """The job that is to go first, of those that are due."""
        while self.delayed and self.delayed[0][0] <= now:
            heapq.heappush(self.ready, heapq.heappop(self.delayed)[1:])
        ready = self.ready
        while ready and not (ready[0][3].state == QUEUED and ready[0][3].waits == ready[0][1]):
            heapq.heappop(ready)
        return ready[0][3] if ready else None


class Group(Level):
    """A group of queues of a type."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Type(Level):
    """The queues of a type, its groups, and its leases by their numbers.

    `letters` are its dead letters by queue and job, the oldest first; `fallen` and `dropped` count
    those that fell out and those that the store did not take.
    `last_n`: the highest number yet. `ahead`: how far (ms) the script's clock has been ahead of
    the store's at most, `offset` how far it is, `moved` when that has changed and `back` when it
    was moved back (ms of the store's clock).
    """

    __slots__ = ("ahead", "at", "back", "dropped", "fallen", "groups", "last_n", "leases",
                 "letters", "moved", "name", "offset", "queues")  # fmt: skip

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.queues: dict[str, Queue] = {}
        self.groups: dict[str, Group] = {}
        self.leases: dict[int, Lease] = {}
        self.letters: dict[tuple[str, str], Letter] = {}
        self.fallen = self.dropped = 0
        self.last_n = 0
        self.ahead = -(1 << 62)
        self.offset: int | None = None
        self.moved = 0
        self.back = 0
        self.at = 0

    def group(self, name: str) -> Group | None:
        """A group, None for no name."""
        if name and name not in self.groups:
            self.groups[name] = Group(name)
        return self.groups.get(name)

    def levels(self, queue: Queue) -> Iterator[tuple[str, Level]]:
        """All that limit a queue, with their names."""
        yield f"{self.name}/{queue.id}", queue
        if queue.group is not None:
            yield f"{self.name}, group {queue.group.name}", queue.group
        yield f"{self.name}", self

    def lease(self, queue: Queue, change: int) -> None:
        """A queue has so many leases more or less."""
        for _, level in self.levels(queue):
            level.count(change, self.at)

    def move(self, queue: Queue, name: str) -> None:
        """A queue belongs to a group, with its leases."""
        group = self.group(name)
        if group is queue.group:
            return
        if queue.group is not None:
            queue.group.count(-queue.leased, self.at)
        if group is not None:
            group.count(queue.leased, self.at)
        queue.group, queue.free = group, self.at


_PRIORITY: Final = 1 << 50
_STEADY: Final = 20
"""Milliseconds by which the two clocks of an entry may drift apart without having been moved."""


class Replay:
    """All types, and shards of types by their internal names. `retention` (ms):
    `interval_retention` of the configuration.
    """

    def __init__(self, retention: int) -> None:
        self.types: dict[str, Type] = {}
        self._homes: dict[tuple[str, str], str] = {}
        self._spread: set[str] = set()
        self._retention = retention
        self._steps: dict[str, Callable[[Entry, Queue, Job | None], None]] = {
            "enqueue": self._enqueue,
            "dispatch": self._dispatch,
            "finish": self._finish,
            "return": self._return,
            "dead": self._dead,
            "extend": self._extend,
            "interval": self._interval,
            "reset": self._reset,
            "clear": self._clear,
            "cancel": self._cancel,
            "limits": self._limits,
            "pause": self._pause,
            "cost": self._cost,
            "fallen": self._fallen,
            "unburied": self._unburied,
        }

    def find(self, entry: Entry) -> tuple[Queue, Job | None]:
        """The queue of an entry, and its job, if it waits or is leased."""
        of_type = self.types.get(entry.type)
        if of_type is None:
            of_type = self.types[entry.type] = Type(entry.type)
            if is_shard(entry.type):
                self._spread.add(type_of(entry.type))
        of_type.at = entry.at
        queue = of_type.queues.get(entry.queue)
        if queue is None:
            queue = Queue(entry.type, entry.queue, self._retention)
            of_type.queues[entry.queue] = queue
            if split_name(entry.queue) is None:
                self._homes.setdefault((type_of(entry.type), entry.queue), entry.type)
        offset = entry.now - entry.at
        if of_type.offset is None or abs(offset - of_type.offset) > _STEADY:
            if of_type.offset is not None and offset < of_type.offset:
                of_type.back = entry.at
            of_type.moved = entry.at
            of_type.offset = offset
        if offset > of_type.ahead:
            of_type.ahead = offset
        return queue, queue.jobs.get(entry.job) if entry.job else None

    def apply(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """Do what an entry tells of; `queue` and `job` are what `find` has found."""
        self._steps[entry.what](entry, queue, job)

    def home(self, queue_type: str, queue_id: str) -> str:
        """Where a queue was first heard of: its type, or the shard of it."""
        return self._homes.get((queue_type, queue_id), queue_type)

    def is_spread(self, queue_type: str) -> bool:
        """Whether a shard of a type was heard of."""
        return queue_type in self._spread

    def lease(self, queue_type: str, n: int) -> Lease | None:
        """The lease with a number."""
        of_type = self.types.get(queue_type)
        return of_type.leases.get(n) if of_type is not None else None

    def queue(self, queue_type: str, queue_id: str) -> Queue | None:
        """A queue that was heard of."""
        of_type = self.types.get(queue_type)
        return of_type.queues.get(queue_id) if of_type is not None else None

    def _enqueue(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        if not queue.api:
            if entry.asked != queue.interval:
                queue.free = entry.at
            queue.change_interval(entry.asked)
        self._set_limits(entry, queue)
        if job is not None:
            self._over(job, CLEARED)
        queue.enqueued += 1
        job = Job(queue, entry)
        queue.jobs[job.id] = job
        if entry.script not in RETRIES:
            queue.lives[job.id] = queue.lives.get(job.id, 0) + 1
        queue.wait(job, entry.now)
        queue.waiting += 1
        queue.place = entry.place % PLACES

    def _dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        of_type = self.types[entry.type]
        if job is None:
            job = queue.past.pop(entry.job, None) or Job(queue, entry)
            queue.jobs[entry.job] = job
            of_type.lease(queue, 1)
        elif job.state == QUEUED:
            queue.waiting -= 1
            of_type.lease(queue, 1)
        job.state, job.left = ACTIVE, entry.left
        lease = job.lease = of_type.leases[entry.n] = Lease(job, entry)
        of_type.last_n = max(of_type.last_n, entry.n)
        for _, level in of_type.levels(queue):
            level.end_pause(entry.now, entry.at)
            if level.interval or level is queue:
                level.charge(level.tick(entry.now, entry.us), job.cost)
        if entry.charged:
            lease.charges = tuple(
                (level, level.tat, level.interval) for _, level in of_type.levels(queue)
            )

    def _finish(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        self._end(entry, queue, job, FINISHED)

    def _dead(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        of_type = self.types[entry.type]
        if entry.kept and job is not None:
            of_type.letters.pop((entry.queue, entry.job), None)
            of_type.letters[entry.queue, entry.job] = Letter(job, entry)
        elif entry.reason:
            of_type.dropped += 1
        self._end(entry, queue, job, DEAD)

    def _fallen(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        of_type = self.types[entry.type]
        of_type.letters.pop((entry.queue, entry.job), None)
        of_type.fallen += 1

    def _unburied(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        self.types[entry.type].letters.pop((entry.queue, entry.job), None)

    def _end(self, entry: Entry, queue: Queue, job: Job | None, state: str) -> None:
        lease = self.lease(entry.type, entry.n)
        if lease is not None:
            lease.end, lease.how = state, entry.how
        if job is not None:
            self._over(job, state)
            queue.run_out(entry.now)

    def _return(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        lease = self.lease(entry.type, entry.n)
        if lease is not None:
            lease.end, lease.how, lease.delay = RETURNED, entry.how, entry.due - entry.now
        if job is None:
            return
        if job.state == ACTIVE:
            self.types[entry.type].lease(queue, -1)
            queue.waiting += 1
        job.state, job.left, job.due = QUEUED, entry.left, entry.due
        job.since = entry.at
        job.waits += 1
        job.ended += entry.counted
        if entry.how != "return":
            job.expiries = job.expiries + 1 if entry.how == "expiry" else 0
        queue.wait(job, entry.now)

    def _extend(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        lease = self.lease(entry.type, entry.n)
        if lease is not None:
            lease.ends = entry.ends

    def _interval(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        queue.change_interval(entry.interval)
        queue.api, queue.free = True, entry.at
        queue.run_out(entry.now)

    def _reset(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        queue.api = False
        queue.run_out(entry.now)

    def _clear(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        for each in list(queue.jobs.values()):
            if each.state == QUEUED:
                self._over(each, CLEARED)
            elif entry.purge:
                if each.lease is not None:
                    each.lease.end = CLEARED
                self._over(each, CLEARED)
            else:
                each.doomed = True
        queue.ready.clear()
        queue.delayed.clear()
        if entry.purge:
            queue.api = False
        self._set_limits(entry, queue)
        queue.run_out(entry.now)

    def _cancel(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        lease = self.lease(entry.type, entry.n) if entry.n else None
        if lease is not None:
            lease.end = CLEARED
        if job is not None:
            self._over(job, CLEARED)
            queue.run_out(entry.now)

    def _limits(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        level = self.level(entry, queue)
        if level is queue:
            queue.begin_anew(entry.now)
            queue.change_interval(entry.interval)
            queue.api = entry.api
            self._set_limits(entry, queue)
            queue.run_out(entry.now)
        else:
            level.set_interval(entry.interval)
            level.set_limits(entry.burst, entry.concurrency, entry.at)
        level.free = entry.at

    def _pause(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        level = self.level(entry, queue)
        if level is queue:
            queue.begin_anew(entry.now)
        level.pause(entry.till, entry.at)
        if level is queue:
            queue.run_out(entry.now)

    def _cost(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        if job is None or job.lease is None:
            return
        change = entry.real - job.cost
        for level, left, interval in job.lease.charges or ((queue, 0, queue.interval),):
            if interval == level.interval and not (
                isinstance(level, Group) and level is not queue.group
            ):
                level.settle(level.tick(entry.now, entry.us), change, left)
                level.free = entry.at

    def level(self, entry: Entry, queue: Queue) -> Level:
        """The level that an entry is about."""
        name = split_name(entry.queue)
        if name is None:
            return queue
        of_type = self.types[entry.type]
        return of_type.group(name) or of_type

    def _set_limits(self, entry: Entry, queue: Queue) -> None:
        queue.set_limits(entry.burst, entry.concurrency, entry.at)
        self.types[entry.type].move(queue, entry.group)

    def _over(self, job: Job, state: str) -> None:
        """The life of a job ends."""
        queue = job.queue
        if job.state == QUEUED:
            queue.waiting -= 1
        elif job.state == ACTIVE:
            self.types[queue.type].lease(queue, -1)
        job.state = state
        queue.jobs.pop(job.id, None)
        queue.past[job.id] = job
