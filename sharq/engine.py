"""The engine below `AsyncSharQ`: it carries flows out over the store. Servers are built on it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sharq.apart import Tasks
from sharq.batching import Batcher
from sharq.deployment import ConfigSource, Deployment
from sharq.errors import StoreError, StoreOutcomeUnknown, StoreUnavailable
from sharq.gathering import Gathering
from sharq.operations.call import Apart, Brief, Call, Flow
from sharq.operations.classic import Classic
from sharq.operations.flows import Flows
from sharq.operations.observing import Observer
from sharq.operations.sweeping import Sweeping
from sharq.results import Keeping
from sharq.settings.reading import Settings
from sharq.store.cluster import ClusterLink
from sharq.store.connections import Connections
from sharq.store.durability import look_at
from sharq.store.failover import after_both, lost_calls
from sharq.store.link import Link
from sharq.store.wakeups import Watcher

if TYPE_CHECKING:
    import redis.asyncio

T = TypeVar("T")

Request = Call[Any] | list[Call[Any]] | Apart

_LOOK_TIMEOUT: Final = 3.0
"""Seconds for each connection that is opened for a query."""


class Carrier(Protocol):
    """What carries flows out for code that awaits their results."""

    @property
    def flows(self) -> Flows:
        """The flows of its operations."""

    async def run(self, flow: Flow[T]) -> T:
        """Carry a flow out; returns or raises as it does."""

    async def try_writes(self) -> Mapping[str, StoreError | None]:
        """Whether each node of the store takes writes: None or why not, by its name."""


class Engine:
    """Carries flows out over the store of one deployment.

    `flows` are those of its operations, `classic` the original's; `run` carries one out. Many
    callers at a time share calls of the store through `batcher` and `gathering`. A reload, or a
    start in another event loop, replaces all of them.

    It belongs to the event loop in which it was started. Without `reclaims` a dequeue does not take
    back expired leases: a server does so by `sweep_when_due`.
    """

    def __init__(self, deployment: Deployment, *, reclaims: bool = True) -> None:
        # A `*` tells the scripts of a cluster; see lua/include/wake.lua.
        mark = "*" if deployment.settings.redis.clustered else "."
        self.server_id: Final = mark + secrets.token_hex(8)
        self._reclaims = reclaims
        self._sweeping: Sweeping | None = None
        self.connections = Connections(deployment, self.server_id)
        self._apart = Tasks(self.run)
        self._make_flows()

    @classmethod
    def for_server(cls, config: ConfigSource = None) -> Engine:
        """The engine of a server. Raises `ConfigError`."""
        return cls(Deployment.read(config), reclaims=False)

    @property
    def deployment(self) -> Deployment:
        """The settings and the scripts in use."""
        return self.connections.deployment

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self.connections.deployment.settings

    async def start(self) -> None:
        """Join the embedded store where one is configured, and begin to connect.

        Raises `EmbeddedStoreError`, and RuntimeError where it is in use in another event loop.
        """
        self._settle()
        await self.connections.open()

    async def aclose(self) -> None:
        """Close the connections, after the outstanding answers, and leave the store."""
        self._settle()
        await self._apart.cancel()
        await self.connections.close()

    async def reload_config(self, source: ConfigSource = None) -> None:
        """Read the settings again, or those of another source, and use them.

        Raises `ConfigError` and `EmbeddedStoreError`, and changes nothing.
        """
        await self.connections.go_over(lambda former: former.reread(source))
        self._make_flows()

    async def reload_lua_scripts(self) -> None:
        """Read the scripts again and use them."""
        await self.connections.go_over(Deployment.with_new_scripts)
        self._make_flows()

    def redis_client(self) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
        """A redis-py client of the same store, until this is closed or changes to another."""
        return self.connections.redis_client()

    async def run(self, flow: Flow[T]) -> T:
        """Carry a flow out; returns or raises as it does."""
        try:
            request = flow.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        self.connections.check_loop()
        return await self._go_on(flow, request, None)

    async def try_writes(self) -> Mapping[str, StoreError | None]:
        """Whether each node of the store takes writes: None or why not, by its name.

        Nothing is changed: it is one script call for each. Those of a cluster that have not
        answered a second after one that does count as silent. Raises `StoreUnavailable` while this
        is not started.
        """
        attempt = self.flows.operations.try_write()
        connections = self.connections
        connections.check_loop()
        link = connections.connected()
        told = await link.try_each(attempt)
        lost = [error for error in told.values() if isinstance(error, StoreUnavailable)]
        if lost and await connections.revive(link, lost):
            told = await connections.connected().try_each(attempt)
        return told

    async def ping(self) -> None:
        """Try a write on every node of the store; raises the error of one that takes none."""
        for error in (await self.try_writes()).values():
            if error is not None:
                raise error

    # What only servers do

    def watch(self, watcher: Watcher) -> None:
        """Pass messages for `server_id` to `watcher`; to be called before `start`."""
        self.connections.watcher = watcher

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what calls do, and how long they take; to be called before `start`."""
        self.connections.observer = observer
        self._make_flows()

    async def sweep_when_due(self) -> float:
        """Take back expired leases if that is due; returns the seconds until it is due again.

        Raises `StoreError` as long as leases of some type cannot be taken back.

        One server at a time sweeps: see `sharq.operations.sweeping`. To be called again after that
        time, by one task.
        """
        if self._sweeping is None:
            clustered = self.settings.redis.clustered
            self._sweeping = self.flows.sweeping(self.place_of if clustered else None)
        await self.run(self._sweeping.sweep())
        return max(0.0, self._sweeping.due_at - time.monotonic())

    def sweep_pause(self) -> float:
        """Seconds until a sweep is due again, also after one that has failed."""
        due_at = time.monotonic() if self._sweeping is None else self._sweeping.due_at
        return max(0.0, due_at - time.monotonic())

    async def look_at_store(self) -> list[Keeping]:
        """How each node of the store keeps its data; of a cluster the primaries.

        Raises `StoreError` if none is known.
        """
        looks = (look_at(node, _LOOK_TIMEOUT) for node in self.connections.nodes())
        nodes = await asyncio.gather(*looks)
        link = self.connections.connected()
        if isinstance(link, Link) and link.finder is not None:
            return [replace(nodes[0], watch=await link.finder.survey())]
        return nodes

    def place_of(self, queue_type: str) -> str | None:
        """The name of the node of a cluster that serves a type, as far as known."""
        return self.connections.place_of(self.flows.operations.tag_of(queue_type))

    def place_of_lease(self, token: str) -> str | None:
        """The name of the node of a cluster that has a lease, as far as known."""
        queue_type, queue_id, *_ = (*token.split("/"), "")
        return self.place_of(self.flows.shards.home(queue_type, queue_id))

    def reached(self) -> dict[str, bool]:
        """Whether each node of the store is connected, by its name; of a cluster, the primaries."""
        return self.connections.reached()

    # Inside

    def _settle(self) -> None:
        if self.connections.settle():
            self._make_flows()

    def _make_flows(self) -> None:
        former: Flows | None = getattr(self, "flows", None)
        self.flows = self.deployment.flows(
            former, self.connections.observer, reclaims=self._reclaims
        )
        self.classic = Classic(self.flows)
        self.batcher = Batcher(self.flows, self._begin)
        self.gathering = Gathering(self.flows, self._begin)
        self._sweeping = None

    def _begin(self, flow: Flow[T]) -> Coroutine[Any, Any, T]:
        """Begin a flow: its first calls leave now, if they can; await the result for the rest."""
        try:
            request = flow.send(None)
        except StopIteration as stop:
            return _ended(stop.value)
        except Exception as error:
            return _failed(error)
        sent: Awaitable[Any] | None = None
        link = self.connections.link
        if isinstance(request, list):
            if link is not None and not isinstance(request, Apart | Brief):
                sent = link.send_many(request)
        elif isinstance(link, Link):
            sent = link.send(request)
        return self._go_on(flow, request, sent)

    async def _go_on(
        self,
        flow: Flow[T],
        request: Request,
        sent: Awaitable[Any] | None,
    ) -> T:
        try:
            while True:
                if isinstance(request, list):
                    request = flow.send(await self._answers(request, sent))
                else:
                    try:
                        answer = await self._answer(request, sent)
                    except StoreError as error:
                        request = flow.throw(error)
                    else:
                        request = flow.send(answer)
                sent = None
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _answer(self, call: Call[Any], sent: Awaitable[Any] | None) -> Any:
        link = self.connections.connected()
        try:
            return await (link.run(call) if sent is None else sent)
        except StoreUnavailable as error:
            (answer,) = await self._after_a_loss(link, [call], [error])
        except StoreError as error:
            self._note_failures([error])
            raise
        self._note_failures([answer])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def _answers(
        self, calls: list[Call[Any]] | Apart, sent: Awaitable[Any] | None
    ) -> list[Any] | None:
        if isinstance(calls, Apart):
            await self._apart.carry_out(calls)
            return None
        link = self.connections.connected()
        if isinstance(calls, Brief):
            answers = await _in_time(link, calls, sent)
        else:
            answers = await (link.run_many(calls) if sent is None else sent)
        answers = await self._after_a_loss(link, calls, answers)
        self._note_failures(answers)
        return answers

    async def _after_a_loss(
        self, link: Link | ClusterLink, calls: list[Call[Any]], answers: list[Any]
    ) -> list[Any]:
        """The answers; if an embedded store died during the calls, those of the next one."""
        lost = lost_calls(calls, answers)
        if lost and await self.connections.revive(link, [answers[at] for at in lost]):
            again = await self.connections.connected().run_many([calls[at] for at in lost])
            for at, answer in zip(lost, again, strict=True):
                answers[at] = after_both(answers[at], answer)
        return answers

    def _note_failures(self, answers: Iterable[Any]) -> None:
        observer = self.connections.observer
        if observer is not None:
            for answer in answers:
                if isinstance(answer, StoreError):
                    observer.on_failure(answer)


async def _in_time(
    link: Link | ClusterLink, calls: Brief, sent: Awaitable[list[Any]] | None
) -> list[Any]:
    """The answers that come in time; where calls have not been `sent`, those of each node."""
    parts: list[Sequence[int]] = [range(len(calls))]
    if sent is None and isinstance(link, ClusterLink):
        parts = link.by_node(calls) or parts
    answers: list[Any] = [StoreOutcomeUnknown() for _ in calls]
    tasks = {
        asyncio.ensure_future(
            link.run_many([calls[at] for at in part]) if sent is None else sent
        ): part
        for part in parts
    }
    try:
        done, late = await asyncio.wait(tasks, timeout=calls.patience)
        while late and calls.insists and not any(_has_answer(task.result()) for task in done):
            more, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            done |= more
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        for at, answer in zip(tasks[task], task.result(), strict=True):
            answers[at] = answer
    return answers


def _has_answer(answers: Iterable[Any]) -> bool:
    return any(not isinstance(each, StoreError) for each in answers)


async def _ended(result: Any) -> Any:
    return result


async def _failed(error: Exception) -> Any:
    raise error
