"""Stores of several nodes: a cluster of primaries with replicas, and nodes under sentinels.

Their nodes are real processes on loopback with `appendfsync always`, on a disk of their own in
memory where root may mount one. What may block is done in threads.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.faults.audit import offset_key
from tests.faults.keeper import Reconnector
from tests.faults.processes import run_quietly
from tests.faults.setup import PRIMARIES, Setup
from tests.faults.store import mount
from tests.support.clusters import ReplicatedCluster
from tests.support.failovers import NODES, PASSWORD, PEERS, SENTINELS
from tests.support.sentinels import SERVICE, PrivateSentinels
from tests.support.stores import Option, PrivateStore

NODE_TIMEOUT: Final = 1500
"""Milliseconds of silence after which a node is taken for down."""

_DISK_BYTES: Final = 3 << 30
_PATIENCE: Final = 60.0
_OPTIONS: Final[dict[str, Option]] = {
    "appendonly": True,
    "appendfsync": "always",
    "auto-aof-rewrite-min-size": "16mb",
    "maxmemory-policy": "noeviction",
    "repl-backlog-size": "64mb",
    "repl-timeout": 10,
    "enable-debug-command": "local",
}

T = TypeVar("T")


class Node:
    """A node, as the harness talks to it."""

    def __init__(self, store: PrivateStore, password: str | None = None) -> None:
        self.store = store
        self._client: Any = redis.Redis(
            unix_socket_path=store.socket_path,
            password=password,
            protocol=2,
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )

    @property
    def name(self) -> str:
        """Its name in notes."""
        return f"node-{self.store.port}"

    async def command(self, *words: str | bytes | float) -> Any:
        """Run a command. Raises what redis-py raises."""
        return await self._client.execute_command(*words)

    async def insist(self, *words: str | bytes | float, timeout: float = 120.0) -> Any:
        """Run a command that may be repeated, until it is answered."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return await self.command(*words)
            except (redis.RedisError, OSError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    async def role(self) -> str:
        """By its own account `master` or `slave`; "" where it does not answer."""
        try:
            reply = await self.command("ROLE")
        except (redis.RedisError, OSError):
            return ""
        return str(reply[0].decode())

    async def replicas(self) -> int:
        """How many replicas a primary has that get what it does; -1 for no primary."""
        info = await self.command("INFO", "replication")
        if info["role"] != "master":
            return -1
        return sum(info.get(f"slave{at}", {}).get("state") == "online" for at in range(5))

    async def close(self) -> None:
        """Leave it."""
        await self._client.aclose()


class _Kept(PrivateStore):
    """A node that does not outlive the harness, and leaves its log."""

    def __init__(self, keeper: Reconnector, logs: Path, **options: Any) -> None:
        self._keeper = keeper
        self._logs = logs
        super().__init__(**options)

    def start(self) -> None:
        super().start()
        self._keeper.begins(self.pid)

    def close(self) -> None:
        with suppress(OSError):
            shutil.copy(self.folder / "store.log", self._logs / f"node-{self.port}.log")
        super().close()

    def _end(self, how: Any) -> None:
        pid = self.pid
        super()._end(how)
        self._keeper.ends(pid)


class NodeStore(ABC):
    """Runs from `start` on. `add` what is called when a primary takes writes after a fault."""

    has_disk = False
    count: int
    """How many primaries there are."""

    password: str | None = None

    def __init__(self, folder: Path, keeper: Reconnector, setup: Setup) -> None:
        self.setup = setup
        self.up = asyncio.Event()
        self._folder = folder
        self._keeper = keeper
        self._data = folder / "data"
        self._data.mkdir()
        self._mounted = mount(self._data, keeper, _DISK_BYTES)
        self._nodes: dict[int, Node] = {}

    async def start(self) -> None:
        """Start all nodes, and wait until they are as they should be."""
        options = dict(_OPTIONS)
        if self.setup.replicas_acked:
            options["min-replicas-to-write"] = self.setup.replicas_acked
        make = partial(_Kept, self._keeper, self._folder, within=str(self._data))
        await asyncio.to_thread(self._begin, make, options)
        self.up.set()

    @property
    @abstractmethod
    def stores(self) -> list[PrivateStore]:
        """The nodes that there are."""

    @property
    def nodes(self) -> list[Node]:
        """The nodes that there are."""
        for store in self.stores:
            if store.port not in self._nodes:
                self._nodes[store.port] = Node(store, self.password)
        return [self._nodes[store.port] for store in self.stores]

    @property
    def sockets(self) -> list[str]:
        """Where the nodes that there are can be reached."""
        return [store.socket_path for store in self.stores]

    async def primaries(self) -> list[Node]:
        """The primaries by their own accounts, as far as they answer."""
        return [node for node in self.nodes if await node.role() == "master"]

    async def whole(self) -> list[Node]:
        """All primaries that there should be; waits for them."""
        deadline = time.monotonic() + _PATIENCE
        while len(found := await self.primaries()) != self.count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {self.count} primaries are there")
            await asyncio.sleep(0.05)
        return found

    @abstractmethod
    async def types_of(self, node: Node) -> list[str]:
        """The types that a primary has."""

    @abstractmethod
    def options(self, server: int) -> str:
        """How a server finds the store: lines of its section [redis]."""

    async def mend(self) -> None:
        """Have all nodes as they should be."""
        await asyncio.to_thread(self._mend)

    async def set_clocks(self, us: int) -> None:
        """Move the clock of all scripts to so many µs after the store's."""
        for tag in self.setup.tags:
            await self._set(offset_key(tag), us)

    async def memory(self) -> int:
        """The bytes that the primaries use."""
        infos = [await node.insist("INFO", "memory") for node in await self.primaries()]
        return sum(int(info["used_memory"]) for info in infos)

    async def end(self) -> None:
        """End all nodes."""
        for node in self._nodes.values():
            await node.close()
        await asyncio.to_thread(self._close)
        if self._mounted:
            run_quietly("umount", "-l", str(self._data))

    async def _set(self, key: str, value: int) -> None:
        """Set a key where it lies, and have the replicas have it, too."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            for node in await self.primaries():
                try:
                    await node.command("SET", key, value)
                    if await node.command("WAIT", 1, 1000):
                        return
                except (redis.RedisError, OSError):
                    continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"{key} cannot be set")
            await asyncio.sleep(0.05)

    @abstractmethod
    def _begin(self, make: Callable[..., PrivateStore], options: dict[str, Option]) -> None: ...

    @abstractmethod
    def _mend(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...


class ClusterStore(NodeStore):
    """Three primaries and three replicas."""

    cluster: ReplicatedCluster
    count = PRIMARIES

    @property
    def stores(self) -> list[PrivateStore]:
        """The nodes that there are."""
        return self.cluster.nodes

    async def types_of(self, node: Node) -> list[str]:
        """The types that a primary has, by its own account."""
        slots = await node.command("CLUSTER", "SLOTS")
        owned = [
            range(first, last + 1)
            for first, last, primary, *_ in slots
            if primary[1] == node.store.port
        ]
        return self.setup.names_in(owned)

    def options(self, server: int) -> str:
        """How a server finds the store: each begins with another node."""
        port = self.cluster.nodes[server % len(self.cluster.nodes)].port
        return f"conn_type = tcp_sock\nhost = 127.0.0.1\nport = {port}\nclustered = true"

    def _begin(self, make: Callable[..., PrivateStore], options: dict[str, Option]) -> None:
        options |= {"cluster-node-timeout": NODE_TIMEOUT}
        self.cluster = ReplicatedCluster(make, _PATIENCE, **options)

    def _mend(self) -> None:
        try:
            self.cluster.mend()
        except AssertionError:
            # Whoever has lost the others for good is started again.
            for node in self.stores:
                node.restart()
            self.cluster.mend()

    def _close(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.close()


class SentinelStore(NodeStore):
    """A primary, two replicas, and three sentinels."""

    group: PrivateSentinels
    count = 1
    password = PASSWORD

    @property
    def stores(self) -> list[PrivateStore]:
        """The nodes that there are."""
        return self.group.nodes

    async def types_of(self, _node: Node) -> list[str]:
        """All types."""
        return list(self.setup.names)

    def options(self, _server: int) -> str:
        """How a server finds the store."""
        sentinels = ", ".join(each.address for each in self.group.sentinels)
        return (
            f"conn_type = sentinel\nsentinels = {sentinels}\nsentinel_service = {SERVICE}\n"
            f"password = {PASSWORD}"
        )

    def keep(self) -> None:
        """Have no sentinel outlive the harness."""
        for sentinel in self.group.sentinels:
            if sentinel.pid:
                self._keeper.begins(sentinel.pid)

    def cut_off(self, node: Node) -> None:
        """Have a node hear neither sentinels nor replicas any more; clients reach it still."""
        node.store.command("ACL", "SETUSER", PEERS, "off")
        node.store.command("CLIENT", "KILL", "USER", PEERS)

    def join(self, node: Node) -> None:
        """Have it hear them again."""
        node.store.command("ACL", "SETUSER", PEERS, "on")

    def _begin(self, make: Callable[..., PrivateStore], options: dict[str, Option]) -> None:
        options |= NODES
        self.group = PrivateSentinels(
            down_after=NODE_TIMEOUT, lines=SENTINELS, make=make, **options
        )
        self.keep()

    def _mend(self) -> None:
        for node in self.group.nodes:
            with suppress(AssertionError):
                node.resume()
                node.command("ACL", "SETUSER", PEERS, "on")
        self.group.mend()
        self.keep()

    def _close(self) -> None:
        if hasattr(self, "group"):
            self.group.close()
