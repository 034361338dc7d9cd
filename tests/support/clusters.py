"""A cluster with replicas whose nodes can be killed, stopped, or cut off from each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.support.stores import Option, PrivateCluster, PrivateStore, _identity, wait_for

_BUS = 10_000
"""How far above its port a node listens for the others."""


class Bus:
    """Carries what nodes tell each other, in a thread, and no more for those that are cut off.

    A node is known by the address that it connects from.
    """

    def __init__(self) -> None:
        self._cut: set[str] = set()
        self._open: dict[asyncio.Task[Any], set[str]] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def carry(self, address: str, port_of: Any) -> int:
        """Listen for the node at `address`, whose port `port_of()` tells; returns where."""

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ends = {address, writer.get_extra_info("peername")[0]}
            task = asyncio.current_task()
            assert task is not None
            self._open[task] = ends
            try:
                if not ends & self._cut:
                    await _join(reader, writer, port_of())
            except asyncio.CancelledError:
                pass  # cut, or the end
            finally:
                del self._open[task]
                writer.transport.abort()

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(lead, "127.0.0.1", 0)

        server = self._do(listen())
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def cut(self, address: str) -> None:
        """Let nothing pass from and to a node."""

        async def cut() -> None:
            self._cut.add(address)
            for task, ends in self._open.items():
                if address in ends:
                    task.cancel()

        self._do(cut())

    def mend(self) -> None:
        """Let everything pass again."""
        self._cut.clear()

    def close(self) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            for _ in range(5):
                await asyncio.sleep(0)  # what has just been accepted begins, so that it can end
            tasks = list(self._open)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    with suppress(OSError):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, far_writer))
                group.create_task(_pour(far_reader, writer))
        except* OSError:
            pass
        finally:
            far_writer.transport.abort()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


class ReplicatedCluster(PrivateCluster):
    """Primaries with a replica each, on loopback; a node that is cut off is still reached by us.

    The first three nodes begin as primaries. A primary that is silent for a second is replaced.
    `timeout` (seconds) is how long the nodes may take to agree.
    """

    def __init__(
        self,
        make: Callable[..., PrivateStore] = PrivateStore,
        timeout: float = 20.0,
        **options: Option,
    ) -> None:
        self._timeout = timeout
        self.bus = Bus()
        self._addresses: dict[int, str] = {}
        settings: dict[str, Option] = {
            "cluster-enabled": True,
            "cluster-node-timeout": 1000,
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": 0,
            "cluster-allow-replica-migration": "no",
            "cluster-announce-ip": "127.0.0.1",
            "repl-diskless-sync-delay": 0,
            **options,
        }
        self._settings = settings
        try:
            super().__init__(3, make, **settings)
            primaries = list(self.nodes)
            for _ in primaries:
                self.nodes.append(self._node(settings))
                self._meet(self.nodes[-1])
            self.wait_until_ok(timeout)
            for primary, replica in zip(primaries, self.nodes[3:], strict=True):
                replica.command("CLUSTER", "REPLICATE", _identity(primary))
            self.wait_until_followed()
        except BaseException:
            self.close()
            raise

    def _node(self, settings: dict[str, Option]) -> PrivateStore:
        address = f"127.0.0.{11 + len(self._addresses)}"
        nodes: list[PrivateStore] = []
        port = self.bus.carry(address, lambda: nodes[0].port + _BUS)
        own: dict[str, Option] = {"cluster-announce-bus-port": port, "bind-source-addr": address}
        nodes.append(self._make(tcp=True, **settings, **own))
        self._addresses[nodes[0].port] = address
        nodes[0].bus_port = port
        return nodes[0]

    def primary_of(self, key: str | bytes) -> PrivateStore:
        """Who serves a key, by the accounts of the nodes that see the cluster."""
        return self.owner_of(self.slot_of(key))

    def replica_of(self, primary: PrivateStore) -> PrivateStore:
        """The one replica of a primary."""
        return next(
            node
            for node in self.nodes
            if node is not primary
            and node.command("ROLE")[:3] == [b"slave", b"127.0.0.1", primary.port]
        )

    def isolate(self, node: PrivateStore) -> None:
        """Cut a node off from the others."""
        self.bus.cut(self._addresses[node.port])

    def deafen(self, node: PrivateStore, deaf: bool = True) -> None:
        """Have a node drop what others tell it, by its own packet filter, or hear it again.

        It needs `enable-debug-command`.
        """
        node.command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", "-2" if deaf else "-1")
        if not deaf:
            # On a link that stays it would wait for ever for an answer that it has dropped.
            for other in self.nodes:
                if other is not node:
                    node.command("DEBUG", "CLUSTERLINK", "KILL", "all", _identity(other))

    def mend(self) -> None:
        """Start, resume and join what a test has harmed."""
        self.bus.mend()
        for node in self.nodes:
            if node._process is None:
                node.start()
            else:
                node.resume()
        self.wait_until_followed()

    def wait_until_followed(self) -> None:
        """Wait until all agree, and each primary has its replica."""
        self.wait_until_ok(self._timeout)
        wait_for("replicas follow", self._all_follow, self._timeout)

    def add_pair(self) -> tuple[PrivateStore, PrivateStore]:
        """Let a primary without slots and its replica join."""
        pair = self._node(self._settings), self._node(self._settings)
        for node in pair:
            self.nodes.append(node)
            self._meet(node)
        self.wait_until_ok(self._timeout)
        pair[1].command("CLUSTER", "REPLICATE", _identity(pair[0]))
        self.wait_until_followed()
        return pair

    def remove_pair(self, *pair: PrivateStore) -> None:
        """Have nodes without slots forgotten, and end them."""
        identities = [_identity(node) for node in pair]
        self.nodes = [node for node in self.nodes if node not in pair]
        for node in reversed(pair):
            node.close()
        for identity in reversed(identities):
            for node in self.nodes:
                node.command("CLUSTER", "FORGET", identity)
        self.wait_until_followed()

    def migrate(self, first: int, last: int, target: PrivateStore) -> None:
        """Have a range of slots moved to a primary in one step (Valkey 9)."""
        source = self.owner_of(first)
        place = ("SLOTSRANGE", first, last, "NODE", _identity(target))
        source.command("CLUSTER", "MIGRATESLOTS", *place)
        wait_for("the slots are moved", lambda: self._owns(target, first), self._timeout)
        self.wait_until_ok(self._timeout)

    def _owns(self, node: PrivateStore, slot: int) -> bool:
        return any(
            first <= slot <= last and primary[1] == node.port
            for first, last, primary, *_ in node.command("CLUSTER", "SLOTS")
        )

    def close(self) -> None:
        for node in self.nodes:
            with suppress(AssertionError):
                node.resume()
        super().close()
        self.bus.close()

    def _deciding(self) -> list[PrivateStore]:
        return [node for node in self.nodes if node.command("ROLE")[0] == b"master"]

    def _meet(self, node: PrivateStore) -> None:
        place = (node.host, node.port, node.bus_port)
        self.nodes[0].command("CLUSTER", "MEET", *place)

    def _all_follow(self) -> bool:
        roles = [node.command("ROLE") for node in self.nodes]
        replicas = [role for role in roles if role[0] == b"slave"]
        followed = len(replicas) == len(self.nodes) // 2
        return followed and all(role[3] == b"connected" for role in replicas)
