"""When a worker's handlers start: in the order of the jobs, and each queue's at its rate.

The store enforces the limit of a queue at dispatch. Jobs that then wait in the worker (for a place,
or because a frame was late) would start together; here they are spaced again, by GCRA with the
burst of their queue. Each start counts as one of cost 1. Pure: times are in seconds, by any clock
that does not go back.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from sharq.worker.job import LeasedJob

TICK: Final = 0.001
"""Two starts may be this much closer than they should be, like two dispatches by the store's clock:
a timer that is late by less does not lower a queue's rate."""

LONGEST_TURN: Final = 0.1
"""Seconds that a job may wait behind others of its queue, if that is more than an interval."""

_RECENT: Final = 1.0
"""Seconds for which the start of a job without an interval counts: its queue may get one."""

_FEW: Final = 1024

_Queue = tuple[str, str]


class Pace(NamedTuple):
    """The starts of a queue, in the terms of GCRA: the last one, and what is owed from there on.

    `owed` is in intervals, so that another interval counts at once: the theoretical arrival time is
    `last` and so many of them.
    """

    last: float
    owed: float = 1.0

    def turn(self, interval: float, burst: int) -> float:
        """When the next start is allowed. `interval` in seconds."""
        return self.last + (self.owed - (burst - 1)) * interval

    def after(self, start: float, interval: float) -> Pace:
        """The pace after one more start."""
        return Pace(start, max(0.0, self.owed - (start - self.last) / interval) + 1.0)


class Starts:
    """The jobs that wait for their start.

    `begin` is called before a job starts, and may refuse one that is gone meanwhile. `give_back`
    gets jobs whose turn is too far away.
    """

    def __init__(
        self,
        begin: Callable[[LeasedJob, float], bool],
        give_back: Callable[[LeasedJob], None],
    ) -> None:
        self._begin = begin
        self._give_back = give_back
        self._ready: deque[LeasedJob] = deque()
        self._spaced: dict[_Queue, deque[LeasedJob]] = {}
        self._turns: list[tuple[float, _Queue]] = []
        # With the time until which it counts.
        self._paces: dict[_Queue, tuple[Pace, float]] = {}
        self._most_kept = _FEW

    def add(self, jobs: list[LeasedJob]) -> None:
        """Add jobs that wait for their start, behind those that wait already."""
        self._ready.extend(jobs)

    def clear(self) -> list[LeasedJob]:
        """Remove and return all waiting jobs."""
        waiting = [*self._ready, *(job for jobs in self._spaced.values() for job in jobs)]
        self._ready.clear()
        self._spaced.clear()
        self._turns.clear()
        return waiting

    def may_start(self, now: float) -> bool:
        """Whether `next` may have a job."""
        return bool(self._ready) or (bool(self._turns) and self._turns[0][0] <= now)

    @property
    def turn(self) -> float | None:
        """When the turn of the next spaced queue comes."""
        return self._turns[0][0] if self._turns else None

    def next(self, now: float) -> LeasedJob | None:
        """The job that starts now, or None."""
        while self._turns and self._turns[0][0] <= now:
            job = self._next_spaced(heapq.heappop(self._turns)[1], now)
            if job is not None:
                return job
        while self._ready:
            job = self._ready.popleft()
            if not job.interval:
                if self._begin(job, now):
                    self._note(job, Pace(now), now + _RECENT, now)
                    return job
            elif self._is_due(job, now) and self._begin_spaced(job, now):
                return job
        return None

    def _is_due(self, job: LeasedJob, now: float) -> bool:
        """Whether the queue of a job may start it; otherwise the job waits for its turn."""
        queue = _queue_of(job)
        behind = self._spaced.get(queue)
        turn = self._turn_of(job, now)
        if behind is None and turn <= now:
            return True
        gap = job.interval / 1000
        waits = max(0.0, turn - now) + (len(behind) if behind else 0) * gap
        if waits > max(gap, LONGEST_TURN):
            self._give_back(job)
        elif behind is not None:
            behind.append(job)
        else:
            self._spaced[queue] = deque([job])
            heapq.heappush(self._turns, (turn, queue))
        return False

    def _next_spaced(self, queue: _Queue, now: float) -> LeasedJob | None:
        """The next of those that wait for the turn of their queue, if that is now."""
        waiting = self._spaced[queue]
        begun = None
        while waiting and begun is None and self._turn_of(waiting[0], now) <= now:
            job = waiting.popleft()
            if self._begin_spaced(job, now):
                begun = job
        if waiting:
            heapq.heappush(self._turns, (self._turn_of(waiting[0], now), queue))
        else:
            del self._spaced[queue]
        return begun

    def _turn_of(self, job: LeasedJob, now: float) -> float:
        """When the queue of a job may start it."""
        known = self._paces.get(_queue_of(job))
        return now if known is None else known[0].turn(job.interval / 1000, job.burst)

    def _begin_spaced(self, job: LeasedJob, now: float) -> bool:
        start = max(self._turn_of(job, now), now - TICK)
        if not self._begin(job, now):
            return False
        interval = job.interval / 1000
        known = self._paces.get(_queue_of(job))
        pace = Pace(start) if known is None else known[0].after(start, interval)
        self._note(job, pace, pace.last + pace.owed * interval, now)
        return True

    def _note(self, job: LeasedJob, pace: Pace, until: float, now: float) -> None:
        """Note the pace of a queue, and until when it counts."""
        self._paces[_queue_of(job)] = (pace, until)
        if len(self._paces) > self._most_kept:
            over = [queue for queue, (_, until) in self._paces.items() if until < now]
            for queue in over:
                del self._paces[queue]
            self._most_kept = max(_FEW, 2 * len(self._paces))


def _queue_of(job: LeasedJob) -> _Queue:
    return job.queue_type, job.queue_id
