"""The blocking link to a cluster: one link per primary, chosen by the slot of a call's key."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sharq.errors import StoreError
from sharq.operations.call import Call
from sharq.settings.options import SENTINEL, StoreSettings
from sharq.store.asking import ask_all_blocking
from sharq.store.blocking_link import SyncLink
from sharq.store.errors import OnTheMove
from sharq.store.fork_lock import ForkLock
from sharq.store.query import ask_blocking
from sharq.store.routing import (
    ASK_TIMEOUT,
    FIRST_TIMEOUT,
    GRACE,
    LOST_INTERVAL,
    SILENCE,
    Refresh,
    Send,
    is_sound,
    learn,
    route,
)
from sharq.store.slots import MAP_QUESTIONS, Node, Topology, View, read_view, seeds
from sharq.store.write_checks import PATIENCE, Tries, takes_writes, try_each

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


def open_sync_link(
    settings: StoreSettings, scripts: Mapping[str, str], *, timeout: float = 5.0
) -> SyncLink | SyncClusterLink:
    """Return the link for `settings`; it connects with the first call."""
    if settings.conn_type == SENTINEL:
        from sharq.store.blocking_sentinels import SyncSentinels

        return SyncLink(settings, scripts, timeout=timeout, finder=SyncSentinels(settings))
    kind = SyncClusterLink if settings.clustered else SyncLink
    return kind(settings, scripts, timeout=timeout)


class SyncClusterLink:
    """Links to all primaries of a cluster; see `sharq.store.cluster.ClusterLink`.

    The calls of one `run_many` go to one node after the other.
    """

    def __init__(
        self, settings: StoreSettings, scripts: Mapping[str, str], *, timeout: float = 5.0
    ) -> None:
        self._settings = settings
        self._scripts = scripts
        self._timeout = timeout
        self._topology = Topology(*seeds(settings))
        self._links: dict[Node, SyncLink] = {}
        self._learning = ForkLock()
        self._learned_at = float("-inf")
        self._closed = False

    @property
    def nodes(self) -> Sequence[Node]:
        """The known primaries; before the first call those of the settings."""
        return self._topology.primaries or self._topology.seeds

    def learn(self) -> None:
        """Ask for the map of the slots, if it is not known. Does not fail if none can be had."""
        if not self._topology.version:
            self._refresh(Refresh(0))

    def node_of(self, key: bytes) -> Node | None:
        """The primary that serves a key, as far as known."""
        return self._topology.node(key)

    def run(self, call: Call[T]) -> T:
        """Send `call` to the node of its key and return its result; raises like `SyncLink.run`."""
        (result,) = self.run_many((call,))
        if isinstance(result, StoreError):
            raise result
        return result

    def run_many(
        self, calls: Sequence[Call[T]], timeout: float | None = None
    ) -> list[T | StoreError]:
        """Send `calls`, those of a node together; a result or an error for each, in order."""
        steps = route(self._topology, calls, self._is_connected)
        return self._take(steps, partial(self._send, timeout))

    def try_each(self, attempt: Call[Any]) -> dict[str, StoreError | None]:
        """Whether each primary takes writes; see `sharq.store.cluster.ClusterLink`."""
        return self._take(try_each(self._topology, attempt, self._is_connected), self._try_all)

    def _try_all(self, tries: Tries) -> dict[Node, StoreError | None]:
        try_one = partial(self._try, tries)
        timeout = 2 * self._timeout
        return ask_all_blocking(tries, try_one, takes_writes, timeout=timeout, grace=PATIENCE)

    def _try(self, tries: Tries, node: Node) -> StoreError | None:
        moving: StoreError = OnTheMove()
        for call in tries[node]:
            try:
                self._link(node).try_write(call)
            except OnTheMove as error:
                moving = error
            except StoreError as error:
                return error
            else:
                return None
        return moving

    def close(self) -> None:
        """Close the links to all nodes; a call that is under way ends first."""
        self._closed = True
        for link in list(self._links.values()):
            link.close()

    def _take(self, steps: Generator[Refresh | S, Any, R], ask: Callable[[S], Any]) -> R:
        """Take steps to their end."""
        outcome: Any = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = self._refresh(step) if isinstance(step, Refresh) else ask(step)
        except StopIteration as end:
            result: R = end.value
            return result

    def _send(self, timeout: float | None, step: Send) -> list[list[Any]]:
        return [self._link(node).run_many(calls, timeout) for node, calls in step.batches]

    def _link(self, node: Node) -> SyncLink:
        link = self._links.get(node)
        if link is None:
            link = SyncLink(
                self._at(node),
                self._scripts,
                timeout=self._timeout,
                connect_timeout=SILENCE,
                replace=False,
                replaced=partial(self._is_replaced, node),
            )
            link = self._links.setdefault(node, link)
            if self._closed:
                link.close()
        return link

    def _is_connected(self, node: Node) -> bool:
        link = self._links.get(node)
        return link is not None and link.connected

    def _refresh(self, wanted: Refresh) -> StoreError | None:
        with self._learning:
            if wanted.version != self._topology.version:
                return None
            elapsed = time.monotonic() - self._learned_at
            if not wanted.pressing and elapsed < LOST_INTERVAL:
                return None
            try:
                self._ask_around(wanted)
            except StoreError as error:
                return error
            finally:
                self._learned_at = time.monotonic()
        return None

    def _ask_around(self, wanted: Refresh) -> None:
        rounds = learn(self._topology, wanted, self._is_connected)
        timeout = ASK_TIMEOUT if self._topology.version else FIRST_TIMEOUT
        try:
            nodes = next(rounds)
            while True:
                answers = ask_all_blocking(nodes, self._ask, is_sound, timeout=timeout, grace=GRACE)
                nodes = rounds.send(answers)
        except StopIteration:
            for node in self._links.keys() - set(self._topology.primaries):
                self._links.pop(node).close()

    def _ask(self, node: Node) -> View | StoreError:
        timeout = ASK_TIMEOUT if self._topology.version else FIRST_TIMEOUT
        try:
            return read_view(ask_blocking(self._at(node), MAP_QUESTIONS, timeout), node)
        except StoreError as error:
            return error

    def _at(self, node: Node) -> StoreSettings:
        return dataclasses.replace(self._settings, host=node.host, port=node.port)

    def _is_replaced(self, node: Node) -> bool:
        """Tell whether a silent node serves nothing any more; only others can tell."""
        self._refresh(Refresh(self._topology.version, pressing=False, doubted=(node,)))
        return node not in self._topology.primaries
