"""What is in the store after each entry of the audit, by the rules alone.

A `Replay` is told of entries one after another. It believes them: what may not be is for the
checks to say, which see each entry before it is applied, together with its queue and its job. What
the entries do not tell follows from the semantics: which interval is in force, when the state of a
queue has run out, which jobs a clear removes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Final

from tests.faults.audit import Entry

QUEUED: Final = "queued"
ACTIVE: Final = "active"
FINISHED: Final = "finished"
DEAD: Final = "dead"
CLEARED: Final = "cleared"

RETURNED: Final = "returned"
"""How a lease may end, beside with the end of its job."""


class Job:
    """One life of a job_id, from its enqueue to its end.

    `left`: requeues that remain; `ended`: attempts that have ended, which a
    give-back that does not count is not. `lease` is the last one.
    `doomed`: its queue was cleared while it was leased. `due` (ms): of its last return.
    """

    __slots__ = ("born", "doomed", "due", "ended", "id", "lease", "left", "place", "queue",
                 "sha", "state")  # fmt: skip

    def __init__(self, queue: Queue, entry: Entry) -> None:
        self.queue = queue
        self.id = entry.job
        self.place = entry.place
        self.left = entry.left
        self.sha = entry.sha
        self.born = entry.at
        self.state = QUEUED
        self.ended = 0
        self.due = 0
        self.doomed = False
        self.lease: Lease | None = None


class Lease:
    """One dispatch. `ends` (ms): when it runs out; `end`: how it has ended, "" while it is held.

    `began` (ms) is by the store's own clock. `spacing` (ms): the interval in force, 0 where no
    dispatch before it counts. What clients saw of it: `holder` was told of it, and
    `finishes` are the successes they were told of, `attempts` those whose answer was lost.
    """

    __slots__ = ("attempts", "began", "end", "ends", "finishes", "holder", "job", "left", "n",
                 "spacing")  # fmt: skip

    def __init__(self, job: Job, entry: Entry) -> None:
        self.job = job
        self.n = entry.n
        self.left = entry.left
        self.ends = entry.ends
        self.began = entry.at
        self.spacing = job.queue.spacing
        self.end = ""
        self.holder: str | None = None
        self.finishes = 0
        self.attempts = 0


class Queue:
    """One queue.

    `jobs` are those that wait or are leased; `past` has the last life that is over of each job_id.
    `fresh` are the never delivered ones in their order, `returned` those that were given back by
    their places, `delayed` those of them that are not due, by their times; both may hold jobs that
    do not wait any more. `last` (ms): the last dispatch as far as it matters for the next.
    `interval` is the one in force, None before the first. `place` is the last one that was given.
    """

    __slots__ = ("api", "delayed", "fresh", "id", "interval", "jobs", "last", "leased", "lives",
                 "past", "place", "retained", "retention", "returned", "type",
                 "waiting")  # fmt: skip

    def __init__(self, queue_type: str, queue_id: str, retention: int) -> None:
        self.type = queue_type
        self.id = queue_id
        self.retention = retention
        self.jobs: dict[str, Job] = {}
        self.past: dict[str, Job] = {}
        self.lives: dict[str, int] = {}
        self.fresh: deque[Job] = deque()
        self.returned: list[tuple[int, int, Job, int]] = []
        self.delayed: list[tuple[int, int, Job]] = []
        self.waiting = 0
        self.leased = 0
        self.interval: int | None = None
        self.api = False
        self.retained = 0
        self.last: int | None = None
        self.place = 0

    @property
    def idle(self) -> bool:
        """Whether it has neither waiting nor leased jobs."""
        return not self.jobs

    @property
    def tat(self) -> int:
        """The earliest time (ms) of the next dispatch, 0 for any."""
        return 0 if self.last is None else self.last + self.spacing

    @property
    def spacing(self) -> int:
        """The interval (ms) between the last dispatch and the next, 0 where there is none."""
        return 0 if self.last is None else self.interval or 0

    def api_stands(self, now: int) -> bool:
        """Whether the interval is one of the API, which an enqueue does not change."""
        return self.api and not (self.idle and self.retained <= now)

    def begin_anew(self, now: int) -> None:
        """What has run out by now is gone, where no job is left."""
        if not self.idle:
            return
        if self.tat <= now:
            self.last = None
        self.api = self.api_stands(now)
        if self.last is None and not self.api:
            self.interval = None

    def settle(self, now: int) -> None:
        """Something has ended: where no job is left, the state lives on for a time only."""
        if not self.idle:
            return
        self.retained = now + self.retention if self.api else 0
        if max(self.tat, self.retained) <= now:
            self.last, self.interval, self.api = None, None, False

    def next_fresh(self) -> Job | None:
        """The never delivered job that is next."""
        fresh = self.fresh
        while fresh and (fresh[0].state != QUEUED or fresh[0].lease is not None):
            fresh.popleft()
        return fresh[0] if fresh else None

    def next_returned(self, now: int) -> Job | None:
        """The job that was given back and is next, of those that are due."""
        while self.delayed and self.delayed[0][0] <= now:
            due, _, job = heapq.heappop(self.delayed)
            if job.state == QUEUED and job.due == due:
                heapq.heappush(self.returned, (job.place, id(job), job, due))
        returned = self.returned
        while returned and not _still_returned(*returned[0]):
            heapq.heappop(returned)
        return returned[0][2] if returned else None


def _still_returned(_place: int, _id: int, job: Job, due: int) -> bool:
    """Whether a job still waits as it was given back then; it may have been given back again."""
    return job.state == QUEUED and job.due == due


class Type:
    """The queues of a type and its leases, by their numbers.

    `last_n`: the highest number yet. `ahead`: how far (ms) the script's clock has been ahead of
    the store's at most, `offset` how far it is, `moved` when that has changed (ms of the store's
    clock).
    """

    __slots__ = ("ahead", "last_n", "leases", "moved", "name", "offset", "queues")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queues: dict[str, Queue] = {}
        self.leases: dict[int, Lease] = {}
        self.last_n = 0
        self.ahead = -(1 << 62)
        self.offset: int | None = None
        self.moved = 0


_STEADY: Final = 20
"""Milliseconds by which the two clocks of an entry may drift apart without having been moved."""


class Replay:
    """All types. `retention` (ms): `interval_retention` of the configuration."""

    def __init__(self, retention: int) -> None:
        self.types: dict[str, Type] = {}
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
        }

    def find(self, entry: Entry) -> tuple[Queue, Job | None]:
        """The queue of an entry, and its job, if it waits or is leased."""
        of_type = self.types.get(entry.type)
        if of_type is None:
            of_type = self.types[entry.type] = Type(entry.type)
        queue = of_type.queues.get(entry.queue)
        if queue is None:
            queue = Queue(entry.type, entry.queue, self._retention)
            of_type.queues[entry.queue] = queue
        offset = entry.now - entry.at
        if of_type.offset is None or abs(offset - of_type.offset) > _STEADY:
            of_type.moved = entry.at
            of_type.offset = offset
        if offset > of_type.ahead:
            of_type.ahead = offset
        return queue, queue.jobs.get(entry.job) if entry.job else None

    def apply(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """Do what an entry tells of; `queue` and `job` are what `find` has found."""
        self._steps[entry.what](entry, queue, job)

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
            queue.interval = entry.asked
        if job is not None:
            _over(job, CLEARED)
        job = Job(queue, entry)
        queue.jobs[job.id] = job
        queue.lives[job.id] = queue.lives.get(job.id, 0) + 1
        queue.fresh.append(job)
        queue.waiting += 1
        queue.place = entry.place

    def _dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        if job is None:
            job = queue.past.pop(entry.job, None) or Job(queue, entry)
            queue.jobs[entry.job] = job
            queue.leased += 1
        elif job.state == QUEUED:
            queue.waiting -= 1
            queue.leased += 1
        of_type = self.types[entry.type]
        job.state, job.left = ACTIVE, entry.left
        job.lease = of_type.leases[entry.n] = Lease(job, entry)
        of_type.last_n = max(of_type.last_n, entry.n)
        queue.last = entry.now

    def _finish(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        self._end(entry, queue, job, FINISHED)

    def _dead(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        self._end(entry, queue, job, DEAD)

    def _end(self, entry: Entry, queue: Queue, job: Job | None, state: str) -> None:
        lease = self.lease(entry.type, entry.n)
        if lease is not None:
            lease.end = state
        if job is not None:
            _over(job, state)
            queue.settle(entry.now)

    def _return(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        lease = self.lease(entry.type, entry.n)
        if lease is not None:
            lease.end = RETURNED
        if job is None:
            return
        if job.state == ACTIVE:
            queue.leased -= 1
            queue.waiting += 1
        job.state, job.left, job.due = QUEUED, entry.left, entry.due
        job.ended += entry.counted
        if entry.due > entry.now:
            heapq.heappush(queue.delayed, (entry.due, id(job), job))
        else:
            heapq.heappush(queue.returned, (job.place, id(job), job, entry.due))

    def _extend(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        lease = self.lease(entry.type, entry.n)
        if lease is not None:
            lease.ends = entry.ends

    def _interval(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        queue.interval, queue.api = entry.interval, True
        queue.settle(entry.now)

    def _reset(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        queue.api = False
        queue.settle(entry.now)

    def _clear(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        queue.begin_anew(entry.now)
        for each in list(queue.jobs.values()):
            if each.state == QUEUED:
                _over(each, CLEARED)
            elif entry.purge:
                if each.lease is not None:
                    each.lease.end = CLEARED
                _over(each, CLEARED)
            else:
                each.doomed = True
        queue.fresh.clear()
        queue.returned.clear()
        queue.delayed.clear()
        if entry.purge:
            queue.api = False
        queue.settle(entry.now)

    def _cancel(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        lease = self.lease(entry.type, entry.n) if entry.n else None
        if lease is not None:
            lease.end = CLEARED
        if job is not None:
            _over(job, CLEARED)
            queue.settle(entry.now)


def _over(job: Job, state: str) -> None:
    """The life of a job ends."""
    queue = job.queue
    if job.state == QUEUED:
        queue.waiting -= 1
    elif job.state == ACTIVE:
        queue.leased -= 1
    job.state = state
    queue.jobs.pop(job.id, None)
    queue.past[job.id] = job
