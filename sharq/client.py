"""`SharQ`: the queue for synchronous programs; several threads may share one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import redis

from sharq._fastpath import Batch
from sharq.embedded.store import EmbeddedStore
from sharq.errors import EmbeddedStoreError, StoreError, StoreUnavailable
from sharq.operations.call import Call, Flow
from sharq.operations.classic import Classic
from sharq.operations.flows import Flows
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.results import (
    Cleared,
    Ended,
    Enqueued,
    Extended,
    JobStatus,
    NewJob,
    Overview,
    QueueMetrics,
)
from sharq.settings.reading import Settings
from sharq.store.fork_lock import ForkLock
from sharq.store.link_sync import SyncClusterLink, SyncLink, open_sync_link
from sharq.store.opening import (
    ConfigSource,
    after_both,
    at_socket,
    join_store,
    load_settings,
    may_go_to_another_store,
    opened_again,
    redis_arguments,
)

T = TypeVar("T")


class SharQ:
    """A rate-limited job queue on a store.

    `config_path` is the path of a configuration file, ready `Settings`, or None for the
    environment and the defaults. `scripts` is for tests: scripts with an injected clock.

    It is ready when it has been made, connects with its first operation, and is a context
    manager. A copy, also one that was pickled, is a client of its own with the same settings.
    Every method raises `BadArgumentException` for an argument that cannot be used, before
    anything is sent, and a `StoreError` where the store does not answer as it should.
    """

    def __init__(self, config_path: ConfigSource = None, *, scripts: Scripts | None = None) -> None:
        self._source = config_path
        self._given_scripts = scripts
        self._scripts = scripts or Scripts()
        self.settings = load_settings(config_path)
        self._make_flows()
        # Held while the link and the store are replaced.
        self._changing = ForkLock()
        self._link: SyncLink | SyncClusterLink | None = None
        self._store: EmbeddedStore | None = None
        self._client: redis.Redis | redis.RedisCluster | None = None
        self._change(self.settings)

    def close(self) -> None:
        """Close the connections and leave the embedded store."""
        with self._changing:
            self._leave_for(None, None)

    def __enter__(self) -> Self:
        with self._changing:
            if self._link is None:
                self._change(self.settings)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return opened_again, (type(self), self.settings, self._given_scripts, self._source)

    def __del__(self) -> None:
        # One that could not be made has nothing to close.
        with suppress(Exception):
            self._leave_for(None, None)

    # The original's interface

    def enqueue(
        self,
        payload: Any,
        interval: int,
        job_id: str,
        queue_id: str,
        queue_type: str = "default",
        requeue_limit: int | None = None,
    ) -> dict[str, Any]:
        """Put a job at the tail of its queue: ``{'status': 'queued'}``.

        `interval` is the least number of ms between two dispatches of the queue. The same
        `job_id` with the same payload, while the first is queued or active, is a success that
        changes nothing; with another payload it raises `JobConflict`.
        """
        return self._run(
            self._classic.enqueue(payload, interval, job_id, queue_id, queue_type, requeue_limit)
        )

    def dequeue(self, queue_type: str = "default") -> dict[str, Any]:
        """Lease the next job of a type.

        A dict with status, queue_id, job_id, payload and requeues_remaining, or
        ``{'status': 'failure'}`` where none is ready.
        """
        return self._run(self._classic.dequeue(queue_type))

    def finish(self, job_id: str, queue_id: str, queue_type: str = "default") -> dict[str, Any]:
        """End a leased job, whoever holds its lease; status is success or failure."""
        return self._run(self._classic.finish(job_id, queue_id, queue_type))

    def interval(self, interval: int, queue_id: str, queue_type: str = "default") -> dict[str, Any]:
        """Set a queue's interval (ms) for good; status is failure for an unknown queue."""
        return self._run(self._classic.interval(interval, queue_id, queue_type))

    def requeue(self) -> None:
        """Take back all jobs whose leases have run out."""
        self.sweep()

    def metrics(self, queue_type: str | None = None, queue_id: str | None = None) -> dict[str, Any]:
        """Counts per minute of all queues, the queues of a type, or one queue's numbers."""
        return self._run(self._classic.metrics(queue_type, queue_id))

    def clear_queue(
        self, queue_type: str | None = None, queue_id: str | None = None, purge_all: bool = False
    ) -> dict[str, Any]:
        """Remove the waiting jobs of a queue; with `purge_all` its leases and its interval too."""
        return self._run(self._classic.clear_queue(queue_type, queue_id, purge_all))

    def get_queue_length(self, queue_type: str, queue_id: str) -> int:
        """The number of waiting jobs of a queue."""
        return self.queue_length(queue_type, queue_id)

    def deep_status(self) -> bool:
        """True after a script has run on every node of the store; raises otherwise."""
        self.ping()
        return True

    def redis_client(self) -> redis.Redis | redis.RedisCluster:
        """A redis-py client of the same store, with connections of its own.

        It is the same one every time until this SharQ is closed, which closes it, too, or goes
        over to another store.
        """
        with self._changing:
            if self._client is None:
                self._connected()
                settings = at_socket(self.settings.redis, self._store)
                kind = redis.RedisCluster if settings.clustered else redis.Redis
                self._client = kind(**redis_arguments(settings))
            return self._client

    def reload_config(self, config_path: ConfigSource = None) -> None:
        """Read the configuration again, or another one, and go on with it.

        Raises, and changes nothing, where it is not valid (`ConfigError`) or asks for an embedded
        store that cannot be started (`EmbeddedStoreError`).
        """
        source = self._source if config_path is None else config_path
        settings = load_settings(source)
        with self._changing:
            if self._link is not None and settings.redis != self.settings.redis:
                self._change(settings)
            self._source, self.settings = source, settings
            self._make_flows()

    def reload_lua_scripts(self) -> None:
        """Read the Lua scripts again and load them into the store."""
        scripts = Scripts()
        with self._changing:
            self._given_scripts, self._scripts = None, scripts
            if self._link is not None:
                self._change(self.settings)
            self._make_flows()

    # What is newer, with typed results

    def new_job(
        self,
        payload: bytes,
        interval: int,
        job_id: str,
        queue_id: str,
        queue_type: str = "default",
        requeue_limit: int | None = None,
        max_queued_length: int | None = None,
    ) -> NewJob:
        """Check what a job is made of. `payload` is JSON text; the rest is as in `enqueue`.

        With `max_queued_length` the job is only taken while fewer jobs wait in its queue.
        """
        return self._flows.new_job(
            payload, interval, job_id, queue_id, queue_type, requeue_limit, max_queued_length
        )

    def submit(self, job: NewJob) -> Enqueued:
        """Put a job at the tail of its queue."""
        return self._run(self._flows.submit(job))

    def submit_many(self, jobs: Sequence[NewJob]) -> list[Enqueued | StoreError]:
        """Put jobs at the tails of their queues, in order; each succeeds or fails alone."""
        return self._run(self._flows.submit_many(jobs))

    def take(
        self, queue_type: str = "default", count: int = 1, request_id: str | None = None
    ) -> Batch:
        """Lease up to `count` jobs (1 to 100), each from the queue that is ready longest.

        The same `request_id` is answered with the same jobs for the length of their lease.
        """
        return self._run(self._flows.take(queue_type, count, request_id))

    def finish_job(
        self, queue_type: str, queue_id: str, job_id: str, lease: str | None = None
    ) -> Ended:
        """End a leased job for good; with its lease token only where that lease still holds."""
        return self._run(self._flows.finish_job(queue_type, queue_id, job_id, lease))

    def release_job(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        lease: str | None = None,
        delay: int = 0,
        count_requeue: bool = True,
    ) -> Ended:
        """Give a leased job back to the head of its queue, after `delay` ms.

        With `count_requeue` the delivery counts, and the job is dead where no requeue is left.
        """
        return self._run(
            self._flows.release_job(queue_type, queue_id, job_id, lease, delay, count_requeue)
        )

    def extend_job(
        self, queue_type: str, queue_id: str, job_id: str, by: int, lease: str | None = None
    ) -> Extended:
        """Let a lease end at the later of its end and `by` ms from now."""
        return self._run(self._flows.extend_job(queue_type, queue_id, job_id, by, lease))

    def finish_many(self, leases: Sequence[str]) -> list[Ended | StoreError]:
        """End leased jobs for good by their tokens; each succeeds or fails alone, in order."""
        return self._run(self._flows.finish_many(leases))

    def release_many(
        self, leases: Sequence[str], delay: int = 0, count_requeue: bool = True
    ) -> list[Ended | StoreError]:
        """Give leased jobs back by their tokens, as `release_job` does each."""
        return self._run(self._flows.release_many(leases, delay, count_requeue))

    def extend_many(self, leases: Sequence[str], by: int) -> list[Extended | StoreError]:
        """Extend leases by their tokens, as `extend_job` does each; with 0, see what is left."""
        return self._run(self._flows.extend_many(leases, by))

    def job_status(self, queue_type: str, queue_id: str, job_id: str) -> JobStatus:
        """Where a job stands."""
        return self._run(self._flows.job_status(queue_type, queue_id, job_id))

    def set_interval(self, queue_type: str, queue_id: str, interval: int) -> bool:
        """Set a queue's interval (ms) until it is reset; False for an unknown queue."""
        return self._run(self._flows.set_interval(queue_type, queue_id, interval))

    def reset_interval(self, queue_type: str, queue_id: str) -> bool:
        """Let the next enqueue set the interval again; False where none was set for good."""
        return self._run(self._flows.reset_interval(queue_type, queue_id))

    def clear(self, queue_type: str, queue_id: str, purge_all: bool = False) -> Cleared:
        """Remove the waiting jobs of a queue; with `purge_all` its leases and interval too."""
        return self._run(self._flows.clear(queue_type, queue_id, purge_all))

    def overview(self) -> Overview:
        """The types that have jobs, and the counts of the last ten minutes."""
        return self._run(self._flows.overview())

    def queue_ids(self, queue_type: str) -> list[str]:
        """The queues of a type that have waiting or leased jobs."""
        return self._run(self._flows.queue_ids(queue_type))

    def queue_metrics(self, queue_type: str, queue_id: str) -> QueueMetrics:
        """Lengths, rate and counts of a queue."""
        return self._run(self._flows.queue_metrics(queue_type, queue_id))

    def queue_length(self, queue_type: str, queue_id: str) -> int:
        """The number of waiting jobs of a queue."""
        return self._run(self._flows.queue_length(queue_type, queue_id))

    def sweep(self) -> int:
        """Take back all jobs whose leases have run out; how many there were."""
        return self._run(self._flows.sweep())

    def ping(self) -> None:
        """Run a script on every node of the store; raises where one does not answer."""
        call = self._flows.operations.ping()
        link = self._connected()
        try:
            link.broadcast(call)
        except StoreUnavailable as error:
            if not self._revived(link, error):
                raise
            self._connected().broadcast(call)

    # Inside

    def _make_flows(self) -> None:
        settings = self.settings
        operations = Operations(settings.redis.key_prefix, settings.sharq, self._scripts)
        self._flows = Flows(operations, settings.sharq, time.monotonic, reclaims=True)
        self._classic = Classic(self._flows)

    def _change(self, settings: Settings) -> None:
        """Go over to a new hold on the embedded store, if any, and a new link."""
        store = join_store(settings)
        link = open_sync_link(at_socket(settings.redis, store), self._scripts.by_digest)
        self._leave_for(link, store)

    def _leave_for(
        self, link: SyncLink | SyncClusterLink | None, store: EmbeddedStore | None
    ) -> None:
        former_link, former_store, client = self._link, self._store, self._client
        self._link, self._store, self._client = link, store, None
        try:
            if client is not None:
                client.close()
            if former_link is not None:
                former_link.close()
        finally:
            if former_store is not None:
                former_store.leave()

    def _connected(self) -> SyncLink | SyncClusterLink:
        link = self._link
        if link is None:
            raise StoreUnavailable("This SharQ is closed.")
        return link

    def _run(self, flow: Flow[T]) -> T:
        try:
            request = flow.send(None)
            while True:
                if isinstance(request, list):
                    request = flow.send(self._answers(request))
                else:
                    request = flow.send(self._answer(request))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _answer(self, call: Call[Any]) -> Any:
        link = self._connected()
        try:
            return link.run(call)
        except StoreUnavailable as error:
            if not may_go_to_another_store(call, error) or not self._revived(link, error):
                raise
            first = error
        try:
            return self._connected().run(call)
        except StoreError as error:
            last: StoreError = after_both(first, error)
        raise last

    def _answers(self, calls: list[Call[Any]]) -> list[Any]:
        link = self._connected()
        answers = link.run_many(calls)
        lost = [at for at, call in enumerate(calls) if may_go_to_another_store(call, answers[at])]
        if lost and self._revived(link, *(answers[at] for at in lost)):
            again = self._connected().run_many([calls[at] for at in lost])
            for at, answer in zip(lost, again, strict=True):
                answers[at] = after_both(answers[at], answer)
        return answers

    def _revived(self, link: SyncLink | SyncClusterLink, *errors: Any) -> bool:
        """Start the embedded store again where it has died; whether there is a new link.

        Where it cannot be started, that is the cause of the `errors` that had calls look for it.
        """
        with self._changing:
            if self._link is not link:
                return self._link is not None
            if self._store is None or self._store.alive():
                return False
            try:
                self._change(self.settings)
            except EmbeddedStoreError as reason:
                for error in errors:
                    error.__cause__ = reason
                return False
        return True
