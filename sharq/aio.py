"""`AsyncSharQ`: the queue for asyncio programs, over one multiplexed connection."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import redis.asyncio
from msgspec import Raw

from sharq._fastpath import Batch
from sharq.embedded.store import EmbeddedStore
from sharq.errors import EmbeddedStoreError, StoreError, StoreUnavailable
from sharq.gathering import Gathering, OnEnded, OnEnqueued, OnTaken
from sharq.operations.call import Call, Flow
from sharq.operations.classic import Classic
from sharq.operations.flows import Flows, check_leased
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.operations.sweeping import Sweeping
from sharq.results import (
    Cleared,
    Ended,
    Enqueued,
    Extended,
    JobStatus,
    Keeping,
    NewJob,
    Offer,
    Overview,
    QueueMetrics,
)
from sharq.settings.options import StoreSettings
from sharq.settings.reading import Settings
from sharq.store.cluster import ClusterLink, open_link
from sharq.store.home_loop import HomeLoop
from sharq.store.keeping import look_at
from sharq.store.link import Link
from sharq.store.opening import (
    ConfigSource,
    after_both,
    at_socket,
    join_store_from_loop,
    load_settings,
    may_go_to_another_store,
    opened_again,
    redis_arguments,
)
from sharq.store.wakeups import Wakeups, Watcher

T = TypeVar("T")

_PATIENCE: Final = 3.0
"""Seconds for each step of a connection that is opened for a question."""


class AsyncSharQ:
    """A rate-limited job queue on a store.

    `config_path` is the path of a configuration file, ready `Settings`, or None for the
    environment and the defaults. `scripts` is for tests: scripts with an injected clock.

    Use it as an asynchronous context manager, or call `start` before and `aclose` after. It
    belongs to the event loop that it was started in. A copy, also one that was pickled, is a
    client of its own with the same settings, not started yet. Every coroutine raises
    `BadArgumentException` for an argument that cannot be used, before anything is sent, and a
    `StoreError` where the store does not answer as it should.
    """

    def __init__(self, config_path: ConfigSource = None, *, scripts: Scripts | None = None) -> None:
        self._source = config_path
        self._given_scripts = scripts
        self._scripts = scripts or Scripts()
        self.settings = load_settings(config_path)
        self._watcher: Watcher | None = None
        self._sweeping: Sweeping | None = None
        self._make_flows()
        self._home = HomeLoop()
        self._life: AsyncGenerator[None] | None = None
        # Held while the link and the store are replaced.
        self._changing = asyncio.Lock()
        self._link: Link | ClusterLink | None = None
        self._store: EmbeddedStore | None = None
        self._client: redis.asyncio.Redis | redis.asyncio.RedisCluster | None = None
        # A `*` tells the scripts of a cluster; see lua/include/wake.lua.
        mark = "*" if self.settings.redis.clustered else "."
        self.server_id = mark + secrets.token_hex(8)
        self._wakeups: Wakeups | None = None

    async def start(self) -> None:
        """Join the embedded store where one is configured, and begin to connect.

        A store that is not there yet does not fail the start: calls raise `StoreUnavailable`
        until it is. Where the event loop of the last start has ended, and in a forked child, it
        is started anew. Raises `EmbeddedStoreError` where the embedded one cannot be started, and
        RuntimeError where it is in use in another event loop.
        """
        self._settle()
        async with self._changing:
            if self._link is None:
                await self._change(self.settings)
                self._life = self._live()
                await anext(self._life)

    async def aclose(self) -> None:
        """Close the connections, when the answers that are due have come, and leave the store.

        The end of `asyncio.run`, or of another runner, does it as well.
        """
        self._settle()
        async with self._changing:
            life, self._life = self._life, None
            if life is not None:
                await life.aclose()
            await self._leave_for(None, None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return opened_again, (type(self), self.settings, self._given_scripts, self._source)

    # The original's interface

    async def enqueue(
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
        return await self._run(
            self._classic.enqueue(payload, interval, job_id, queue_id, queue_type, requeue_limit)
        )

    async def dequeue(self, queue_type: str = "default") -> dict[str, Any]:
        """Lease the next job of a type.

        A dict with status, queue_id, job_id, payload and requeues_remaining, or
        ``{'status': 'failure'}`` where none is ready.
        """
        return await self._run(self._classic.dequeue(queue_type))

    async def finish(
        self, job_id: str, queue_id: str, queue_type: str = "default"
    ) -> dict[str, Any]:
        """End a leased job, whoever holds its lease; status is success or failure."""
        return await self._run(self._classic.finish(job_id, queue_id, queue_type))

    async def interval(
        self, interval: int, queue_id: str, queue_type: str = "default"
    ) -> dict[str, Any]:
        """Set a queue's interval (ms) for good; status is failure for an unknown queue."""
        return await self._run(self._classic.interval(interval, queue_id, queue_type))

    async def requeue(self) -> None:
        """Take back all jobs whose leases have run out."""
        await self.sweep()

    async def metrics(
        self, queue_type: str | None = None, queue_id: str | None = None
    ) -> dict[str, Any]:
        """Counts per minute of all queues, the queues of a type, or one queue's numbers."""
        return await self._run(self._classic.metrics(queue_type, queue_id))

    async def clear_queue(
        self, queue_type: str | None = None, queue_id: str | None = None, purge_all: bool = False
    ) -> dict[str, Any]:
        """Remove the waiting jobs of a queue; with `purge_all` its leases and its interval too."""
        return await self._run(self._classic.clear_queue(queue_type, queue_id, purge_all))

    async def get_queue_length(self, queue_type: str, queue_id: str) -> int:
        """The number of waiting jobs of a queue."""
        return await self.queue_length(queue_type, queue_id)

    async def deep_status(self) -> bool:
        """True after a script has run on every node of the store; raises otherwise."""
        await self.ping()
        return True

    def redis_client(self) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
        """A redis-py client of the same store, with connections of its own.

        It is the same one every time until this SharQ is closed, which closes it, too, or goes
        over to another store.
        """
        if self._client is None:
            self._connected()
            settings = at_socket(self.settings.redis, self._store)
            kind = redis.asyncio.RedisCluster if settings.clustered else redis.asyncio.Redis
            self._client = kind(**redis_arguments(settings))
        return self._client

    async def reload_config(self, config_path: ConfigSource = None) -> None:
        """Read the configuration again, or another one, and go on with it.

        Raises, and changes nothing, where it is not valid (`ConfigError`) or asks for an embedded
        store that cannot be started (`EmbeddedStoreError`).
        """
        source = self._source if config_path is None else config_path
        settings = load_settings(source)
        async with self._changing:
            if self._link is not None and settings.redis != self.settings.redis:
                await self._change(settings)
            self._source, self.settings = source, settings
            self._make_flows()

    async def reload_lua_scripts(self) -> None:
        """Read the Lua scripts again and load them into the store."""
        scripts = Scripts()
        async with self._changing:
            self._given_scripts, self._scripts = None, scripts
            if self._link is not None:
                await self._change(self.settings)
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

    async def submit(self, job: NewJob) -> Enqueued:
        """Put a job at the tail of its queue."""
        return await self._run(self._flows.submit(job))

    async def submit_many(self, jobs: Sequence[NewJob]) -> list[Enqueued | StoreError]:
        """Put jobs at the tails of their queues, in order; each succeeds or fails alone."""
        return await self._run(self._flows.submit_many(jobs))

    async def take(
        self, queue_type: str = "default", count: int = 1, request_id: str | None = None
    ) -> Batch:
        """Lease up to `count` jobs (1 to 100), each from the queue that is ready longest.

        The same `request_id` is answered with the same jobs for the length of their lease.
        """
        return await self._run(self._flows.take(queue_type, count, request_id))

    async def finish_job(
        self, queue_type: str, queue_id: str, job_id: str, lease: str | None = None
    ) -> Ended:
        """End a leased job for good; with its lease token only where that lease still holds."""
        return await self._run(self._flows.finish_job(queue_type, queue_id, job_id, lease))

    async def release_job(
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
        return await self._run(
            self._flows.release_job(queue_type, queue_id, job_id, lease, delay, count_requeue)
        )

    async def extend_job(
        self, queue_type: str, queue_id: str, job_id: str, by: int, lease: str | None = None
    ) -> Extended:
        """Let a lease end at the later of its end and `by` ms from now."""
        return await self._run(self._flows.extend_job(queue_type, queue_id, job_id, by, lease))

    async def finish_many(self, leases: Sequence[str]) -> list[Ended | StoreError]:
        """End leased jobs for good by their tokens; each succeeds or fails alone, in order."""
        return await self._run(self._flows.finish_many(leases))

    async def release_many(
        self, leases: Sequence[str], delay: int = 0, count_requeue: bool = True
    ) -> list[Ended | StoreError]:
        """Give leased jobs back by their tokens, as `release_job` does each."""
        return await self._run(self._flows.release_many(leases, delay, count_requeue))

    async def extend_many(self, leases: Sequence[str], by: int) -> list[Extended | StoreError]:
        """Extend leases by their tokens, as `extend_job` does each; with 0, see what is left."""
        return await self._run(self._flows.extend_many(leases, by))

    async def job_status(self, queue_type: str, queue_id: str, job_id: str) -> JobStatus:
        """Where a job stands."""
        return await self._run(self._flows.job_status(queue_type, queue_id, job_id))

    async def set_interval(self, queue_type: str, queue_id: str, interval: int) -> bool:
        """Set a queue's interval (ms) until it is reset; False for an unknown queue."""
        return await self._run(self._flows.set_interval(queue_type, queue_id, interval))

    async def reset_interval(self, queue_type: str, queue_id: str) -> bool:
        """Let the next enqueue set the interval again; False where none was set for good."""
        return await self._run(self._flows.reset_interval(queue_type, queue_id))

    async def clear(self, queue_type: str, queue_id: str, purge_all: bool = False) -> Cleared:
        """Remove the waiting jobs of a queue; with `purge_all` its leases and interval too."""
        return await self._run(self._flows.clear(queue_type, queue_id, purge_all))

    async def overview(self) -> Overview:
        """The types that have jobs, and the counts of the last ten minutes."""
        return await self._run(self._flows.overview())

    async def queue_ids(self, queue_type: str) -> list[str]:
        """The queues of a type that have waiting or leased jobs."""
        return await self._run(self._flows.queue_ids(queue_type))

    async def queue_metrics(self, queue_type: str, queue_id: str) -> QueueMetrics:
        """Lengths, rate and counts of a queue."""
        return await self._run(self._flows.queue_metrics(queue_type, queue_id))

    async def queue_length(self, queue_type: str, queue_id: str) -> int:
        """The number of waiting jobs of a queue."""
        return await self._run(self._flows.queue_length(queue_type, queue_id))

    async def sweep(self) -> int:
        """Take back all jobs whose leases have run out; how many there were."""
        return await self._run(self._flows.sweep())

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` what the store publishes for this server; to be called before `start`.

        A server sweeps by `sweep_when_due`: from now on no dequeue takes anything back.
        """
        self._watcher = watcher
        self._make_flows()

    async def sweep_when_due(self) -> float:
        """Take back what has run out where that is due; the seconds until it is due again.

        For servers, of which one at a time sweeps: see `sharq.operations.sweeping`. To be called
        again after that time, by one task of one AsyncSharQ.
        """
        if self._sweeping is None:
            settings = self.settings.sharq
            self._sweeping = Sweeping(
                self._flows.operations,
                settings.job_requeue_interval / 1000,
                settings.job_expire_interval / 1000,
                time.monotonic,
            )
        await self._run(self._sweeping.sweep())
        return max(0.0, self._sweeping.due_at - time.monotonic())

    # For servers, which ask on behalf of many: what is asked for in a turn of the loop leaves
    # together, and `done` is called with what the coroutine of the same purpose would have given.

    plain_job: Callable[[bytes, str, str], NewJob | None]
    """The job in a JSON object, for a queue with a valid `queue_type` and `queue_id`.

    None where it is not plain: what a decoder and `new_job` have to be asked about, since it has an
    unknown field, a value that it cannot have, an escape in a name or a bound on the length of its
    queue; and what is no JSON.
    """

    plain_jobs: Callable[[Iterable[bytes | Raw]], list[NewJob | None]]
    """The same for objects that a decoder has found to be valid, and that name their queues."""

    submit_soon: Callable[[NewJob, OnEnqueued], None]
    """Put a job at the tail of its queue; `done` gets an `Enqueued` or an exception."""

    take_soon: Callable[[str, int, OnTaken], None]
    """Lease up to `count` jobs (1 to 100) of a type with a valid name.

    `done` gets a `Batch` and the part of it that is meant, from `start` to `stop`, or an exception
    and twice 0.
    """

    def finish_soon(
        self, queue_type: str, queue_id: str, job_id: str, lease: str | None, done: OnEnded
    ) -> None:
        """End a leased job, as `finish_job` does; `done` gets an `Ended` or an exception.

        Raises `BadArgumentException` at once.
        """
        self._gathering.finish(check_leased(queue_type, queue_id, job_id, lease), done)

    # For servers, which hand jobs on to subscribers of theirs

    async def dispatch(
        self,
        queue_type: str,
        count: int,
        seq: int,
        request_id: str | None = None,
        more: bool = False,
    ) -> Batch:
        """Lease up to `count` jobs; this server waits from now on for what it did not get.

        It is not waiting where the answer's `wait_us` is 0; with `more` it has room beyond
        `count`, and no other server offers jobs until it has asked again. The call may be
        repeated with the same `seq`, as long as there was none with a later one, and under the
        `request_id` of a client: it is answered with the same jobs.
        """
        flow = self._flows.dispatch(queue_type, count, self.server_id, seq, request_id, more)
        return await self._run(flow)

    async def offer(self, queue_type: str, wanted: int, offered: int, offer_ms: int) -> Offer:
        """How many jobs are ready, up to `wanted`, that no server has offered to subscribers.

        None are where a server has room for jobs itself. `offered` is what this server offers
        already. Its offers stand for `offer_ms`; for what it lacks it waits from now on. With 0
        `wanted` the answer's `wait_us` is 0 where anything is ready.
        """
        flow = self._flows.offer(queue_type, self.server_id, wanted, offered, offer_ms)
        return await self._run(flow)

    async def hand_on(self, offered: Mapping[str, int]) -> None:
        """Wait for jobs of these types no longer, and let other servers know what is next.

        The numbers are those of the jobs that this server offers to its subscribers still.
        """
        await self._run(self._flows.hand_on(offered, self.server_id))

    async def look_at_store(self) -> list[Keeping]:
        """How each node of the store keeps its data; of a cluster the primaries.

        Raises `StoreError` where one does not answer.
        """
        link = self._connected()
        settings = at_socket(self.settings.redis, self._store)
        nodes = [settings]
        if isinstance(link, ClusterLink):
            nodes = [replace(settings, host=node.host, port=node.port) for node in link.nodes]
        return [await look_at(node, _PATIENCE) for node in nodes]

    async def ping(self) -> None:
        """Run a script on every node of the store; raises where one does not answer."""
        call = self._flows.operations.ping()
        self._check_loop()
        link = self._connected()
        try:
            await link.broadcast(call)
        except StoreUnavailable as error:
            if not await self._revived(link, error):
                raise
            await self._connected().broadcast(call)

    # Inside

    def _settle(self) -> None:
        in_use = self._link is not None or self._changing.locked()
        belongings = self._link, self._client, self._wakeups, self._life
        if self._home.settle(in_use, belongings):
            self._changing = asyncio.Lock()
            self._link, self._client, self._wakeups, self._life = None, None, None, None
            self._make_flows()

    async def _live(self) -> AsyncGenerator[None]:
        """Close what is open when the event loop ends, or when nobody holds this any more.

        An event loop that ends closes the asynchronous generators that were begun in it, after
        its tasks; and it closes those that the collector finds.
        """
        try:
            yield
        finally:
            await self._leave_for(None, None)

    def _make_flows(self) -> None:
        operations = self._operations(self.settings)
        reclaims = self._watcher is None
        self._flows = Flows(operations, self.settings.sharq, time.monotonic, reclaims=reclaims)
        self._gathering = Gathering(self._flows, self._begin)
        self.plain_job, self.plain_jobs = self._flows.plain_job, self._flows.plain_jobs
        self.submit_soon, self.take_soon = self._gathering.enqueue, self._gathering.take
        self._sweeping = None
        self._classic = Classic(self._flows)

    def _operations(self, settings: Settings) -> Operations:
        return Operations(settings.redis.key_prefix, settings.sharq, self._scripts)

    async def _change(self, settings: Settings) -> None:
        """Go over to a new hold on the embedded store, if any, and a new link."""
        store = await join_store_from_loop(settings)
        address = at_socket(settings.redis, store)
        operations = self._operations(settings)
        rights = operations.rights(self.server_id, address.username)
        link = open_link(address, self._scripts.by_digest, rights=rights)
        await link.start()
        await self._leave_for(link, store)
        if self._watcher is not None:
            self._wakeups = self._listen(address, operations, link, self._watcher)

    def _listen(
        self,
        address: StoreSettings,
        operations: Operations,
        link: Link | ClusterLink,
        watcher: Watcher,
    ) -> Wakeups:
        wakeups = Wakeups(
            address,
            operations.channel(self.server_id),
            operations.woken_type,
            watcher,
            others=(lambda: link.nodes) if isinstance(link, ClusterLink) else tuple,
        )
        wakeups.start()
        return wakeups

    async def _leave_for(
        self, link: Link | ClusterLink | None, store: EmbeddedStore | None
    ) -> None:
        former_link, former_store, client = self._link, self._store, self._client
        wakeups, self._wakeups = self._wakeups, None
        self._link, self._store, self._client = link, store, None
        try:
            if wakeups is not None:
                await wakeups.aclose()
            if client is not None:
                await client.aclose()
            if former_link is not None:
                await former_link.aclose()
        finally:
            if former_store is not None:
                await asyncio.to_thread(former_store.leave)

    def _check_loop(self) -> None:
        if self._link is not None and not self._home.is_running():
            raise StoreUnavailable("AsyncSharQ has not been started in this event loop.")

    def _connected(self) -> Link | ClusterLink:
        link = self._link
        if link is None:
            raise StoreUnavailable("AsyncSharQ has not been started, or is closed.")
        return link

    def _begin(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        """Begin a flow: its first call leaves now, if it can. What is returned does the rest."""
        try:
            request = flow.send(None)
        except Exception as error:
            return _failed(error)
        sent = None
        if isinstance(request, Call) and isinstance(self._link, Link):
            sent = self._link.send(request)
        return self._go_on(flow, request, sent)

    async def _run(self, flow: Flow[T]) -> T:
        try:
            request = flow.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        self._check_loop()
        return await self._go_on(flow, request, None)

    async def _go_on(
        self, flow: Flow[T], request: Call[Any] | list[Call[Any]], sent: Awaitable[Any] | None
    ) -> T:
        try:
            while True:
                if isinstance(request, list):
                    request = flow.send(await self._answers(request))
                else:
                    request = flow.send(await self._answer(request, sent))
                sent = None
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _answer(self, call: Call[Any], sent: Awaitable[Any] | None = None) -> Any:
        link = self._connected()
        try:
            return await (link.run(call) if sent is None else sent)
        except StoreUnavailable as error:
            if not may_go_to_another_store(call, error) or not await self._revived(link, error):
                raise
            first = error
        try:
            return await self._connected().run(call)
        except StoreError as error:
            last: StoreError = after_both(first, error)
        raise last

    async def _answers(self, calls: list[Call[Any]]) -> list[Any]:
        link = self._connected()
        answers = await link.run_many(calls)
        lost = [at for at, call in enumerate(calls) if may_go_to_another_store(call, answers[at])]
        if lost and await self._revived(link, *(answers[at] for at in lost)):
            again = await self._connected().run_many([calls[at] for at in lost])
            for at, answer in zip(lost, again, strict=True):
                answers[at] = after_both(answers[at], answer)
        return answers

    async def _revived(self, link: Link | ClusterLink, *errors: Any) -> bool:
        """Start the embedded store again where it has died; whether there is a new link.

        Where it cannot be started, that is the cause of the `errors` that had calls look for it.
        """
        async with self._changing:
            if self._link is not link:
                return self._link is not None
            if self._store is None or await asyncio.to_thread(self._store.alive):
                return False
            try:
                await self._change(self.settings)
            except EmbeddedStoreError as reason:
                for error in errors:
                    error.__cause__ = reason
                return False
        return True


async def _failed(error: Exception) -> Any:
    raise error
