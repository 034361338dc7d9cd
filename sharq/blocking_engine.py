"""The engine below `SharQ`: it carries flows out over blocking connections."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sharq.apart import Threads
from sharq.deployment import ConfigSource, Deployment
from sharq.embedded.store import EmbeddedStore
from sharq.errors import EmbeddedStoreError, StoreError, StoreUnavailable
from sharq.operations.call import Apart, Brief, Call, Flow
from sharq.operations.classic import Classic
from sharq.operations.flows import Flows
from sharq.operations.sweeping import Sweeping
from sharq.results import Keeping
from sharq.store import redis_clients
from sharq.store.blocking_cluster import SyncClusterLink, open_sync_link
from sharq.store.blocking_link import SyncFinder, SyncLink
from sharq.store.connecting import address
from sharq.store.durability import look_at_blocking
from sharq.store.failover import after_both, lost_calls
from sharq.store.fork_lock import ForkLock
from sharq.store.joining import at_socket, join_store
from sharq.store.write_checks import name_of

if TYPE_CHECKING:
    import redis

T = TypeVar("T")

_LOOK_TIMEOUT: Final = 3.0
"""Seconds for a query of a node, over a connection of its own."""


class SyncEngine:
    """Carries flows out over the store of one deployment; several threads may share one.

    `flows` are those of its operations, `classic` the original's; a reload replaces both. It
    connects with the first flow, and is closed when it is garbage-collected. Without `reclaims` a
    dequeue does not take back expired leases: a server does so by `sweep_when_due`. Raises
    `EmbeddedStoreError` where the embedded store is configured and cannot be started.
    """

    def __init__(self, deployment: Deployment, *, reclaims: bool = True) -> None:
        self.deployment = deployment
        self.server_id: Final = secrets.token_hex(8)
        self._reclaims = reclaims
        self._sweeping: Sweeping | None = None
        self._sweeps_in = 0
        self._apart = Threads(self.run)
        self._make_flows()
        # Held during the replacement of the link and the store.
        self._changing = ForkLock()
        self._link: SyncLink | SyncClusterLink | None = None
        self._store: EmbeddedStore | None = None
        self._client: redis.Redis | redis.RedisCluster | None = None
        self._change(deployment)

    def __del__(self) -> None:
        # If the constructor failed, there is nothing to close.
        with suppress(Exception):
            self._leave_for(None, None)

    def open(self) -> None:
        """Open it again if it is closed. Raises `EmbeddedStoreError`."""
        with self._changing:
            if self._link is None:
                self._change(self.deployment)

    def close(self) -> None:
        """Close the connections and leave the embedded store."""
        with self._changing:
            self._leave_for(None, None)

    def reload_config(self, source: ConfigSource = None) -> None:
        """Read the settings again, or those of another source, and use them.

        Raises `ConfigError` and `EmbeddedStoreError`, and changes nothing.
        """
        self._go_over(lambda former: former.reread(source))

    def reload_lua_scripts(self) -> None:
        """Read the scripts again and use them."""
        self._go_over(Deployment.with_new_scripts)

    def redis_client(self) -> redis.Redis | redis.RedisCluster:
        """A redis-py client of the same store, until this is closed or changes to another."""
        with self._changing:
            if self._client is None:
                self._connected()
                settings = at_socket(self.deployment.settings.redis, self._store)
                self._client = redis_clients.blocking_client(settings)
            return self._client

    def run(self, flow: Flow[T]) -> T:
        """Carry a flow out; returns or raises as it does."""
        try:
            request = flow.send(None)
            while True:
                if isinstance(request, list):
                    request = flow.send(self._answers(request))
                    continue
                try:
                    answer = self._answer(request)
                except StoreError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def try_writes(self) -> Mapping[str, StoreError | None]:
        """Whether each node of the store takes writes; see `sharq.engine.Engine`."""
        attempt = self.flows.operations.try_write()
        link = self._connected()
        told = link.try_each(attempt)
        lost = [error for error in told.values() if isinstance(error, StoreUnavailable)]
        if lost and self._revive(link, lost):
            told = self._connected().try_each(attempt)
        return told

    def ping(self) -> None:
        """Try a write on every node of the store; raises the error of one that takes none."""
        for error in self.try_writes().values():
            if error is not None:
                raise error

    def sweep_when_due(self) -> float:
        """Take back expired leases if that is due; returns the seconds until it is due again.

        One of all servers sweeps: see `sharq.operations.sweeping`. To be called again after that
        time, by one thread at a time.
        """
        if self._sweeping is None or self._sweeps_in != os.getpid():
            # What goes on by itself has ended with a fork.
            self._sweeps_in = os.getpid()
            clustered = self.deployment.settings.redis.clustered
            self._sweeping = self.flows.sweeping(self._place_of if clustered else None)
        self.run(self._apart.in_turn(self._sweeping.sweep()))
        return max(0.0, self._sweeping.due_at - time.monotonic())

    @property
    def primary(self) -> str | None:
        """The primary that the sentinels name, if there are any and it is known."""
        finder = getattr(self._link, "finder", None)
        return None if finder is None or finder.known is None else address(finder.known)

    def look_at_store(self) -> list[Keeping]:
        """How each node of the store keeps its data; of a cluster the primaries.

        As long as these are not known, it is the nodes in the settings. Raises `StoreError` if the
        primary of a service is not known.
        """
        link = self._connected()
        settings = at_socket(self.deployment.settings.redis, self._store)
        if not isinstance(link, SyncClusterLink):
            if link.finder is not None:
                return [self._look_at_primary(link, link.finder)]
            return [look_at_blocking(settings, _LOOK_TIMEOUT)]
        link.learn()
        nodes = [replace(settings, host=node.host, port=node.port) for node in link.nodes]
        return [look_at_blocking(node, _LOOK_TIMEOUT) for node in nodes]

    def _look_at_primary(self, link: SyncLink, finder: SyncFinder) -> Keeping:
        try:
            # Finds it, if it is not known.
            link.run(self.flows.operations.ping())
        except StoreError:
            if finder.known is None:
                raise
        assert finder.known is not None
        return replace(look_at_blocking(finder.known, _LOOK_TIMEOUT), watch=finder.survey())

    # Inside

    def _place_of(self, name: str) -> str | None:
        """The name of the node of a cluster that serves a type, as far as known."""
        link = self._link
        if not isinstance(link, SyncClusterLink):
            return None
        node = link.node_of(self.flows.operations.tag_of(name))
        return None if node is None else name_of(node)

    def _make_flows(self) -> None:
        former: Flows | None = getattr(self, "flows", None)
        self.flows = self.deployment.flows(former, reclaims=self._reclaims)
        self.classic = Classic(self.flows)
        self._sweeping = None

    def _go_over(self, to: Callable[[Deployment], Deployment]) -> None:
        with self._changing:
            deployment = to(self.deployment)
            if self._link is not None and deployment.takes_other_connections(self.deployment):
                self._change(deployment)
            self.deployment = deployment
            self._make_flows()

    def _change(self, deployment: Deployment) -> None:
        """Change to a new hold on the embedded store, if any, and a new link."""
        store = join_store(deployment.settings.redis)
        address = at_socket(deployment.settings.redis, store)
        self._leave_for(open_sync_link(address, deployment.scripts.by_digest), store)

    def _leave_for(
        self, link: SyncLink | SyncClusterLink | None, store: EmbeddedStore | None
    ) -> None:
        former_link, former_store, client = self._link, self._store, self._client
        self._link, self._store, self._client = link, store, None
        try:
            if client is not None:
                redis_clients.close_blocking(client)
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

    def _answer(self, call: Call[Any]) -> Any:
        link = self._connected()
        try:
            return link.run(call)
        except StoreUnavailable as error:
            (answer,) = self._after_a_loss(link, [call], [error])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def _answers(self, calls: list[Call[Any]] | Apart) -> list[Any] | None:
        if isinstance(calls, Apart):
            self._apart.carry_out(calls)
            return None
        link = self._connected()
        timeout = calls.patience if isinstance(calls, Brief) and not calls.insists else None
        return self._after_a_loss(link, calls, link.run_many(calls, timeout))

    def _after_a_loss(
        self, link: SyncLink | SyncClusterLink, calls: list[Call[Any]], answers: list[Any]
    ) -> list[Any]:
        """The answers; if an embedded store died during the calls, those of the next one."""
        lost = lost_calls(calls, answers)
        if lost and self._revive(link, [answers[at] for at in lost]):
            again = self._connected().run_many([calls[at] for at in lost])
            for at, answer in zip(lost, again, strict=True):
                answers[at] = after_both(answers[at], answer)
        return answers

    def _revive(self, link: SyncLink | SyncClusterLink, errors: list[StoreUnavailable]) -> bool:
        """Start a dead embedded store again; returns whether there is a link after `link`.

        If it cannot be started, that becomes the cause of the `errors` of `link`.
        """
        with self._changing:
            if self._link is not link:
                return self._link is not None
            if self._store is None or self._store.alive():
                return False
            try:
                self._change(self.deployment)
            except EmbeddedStoreError as reason:
                for error in errors:
                    error.__cause__ = reason
                return False
        return True
