"""All connections of a client to its store, in one event loop at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sharq.deployment import Deployment
from sharq.embedded.store import EmbeddedStore
from sharq.errors import EmbeddedStoreError, StoreUnavailable
from sharq.operations.observing import Observer
from sharq.operations.operations import Operations
from sharq.settings.options import StoreSettings
from sharq.store import redis_clients
from sharq.store.cluster import ClusterLink, open_link
from sharq.store.confirming import Terms
from sharq.store.event_loop import OwnLoop
from sharq.store.joining import at_socket, join_store_from_loop
from sharq.store.link import Link
from sharq.store.timing import CallTimer
from sharq.store.wakeups import Wakeups, Watcher
from sharq.store.write_checks import name_of

if TYPE_CHECKING:
    import redis.asyncio


class Connections:
    """The link to the store of a deployment, and what belongs to it.

    That is the hold on an embedded store, a redis-py client, and wake-ups if there is a `watcher`,
    which gets what the store publishes for `server_id`. An `observer` is told how long calls take.
    They belong to the event loop in which they
    were opened, and are closed with it. While they are closed, `link` is None.
    """

    def __init__(self, deployment: Deployment, server_id: str) -> None:
        self.deployment = deployment
        self.link: Link | ClusterLink | None = None
        self.watcher: Watcher | None = None
        self.observer: Observer | None = None
        self.wakeups: Wakeups | None = None
        self._server_id = server_id
        self._home = OwnLoop()
        # Held during the replacement of the link and the store.
        self._changing = asyncio.Lock()
        self._life: AsyncGenerator[None] | None = None
        self._store: EmbeddedStore | None = None
        self._client: redis.asyncio.Redis | redis.asyncio.RedisCluster | None = None

    def settle(self) -> bool:
        """Bind to the running event loop; returns whether there was another one before.

        Raises RuntimeError if they are in use in that one.
        """
        in_use = self.link is not None or self._changing.locked()
        moved = self._home.settle(in_use, (self.link, self._client, self.wakeups, self._life))
        if moved:
            self._changing = asyncio.Lock()
            self.link, self._client, self.wakeups, self._life = None, None, None, None
        return moved

    async def open(self) -> None:
        """Join the embedded store if one is configured, and begin to connect.

        Does nothing the second time. Raises `EmbeddedStoreError`.
        """
        async with self._changing:
            if self.link is None:
                await self._change(self.deployment)
                self._life = self._live()
                await anext(self._life)

    async def close(self) -> None:
        """Close all after the outstanding answers, and leave the embedded store."""
        async with self._changing:
            life, self._life = self._life, None
            if life is not None:
                await life.aclose()
            await self._leave_for(None, None)

    async def go_over(self, to: Callable[[Deployment], Deployment]) -> None:
        """Change to the deployment that `to` returns, over new connections if they are needed.

        If it raises, `EmbeddedStoreError` or an error of `to`, nothing is changed.
        """
        async with self._changing:
            deployment = to(self.deployment)
            if self.link is not None and deployment.takes_other_connections(self.deployment):
                await self._change(deployment)
            self.deployment = deployment

    async def revive(self, link: Link | ClusterLink, errors: list[StoreUnavailable]) -> bool:
        """Start a dead embedded store again; returns whether there is a link after `link`.

        If it cannot be started, that becomes the cause of the `errors` of `link`.
        """
        async with self._changing:
            if self.link is not link:
                return self.link is not None
            if self._store is None or await asyncio.to_thread(self._store.alive):
                return False
            try:
                await self._change(self.deployment)
            except EmbeddedStoreError as reason:
                for error in errors:
                    error.__cause__ = reason
                return False
        return True

    def connected(self) -> Link | ClusterLink:
        """The link. Raises `StoreUnavailable` if they are closed."""
        link = self.link
        if link is None:
            raise StoreUnavailable("AsyncSharQ has not been started, or is closed.")
        return link

    def check_loop(self) -> None:
        """Raise `StoreUnavailable` if they belong to another event loop."""
        if self.link is not None and not self._home.is_running():
            raise StoreUnavailable("AsyncSharQ has not been started in this event loop.")

    def redis_client(self) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
        """A redis-py client of the same store, as long as these are open."""
        if self._client is None:
            self.connected()
            settings = at_socket(self.deployment.settings.redis, self._store)
            self._client = redis_clients.asyncio_client(settings)
        return self._client

    def nodes(self) -> list[StoreSettings]:
        """The address of each node of the store; of a cluster, the known primaries.

        Raises `StoreUnavailable` if the primary of a service is not known yet.
        """
        link = self.connected()
        settings = at_socket(self.deployment.settings.redis, self._store)
        if isinstance(link, ClusterLink):
            return [replace(settings, host=node.host, port=node.port) for node in link.nodes]
        if link.finder is not None:
            if link.finder.known is None:
                raise StoreUnavailable
            return [link.finder.known]
        return [settings]

    def place_of(self, key: bytes) -> str | None:
        """The name of the node of a cluster that serves a key, as far as known."""
        link = self.link
        node = link.node_of(key) if isinstance(link, ClusterLink) else None
        return None if node is None else name_of(node)

    def reached(self) -> dict[str, bool]:
        """Whether each node of the store is connected, by its name; of a cluster, the primaries.

        The name of a single one is its place in the settings.
        """
        link = self.link
        if isinstance(link, ClusterLink):
            return {name_of(node): link.reaches(node) for node in link.nodes}
        place = self.deployment.settings.redis.place
        return {place: link is not None and link.connected}

    async def _live(self) -> AsyncGenerator[None]:
        """Close what is open when the event loop ends, or when this is garbage-collected.

        An event loop that ends closes the asynchronous generators that were started in it, after
        its tasks; and it closes those that the collector finds.
        """
        try:
            yield
        finally:
            await self._leave_for(None, None)

    async def _change(self, deployment: Deployment) -> None:
        """Change to a new hold on the embedded store, if any, and a new link."""
        store = await join_store_from_loop(deployment.settings.redis)
        address = at_socket(deployment.settings.redis, store)
        operations = deployment.operations()
        terms = Terms.of(address)
        confirming = None if terms is None else terms.as_tried
        rights = operations.rights(self._server_id, address.username, confirming)
        timer = None
        if self.observer is not None:
            digests = deployment.scripts.digests
            timer = CallTimer(digests, self.observer.on_answer, time.perf_counter)
        link = open_link(address, deployment.scripts.by_digest, rights=rights, timer=timer)
        await link.start()
        await self._leave_for(link, store)
        if self.watcher is not None:
            self.wakeups = self._listen(address, operations, link, self.watcher)

    def _listen(
        self,
        address: StoreSettings,
        operations: Operations,
        link: Link | ClusterLink,
        watcher: Watcher,
    ) -> Wakeups:
        wakeups = Wakeups(
            address,
            (operations.channel(self._server_id), operations.common_channel()),
            operations.woken_type,
            watcher,
            others=(lambda: link.nodes) if isinstance(link, ClusterLink) else tuple,
            finder=None if isinstance(link, ClusterLink) else link.finder,
            run_at=link.run_at if isinstance(link, ClusterLink) else None,
        )
        wakeups.start()
        return wakeups

    async def _leave_for(
        self, link: Link | ClusterLink | None, store: EmbeddedStore | None
    ) -> None:
        former_link, former_store, client = self.link, self._store, self._client
        wakeups, self.wakeups = self.wakeups, None
        self.link, self._store, self._client = link, store, None
        try:
            if wakeups is not None:
                await wakeups.aclose()
            if client is not None:
                await redis_clients.close(client)
            if former_link is not None:
                await former_link.aclose()
        finally:
            if former_store is not None:
                await asyncio.to_thread(former_store.leave)
