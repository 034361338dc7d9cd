"""The asyncio link to a cluster: one link per primary, chosen by the slot of a call's key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call, Place
from sharq.operations.rights import RightsCheck
from sharq.settings.options import SENTINEL, StoreSettings
from sharq.store.asking import ask_all
from sharq.store.backoff import Backoff
from sharq.store.errors import OnTheMove
from sharq.store.link import Link
from sharq.store.query import ask
from sharq.store.reconnecting import forget
from sharq.store.routing import (
    ASK_TIMEOUT,
    FIRST_TIMEOUT,
    GRACE,
    LOST_INTERVAL,
    Refresh,
    Send,
    is_sound,
    learn,
    route,
)
from sharq.store.slots import MAP_QUESTIONS, Node, Topology, View, read_view, seeds
from sharq.store.timing import CallTimer
from sharq.store.write_checks import PATIENCE, Tries, takes_writes, try_each

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

# Of three primaries each serves one of so many keys all but surely, of thirty mostly.
_MOST_TRIED: Final = 32


def open_link(
    settings: StoreSettings,
    scripts: Mapping[str, str],
    *,
    timeout: float = 5.0,
    rights: RightsCheck | None = None,
    timer: CallTimer | None = None,
) -> Link | ClusterLink:
    """Return the link for `settings`, not started yet. `timeout` is in seconds."""
    if settings.conn_type == SENTINEL:
        from sharq.store.sentinels import Sentinels

        finder = Sentinels(settings)
        return Link(settings, scripts, timeout=timeout, rights=rights, timer=timer, finder=finder)
    kind = ClusterLink if settings.clustered else Link
    return kind(settings, scripts, timeout=timeout, rights=rights, timer=timer)


class ClusterLink:
    """Links to all primaries of a cluster, each opened when it is first needed.

    The settings name any of the nodes. The map of the slots is learned from them, and again from
    several nodes when one says that a key has moved or that the cluster is down, cannot be reached,
    or is silent; a call that was not carried out is then sent once more. So a call may take
    `timeout` seconds at each of two nodes. `rights` and `timer` are for each of the links.
    """

    def __init__(
        self,
        settings: StoreSettings,
        scripts: Mapping[str, str],
        *,
        timeout: float = 5.0,
        rights: RightsCheck | None = None,
        timer: CallTimer | None = None,
    ) -> None:
        self._settings = settings
        self._scripts = scripts
        self._rights = rights
        self._timer = timer
        self._timeout = timeout
        self._topology = Topology(*seeds(settings))
        self._links: dict[Node, Link] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = float("-inf")
        self._beginning: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the map is known and all nodes in use are connected."""
        return self._topology.version > 0 and all(link.connected for link in self._links.values())

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The primaries that are known."""
        return tuple(self._topology.primaries)

    def node_of(self, key: bytes) -> Node | None:
        """The primary that serves a key, as far as known."""
        return self._topology.node(key)

    def by_node(self, calls: Sequence[Call[Any]]) -> list[Sequence[int]]:
        """The places of calls in their list, those of a node together, as far as known."""
        parts: dict[Node | None, list[int]] = {}
        for at, call in enumerate(calls):
            parts.setdefault(self._topology.node(call.key), []).append(at)
        return list(parts.values())

    def reaches(self, node: Node) -> bool:
        """Whether there is a connection to a node; also true before one was needed."""
        link = self._links.get(node)
        return link is None or link.connected

    async def start(self) -> None:
        """Begin to connect. Does not wait, and does not fail if the store is away."""
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._learn_first_map())

    async def run(self, call: Call[T]) -> T:
        """Send `call` to the node of its key and return its result; raises like `Link.run`."""
        (result,) = await self.run_many((call,))
        if isinstance(result, StoreError):
            raise result
        return result

    async def run_many(self, calls: Sequence[Call[T]]) -> list[T | StoreError]:
        """Send `calls`, those of a node together; a result or an error for each, in order."""
        return await self._take(route(self._topology, calls, self._answers), self._send)

    def send_many(self, calls: Sequence[Call[T]]) -> Coroutine[Any, Any, list[T | StoreError]]:
        """Send `calls` now, if the map has their nodes; await it for what `run_many` returns."""
        steps = route(self._topology, calls, self._answers)
        step = next(steps)
        if isinstance(step, Refresh) or self._closed:
            return self.run_many(calls)
        sent = [self._link(node).send_many(some) for node, some in step.batches]
        return self._take(steps, self._send, sent=sent)

    async def try_each(self, attempt: Call[Any]) -> dict[str, StoreError | None]:
        """Whether each primary takes a write for any node: None or why not, by its name.

        Those that have not answered a second after the first one that does are told as silent.
        """
        steps = try_each(self._topology, attempt, self._is_connected)
        return await self._take(steps, self._try_all, self._refresh_if_pressing)

    async def _try_all(self, tries: Tries) -> dict[Node, StoreError | None]:
        asking = {node: self._try(node, calls) for node, calls in tries.items()}
        timeout = 2 * self._timeout
        return await ask_all(asking, takes_writes, timeout=timeout, grace=PATIENCE)

    async def _try(self, node: Node, calls: Sequence[Call[Any]]) -> StoreError | None:
        moving: StoreError = OnTheMove()
        for call in calls:
            try:
                await self._link_to(node).try_write(call)
            except OnTheMove as error:
                moving = error
            except StoreError as error:
                return error
            else:
                return None
        return moving

    async def run_at(self, node: Node, call: Call[T]) -> T:
        """Send `call` to a node, whatever its key; raises like `Link.run`."""
        return await self._link_to(node).run(call)

    async def aclose(self) -> None:
        """Close the link to every node; see `Link.aclose`."""
        self._closed = True
        if self._beginning is not None:
            self._beginning.cancel()
        for node in list(self._links):
            self._retire(self._links.pop(node).aclose())
        # Without links a refresh ends at once, and wakes those who wait for it.
        tasks = {task for task in (self._beginning, self._refreshing) if task is not None}
        tasks |= self._tasks
        if tasks:
            await asyncio.wait(tasks)

    async def _take(
        self,
        steps: Generator[Refresh | S, Any, R],
        ask: Callable[[S], Awaitable[Any]],
        refresh: Callable[[Refresh], Awaitable[StoreError | None]] | None = None,
        sent: Sequence[Coroutine[Any, Any, list[Any]]] = (),
    ) -> R:
        """Take steps to their end; of the one that was taken before, the calls have been `sent`."""
        refresh = refresh or self._refresh
        outcome: Any = await asyncio.gather(*sent) if sent else None
        try:
            while True:
                step = steps.send(outcome)
                outcome = await (refresh(step) if isinstance(step, Refresh) else ask(step))
        except StopIteration as end:
            result: R = end.value
            return result

    async def _send(self, step: Send) -> list[list[Any]]:
        batches = step.batches
        if self._closed:
            return [[_closed() for _ in calls] for _, calls in batches]
        if len(batches) == 1:
            node, calls = batches[0]
            return [await self._link(node).run_many(calls)]
        links = [self._link(node) for node, _ in batches]
        answers: list[list[Any]] = await asyncio.gather(
            *(link.run_many(calls) for link, (_, calls) in zip(links, batches, strict=True))
        )
        return answers

    def _link_to(self, node: Node) -> Link:
        """The link to a node that still is a primary. Raises `StoreUnavailable`."""
        if self._closed or node not in self._topology.primaries:
            raise StoreUnavailable
        return self._link(node)

    def _link(self, node: Node) -> Link:
        link = self._links.get(node)
        if link is None:
            link = Link(
                self._at(node),
                self._scripts,
                timeout=self._timeout,
                replace=False,
                rights=self._rights,
                timer=self._timer,
                on_silent=partial(self._on_silent, node),
                numbers=partial(self._numbers, node),
            )
            self._links[node] = link
        return link

    def _numbers(self, node: Node, place: Place) -> Iterable[int]:
        """The number of a key that a node serves; before the map tells it, those to be tried."""
        known = node in self._topology.primaries
        return (self._topology.number_at(node, place),) if known else range(_MOST_TRIED)

    def _is_connected(self, node: Node) -> bool:
        link = self._links.get(node)
        return link is not None and link.connected

    def _answers(self, node: Node) -> bool:
        link = self._links.get(node)
        return link is not None and link.connected and not link.quiet

    # The map

    async def _learn_first_map(self) -> None:
        backoff = Backoff()
        while not self._topology.version:
            await self._refresh(Refresh(0))
            await asyncio.sleep(backoff.next())

    async def _refresh(self, wanted: Refresh) -> StoreError | None:
        if self._closed:
            return _closed()
        if wanted.version != self._topology.version:
            return None
        elapsed = asyncio.get_running_loop().time() - self._refreshed_at
        if not wanted.pressing and elapsed < LOST_INTERVAL:
            return None
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._ask_around(wanted))
            self._refreshing.add_done_callback(forget)
        try:
            await asyncio.shield(self._refreshing)
        except StoreError as error:
            return type(error)(str(error))
        return None

    async def _refresh_if_pressing(self, wanted: Refresh) -> StoreError | None:
        """Wait for the map only if it is needed to go on."""
        if wanted.pressing or not self._topology.version:
            return await self._refresh(wanted)
        self._refresh_aside(wanted)
        return None

    def _on_silent(self, node: Node) -> None:
        """A node owes answers: it may be replaced, which only others can tell."""
        if self._closed or node not in self._links:
            return
        self._refresh_aside(Refresh(self._topology.version, pressing=False, doubted=(node,)))

    def _refresh_aside(self, wanted: Refresh) -> None:
        task = asyncio.create_task(self._refresh(wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_around(self, wanted: Refresh) -> None:
        rounds = learn(self._topology, wanted, self._is_connected)
        timeout = ASK_TIMEOUT if self._topology.version else FIRST_TIMEOUT
        try:
            nodes = next(rounds)
            while not self._closed:
                asking = {node: self._ask(node) for node in nodes}
                nodes = rounds.send(await ask_all(asking, is_sound, timeout=timeout, grace=GRACE))
        except StopIteration:
            self._retire_strangers()
        finally:
            self._refreshed_at = asyncio.get_running_loop().time()

    async def _ask(self, node: Node) -> View | StoreError:
        if self._closed:
            return _closed()
        try:
            # Before there is a map, there has to be a link that says why.
            if node in self._links or not self._topology.version:
                replies: Sequence[Any] = await self._link(node).run_many(MAP_QUESTIONS)
            else:
                replies = await ask(self._at(node), MAP_QUESTIONS, ASK_TIMEOUT)
            return read_view(replies, node)
        except StoreError as error:
            return error

    def _at(self, node: Node) -> StoreSettings:
        return replace(self._settings, host=node.host, port=node.port)

    def _retire_strangers(self) -> None:
        for node in self._links.keys() - set(self._topology.primaries):
            self._retire(self._links.pop(node).leave())

    def _retire(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("The link to the store is closed.")
