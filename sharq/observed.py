"""What those who look on are told: operators, dashboards, metrics. See `results` for all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sharq.results import DeadSummary, Enqueued, JobStatus, NewJob

Growing = Callable[[Sequence[NewJob], Sequence[Enqueued]], None]
"""Is told of jobs that were to be put into queues of a type, and what became of each."""


class TypeMetrics(NamedTuple):
    """A type: whether it has jobs, the counts of the last ten minutes by minute (ms), what holds it
    back and until when, its dead letters, its jobs that wait, are delayed and are leased, and its
    queues.

    A delayed job that is due counts as delayed until its queue is looked at. `held_by` is None
    where nothing waits; `ready_in` (ms) is None if only a finish or a resume can tell, too. Of the
    queues with waiting jobs (a group counts as one) `ready` may go now, the first of them for
    `oldest_ready` ms (None: there is none), and `held` have to wait. `early` jobs have gone before
    their rate allowed it: it has to be 0.
    """

    has_jobs: bool
    enqueue_counts: dict[int, int]
    dequeue_counts: dict[int, int]
    finish_counts: dict[int, int]
    held_by: str | None
    ready_in: int | None
    dead: DeadSummary
    waiting: int
    delayed: int
    active: int
    ready: int
    held: int
    oldest_ready: int | None
    early: int


class Backlog(NamedTuple):
    """The waiting jobs of a queue, and how many ms there are between two of them, at least.

    In a sample that is the longer one of the queue's own interval and its group's (None: neither
    has one); who knows the queue alone tells its own.
    """

    queue_id: str
    waiting: int
    interval: float | None


def at_pace(backlog: Backlog, interval: float | None) -> Backlog:
    """The backlog of a queue that may not be quicker than this interval (ms), either."""
    if interval is None or interval <= (backlog.interval or 0):
        return backlog
    return backlog._replace(interval=interval)


class Sample(NamedTuple):
    """Some queues with waiting jobs; `cursor` is that of the next ones, None at the end.

    `total` is how many queues the schedule of the type has, where a group counts as one.
    """

    cursor: str | None
    total: int
    queues: list[Backlog]


class WatchedQueue(NamedTuple):
    """A queue with waiting jobs: `turn_in` (ms) until all limits allow the next one, its own, its
    group's and the type's; less than 0 since then.

    It is None where only a finish or a resume can tell, `interval` (ms, its own) and `group` where
    there is none. `held_by` is what holds it back, "nothing" where it may go. `drained_in` (ms) is
    when its last job goes by rates and pauses alone, if it had its group and the type for itself;
    None if it is paused until a resume.
    """

    queue_id: str
    waiting: int
    active: int
    interval: float | None
    turn_in: int | None
    group: str | None
    held_by: str
    drained_in: int | None


class WatchedQueues(NamedTuple):
    """Queues as they are now: the `first` of the schedule, in its order, and those asked for."""

    first: list[WatchedQueue]
    named: list[WatchedQueue]


class LeasedName(NamedTuple):
    """A leased job of a queue: the number of its lease, which ends in `ends_in` ms."""

    job_id: str
    n: str
    ends_in: int
    attempt: int


class LeasePage(NamedTuple):
    """Leased jobs of a queue; `cursor` is that of the next ones, None at the end."""

    cursor: str | None
    leases: list[LeasedName]


@dataclass(frozen=True, slots=True)
class ShownJob:
    """A job: its state, its `payload` (None: it is not there any more), its `lease`, if any."""

    status: JobStatus
    payload: bytes | None
    lease: str | None


@dataclass(frozen=True, slots=True)
class TotalsCorrected:
    """By how much the counts of a type's waiting and delayed jobs were corrected.

    They are `exact` if no job came or went meanwhile.
    """

    waiting: int
    delayed: int
    exact: bool
