"""A queue of the model: its jobs in their order, its limits and who set them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil, inf

from sharq.results import JobOptions, Removal
from tests.model.failures import History
from tests.model.rates import Ms, Rates, Until


@dataclass(slots=True)
class ModelJob:
    """A job that is queued or leased; `place` orders the jobs of a queue, times are in ms.

    `limit` is the requeue limit of its enqueue, `left` what remains of it.
    """

    job_id: str
    payload: bytes
    place: tuple[int, int]
    limit: int
    left: int
    cost: int = 1
    attempts: int = 0
    due: int = 0
    n: str = ""
    lease_end: int = 0
    request: str | None = None
    doomed: bool = False
    history: History | None = None

    @property
    def priority(self) -> int:
        return -self.place[0]


@dataclass(slots=True)
class Setting:
    """What enqueues, or the API, have set of a queue; None: nothing."""

    burst: int | None = None
    concurrency: int | None = None
    group: str | None = None

    def any(self) -> bool:
        return (self.burst, self.concurrency, self.group) != (None, None, None)


@dataclass(slots=True)
class ModelQueue(Rates):
    """A queue: its jobs and its limits.

    `known` is whether it has an interval at all. `turn`: since when (or from when on) its own
    limits and its first job allow a dispatch. `api_ends` is the end of what the API has set and
    `ends` the end of everything, both while no job is left (`inf`: while it is paused).
    """

    known: bool = False
    by_api: bool = False
    enqueued: Setting = field(default_factory=Setting)
    api: Setting = field(default_factory=Setting)
    group: str | None = None
    turn: Until | None = None
    api_ends: int = 0
    ends: float | None = None
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

    @property
    def has_api_limits(self) -> bool:
        return self.by_api or self.api.any()

    def queued(self) -> Iterator[ModelJob]:
        yield from self.back
        yield from self.late
        yield from self.new

    def find(self, job_id: str) -> ModelJob | None:
        waiting = next((job for job in self.queued() if job.job_id == job_id), None)
        return waiting or self.leased.get(job_id)

    def add(self, job: ModelJob, now: int, delay: int) -> None:
        """Add a new job: at the tail, if neither its priority nor a delay tells otherwise."""
        if delay > 0:
            job.due = now + delay
            self.late.append(job)
        elif job.place[0] < 0:
            self.back.append(job)
        else:
            self.new.append(job)

    def remove(self, job: ModelJob) -> None:
        for jobs in (self.new, self.back, self.late):
            if job in jobs:
                jobs.remove(job)

    def in_order(self, now: int) -> list[ModelJob]:
        """The jobs that may go, in the order in which they will."""
        due = [job for job in self.late if job.due <= now]
        return sorted([*self.back, *due, *self.new], key=lambda job: job.place)

    def take(self, now: int) -> ModelJob:
        job = self.in_order(now)[0]
        self.back = [*self.back, *(job for job in self.late if job.due <= now)]
        self.late = [job for job in self.late if job.due > now]
        self.remove(job)
        return job

    # Its limits

    def set_by_enqueue(self, options: JobOptions) -> None:
        for field_name in ("burst", "concurrency", "group"):
            value = getattr(options, field_name)
            if value is not None:
                removed = isinstance(value, Removal)
                setattr(self.enqueued, field_name, None if removed else value)
        self.take_effect()

    def take_effect(self) -> None:
        """What the API has set stands against what enqueues have."""
        of_api, of_enqueues = self.api, self.enqueued
        self.burst = of_api.burst or of_enqueues.burst or 1
        self.concurrency = of_api.concurrency or of_enqueues.concurrency
        self.group = of_api.group or of_enqueues.group

    def give_back(self) -> None:
        self.by_api, self.api = False, Setting()
        self.take_effect()

    # Its turn

    def first_due(self) -> int:
        """When its first job is due."""
        return 0 if self.new or self.back else min(job.due for job in self.late)

    def own_time(self) -> Until:
        """When its own limits and its jobs allow a dispatch."""
        return max(self.allows_at(len(self.leased)), self.first_due())

    def schedule(self, now: int) -> None:
        self.turn = max(self.own_time(), now) if self.length else None

    def reschedule(self, now: int) -> None:
        """As `schedule`, but a queue that was ready and still is keeps its turn."""
        if self.length == 0:
            self.turn = None
            return
        since = now if self.turn is None else min(self.turn, now)
        self.turn = max(self.own_time(), since)

    def room_in(self, now: int, over: int) -> int | None:
        """In how many ms so many jobs, and one more, may have gone; None where no rate tells."""
        if self.turn is None or self.turn == inf or not self.interval:
            return None
        start = max(self.turn, now)
        return ceil(max(start, max(start, self.tat) + over * self.interval - self.credit()) - now)

    # Its end

    def has_interval(self, now: int) -> bool:
        """Whether anybody has set one: who only pauses it, or sets its other limits, has not."""
        aged = self.aged(now)
        return aged.has_jobs or aged.by_api or aged.interval > 0 or aged.tat > 0

    def aged(self, now: int) -> ModelQueue:
        """Itself as far as it counts by now: without jobs, what has run out is gone."""
        if self.has_jobs:
            return self
        aged = replace(self, enqueued=replace(self.enqueued), api=replace(self.api))
        aged.age(now)
        return aged

    def age(self, now: int) -> None:
        if self.has_jobs:
            return
        if self.tat <= now:
            self.tat, self.last = 0, None
        if self.api_ends <= now:
            self.give_back()
        if self.tat == 0 and not self.has_api_limits and self.paused <= now:
            self.forget()

    def settle(self, now: int, retention: int) -> None:
        """Begin to run out, where no job is left."""
        if self.has_jobs:
            return
        self.api_ends = now + retention if self.has_api_limits else 0
        ends = max(self.tat, self.api_ends, self.paused)
        self.ends = ends if ends == inf else ceil(ends)
        if ends <= now:
            self.forget()

    def forget(self) -> None:
        self.interval, self.known, self.tat, self.last, self.ends = 0, False, 0, None, None
        self.paused, self.enqueued, self.rounded = 0, Setting(), False
        self.give_back()


def plain_until(turn: Until | None, now: Ms) -> int | None:
    """In how many ms a turn is; None where nobody can tell."""
    return None if turn is None or turn == inf else max(0, ceil(turn - now))
