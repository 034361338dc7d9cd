"""Each operation: its packed call and how to read the reply. Bytes and values, no I/O."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from sharq._fastpath import Batch, Codec, enqueued
from sharq.identifiers import ascii_word, is_identifier
from sharq.observed import TypeMetrics
from sharq.operations import dead_words, limit_words, replies
from sharq.operations.call import Anywhere, Call, no_promise
from sharq.operations.cursors import JobCursor, QueueCursor
from sharq.operations.dead_merge import ShardLetters
from sharq.operations.replies import Page, TypePage
from sharq.operations.rights import Rights, RightsCheck
from sharq.operations.scripts import Scripts
from sharq.operations.shard_calls import ShardOperations
from sharq.operations.sharding import shards_in, type_of
from sharq.operations.targets import Target
from sharq.results import (
    Cleared,
    DeadBegun,
    DeadBulk,
    DeadFilter,
    DeadLetter,
    DeadPage,
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
)
from sharq.settings.options import QueueSettings

BULK_SIZE = 100
"""Jobs that one script call enqueues at most."""

BATCH_BYTES = 256 * 1024
"""Size of a dequeue's answer, in bytes, that a batch stays under (with at least one job)."""

BULK_HOLD = 10_000
"""Milliseconds for which the server that made a step of a bulk goes on with it alone."""

SWEEP_SIZE = 100
"""Expired leases that one script call takes back at most."""

PAGE_SIZE = 1000
"""Names that one call of a listing looks at, roughly."""

REGISTRATION_AGE = 900_000
"""Milliseconds after which the registration of a vacant type may be removed."""


def draw_word() -> str:
    """A random word for one call of the store."""
    return secrets.token_hex(4)


def failing_word(settings: QueueSettings, shards: int = 1) -> str:
    """The bounds of dead letters and of the backoff, for scripts; a drawn word goes behind it.

    Each of several `shards` keeps its part of the dead letters.
    """
    jobs, size = (-(-most // shards) for most in (settings.dead_max_jobs, settings.dead_max_bytes))
    bounds = (jobs, size, settings.dead_retention)
    return ":".join(map(str, (*bounds, settings.backoff_min, settings.backoff_max, "")))


class Operations(ShardOperations):
    """The operations of one deployment (one `key_prefix`).

    A `queue_type` is an internal name, see `sharq.operations.sharding`: that of a shard, or of a
    type that is not spread. Answers tell the type. `draw` gives the word from which a call's
    backoffs are drawn.
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
        self._failing = lru_cache(partial(failing_word, settings))
        self._draw = draw

    @property
    def prefix(self) -> str:
        """The `key_prefix`."""
        return self._keys.prefix

    def tag_of(self, queue_type: str) -> bytes:
        """The hash tag of a type's keys."""
        return self._keys.tag(queue_type)

    def enqueue(self, queue_type: str, jobs: Sequence[NewJob]) -> Call[list[Enqueued]]:
        """Up to `BULK_SIZE` jobs of one type, in order."""
        packed = self._codec.enqueue(queue_type, jobs)
        read = self._reads_enqueue(queue_type, jobs)
        return Call(packed, self._keys.tag(queue_type), read, True)

    def dequeue(
        self,
        queue_type: str,
        count: int = 1,
        request_id: str | None = None,
        age: int | None = None,
        known: int = 0,
    ) -> Call[Batch]:
        """Lease up to `count` jobs of a type; of a shard those ready for `age` ms at least.

        A shard that has given `known` jobs for the `request_id` gives others for it.
        """
        packed = self._codec.dequeue(
            queue_type, count, self._lease_ms, BATCH_BYTES, request_id, age=age, known=known
        )
        key = self._keys.tag(queue_type)
        read = self._reads_batch(queue_type)
        return Call(packed, key, read, request_id is not None, replies.leases_nothing)

    def dispatch(
        self,
        queue_type: str,
        count: int,
        server_id: str,
        seq: int,
        request_id: str | None,
        more: bool,
        age: int | None = None,
    ) -> Call[Batch]:
        """Lease up to `count` jobs for a server, which then waits for those that it did not get.

        With `more` it has room beyond them, and asks again. `age` is as for `dequeue`.
        """
        packed = self._codec.dequeue(
            queue_type, count, self._lease_ms, BATCH_BYTES, request_id, server_id, seq, more, age
        )
        read = self._reads_batch(queue_type)
        return Call(packed, self._keys.tag(queue_type), read, True, replies.leases_nothing)

    def offer(
        self, queue_type: str, server_id: str, wanted: int, offered: int, offer_ms: int
    ) -> Call[Offer]:
        """How many jobs a server may offer; it then waits for those that it did not get."""
        packed = self._codec.offer(queue_type, server_id, wanted, offered, offer_ms)
        return Call(packed, self._keys.tag(queue_type), replies.offer, True, no_promise)

    def hand_on(self, queue_type: str, server_id: str, offered: int) -> Call[bool]:
        """Stop waiting, except for `offered` jobs, and let another server know what is next."""
        packed = self._codec.hand_on(queue_type, server_id, offered)
        return Call(packed, self._keys.tag(queue_type), bool, True, no_promise)

    def channel(self, server_id: str) -> bytes:
        """The pub/sub channel through which a server is woken."""
        return self._keys.channel(server_id)

    def common_channel(self) -> bytes:
        """The pub/sub channel on which all servers listen."""
        return self._keys.common_channel()

    def woken_type(self, message: bytes) -> str | None:
        """The type, or the shard, that a message on such a channel is about; None for any other."""
        name = self._keys.woken_type(message)
        return name if name is not None and is_identifier(type_of(name)) else None

    def finish_many(self, queue_type: str, leases: list[Lease]) -> Call[list[Ended]]:
        """End up to `BULK_SIZE` leased jobs of one type."""
        packed = self._codec.finish_many(
            queue_type, leases, self._retention, self._interval_retention
        )
        return Call(packed, self._keys.tag(queue_type), replies.ended_many)

    def cancel(self, queue_type: str, jobs: list[Lease]) -> Call[list[Ended]]:
        """Remove up to `BULK_SIZE` jobs of one type; an empty `n` means one that is not leased."""
        packed = self._codec.cancel(queue_type, jobs, self._retention, self._interval_retention)
        return Call(packed, self._keys.tag(queue_type), replies.ended_many)

    def claim_sweep(self, hold: int, place: int = 0) -> Call[bool]:
        """Claim the sweep for the next `hold` ms; False if another server has it.

        A `place` is one in another slot, for when the registry's node is away.
        """
        key = self._keys.place(place) if place else self._keys.registry()
        return Call(self._codec.claim_sweep(hold, place), key, bool, free=no_promise)

    def finish(self, queue_type: str, queue_id: str, job_id: str, n: str) -> Call[Ended]:
        """End a leased job for good; an empty `n` means any lease."""
        packed = self._codec.finish(
            queue_type, queue_id, job_id, n, self._retention, self._interval_retention
        )
        return Call(packed, self._keys.tag(queue_type), self._reads_finish(queue_type))

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
            self._failing_of(queue_type) + "0",
        )
        return Call(packed, self._keys.tag(queue_type), replies.ended_many)

    def give_back(self, queue_type: str, leases: list[Lease], counted: bool) -> Call[list[Ended]]:
        """Give up to `BULK_SIZE` leased jobs of one type back, since their holder is gone."""
        return self.release(queue_type, leases, 0, counted)

    def settle(self, queue_type: str, told: list[Told]) -> Call[list[Ended]]:
        """End up to `BULK_SIZE` leased jobs of one type, with what their holders tell."""
        packed = self._codec.settle(
            queue_type,
            told,
            self._retention,
            self._interval_retention,
            self._failing_of(queue_type) + self._draw(),
        )
        return Call(packed, self._keys.tag(queue_type), replies.ended_many)

    def extend(self, queue_type: str, leases: list[Lease], by: int) -> Call[list[Extended]]:
        """Let up to `BULK_SIZE` leases of one type end no sooner than `by` ms from now."""
        packed = self._codec.extend(queue_type, leases, by, self._retention)
        return Call(packed, self._keys.tag(queue_type), replies.extended, True)

    def status(self, queue_type: str, queue_id: str, job_id: str) -> Call[JobStatus]:
        """The state of a job."""
        packed = self._codec.status(queue_type, queue_id, job_id, self._retention)
        return Call(packed, self._keys.tag(queue_type), replies.job_status, True, no_promise)

    def set_interval(self, queue_type: str, queue_id: str, interval: float) -> Call[bool]:
        """Set a queue's interval; enqueues no longer change it. False if there is no such queue."""
        packed = self._codec.interval(queue_type, queue_id, interval, self._interval_retention)
        return Call(packed, self._keys.tag(queue_type), replies.succeeded, True)

    def reset_interval(self, queue_type: str, queue_id: str) -> Call[bool]:
        """Let enqueues set the interval again; False if the API has set none."""
        packed = self._codec.interval_reset(queue_type, queue_id, self._interval_retention)
        return Call(packed, self._keys.tag(queue_type), replies.succeeded)

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
        return Call(packed, self._keys.tag(queue_type), replies.succeeded, True)

    def show_limits(self, queue_type: str, target: Target) -> Call[Limits]:
        """The limits and the pause of a level, and what holds it back."""
        packed = self._codec.show_limits(queue_type, target.kind, target.name)
        return Call(packed, self._keys.tag(queue_type), limit_words.limits, True, no_promise)

    def estimate(self, queue_type: str, target: Target, values: LimitValues) -> Call[Estimate]:
        """How long the work of a level would take with other limits; changes nothing."""
        interval, burst, concurrency, group, _ = values
        packed = self._codec.dry_run(
            queue_type, target.kind, target.name, interval, burst, concurrency, group
        )
        return Call(packed, self._keys.tag(queue_type), limit_words.estimate, True, no_promise)

    def pause(
        self,
        queue_type: str,
        target: Target,
        ms: int | Removal | None,
        reason: str,
        set_by: str,
        number: int | None = None,
    ) -> Call[bool]:
        """Pause a level for `ms` or, with None, until it is resumed; `REMOVE` resumes it.

        `number`: that of a pause of all shards, see `pausing`; the later one stays.
        """
        packed = self._codec.pause(
            queue_type,
            target.kind,
            target.name,
            ms,
            ascii_word(reason),
            set_by,
            self._interval_retention,
            number,
        )
        return Call(packed, self._keys.tag(queue_type), replies.succeeded, True)

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
            self._failing_of(queue_type) + self._draw(),
        )
        key = self._keys.tag(queue_type)
        return Call(packed, key, replies.swept, True, replies.sweeps_nothing)

    def queue_length(self, queue_type: str, queue_id: str) -> Call[int]:
        """The number of waiting jobs of a queue."""
        packed = self._codec.queue_length(queue_type, queue_id)
        return Call(packed, self._keys.tag(queue_type), int, True, no_promise)

    def queue_metrics(self, queue_type: str, queue_id: str) -> Call[QueueMetrics]:
        """Lengths, rate and counts of a queue."""
        packed = self._codec.queue_metrics(queue_type, queue_id)
        return Call(packed, self._keys.tag(queue_type), replies.queue_metrics, True, no_promise)

    def type_metrics(self, queue_type: str) -> Call[TypeMetrics]:
        """Whether a type has jobs, its counts, and a summary of its dead letters."""
        packed = self._codec.type_metrics(queue_type)
        return Call(packed, self._keys.tag(queue_type), replies.type_metrics, True, no_promise)

    def list_jobs(
        self, queue_type: str, queue_id: str, cursor: JobCursor, count: int
    ) -> Call[JobPage]:
        """Up to `count` waiting jobs of a queue, and no more than `BATCH_BYTES` but for one."""
        packed = self._codec.list_jobs(queue_type, queue_id, *cursor, count, BATCH_BYTES)
        return Call(packed, self._keys.tag(queue_type), replies.job_page, True, no_promise)

    def list_queues(
        self, queue_type: str, cursor: QueueCursor, count: int = PAGE_SIZE, prefix: str = ""
    ) -> Call[Page]:
        """One page, of about `count`, of the queues of a type with waiting or leased jobs.

        Of these only those are listed whose names begin with `prefix`.
        """
        packed = self._codec.list_queues(queue_type, *cursor, count, prefix)
        return Call(packed, self._keys.tag(queue_type), replies.page, True, no_promise)

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
        return Call(packed, self._keys.tag(queue_type), dead_words.page, True, no_promise)

    def list_dead_of_shard(
        self, name: str, wanted: DeadFilter, cursor: str, count: int, max_bytes: int
    ) -> Call[ShardLetters]:
        """The same for one shard of several, up to `max_bytes` but for one."""
        words = dead_words.of_filter(wanted)
        packed = self._codec.dead_list(name, *words, wanted.before, cursor, count, max_bytes)
        return Call(packed, self._keys.tag(name), dead_words.of_shard, True)

    def show_dead(self, queue_type: str, queue_id: str, job_id: str) -> Call[DeadLetter | None]:
        """A dead letter."""
        packed = self._codec.dead_show(queue_type, queue_id, job_id)
        return Call(packed, self._keys.tag(queue_type), dead_words.letter_or_none, True, no_promise)

    def retry_dead(self, queue_type: str, jobs: list[tuple[str, str]]) -> Call[list[Ended]]:
        """Make new jobs of the first of up to `BULK_SIZE` dead letters, of one at least."""
        packed = self._codec.dead_retry(queue_type, jobs)
        return Call(packed, self._keys.tag(queue_type), replies.ended_many)

    def delete_dead(self, queue_type: str, jobs: list[tuple[str, str]]) -> Call[list[Ended]]:
        """Remove up to `BULK_SIZE` dead letters."""
        packed = self._codec.dead_delete(queue_type, jobs)
        return Call(packed, self._keys.tag(queue_type), replies.ended_many)

    def begin_dead(
        self, queue_type: str, bulk_id: str, kind: str, wanted: DeadFilter, limit: int | None
    ) -> Call[DeadBegun]:
        """Begin a bulk of dead letters, unless one runs. `kind`: retry or delete."""
        words = dead_words.of_filter(wanted)
        packed = self._codec.dead_begin(queue_type, bulk_id, kind, *words, wanted.before, limit)
        return Call(packed, self._keys.tag(queue_type), dead_words.begun, True)

    def advance_dead(self, queue_type: str, owner: str, hold: int = BULK_HOLD) -> Call[bool]:
        """Make a step of a bulk; whether there is more to do for the server `owner`.

        No other server goes on with it for the next `hold` ms.
        """
        packed = self._codec.dead_advance(queue_type, owner, hold)
        return Call(packed, self._keys.tag(queue_type), bool, True)

    def dead_bulk(self, queue_type: str) -> Call[DeadBulk | None]:
        """The bulk that runs, or that ran last."""
        packed = self._codec.dead_progress(queue_type)
        return Call(packed, self._keys.tag(queue_type), dead_words.bulk, True, no_promise)

    def cancel_dead(self, queue_type: str) -> Call[bool]:
        """Cancel the bulk that runs, if any."""
        return Call(self._codec.dead_cancel(queue_type), self._keys.tag(queue_type), bool)

    def list_types(self, cursor: str) -> Call[TypePage]:
        """One page of the registry of types."""
        packed = self._codec.list_types(cursor, PAGE_SIZE)
        return Call(packed, self._keys.registry(), replies.type_page, True, no_promise)

    def register(self, queue_type: str) -> Call[bool]:
        """Enter a type in the registry, or renew its entry."""
        return Call(self._codec.register(queue_type), self._keys.registry(), bool, True)

    def unregister(self, queue_type: str) -> Call[bool]:
        """Remove a type that was found vacant, unless it was registered lately."""
        packed = self._codec.unregister(queue_type, REGISTRATION_AGE)
        return Call(packed, self._keys.registry(), bool, True, no_promise)

    def rights(
        self, server_id: str, user: str | None, confirming: str | None = None
    ) -> RightsCheck:
        """Asks a node for the rights that SharQ needs and the store's `user` lacks.

        `confirming` is the command that waits for replicas, where that is done.
        """
        rights = Rights(self._keys.prefix, user)
        pack = partial(self._codec.rights, server_id, confirming=confirming)
        return RightsCheck(Anywhere(self._keys.place, pack), rights.complaints, rights.of_denial)

    def ping(self) -> Call[int]:
        """The store's time in ms, told by a script. For any node."""
        return self._anywhere(self._codec.ping, int)

    def _failing_of(self, name: str) -> str:
        return self._failing(shards_in(name))

    def try_write(self) -> Call[int]:
        """A write that changes nothing; the store's time in ms. For any node."""
        return self._anywhere(self._codec.try_write, int)

    # How the answers of the most frequent operations are read

    def _reads_enqueue(
        self, _queue_type: str, _jobs: Sequence[NewJob]
    ) -> Callable[[Any], list[Enqueued]]:
        return enqueued

    def _reads_batch(self, queue_type: str) -> Callable[[Any], Batch]:
        return partial(Batch, type_of(queue_type))

    def _reads_finish(self, _queue_type: str) -> Callable[[Any], Ended]:
        return replies.ended
