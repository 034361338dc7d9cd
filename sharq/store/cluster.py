"""The asyncio link to a cluster: one link per primary, chosen by the slot of a call's key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from sharq.errors import StoreError, StoreUnavailable
from sharq.operations.call import Call
from sharq.settings.options import StoreSettings
from sharq.store.backoff import Backoff
from sharq.store.link import Link
from sharq.store.reconnecting import forget
from sharq.store.routing import Refresh, Steps, learn, route, spread
from sharq.store.slots import CLUSTER_SLOTS, Node, Topology

T = TypeVar("T")

# How long one node may take to tell the map before the next one is asked, seconds.
_ASK_TIMEOUT: Final = 1.0

# How often the map may be requested because a node cannot be reached, seconds.
_LOST_INTERVAL: Final = 1.0


def open_link(
    settings: StoreSettings,
    scripts: Mapping[str, str],
    *,
    timeout: float = 5.0,
    rights: Call[list[str]] | None = None,
) -> Link | ClusterLink:
    """Return the link for `settings`, not started yet. `timeout` is in seconds."""
    kind = ClusterLink if settings.clustered else Link
    return kind(settings, scripts, timeout=timeout, rights=rights)


class ClusterLink:
    """Links to all primaries of a cluster, each opened when it is first needed.

    The settings name any one node. The map of the slots is learned from it, and learned again
    when a node says that a key has moved or cannot be reached; a call that was not carried out
    is then sent once more. So a call may take `timeout` seconds at each of two nodes. `rights` is
    for each of the links.
    """

    def __init__(
        self,
        settings: StoreSettings,
        scripts: Mapping[str, str],
        *,
        timeout: float = 5.0,
        rights: Call[list[str]] | None = None,
    ) -> None:
        self._settings = settings
        self._scripts = scripts
        self._rights = rights
        self._timeout = timeout
        self._topology = Topology(Node(settings.host, settings.port))
        self._links: dict[Node, Link] = {}
        self._leaving: set[asyncio.Task[None]] = set()
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
        return await self._take(route(self._topology, calls, self._is_connected))

    async def broadcast(self, call: Call[T]) -> list[T]:
        """Run `call` on every primary; raises the first error."""
        results = await self._take(spread(self._topology, call, self._is_connected))
        for result in results:
            if isinstance(result, StoreError):
                raise result
        return results

    async def aclose(self) -> None:
        """Close the link to every node; see `Link.aclose`."""
        self._closed = True
        if self._beginning is not None:
            self._beginning.cancel()
        for node in list(self._links):
            self._retire(node)
        # Without links a refresh ends at once, and wakes those who wait for it.
        tasks = {task for task in (self._beginning, self._refreshing) if task is not None}
        tasks |= self._leaving
        if tasks:
            await asyncio.wait(tasks)

    async def _take(self, steps: Steps) -> list[Any]:
        """Take the steps of a route."""
        outcome: Any = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Refresh):
                    outcome = await self._refresh(step)
                else:
                    outcome = await self._send(step.batches)
        except StopIteration as end:
            results: list[Any] = end.value
            return results

    async def _send(self, batches: list[tuple[Node, list[Call[Any]]]]) -> list[list[Any]]:
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

    def _link(self, node: Node) -> Link:
        link = self._links.get(node)
        if link is None:
            settings = replace(self._settings, host=node.host, port=node.port)
            link = Link(
                settings,
                self._scripts,
                timeout=self._timeout,
                replace=False,
                rights=self._rights,
            )
            self._links[node] = link
        return link

    def _is_connected(self, node: Node) -> bool:
        link = self._links.get(node)
        return link is not None and link.connected

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
        if not wanted.pressing and elapsed < _LOST_INTERVAL:
            return None
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._ask_around(wanted.named))
            self._refreshing.add_done_callback(forget)
        try:
            await asyncio.shield(self._refreshing)
        except StoreError as error:
            return type(error)(str(error))
        return None

    async def _ask_around(self, named: Node | None) -> None:
        questions = learn(self._topology, named, self._is_connected)
        outcome: Any = None
        try:
            while True:
                outcome = await self._ask(questions.send(outcome))
        except StopIteration:
            self._retire_strangers()
        finally:
            self._refreshed_at = asyncio.get_running_loop().time()

    async def _ask(self, node: Node) -> list[Any] | StoreError:
        if self._closed:
            return _closed()
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                return await self._link(node).run(CLUSTER_SLOTS)
        except StoreError as error:
            return error
        except TimeoutError:
            return StoreUnavailable()

    def _retire_strangers(self) -> None:
        for node in self._links.keys() - set(self._topology.primaries):
            self._retire(node)

    def _retire(self, node: Node) -> None:
        task = asyncio.create_task(self._links.pop(node).aclose())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("The link to the store is closed.")
