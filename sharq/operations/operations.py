"""Each operation: its packed call and how to read the reply. Bytes and values, no I/O."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sharq import results
from sharq._fastpath import Batch, Codec, enqueued
from sharq.identifiers import ascii_word, is_identifier
from sharq.operations import dead_words, limit_words
from sharq.operations.call import Call
from sharq.operations.cursors import JobCursor, QueueCursor
from sharq.operations.rights import Rights
from sharq.operations.scripts import Scripts
from sharq.operations.targets import Target
from sharq.results import (
    Cleared,
    DeadBegun,
    DeadBulk,
    DeadFilter,
    DeadLetter,
    DeadPage,
    DeadSummary,
    Ended,
    Enqueued,
    Estimate,
    Extended,
    JobPage,
    JobStatus,
    Lease,
    Limits,
    LimitValues,
    NewJob,
    Offer,
    QueueMetrics,
    Removal,
    Swept,
    Told,
    WaitingJob,
)
from sharq.settings.options import QueueSettings

BULK_SIZE = 100
"""Jobs that one script call enqueues at most."""

BATCH_BYTES = 256 * 1024
"""Size of a dequeue's answer, in bytes, that a batch stays under (with at least one job)."""

SWEEP_SIZE = 100
"""Expired leases that one script call takes back at most."""

PAGE_SIZE = 1000
"""Names that one call of a listing looks at, roughly."""

REGISTRATION_AGE = 900_000
"""Milliseconds after which the registration of a vacant type may be removed."""


class Page(NamedTuple):
    """One page of a listing of queues; `cursor` is that of the next one, None at the end."""

    cursor: QueueCursor | None
    names: list[str]


class TypePage(NamedTuple):
    """One page of the registry: types with the age of their registration in ms."""

    cursor: str
    types: list[tuple[str, int]]


class TypeMetrics(NamedTuple):
    """Whether a type has jobs, what holds it back and until when, the counts of the last ten
    minutes by minute (ms), and its dead letters.

    `held_by` is None where nothing waits; `ready_in` (ms) is None if only a finish or a resume can
    tell, too.
    """

    has_jobs: bool
    enqueue_counts: dict[int, int]
    dequeue_counts: dict[int, int]
    held_by: str | None = None
    ready_in: int | None = None
    dead: DeadSummary = DeadSummary(0, 0, None, 0, 0)


def draw_word() -> str:
    """A random word for one call of the store."""
    return secrets.token_hex(4)


def failing_word(settings: QueueSettings) -> str:
    """The bounds of dead letters and of the backoff, for scripts; a drawn word goes behind it."""
    bounds = (settings.dead_max_jobs, settings.dead_max_bytes, settings.dead_retention)
    return ":".join(map(str, (*bounds, settings.backoff_min, settings.backoff_max, "")))


class Operations:
    """The operations of one deployment (one `key_prefix`).

    `draw` gives the word from which a call's backoffs are drawn.
    """

    def __init__(
        self,
        prefix: str,
        settings: QueueSettings,
        scripts: Scripts,
        draw: Callable[[], str] = draw_word,
    ) -> None:
        self._codec = Codec(prefix, scripts.digests)
        self._keys = self._codec.keys
        self._lease_ms = settings.job_expire_interval
        self._retention = settings.finished_retention
        self._interval_retention = settings.interval_retention
        self._failing = failing_word(settings)
        self._draw = draw

    def enqueue(self, queue_type: str, jobs: Sequence[NewJob]) -> Call[list[Enqueued]]:
        """Up to `BULK_SIZE` jobs of one type, in order."""
        packed = self._codec.enqueue(queue_type, jobs)
        return Call(packed, self._keys.tag(queue_type), enqueued, True)

    def dequeue(
        self, queue_type: str, count: int = 1, request_id: str | None = None
    ) -> Call[Batch]:
        """Lease up to `count` jobs of a type."""
        packed = self._codec.dequeue(queue_type, count, self._lease_ms, BATCH_BYTES, request_id)
        key = self._keys.tag(queue_type)
        return Call(packed, key, lambda reply: Batch(queue_type, reply), request_id is not None)

    def dispatch(
        self,
        queue_type: str,
        count: int,
        server_id: str,
        seq: int,
        request_id: str | None,
        more: bool,
    ) -> Call[Batch]:
        """Lease up to `count` jobs for a server, which then waits for those that it did not get.

        With `more` it has room beyond them, and asks again.
        """
        packed = self._codec.dequeue(
            queue_type, count, self._lease_ms, BATCH_BYTES, request_id, server_id, seq, more
        )
        key = self._keys.tag(queue_type)
        return Call(packed, key, lambda reply: Batch(queue_type, reply), True)

    def offer(
        self, queue_type: str, server_id: str, wanted: int, offered: int, offer_ms: int
    ) -> Call[Offer]:
        """How many jobs a server may offer; it then waits for those that it did not get."""
        packed = self._codec.offer(queue_type, server_id, wanted, offered, offer_ms)
        return Call(packed, self._keys.tag(queue_type), _offer, True)

    def hand_on(self, queue_type: str, server_id: str, offered: int) -> Call[bool]:
        """Stop waiting, except for `offered` jobs, and let another server know what is next."""
        packed = self._codec.hand_on(queue_type, server_id, offered)
        return Call(packed, self._keys.tag(queue_type), bool, True)

    def channel(self, server_id: str) -> bytes:
        """The pub/sub channel through which a server is woken."""
        return self._keys.channel(server_id)

    def woken_type(self, message: bytes) -> str | None:
        """The type that a message on such a channel is about; None for any other message."""
        queue_type = self._keys.woken_type(message)
        return queue_type if is_identifier(queue_type) else None

    def finish_many(self, queue_type: str, leases: list[Lease]) -> Call[list[Ended]]:
        """End up to `BULK_SIZE` leased jobs of one type."""
        packed = self._codec.finish_many(
            queue_type, leases, self._retention, self._interval_retention
        )
        return Call(packed, self._keys.tag(queue_type), _ended_many)

    def cancel(self, queue_type: str, jobs: list[Lease]) -> Call[list[Ended]]:
        """Remove up to `BULK_SIZE` jobs of one type; an empty `n` means one that is not leased."""
        packed = self._codec.cancel(queue_type, jobs, self._retention, self._interval_retention)
        return Call(packed, self._keys.tag(queue_type), _ended_many)

    def claim_sweep(self, hold: int) -> Call[bool]:
        """Claim the sweep for the next `hold` ms; False if another server has it."""
        return Call(self._codec.claim_sweep(hold), self._keys.registry(), bool)

    def finish(self, queue_type: str, queue_id: str, job_id: str, n: str) -> Call[Ended]:
        """End a leased job for good; an empty `n` means any lease."""
        packed = self._codec.finish(
            queue_type, queue_id, job_id, n, self._retention, self._interval_retention
        )
        return Call(packed, self._keys.tag(queue_type), _ended)

    def release(
        self, queue_type: str, leases: list[Lease], delay: int, counted: bool
    ) -> Call[list[Ended]]:
        """Give up to `BULK_SIZE` leased jobs of one type back, `delay` ms from now."""
        packed = self._codec.release(
            queue_type,
            leases,
            delay,
            counted,
            self._retention,
            self._interval_retention,
            self._failing + "0",
        )
        return Call(packed, self._keys.tag(queue_type), _ended_many)

    def settle(self, queue_type: str, told: list[Told]) -> Call[list[Ended]]:
        """End up to `BULK_SIZE` leased jobs of one type, with what their holders tell."""
        packed = self._codec.settle(
            queue_type,
            told,
            self._retention,
            self._interval_retention,
            self._failing + self._draw(),
        )
        return Call(packed, self._keys.tag(queue_type), _ended_many)

    def extend(self, queue_type: str, leases: list[Lease], by: int) -> Call[list[Extended]]:
        """Let up to `BULK_SIZE` leases of one type end no sooner than `by` ms from now."""
        packed = self._codec.extend(queue_type, leases, by, self._retention)
        return Call(packed, self._keys.tag(queue_type), _extended, True)

    def status(self, queue_type: str, queue_id: str, job_id: str) -> Call[JobStatus]:
        """The state of a job."""
        packed = self._codec.status(queue_type, queue_id, job_id, self._retention)
        return Call(packed, self._keys.tag(queue_type), _job_status, True)

    def set_interval(self, queue_type: str, queue_id: str, interval: float) -> Call[bool]:
        """Set a queue's interval; enqueues no longer change it. False if there is no such queue."""
        packed = self._codec.interval(queue_type, queue_id, interval, self._interval_retention)
        return Call(packed, self._keys.tag(queue_type), _succeeded, True)

    def reset_interval(self, queue_type: str, queue_id: str) -> Call[bool]:
        """Let enqueues set the interval again; False if the API has set none."""
        packed = self._codec.interval_reset(queue_type, queue_id, self._interval_retention)
        return Call(packed, self._keys.tag(queue_type), _succeeded)

    def set_limits(self, queue_type: str, target: Target, values: LimitValues) -> Call[bool]:
        """Set limits at a level, give them back, or leave them."""
        interval, burst, concurrency, group, reason = values
        packed = self._codec.limits(
            queue_type,
            target.kind,
            target.name,
            interval,
            burst,
            concurrency,
            group,
            ascii_word(reason) if isinstance(reason, str) else reason,
            self._interval_retention,
        )
        return Call(packed, self._keys.tag(queue_type), _succeeded, True)

    def show_limits(self, queue_type: str, target: Target) -> Call[Limits]:
        """The limits and the pause of a level, and what holds it back."""
        packed = self._codec.show_limits(queue_type, target.kind, target.name)
        return Call(packed, self._keys.tag(queue_type), limit_words.limits, True)

    def estimate(self, queue_type: str, target: Target, values: LimitValues) -> Call[Estimate]:
        """How long the work of a level would take with other limits; changes nothing."""
        interval, burst, concurrency, group, _ = values
        packed = self._codec.dry_run(
            queue_type, target.kind, target.name, interval, burst, concurrency, group
        )
        return Call(packed, self._keys.tag(queue_type), limit_words.estimate, True)

    def pause(
        self, queue_type: str, target: Target, ms: int | Removal | None, reason: str, set_by: str
    ) -> Call[bool]:
        """Pause a level for `ms` or, with None, until it is resumed; `REMOVE` resumes it."""
        packed = self._codec.pause(
            queue_type,
            target.kind,
            target.name,
            ms,
            ascii_word(reason),
            set_by,
            self._interval_retention,
        )
        return Call(packed, self._keys.tag(queue_type), _succeeded, True)

    def clear(self, queue_type: str, queue_id: str, purge: bool) -> Call[Cleared]:
        """Remove the waiting jobs of a queue; with `purge` its leases too."""
        packed = self._codec.clear(queue_type, queue_id, self._interval_retention, purge)
        return Call(packed, self._keys.tag(queue_type), Cleared._make)

    def requeue(self, queue_type: str) -> Call[Swept]:
        """Take back up to `SWEEP_SIZE` jobs of a type whose leases have run out."""
        packed = self._codec.requeue(
            queue_type,
            SWEEP_SIZE,
            self._retention,
            self._interval_retention,
            self._failing + self._draw(),
        )
        return Call(packed, self._keys.tag(queue_type), _swept, True)

    def queue_length(self, queue_type: str, queue_id: str) -> Call[int]:
        """The number of waiting jobs of a queue."""
        packed = self._codec.queue_length(queue_type, queue_id)
        return Call(packed, self._keys.tag(queue_type), int, True)

    def queue_metrics(self, queue_type: str, queue_id: str) -> Call[QueueMetrics]:
        """Lengths, rate and counts of a queue."""
        packed = self._codec.queue_metrics(queue_type, queue_id)
        return Call(packed, self._keys.tag(queue_type), _queue_metrics, True)

    def type_metrics(self, queue_type: str) -> Call[TypeMetrics]:
        """Whether a type has jobs, its counts, and a summary of its dead letters."""
        packed = self._codec.type_metrics(queue_type)
        return Call(packed, self._keys.tag(queue_type), _type_metrics, True)

    def list_jobs(
        self, queue_type: str, queue_id: str, cursor: JobCursor, count: int
    ) -> Call[JobPage]:
        """Up to `count` waiting jobs of a queue, and no more than `BATCH_BYTES` but for one."""
        packed = self._codec.list_jobs(queue_type, queue_id, *cursor, count, BATCH_BYTES)
        return Call(packed, self._keys.tag(queue_type), _job_page, True)

    def list_queues(
        self, queue_type: str, cursor: QueueCursor, count: int = PAGE_SIZE
    ) -> Call[Page]:
        """One page, of about `count`, of the queues of a type with waiting or leased jobs."""
        packed = self._codec.list_queues(queue_type, *cursor, count)
        return Call(packed, self._keys.tag(queue_type), _page, True)

    def list_dead(
        self, queue_type: str, wanted: DeadFilter, cursor: str, count: int
    ) -> Call[DeadPage]:
        """Up to `count` dead letters, the newest first, and no more than `BATCH_BYTES` but for one.

        An empty `cursor` is the beginning.
        """
        words = dead_words.of_filter(wanted)
        packed = self._codec.dead_list(
            queue_type, *words, wanted.before, cursor, count, BATCH_BYTES
        )
        return Call(packed, self._keys.tag(queue_type), dead_words.page, True)

    def show_dead(self, queue_type: str, queue_id: str, job_id: str) -> Call[DeadLetter | None]:
        """A dead letter."""
        packed = self._codec.dead_show(queue_type, queue_id, job_id)
        return Call(packed, self._keys.tag(queue_type), dead_words.letter_or_none, True)

    def retry_dead(self, queue_type: str, jobs: list[tuple[str, str]]) -> Call[list[Ended]]:
        """Make new jobs of the first of up to `BULK_SIZE` dead letters, of one at least."""
        packed = self._codec.dead_retry(queue_type, jobs)
        return Call(packed, self._keys.tag(queue_type), _ended_many)

    def delete_dead(self, queue_type: str, jobs: list[tuple[str, str]]) -> Call[list[Ended]]:
        """Remove up to `BULK_SIZE` dead letters."""
        packed = self._codec.dead_delete(queue_type, jobs)
        return Call(packed, self._keys.tag(queue_type), _ended_many)

    def begin_dead(
        self, queue_type: str, bulk_id: str, kind: str, wanted: DeadFilter, limit: int | None
    ) -> Call[DeadBegun]:
        """Begin a bulk of dead letters, unless one runs. `kind`: retry or delete."""
        words = dead_words.of_filter(wanted)
        packed = self._codec.dead_begin(queue_type, bulk_id, kind, *words, wanted.before, limit)
        return Call(packed, self._keys.tag(queue_type), dead_words.begun, True)

    def advance_dead(self, queue_type: str, owner: str) -> Call[bool]:
        """Make a step of a bulk; whether there is more to do for the server `owner`."""
        packed = self._codec.dead_advance(queue_type, owner)
        return Call(packed, self._keys.tag(queue_type), bool, True)

    def dead_bulk(self, queue_type: str) -> Call[DeadBulk | None]:
        """The bulk that runs, or that ran last."""
        packed = self._codec.dead_progress(queue_type)
        return Call(packed, self._keys.tag(queue_type), dead_words.bulk, True)

    def cancel_dead(self, queue_type: str) -> Call[bool]:
        """Cancel the bulk that runs, if any."""
        return Call(self._codec.dead_cancel(queue_type), self._keys.tag(queue_type), bool)

    def list_types(self, cursor: str) -> Call[TypePage]:
        """One page of the registry of types."""
        packed = self._codec.list_types(cursor, PAGE_SIZE)
        return Call(packed, self._keys.registry(), _type_page, True)

    def register(self, queue_type: str) -> Call[bool]:
        """Enter a type in the registry, or renew its entry."""
        return Call(self._codec.register(queue_type), self._keys.registry(), bool, True)

    def unregister(self, queue_type: str) -> Call[bool]:
        """Remove a type that was found vacant, unless it was registered lately."""
        packed = self._codec.unregister(queue_type, REGISTRATION_AGE)
        return Call(packed, self._keys.registry(), bool, True)

    def rights(self, server_id: str, user: str | None) -> Call[list[str]]:
        """The rights that SharQ needs and the store's `user` lacks: a line for each."""
        packed = self._codec.rights(server_id)
        rights = Rights(self._keys.prefix)
        return Call(packed, b"", lambda reply: rights.complaints(user, reply), True)

    def ping(self) -> Call[int]:
        """The store's time in ms, told by a script. For any node."""
        return Call(self._codec.ping(), b"", int, True)


def _ended(reply: bytes) -> Ended:
    return _ENDED[reply]


def _ended_many(reply: list[bytes]) -> list[Ended]:
    return [_ENDED[outcome] for outcome in reply]


_ENDED = {
    word.encode(): Ended(results.SUCCESS if word == results.QUEUED else word)
    for word in (
        results.QUEUED,
        results.SUCCESS,
        results.DEAD,
        results.NOT_ACTIVE,
        results.STALE_LEASE,
        results.ALREADY_FINISHED,
        results.NOT_FOUND,
        results.JOB_ACTIVE,
        results.CONFLICT,
    )
}


def _extended(reply: list[Any]) -> list[Extended]:
    return [Extended(reply[i].decode(), reply[i + 1]) for i in range(0, len(reply), 2)]


def _offer(reply: list[int]) -> Offer:
    granted, wait, rank = reply
    return Offer(granted, None if wait < 0 else wait, rank)


def _succeeded(reply: bytes) -> bool:
    return reply == b"success"


def _job_status(reply: list[Any]) -> JobStatus:
    state = reply[0].decode()
    if state == results.QUEUED:
        position, ready_in, estimated, eta, held_by = reply[1:6]
        return JobStatus(
            state,
            position=position,
            ready_in=_unless_open(ready_in),
            estimated=bool(estimated),
            eta=_unless_open(eta),
            held_by=held_by.decode(),
            **dead_words.failures(*reply[6:]),
        )
    if state == results.ACTIVE:
        return JobStatus(state, lease_expires_in=reply[1], **dead_words.failures(*reply[2:]))
    if len(reply) > 1:  # a dead letter
        return dead_words.status(*reply[1:])
    return JobStatus(state)


def _swept(reply: list[int]) -> Swept:
    returned, discarded, more, wait, idle, vacant, bulk = reply
    wait_us = None if wait < 0 else wait
    return Swept(returned, discarded, bool(more), wait_us, bool(idle), bool(vacant), bool(bulk))


def _counts(reply: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    minutes = reply[0::3]
    return dict(zip(minutes, reply[1::3], strict=True)), dict(
        zip(minutes, reply[2::3], strict=True)
    )


def _unless_open(ms: int) -> int | None:
    return None if ms < 0 else ms


def _queue_metrics(reply: list[Any]) -> QueueMetrics:
    length, active, interval, by_api, wait, held_by, ready_in = reply[:7]
    return QueueMetrics(
        length,
        active,
        limit_words.number(interval) if interval else None,
        ("api" if by_api else "enqueue") if interval else None,
        _unless_open(wait),
        *_counts(reply[7:]),
        held_by.decode() or None,
        _unless_open(ready_in),
    )


def _type_metrics(reply: list[Any]) -> TypeMetrics:
    has_jobs, held_by, ready_in = reply[:3]
    return TypeMetrics(
        bool(has_jobs),
        *_counts(reply[8:]),
        held_by.decode() or None,
        _unless_open(ready_in),
        dead_words.summary(*reply[3:8]),
    )


def _page(reply: list[bytes]) -> Page:
    part, group, at, *names = [text.decode() for text in reply]
    return Page(QueueCursor(part, group, at) if part else None, names)


def _job_page(reply: list[Any]) -> JobPage:
    part, start, seen = reply[:3]
    jobs = [
        WaitingJob(
            reply[at].decode(),
            reply[at + 1],
            int(reply[at + 2]),
            reply[at + 3],
            bool(reply[at + 4]),
            None if reply[at + 5] < 0 else reply[at + 5],
        )
        for at in range(3, len(reply), 6)
    ]
    return JobPage(jobs, str(JobCursor(part.decode(), start, seen)) if part else None)


def _type_page(reply: list[Any]) -> TypePage:
    names = [name.decode() for name in reply[1::2]]
    return TypePage(reply[0].decode(), list(zip(names, reply[2::2], strict=True)))
