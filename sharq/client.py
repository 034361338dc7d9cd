"""`SharQ`: the queue for synchronous programs; several threads may share one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from sharq._fastpath import Batch
from sharq.blocking_engine import SyncEngine
from sharq.deployment import ConfigSource, Deployment
from sharq.endings import PauseScope, fail_with
from sharq.errors import Sharded, StoreError
from sharq.operations.scripts import Scripts
from sharq.results import (
    Cleared,
    DeadBegun,
    DeadBulk,
    DeadLetter,
    DeadPage,
    Ended,
    Enqueued,
    Estimate,
    Extended,
    JobError,
    JobPage,
    JobStatus,
    Limits,
    NewJob,
    Overview,
    QueueMetrics,
    QueuePage,
    Removal,
)
from sharq.settings.reading import Settings

if TYPE_CHECKING:
    import redis


class SharQ:
    """A rate-limited job queue on a store.

    `config_path` is the path of a configuration file, a `Settings` object, or None for the
    environment and the defaults. `scripts` is for tests: scripts with an injected clock.

    It connects with its first operation, and is a context manager. A copy, also a pickled one, is a
    separate client with the same settings. Every method raises `BadArgumentException` for an
    invalid argument, before anything is sent, and a `StoreError` if the store fails.
    """

    def __init__(self, config_path: ConfigSource = None, *, scripts: Scripts | None = None) -> None:
        self._use(SyncEngine(Deployment.read(config_path, scripts)))

    @classmethod
    def over(cls, engine: SyncEngine) -> Self:
        """A face over an existing engine, such as that of a WSGI application."""
        face = cls.__new__(cls)
        face._use(engine)
        return face

    def _use(self, engine: SyncEngine) -> None:
        self._engine = engine
        self._run = engine.run

    def __getstate__(self) -> Deployment:
        return self._engine.deployment

    def __setstate__(self, deployment: Deployment) -> None:
        self._use(SyncEngine(deployment))

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._engine.deployment.settings

    def close(self) -> None:
        """Close the connections and leave the embedded store."""
        self._engine.close()

    def __enter__(self) -> Self:
        self._engine.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # The original's interface

    def enqueue(
        self,
        payload: Any,
        interval: float | Decimal,
        job_id: str,
        queue_id: str,
        queue_type: str = "default",
        requeue_limit: int | None = None,
    ) -> dict[str, Any]:
        """Put a job at the tail of its queue: ``{'status': 'queued'}``.

        `interval` is the least time in ms between two dispatches of the queue, with up to three
        decimals. While the job is queued or active, the same `job_id` with the same payload is a
        success that changes nothing; with another payload it raises `JobConflict`.
        """
        return self._run(
            self._engine.classic.enqueue(
                payload, interval, job_id, queue_id, queue_type, requeue_limit
            )
        )

    def dequeue(self, queue_type: str = "default") -> dict[str, Any]:
        """Lease the next job of a type.

        A dict with status, queue_id, job_id, payload and requeues_remaining, or ``{'status':
        'failure'}`` if none is ready.
        """
        return self._run(self._engine.classic.dequeue(queue_type))

    def finish(self, job_id: str, queue_id: str, queue_type: str = "default") -> dict[str, Any]:
        """End a leased job, no matter who holds its lease; status is success or failure."""
        return self._run(self._engine.classic.finish(job_id, queue_id, queue_type))

    def interval(
        self, interval: float | Decimal, queue_id: str, queue_type: str = "default"
    ) -> dict[str, Any]:
        """Set a queue's interval (ms) until it is reset; status is failure for an unknown queue."""
        return self._run(self._engine.classic.interval(interval, queue_id, queue_type))

    def requeue(self) -> None:
        """Take back all jobs whose leases have run out."""
        self.sweep()

    def metrics(self, queue_type: str | None = None, queue_id: str | None = None) -> dict[str, Any]:
        """Counts per minute of all queues, the queues of a type, or one queue's numbers."""
        return self._run(self._engine.classic.metrics(queue_type, queue_id))

    def clear_queue(
        self, queue_type: str | None = None, queue_id: str | None = None, purge_all: bool = False
    ) -> dict[str, Any]:
        """Remove the waiting jobs of a queue; with `purge_all` its leases and its interval too."""
        return self._run(self._engine.classic.clear_queue(queue_type, queue_id, purge_all))

    def get_queue_length(self, queue_type: str, queue_id: str) -> int:
        """The number of waiting jobs of a queue."""
        return self.queue_length(queue_type, queue_id)

    def deep_status(self) -> bool:
        """True after a script has run on every node of the store; raises otherwise."""
        self.ping()
        return True

    def redis_client(self) -> redis.Redis | redis.RedisCluster:
        """A redis-py client of the same store, with connections of its own.

        It is the same one every time, until this SharQ is closed (then it is closed, too) or
        changes to another store.
        """
        return self._engine.redis_client()

    def reload_config(self, config_path: ConfigSource = None) -> None:
        """Read the configuration again, or another one, and use it.

        Raises, and changes nothing, if it is not valid (`ConfigError`) or needs an embedded store
        that cannot be started (`EmbeddedStoreError`).
        """
        self._engine.reload_config(config_path)

    def reload_lua_scripts(self) -> None:
        """Read the Lua scripts again; the store gets each when it is next needed."""
        self._engine.reload_lua_scripts()

    # What is newer, with typed results

    def new_job(
        self,
        payload: bytes,
        interval: float | Decimal,
        job_id: str,
        queue_id: str,
        queue_type: str = "default",
        requeue_limit: int | None = None,
        max_queued_length: int | None = None,
        *,
        burst: int | Removal | None = None,
        concurrency: int | Removal | None = None,
        group: str | Removal | None = None,
        cost: int = 1,
        priority: int = 0,
        delay: int = 0,
    ) -> NewJob:
        """Check the parts of a job. `payload` is JSON text; the rest is as in `enqueue`.

        With `max_queued_length` the job is accepted only while fewer jobs wait in its queue.

        `burst` (dispatches at once), `concurrency` (leases at a time) and `group` are set for its
        queue, as `interval` is; None leaves what is set, `REMOVE` takes away what enqueues have
        set. `cost` is how many intervals its dispatch uses, `priority` (0 to 9) its place in the
        queue, `delay` the ms before which it is not dispatched.
        """
        return self._engine.flows.new_job(
            payload,
            interval,
            job_id,
            queue_id,
            queue_type,
            requeue_limit,
            max_queued_length,
            burst=burst,
            concurrency=concurrency,
            group=group,
            cost=cost,
            priority=priority,
            delay=delay,
        )

    def submit(self, job: NewJob) -> Enqueued:
        """Put a job at the tail of its queue."""
        return self._run(self._engine.flows.submit(job))

    def submit_many(self, jobs: Sequence[NewJob]) -> list[Enqueued | StoreError | Sharded]:
        """Put jobs at the tails of their queues, in order; each succeeds or fails alone."""
        return self._run(self._engine.flows.submit_many(jobs))

    def take(
        self, queue_type: str = "default", count: int = 1, request_id: str | None = None
    ) -> Batch:
        """Lease up to `count` jobs (1 to 100), each from the queue that is ready longest.

        The same `request_id` returns the same jobs for the length of their lease.
        """
        return self._run(self._engine.flows.take(queue_type, count, request_id))

    def finish_job(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        lease: str | None = None,
        cost: int | None = None,
    ) -> Ended:
        """End a leased job for good; with its lease token only if that lease is still valid.

        `cost`, 1 to 1,000,000, is the real one of the dispatch, where it differs from the job's.
        """
        return self._run(self._engine.flows.finish_job(queue_type, queue_id, job_id, lease, cost))

    def release_job(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        lease: str | None = None,
        delay: int = 0,
        count_requeue: bool | None = None,
        *,
        cost: int | None = None,
        pause: int | None = None,
        pause_scope: PauseScope = "queue",
    ) -> Ended:
        """Give a leased job back to its place in its queue, after `delay` ms.

        If the delivery counts, the job is dead if no requeue is left. With a `count_requeue` of
        None it counts, unless there is a `pause`: with one it cannot count.

        `cost` is as in `finish_job`. `pause`, in ms, up to an hour: nothing is dispatched so long
        from the queue, from its group, or from all of its type, as `pause_scope` says. It makes no
        pause shorter.
        """
        return self._run(
            self._engine.flows.release_job(
                queue_type,
                queue_id,
                job_id,
                lease,
                delay,
                count_requeue,
                cost=cost,
                pause=pause,
                pause_scope=pause_scope,
            )
        )

    def fail_job(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        lease: str | None = None,
        *,
        error: BaseException | JobError | Mapping[str, str] | None = None,
        retry: bool = True,
        delay: int | None = None,
        cost: int | None = None,
        pause: int | None = None,
        worker: str | None = None,
    ) -> Ended:
        """Give back a leased job that has failed, and tell why.

        It counts as a delivery: the job is dead if no requeue is left, or at once without `retry`.
        It comes again after `delay` ms; with None the backoff of the settings decides, by the
        number of the attempt. `error` is an exception, or what one tells; it is kept with the job,
        as is `worker`, a name of 1 to 100 characters. `cost` and `pause` are as in `release_job`;
        the pause is one of the queue.
        """
        return self._run(
            self._engine.flows.fail_job(
                queue_type,
                queue_id,
                job_id,
                lease,
                error=error,
                retry=retry,
                delay=delay,
                cost=cost,
                pause=pause,
                worker=worker,
            )
        )

    def extend_job(
        self, queue_type: str, queue_id: str, job_id: str, by: int, lease: str | None = None
    ) -> Extended:
        """Let a lease end at the later of its end and `by` ms from now."""
        return self._run(self._engine.flows.extend_job(queue_type, queue_id, job_id, by, lease))

    def cancel_job(
        self, queue_type: str, queue_id: str, job_id: str, lease: str | None = None
    ) -> Ended:
        """Remove a job that waits; with its lease token one that is leased, while it is valid."""
        return self._run(self._engine.flows.cancel_job(queue_type, queue_id, job_id, lease))

    def finish_many(
        self, leases: Sequence[str], cost: int | None = None
    ) -> list[Ended | StoreError]:
        """End leased jobs for good by their tokens; each succeeds or fails alone, in order.

        `cost` is that of each, as in `finish_job`.
        """
        return self._run(self._engine.flows.finish_many(leases, cost))

    def release_many(
        self,
        leases: Sequence[str],
        delay: int = 0,
        count_requeue: bool | None = None,
        *,
        cost: int | None = None,
        pause: int | None = None,
        pause_scope: PauseScope = "queue",
    ) -> list[Ended | StoreError]:
        """Give leased jobs back by their tokens, as `release_job` does each."""
        return self._run(
            self._engine.flows.release_many(
                leases, delay, count_requeue, cost=cost, pause=pause, pause_scope=pause_scope
            )
        )

    def fail_many(
        self,
        leases: Sequence[str],
        *,
        error: BaseException | JobError | Mapping[str, str] | None = None,
        retry: bool = True,
        delay: int | None = None,
        cost: int | None = None,
        pause: int | None = None,
        worker: str | None = None,
    ) -> list[Ended | StoreError]:
        """Give back leased jobs that have failed by their tokens, as `fail_job` does each."""
        ending = fail_with(error, retry, delay, cost, pause, worker)
        return self._run(self._engine.flows.end_many(leases, ending))

    def extend_many(self, leases: Sequence[str], by: int) -> list[Extended | StoreError]:
        """Extend leases by their tokens, as `extend_job` does each; 0 only shows what is left."""
        return self._run(self._engine.flows.extend_many(leases, by))

    def job_status(self, queue_type: str, queue_id: str, job_id: str) -> JobStatus:
        """The state of a job."""
        return self._run(self._engine.flows.job_status(queue_type, queue_id, job_id))

    def set_interval(self, queue_type: str, queue_id: str, interval: float | Decimal) -> bool:
        """Set a queue's interval (ms) until it is reset; False for an unknown queue."""
        return self._run(self._engine.flows.set_interval(queue_type, queue_id, interval))

    def reset_interval(self, queue_type: str, queue_id: str) -> bool:
        """Let the next enqueue set the interval again; False if none was set by `set_interval`."""
        return self._run(self._engine.flows.reset_interval(queue_type, queue_id))

    def set_limits(
        self,
        queue_type: str,
        queue_id: str | None = None,
        *,
        group_id: str | None = None,
        interval: float | Decimal | Removal | None = None,
        burst: int | Removal | None = None,
        concurrency: int | Removal | None = None,
        group: str | Removal | None = None,
        reason: str | Removal | None = None,
    ) -> None:
        """Set limits of a queue, of the group `group_id`, or, with neither, of the whole type.

        They stand against enqueues until they are given back: `REMOVE` gives one back, None leaves
        it. `interval` (ms) is the least time between two dispatches, `burst` how many may come at
        once after idleness, `concurrency` how many leases there may be at a time. `group` is the
        group that a queue belongs to. `reason` is for people, up to 200 bytes in UTF-8.
        """
        self._run(
            self._engine.flows.limiting.set(
                queue_type,
                queue_id,
                group_id,
                interval=interval,
                burst=burst,
                concurrency=concurrency,
                group=group,
                reason=reason,
            )
        )

    def reset_limits(
        self, queue_type: str, queue_id: str | None = None, *, group_id: str | None = None
    ) -> None:
        """Give back all limits of a queue, a group or a type that `set_limits` has set."""
        self._run(self._engine.flows.limiting.reset(queue_type, queue_id, group_id))

    def limits(
        self, queue_type: str, queue_id: str | None = None, *, group_id: str | None = None
    ) -> Limits:
        """The limits in force at a queue, a group or a type, and what holds it back now."""
        return self._run(self._engine.flows.limiting.show(queue_type, queue_id, group_id))

    def estimate(
        self,
        queue_type: str,
        queue_id: str | None = None,
        *,
        group_id: str | None = None,
        interval: float | Decimal | Removal | None = None,
        burst: int | Removal | None = None,
        concurrency: int | Removal | None = None,
        group: str | Removal | None = None,
    ) -> Estimate:
        """How long what waits now would take with such limits; the arguments of `set_limits`.

        Nothing is changed.
        """
        return self._run(
            self._engine.flows.limiting.estimate(
                queue_type,
                queue_id,
                group_id,
                interval=interval,
                burst=burst,
                concurrency=concurrency,
                group=group,
            )
        )

    def pause(
        self,
        queue_type: str,
        queue_id: str | None = None,
        *,
        group_id: str | None = None,
        duration: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Dispatch nothing of a queue, a group or a type for `duration` ms, or until `resume`.

        It replaces a pause that is there. Leases go on. `reason` is as in `set_limits`.
        """
        self._run(
            self._engine.flows.limiting.pause(queue_type, queue_id, group_id, duration, reason)
        )

    def resume(
        self, queue_type: str, queue_id: str | None = None, *, group_id: str | None = None
    ) -> None:
        """End the pause of a queue, a group or a type."""
        self._run(self._engine.flows.limiting.resume(queue_type, queue_id, group_id))

    def shards(self, queue_type: str) -> int:
        """How many shards a type is spread over; 1: it is not spread."""
        return self._run(self._engine.flows.resharding.show(queue_type))

    def set_shards(self, queue_type: str, shards: int) -> int:
        """Spread a type over so many shards (1 to 256); returns how many it had.

        Raises `NotEmpty`, and changes nothing, while the type has jobs, leases, limits, pauses,
        dead letters or queues that remember their rate.
        """
        return self._run(self._engine.flows.resharding.set(queue_type, shards))

    def dead_page(
        self,
        queue_type: str,
        *,
        queue_id: str | None = None,
        reason: str | None = None,
        error: str | None = None,
        before: int | None = None,
        cursor: str | None = None,
        count: int = 100,
    ) -> DeadPage:
        """The dead letters of a type, the newest first, up to `count` (1 to 100) a time.

        Only those of a queue, that died for a `reason` ("exhausted", "expired" or "rejected"), with
        a last error of exactly the type `error`, that died `before` a time (epoch, ms). It begins
        with no `cursor`, and goes on with that of the page before, until that is None; a page may
        be empty before.
        """
        return self._run(
            self._engine.flows.dead.page(queue_type, queue_id, reason, error, before, cursor, count)
        )

    def dead_letter(self, queue_type: str, queue_id: str, job_id: str) -> DeadLetter | None:
        """A dead letter; None if there is none of that name."""
        return self._run(self._engine.flows.dead.show(queue_type, queue_id, job_id))

    def retry_dead(self, queue_type: str, jobs: Sequence[tuple[str, str]]) -> list[Ended]:
        """Make dead letters new jobs at the tails of their queues; up to 1000 at a time.

        `jobs` are pairs of `queue_id` and `job_id`. The outcomes, in order: SUCCESS, NOT_FOUND, or
        CONFLICT if a job of that name is queued or active: then the dead letter stays.
        """
        return self._run(self._engine.flows.dead.retry(queue_type, jobs))

    def delete_dead(self, queue_type: str, jobs: Sequence[tuple[str, str]]) -> list[Ended]:
        """Remove dead letters, named as in `retry_dead`; the outcomes are SUCCESS and NOT_FOUND."""
        return self._run(self._engine.flows.dead.delete(queue_type, jobs))

    def begin_dead(
        self,
        queue_type: str,
        kind: Literal["retry", "delete"],
        filter: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> DeadBegun:
        """Begin to retry or delete all dead letters of a type, or those that `filter` selects.

        `filter` has `queue_id`, `reason`, `error` and `before` as in `dead_page`, or some of them;
        of the selected ones it takes up to `limit`, of those that died before it began. A server
        goes on with it, in the background; a program without one calls `advance_dead`. One bulk of
        a type runs at a time.
        """
        return self._run(self._engine.flows.dead.begin(queue_type, kind, filter, limit))

    def dead_bulk(self, queue_type: str) -> DeadBulk | None:
        """How far the bulk of a type is; the last one for an hour after its end, then None."""
        return self._run(self._engine.flows.dead.progress(queue_type))

    def cancel_dead(self, queue_type: str) -> bool:
        """End the bulk of a type where it is; False if none runs."""
        return self._run(self._engine.flows.dead.cancel(queue_type))

    def advance_dead(self, queue_type: str) -> bool:
        """Do a step of the bulk of a type, up to 100 jobs; False when nothing is left to do here.

        For programs without a server: to be called until it is False.
        """
        return self._run(self._engine.flows.dead.advance(queue_type, self._engine.server_id))

    def clear(self, queue_type: str, queue_id: str, purge_all: bool = False) -> Cleared:
        """Remove the waiting jobs of a queue; with `purge_all` its leases and interval too."""
        return self._run(self._engine.flows.clear(queue_type, queue_id, purge_all))

    def overview(self) -> Overview:
        """The types that have jobs, and the counts of the last ten minutes."""
        return self._run(self._engine.flows.overview())

    def queue_ids(self, queue_type: str) -> list[str]:
        """The queues of a type that have waiting or leased jobs."""
        return self._run(self._engine.flows.queue_ids(queue_type))

    def queue_page(self, queue_type: str, cursor: str | None = None, count: int = 100) -> QueuePage:
        """The queues of a type that have waiting or leased jobs, about `count` (1 to 1000) a time.

        It begins with no `cursor`, and goes on with that of the page before, until that is None.
        """
        return self._run(self._engine.flows.queue_page(queue_type, cursor, count))

    def job_page(
        self, queue_type: str, queue_id: str, cursor: str | None = None, count: int = 100
    ) -> JobPage:
        """The waiting jobs of a queue in their order, up to `count` (1 to 100) a time.

        It begins with no `cursor`, and goes on with that of the page before, until that is None. A
        page stays under 256 KiB, or has one job.
        """
        return self._run(self._engine.flows.job_page(queue_type, queue_id, cursor, count))

    def queue_metrics(self, queue_type: str, queue_id: str) -> QueueMetrics:
        """Lengths, rate and counts of a queue."""
        return self._run(self._engine.flows.queue_metrics(queue_type, queue_id))

    def queue_length(self, queue_type: str, queue_id: str) -> int:
        """The number of waiting jobs of a queue."""
        return self._run(self._engine.flows.queue_length(queue_type, queue_id))

    def sweep(self) -> int:
        """Take back all jobs whose leases have run out; how many there were."""
        return self._run(self._engine.flows.sweep())

    def ping(self) -> None:
        """Run a script on every node of the store; raises if one does not answer."""
        self._engine.ping()
