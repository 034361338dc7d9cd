"""Arguments and results of the operations: plain values, no behaviour.

An expected result is a value with an `outcome` word; a failure is an exception of `sharq.errors`.
The words are those of ``lua/include/status.lua``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sharq.errors import StoreError

QUEUED: Final = "queued"
DUPLICATE: Final = "duplicate"
CONFLICT: Final = "conflict"
COPIED: Final = "copied"
FULL: Final = "full"
SUCCESS: Final = "success"
DEAD: Final = "dead"
ACTIVE: Final = "active"
FINISHED: Final = "finished"
NOT_ACTIVE: Final = "not_active"
STALE_LEASE: Final = "stale_lease"
ALREADY_FINISHED: Final = "already_finished"
NOT_FOUND: Final = "not_found"
JOB_ACTIVE: Final = "job_active"
INVALID: Final = "invalid_argument"

EXHAUSTED: Final = "exhausted"
EXPIRED: Final = "expired"
REJECTED: Final = "rejected"
"""Why a job became a dead letter: it failed or was released, its lease ran out, both with no
requeue left, or its worker rejected it."""


class Removal(enum.Enum):
    """The type of `REMOVE`."""

    REMOVE = "-"

    def __repr__(self) -> str:
        return "REMOVE"


REMOVE: Final = Removal.REMOVE
"""Stands in the place of a value that is taken away; None leaves the value as it is."""


class JobOptions(NamedTuple):
    """What a job may say beyond its own fields: of its queue, and of itself.

    `burst`, `concurrency` and `group` are set for its queue; None leaves what is set, `REMOVE`
    takes away what enqueues have set. `cost` is in intervals, `priority` 0 to 9, `delay` in ms.
    """

    burst: int | Removal | None = None
    concurrency: int | Removal | None = None
    group: str | Removal | None = None
    cost: int = 1
    priority: int = 0
    delay: int = 0

    def word(self, max_queued_length: int | None) -> str:
        """All of them as the script reads them, behind the bound of the same job."""
        return ":".join(map(_text, (max_queued_length, *self)))


def _text(field: int | str | Removal | None) -> str:
    if field is None:
        return ""
    return REMOVE.value if field is REMOVE else str(field)


class NewJob(NamedTuple):
    """A job on its way in; every field has been checked.

    `payload` is strict JSON text. `interval` is in milliseconds, with up to three decimals.
    `requeue_limit` is -1 for no limit. `max_queued_length` is None if the queue's length is not
    bounded, `options` is None if all are left out or have their defaults.
    """

    queue_type: str
    queue_id: str
    job_id: str
    payload: bytes
    interval: float
    requeue_limit: int
    max_queued_length: int | None = None
    options: JobOptions | None = None


class Lease(NamedTuple):
    """The parts of a lease token, ``queue_type/queue_id/job_id/n``."""

    queue_type: str
    queue_id: str
    job_id: str
    n: str


class Enqueued(NamedTuple):
    """`outcome`: QUEUED, DUPLICATE, CONFLICT or FULL. `length`: waiting jobs before this one.

    `room_in`, with FULL: the earliest time, in milliseconds, at which the queue's rate can have
    made room; None if the queue has no rate, or no job that could go.
    """

    outcome: str
    length: int
    room_in: int | None = None


class Ended(NamedTuple):
    """The result of a finish, a release or a cancellation.

    `outcome`: SUCCESS (finished, queued again or removed), DEAD (released with no requeue left),
    NOT_ACTIVE, STALE_LEASE or ALREADY_FINISHED; of many also INVALID, for an invalid lease token. A
    cancellation has NOT_FOUND for an unknown job, and JOB_ACTIVE for one under another lease. A
    retry of a dead letter has NOT_FOUND, and CONFLICT if a job with its name waits or is leased.
    """

    outcome: str


class JobError(NamedTuple):
    """What a job failed with, as its worker tells it; None for what it did not tell."""

    type: str | None = None
    message: str | None = None
    trace: str | None = None


class Told(NamedTuple):
    """The end of a lease with more than a finish or a release says, as texts.

    `how` is "finish", "release" (counted), "return" (not counted), "fail" or "reject". `cost` is
    the real one, `pause` (ms) is for a level of the kind `scope`; empty if it is not told. An empty
    `delay` leaves it to the backoff. `worker` and `error` are words of `sharq.failures`.
    An empty `n` means any lease.
    """

    queue_id: str
    job_id: str
    n: str
    how: str
    cost: str = ""
    delay: str = "0"
    pause: str = ""
    scope: str = ""
    worker: str = ""
    error: str = ""


class Extended(NamedTuple):
    """`outcome`: SUCCESS, or as in `Ended`. `lease_ms`: the rest of the lease."""

    outcome: str
    lease_ms: int


class Offer(NamedTuple):
    """How many jobs a server may offer to its subscribers.

    `wait_us`: microseconds until there may be more, None if none is scheduled, 0 if the server got
    all that it wanted and does not wait. `rank`: how many servers wait for the same and have waited
    longer.
    """

    granted: int
    wait_us: int | None
    rank: int


class Cleared(NamedTuple):
    """`waiting`: jobs removed from the queue. `leased`: leases ended by a purge."""

    waiting: int
    leased: int


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The state of a job.

    `state`: QUEUED, ACTIVE, FINISHED, DEAD or NOT_FOUND. For a queued one `position` is the number
    of jobs before it and `ready_in` the milliseconds until the schedule of its queue reaches it;
    `eta` are those until it is dispatched, as far as the limits of its group and its type tell.
    They are None if only a finish or a resume can tell, and an estimate if `estimated` is set.
    `held_by` is what holds it back now, "nothing" if nothing does. For an active one
    `lease_expires_in` is the rest of its lease in milliseconds.

    `attempt` is the number of the present or the next delivery of a job that failed before, and of
    the last one of a dead letter. `error`, `worker` and `first_failed_at` (epoch, ms) tell of these
    failures, `reason` and `died_at` (epoch, ms) of the death. None for what is not known.
    """

    state: str
    position: int | None = None
    ready_in: int | None = None
    lease_expires_in: int | None = None
    estimated: bool = False
    eta: int | None = None
    held_by: str | None = None
    attempt: int | None = None
    error: JobError | None = None
    worker: str | None = None
    first_failed_at: int | None = None
    reason: str | None = None
    died_at: int | None = None


class WaitingJob(NamedTuple):
    """A job in a listing. `payload` is JSON text.

    `position`: the jobs before it in the listing; an estimate if `estimated` is set. `due_in`: the
    milliseconds until a delayed job is due, None for one that is not delayed.
    """

    job_id: str
    payload: bytes
    requeues_remaining: int
    position: int
    estimated: bool
    due_in: int | None


class JobPage(NamedTuple):
    """A part of a listing. `cursor` asks for the next one; it is None after the last."""

    jobs: list[WaitingJob]
    cursor: str | None


class QueuePage(NamedTuple):
    """A part of the queues of a type. `cursor` asks for the next one; it is None after the last."""

    queue_ids: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """One queue: lengths, rate and the counts of the last ten minutes.

    `interval` (ms), `interval_set_by` ("enqueue" or "api") and `next_ready_in` (ms) are None
    for a queue that does not exist. `held_by` is what holds it back, None where nothing waits;
    `ready_in` (ms) says how long, None where nothing waits or only a finish or a resume can tell.
    Counts are keyed by the minute's epoch in milliseconds. `early` jobs have gone before their rate
    allowed it: it has to be 0.
    """

    queue_length: int
    active_count: int
    interval: float | None
    interval_set_by: str | None
    next_ready_in: int | None
    enqueue_counts: dict[int, int]
    dequeue_counts: dict[int, int]
    held_by: str | None = None
    ready_in: int | None = None
    early: int = 0


class LimitValues(NamedTuple):
    """What the API sets at a queue, a group or a type: None leaves it, `REMOVE` gives it back.

    `interval` is in ms, with up to three decimals. Only a queue has a `group`.
    """

    interval: float | Removal | None = None
    burst: int | Removal | None = None
    concurrency: int | Removal | None = None
    group: str | Removal | None = None
    reason: str | Removal | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force. `until`: its end by the store's clock (epoch, ms), None for an open one.

    `set_by` is "api" or "worker".
    """

    until: float | None
    reason: str | None
    set_by: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force at a queue, a group or a type; None where there is none.

    `set_by` has, for `interval`, `burst`, `concurrency` and `group`, who set the value: "enqueue",
    "api" or None. `tat` (epoch, ms): the theoretical arrival time, from which on nothing is owed to
    the rate. `active` counts leases, `queue_length` the waiting jobs of a queue; it is None for a
    group and a type. `held_by` says what holds the work back now, and is None where none waits;
    `ready_in` (ms) is None where only a finish or a resume can tell.
    """

    interval: float | None
    burst: int | None
    concurrency: int | None
    group: str | None
    set_by: dict[str, str | None]
    reason: str | None
    tat: float | None
    active: int
    queue_length: int | None
    pause: Pause | None
    held_by: str | None
    ready_in: int | None


class Estimate(NamedTuple):
    """How long the work that waits now would take: with limits that were tried, and without them.

    Both are in ms, None where only finishes decide. `estimated` tells that they are no exact times.
    """

    drains_in: int | None
    drained_in_before: int | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that ended without success, as long as it is kept.

    `reason`: EXHAUSTED, EXPIRED or REJECTED. `attempts` counts its deliveries. `first_failed_at`
    and `died_at` are by the store's clock (epoch, ms). `error` and `worker` are the last ones told.
    `requeue_limit` is that of its enqueue; `interval` (ms), `burst`, `concurrency` and `group` are
    what enqueues had set for its queue.
    """

    queue_id: str
    job_id: str
    payload: bytes
    reason: str
    attempts: int
    first_failed_at: int
    died_at: int
    error: JobError | None
    worker: str | None
    priority: int
    cost: int
    requeue_limit: int
    interval: float
    burst: int | None
    concurrency: int | None
    group: str | None


class DeadPage(NamedTuple):
    """Dead letters, the newest first. `cursor` asks for the next page; it is None after the last.

    A page may be empty and still have a cursor: a page looks at a limited number of them.
    """

    letters: list[DeadLetter]
    cursor: str | None


class DeadFilter(NamedTuple):
    """Which dead letters are meant; None does not select.

    `error` is the exact type of the last error, `before` the time (epoch, ms) before which they
    died.
    """

    queue_id: str | None = None
    reason: str | None = None
    error: str | None = None
    before: int | None = None


class DeadBegun(NamedTuple):
    """The bulk that was `begun`, or the one that runs already."""

    id: str
    begun: bool


@dataclass(frozen=True, slots=True)
class DeadBulk:
    """A retry or a deletion of many dead letters of a type.

    `kind`: "retry" or "delete". `state`: "running", "done" or "cancelled". `started` is its begin
    (epoch, ms). `moved` counts those that were retried or deleted, `conflicts` those that stayed
    because a job with their name is there, `left` those that are still to be looked at. `limit`:
    how many are moved at most, None for all.
    """

    id: str
    kind: str
    filter: DeadFilter
    state: str
    started: int
    moved: int
    left: int
    conflicts: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class DeadSummary:
    """The dead letters of a type: how many, their `bytes`, and when the `oldest` died (epoch, ms).

    `fallen_out` counts those that the bounds or a newer death of the same job removed, `dropped`
    those that the store refused; since the last time that there were none for a day.
    """

    jobs: int
    bytes: int
    oldest: int | None
    fallen_out: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All queues: the types that have jobs, and the counts of the last ten minutes.

    It is not `complete` while nodes of a cluster are away: `unreached` are the types that are known
    and could not be counted, and where the registry is away there may be others.
    """

    queue_types: list[str]
    enqueue_counts: dict[int, int]
    dequeue_counts: dict[int, int]
    complete: bool = True
    unreached: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the sentinels of a store say of its primary: `naming` of `count` name it.

    `others` says what each of the others does, by its address.
    """

    service: str
    count: int
    naming: int
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a node of the store is, and how it keeps its data, as far as it tells.

    `logs`: whether it has a log of its changes (`appendonly`); `appendfsync`: when that is forced
    to the disk; `eviction`: what it drops when the memory is full (`maxmemory-policy`); `replicas`:
    how many nodes follow it, of which `acked` have to have a change before it is answered;
    `bounded`: it takes no writes without enough of them (`min-replicas-to-write`); `follows`: it is
    a replica itself; `unsettled`: it is a node of a cluster, and the settings do not say so.
    `refused` is a command that it refused, and its message. `product` is its name and version,
    `memory` what it uses and `max_memory` what it may use, in bytes (0: no bound). `ahead`: ms by
    which its clock is ahead of this machine's, at least; 0 where the two cannot be told apart.
    `watch`: what its sentinels say.
    None is not known. Of a node that does not answer, `trouble` is all there is.
    """

    where: str
    logs: bool = True
    appendfsync: str | None = None
    eviction: str = "noeviction"
    replicas: int = 0
    acked: int = 0
    refused: tuple[str, str] | None = None
    product: str | None = None
    memory: int | None = None
    max_memory: int | None = None
    ahead: int | None = None
    watch: Watch | None = None
    follows: bool = False
    bounded: bool = False
    unsettled: bool = False
    trouble: StoreError | None = None


@dataclass(frozen=True, slots=True)
class Swept:
    """One call of the sweep: jobs taken back, whether more are due, and what is left.

    `next_expiry_us` is the time until the next lease of the type runs out, None if there is none.
    `idle` tells that the type has no jobs, `vacant` that it has no counters and no dead letters
    either; `bulk` that a bulk of its dead letters runs which no server advances.
    """

    returned: int
    discarded: int
    more: bool
    next_expiry_us: int | None
    idle: bool
    vacant: bool
    bulk: bool = False
