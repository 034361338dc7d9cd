"""What is done to single nodes of a store of several, one after the other, and made good again.

Each fault begins with a store as it should be and ends with one: a primary that was replaced has
come back as a replica by then. Notes tell, beside the begin and the end, of promotions
(`promoted`), from when on a primary takes writes (`able`), and that one which was replaced is
there again (`returned`) and a replica (`demoted`).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import redis

from tests.faults.nodes import ClusterStore, Node, NodeStore, SentinelStore
from tests.faults.recording import Recorded
from tests.faults.schedule import Fault
from tests.faults.setup import slot_of

PROMOTION_TIMEOUT: Final = 20.0
_DEAF: Final = 4.0
_POLL: Final = 0.01
_WATCH_EVERY: Final = 0.25
_TIMEOUT: Final = 60.0
_TRIES: Final = 3

Types = list[str]


class NodeFaults(ABC):
    """The faults of nodes.

    `on_able` is called with the types that can be served again, each time. `unpromoted` counts the
    faults after which no replica was promoted, and one should have been; `broken_off`, of each
    kind, those that could not be done to their end.
    """

    def __init__(self, store: NodeStore, log: Recorded, on_able: Callable[[Types], None]) -> None:
        self.unpromoted = 0
        self.broken_off: Counter[str] = Counter()
        self._any_store = store
        self._log = log
        self._on_able = on_able
        self._one_at_a_time = asyncio.Lock()
        self._under_way = ""
        self._primaries: set[int] = set()
        self._returned: set[int] = set()
        self._acts: dict[str, Callable[[Fault], Awaitable[bool]]] = {
            "kill a primary": self._kill,
            "hang a primary": self._hang,
            "cut off a primary": self._cut_off,
            "fail over": self._fail_over,
            "restart a primary": self._restart,
            "kill a replica": self._kill_replica,
            "cut connections of a primary": self._cut_connections,
        }

    async def do(self, fault: Fault) -> bool:
        """Do it; whether it was done."""
        async with self._one_at_a_time:
            self._under_way = fault.kind
            try:
                return await self._acts[fault.kind](fault)
            except (redis.RedisError, OSError, AssertionError) as error:
                self.broken_off[fault.kind] += 1
                self._log.note(
                    "broken off", target=fault.kind, code=f"{type(error).__name__}: {error}"
                )
                await self.heal()
                return False
            finally:
                self._under_way = ""

    async def watch(self) -> None:
        """Note each promotion, also those that nobody has asked for."""
        self._primaries = {node.store.port for node in await self._any_store.whole()}
        while True:
            for node in self._any_store.nodes:
                role = await node.role()
                if role == "master":
                    await self._saw(node)
                elif role:
                    self._primaries.discard(node.store.port)
                    self._returned.discard(node.store.port)
            await asyncio.sleep(_WATCH_EVERY)

    async def heal(self) -> None:
        """Have all as it should be."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                await self._any_store.mend()
                return
            except (redis.RedisError, OSError, AssertionError):
                if not left:
                    raise

    # What can happen to a primary

    async def _kill(self, fault: Fault) -> bool:
        return await self._without(
            fault, lambda node: node.store.kill, lambda node: node.store.start
        )

    async def _hang(self, fault: Fault) -> bool:
        return await self._without(
            fault, lambda node: node.store.pause, lambda node: node.store.resume
        )

    async def _cut_off(self, fault: Fault) -> bool:
        return await self._without(fault, self.cutting_off, self.joining)

    async def _without(
        self,
        fault: Fault,
        harm: Callable[[Node], Callable[[], None]],
        heal: Callable[[Node], Callable[[], None]],
        within: float = PROMOTION_TIMEOUT,
    ) -> bool:
        """Have a primary away until another one is there, for `within` seconds at most, and for the
        seconds of the fault.
        """
        primary = await self._some_primary(fault)
        heirs = await self.heirs(primary)
        async with self._noted(fault, primary) as types:
            await asyncio.to_thread(harm(primary))
            heir = await self._promotion(primary, heirs, within)
            await asyncio.sleep(fault.seconds)
            self._log.note("returned", target=primary.name, types=types)
            self._returned.add(primary.store.port)
            await asyncio.to_thread(heal(primary))
            if heir is None:
                self.unpromoted += within == PROMOTION_TIMEOUT
                await self._until_able(primary, types)
            else:
                await self._until(primary, "slave")
                self._log.note("demoted", target=primary.name, types=types)
                await self._until_able(heir, types)
        return True

    async def _fail_over(self, fault: Fault) -> bool:
        primary = await self._some_primary(fault)
        heirs = await self.heirs(primary)
        async with self._noted(fault, primary) as types:
            await self.begin_failover(heirs)
            heir = await self._promotion(primary, heirs)
            if heir is None:
                self.unpromoted += 1
            else:
                await self._until_able(heir, types)
        return True

    async def _restart(self, fault: Fault) -> bool:
        primary = await self._some_primary(fault)
        async with self._noted(fault, primary) as types:
            await asyncio.to_thread(primary.store.restart)
            await self.heal()
            await self._until_able((await self._any_store.whole())[0], types)
        return True

    async def _kill_replica(self, fault: Fault) -> bool:
        primary = await self._some_primary(fault)
        replica = (await self.heirs(primary))[0]
        async with self._noted(fault, replica, primary) as types:
            await asyncio.to_thread(replica.store.kill)
            await asyncio.sleep(fault.seconds)
            self._returned.add(replica.store.port)
            await asyncio.to_thread(replica.store.start)
            await self._until_able(primary, types)
        return True

    async def _cut_connections(self, fault: Fault) -> bool:
        """All clients lose theirs, and the replies that are on their way."""
        primary = await self._some_primary(fault)
        async with self._noted(fault, primary):
            await primary.command("CLIENT", "KILL", "TYPE", "normal")
            await primary.command("CLIENT", "KILL", "TYPE", "pubsub")
        return True

    # What is different in a cluster and under sentinels

    @abstractmethod
    async def heirs(self, primary: Node) -> list[Node]:
        """Who may be promoted."""

    @abstractmethod
    def cutting_off(self, node: Node) -> Callable[[], None]:
        """What cuts a node off from the others."""

    @abstractmethod
    def joining(self, node: Node) -> Callable[[], None]:
        """What ends that."""

    @abstractmethod
    async def begin_failover(self, heirs: list[Node]) -> None:
        """Have a healthy primary replaced."""

    @abstractmethod
    async def settle(self, former: Node) -> None:
        """Wait until those who decide know that a primary was replaced."""

    # Parts of all of them

    @asynccontextmanager
    async def _noted(
        self, fault: Fault, node: Node, of: Node | None = None
    ) -> AsyncIterator[Types]:
        """The types that a fault concerns, from its begin until all is as it should be."""
        types = await self._any_store.types_of(of or node)
        async with self._noting(fault, node.name, types):
            yield types

    @asynccontextmanager
    async def _noting(self, fault: Fault, target: str, types: Types) -> AsyncIterator[None]:
        self._log.note(fault.kind, phase="begin", target=target, types=types)
        try:
            yield
            await self.heal()
        finally:
            self._log.note(fault.kind, phase="end", target=target, types=types)

    async def _some_primary(self, fault: Fault) -> Node:
        primaries = await self._any_store.whole()
        return primaries[int(fault.chance * len(primaries))]

    async def _promotion(
        self, former: Node, heirs: list[Node], within: float = PROMOTION_TIMEOUT
    ) -> Node | None:
        """Wait until one is promoted."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for heir in heirs:
                if await heir.role() == "master":
                    await self._saw(heir)
                    await self.settle(former)
                    return heir
            await asyncio.sleep(_POLL)
        return None

    async def _saw(self, node: Node) -> None:
        """A node is a primary."""
        # One that has just begun may not know yet that it is a replica.
        if node.store.port not in self._primaries | self._returned:
            with suppress(redis.RedisError, OSError):
                types = await self._any_store.types_of(node)
                # One that has joined has no types, and replaces nobody.
                if node.store.port in self._primaries or not types:
                    return
                self._primaries.add(node.store.port)
                self._log.note("promoted", target=node.name, types=types, kind=self._under_way)
                if not self._any_store.setup.replicas_acked:
                    self._able(types)

    async def _until(self, node: Node, role: str) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while await node.role() != role and time.monotonic() < deadline:
            await asyncio.sleep(_POLL)

    async def _until_able(self, node: Node, types: Types) -> None:
        """Wait until a primary has the replicas without which it takes no writes."""
        wanted, deadline = self._any_store.setup.replicas_acked, time.monotonic() + _TIMEOUT
        if not wanted:
            return
        while time.monotonic() < deadline:
            with suppress(redis.RedisError, OSError):
                if await node.replicas() >= wanted:
                    self._able(types)
                    return
            await asyncio.sleep(_POLL)

    def _able(self, types: Types) -> None:
        self._log.note("able", types=types)
        self._on_able(types)


class ClusterFaults(NodeFaults):
    """Those of a cluster."""

    def __init__(
        self, store: ClusterStore, log: Recorded, on_able: Callable[[Types], None]
    ) -> None:
        super().__init__(store, log, on_able)
        self._store = store
        self._acts |= {
            "deafen a primary": self._deafen,
            "move slots at once": self._move_at_once,
            "move slots key by key": self._move_by_key,
            "add and remove nodes": self._add_and_remove,
        }

    async def heirs(self, primary: Node) -> list[Node]:
        """The replica."""
        replica = await asyncio.to_thread(self._store.cluster.replica_of, primary.store)
        return [node for node in self._store.nodes if node.store is replica]

    def cutting_off(self, node: Node) -> Callable[[], None]:
        """The bus carries nothing to and from the node; its replica and clients reach it."""
        return lambda: self._store.cluster.isolate(node.store)

    def joining(self, _node: Node) -> Callable[[], None]:
        """The bus carries everything."""
        return self._store.cluster.bus.mend

    async def begin_failover(self, heirs: list[Node]) -> None:
        """The replica asks for its turn."""
        await heirs[0].insist("CLUSTER", "FAILOVER", timeout=5.0)

    async def settle(self, former: Node) -> None:
        """The nodes decide it themselves."""

    async def _deafen(self, fault: Fault) -> bool:
        """A primary hears no other node, by its own packet filter.

        It may be replaced or not: what it publishes, while it has something to, is a sign of life.
        """
        cluster = self._store.cluster
        return await self._without(
            fault,
            lambda node: partial(cluster.deafen, node.store),
            lambda node: partial(cluster.deafen, node.store, deaf=False),
            within=_DEAF,
        )

    async def _move_at_once(self, fault: Fault) -> bool:
        slot, source, target, types = await self._some_slot(fault)
        async with self._noting(fault, source.name, types):
            await asyncio.to_thread(self._store.cluster.migrate, slot, slot, target.store)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(self._store.cluster.migrate, slot, slot, source.store)
        return True

    async def _move_by_key(self, fault: Fault) -> bool:
        slot, source, target, types = await self._some_slot(fault)
        cluster = self._store.cluster
        async with self._noting(fault, source.name, types):
            for end in (target, source):
                await asyncio.to_thread(cluster.begin_move, slot, end.store)
                await asyncio.sleep(fault.seconds / 4)
                try:
                    await asyncio.to_thread(cluster.finish_move, slot, end.store)
                except BaseException:
                    await asyncio.to_thread(cluster.cancel_move, slot)
                    raise
                await asyncio.to_thread(cluster.wait_until_ok, _TIMEOUT)
                await asyncio.sleep(fault.seconds)
        return True

    async def _add_and_remove(self, fault: Fault) -> bool:
        """A primary and its replica come, have a type for a while, and go."""
        slot, source, _, types = await self._some_slot(fault)
        cluster = self._store.cluster
        async with self._noting(fault, source.name, types):
            pair = await asyncio.to_thread(cluster.add_pair)
            self._primaries.add(pair[0].port)
            try:
                await asyncio.to_thread(cluster.migrate, slot, slot, pair[0])
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(cluster.migrate, slot, slot, source.store)
            finally:
                await asyncio.to_thread(cluster.remove_pair, *pair)
        return True

    async def _some_slot(self, fault: Fault) -> tuple[int, Node, Node, Types]:
        """The slot of a type, who has it, another primary, and the types in the slot."""
        primaries = await self._store.whole()
        at = int(fault.chance * len(primaries))
        source, target = primaries[at], primaries[(at + 1) % len(primaries)]
        setup = self._store.setup
        types = await self._store.types_of(source)
        # Every other time that of a probe, which sees for how long it is not served.
        probes = [each for each in types if each in setup.probes]
        number = int(fault.chance * 1000)
        chosen = probes[0] if number % 2 and probes else types[number // 2 % len(types)]
        slot = slot_of(setup.tag_of(chosen))
        return slot, source, target, setup.names_in([range(slot, slot + 1)])


class SentinelFaults(NodeFaults):
    """Those of nodes under sentinels, and of the sentinels."""

    def __init__(
        self, store: SentinelStore, log: Recorded, on_able: Callable[[Types], None]
    ) -> None:
        super().__init__(store, log, on_able)
        self._store = store
        self._acts |= {
            "kill a sentinel": self._kill_sentinel,
            "hang a sentinel": self._hang_sentinel,
        }

    async def heirs(self, primary: Node) -> list[Node]:
        """All others."""
        return [node for node in self._store.nodes if node is not primary]

    def cutting_off(self, node: Node) -> Callable[[], None]:
        """Neither sentinels nor replicas reach it any more; clients do."""
        return lambda: self._store.cut_off(node)

    def joining(self, node: Node) -> Callable[[], None]:
        """They reach it."""
        return lambda: self._store.join(node)

    async def begin_failover(self, _heirs: list[Node]) -> None:
        """A sentinel begins, once the last failover is long enough ago."""
        deadline = time.monotonic() + PROMOTION_TIMEOUT
        while not await asyncio.to_thread(self._store.group.begin_failover, "COORDINATED"):
            if time.monotonic() > deadline:
                raise TimeoutError("no failover begins")
            await asyncio.sleep(0.1)

    async def settle(self, former: Node) -> None:
        """Wait until all sentinels name another one."""
        await asyncio.to_thread(self._store.group.wait_for_another, former.store)

    async def _kill_sentinel(self, fault: Fault) -> bool:
        return await self._without_sentinel(fault, lambda sentinel: sentinel.kill)

    async def _hang_sentinel(self, fault: Fault) -> bool:
        return await self._without_sentinel(fault, lambda sentinel: sentinel.pause)

    async def _without_sentinel(
        self, fault: Fault, harm: Callable[[Any], Callable[[], None]]
    ) -> bool:
        sentinels = self._store.group.sentinels
        number = int(fault.chance * len(sentinels))
        async with self._noting(fault, f"sentinel-{number}", []):
            await asyncio.to_thread(harm(sentinels[number]))
            await asyncio.sleep(fault.seconds)
        return True


def faults_of(store: NodeStore, log: Recorded, on_able: Callable[[Types], None]) -> NodeFaults:
    """Those that a store can have."""
    if isinstance(store, ClusterStore):
        return ClusterFaults(store, log, on_able)
    assert isinstance(store, SentinelStore)
    return SentinelFaults(store, log, on_able)
