"""The faults themselves: each kind of the schedule, done to what runs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import redis

from tests.faults.node_faults import NodeFaults
from tests.faults.recording import Recorded
from tests.faults.schedule import SERVERS, Fault, is_of_node
from tests.faults.stand import Stand
from tests.faults.store import Store
from tests.faults.stores import AnyNode

LARGEST_STEP: Final = 5.0
"""Seconds that the clock is at most away from the right time, both ways."""

_HEADROOM: Final = 200_000
_STOP_TIMEOUT: Final = 20.0


class Faults:
    """Does what a schedule says, and records it.

    `done` counts the faults of each kind, `skipped` those that this machine does not allow. What
    has met no process is not counted.
    `disturbed` counts for each server what was done to it or to its way to the store. `nodes` does
    what is done to nodes, where the store has several.
    """

    def __init__(self, stand: Stand, log: Recorded, nodes: NodeFaults | None = None) -> None:
        self.done: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.disturbed: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        self._stand = stand
        self._log = log
        self._nodes = nodes
        self._offset = 0.0
        self._acts = {
            "kill server": self._kill_server,
            "kill server process": self._kill_server_process,
            "kill worker": self._kill_worker,
            "kill store": self._kill_store,
            "stop server": self._stop_server,
            "stop worker": self._stop_worker,
            "lose replies of the store": self._lose_replies,
            "lose replies of a server": self._lose_replies,
            "stall the store's connections": self._stall,
            "stall a server's connections": self._stall,
            "flush the scripts": self._flush_scripts,
            "stop the store": self._stop_store,
            "restart the store": self._restart_store,
            "fill the disk": self._fill_disk,
            "limit the memory": self._limit_memory,
            "step the clock forward": self._step_clock,
            "step the clock back": self._step_clock,
            "restart all servers": self._restart_servers,
        }

    async def follow(self, schedule: list[Fault], began: float) -> None:
        """Do each fault at its time, counted from `began` (of the monotonic clock)."""
        async with asyncio.TaskGroup() as group:
            for fault in schedule:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                group.create_task(self._do(fault))

    def is_disturbed(self, server: str) -> bool:
        """Whether something is being done to a server or to its way to the store."""
        return self.under_way[server] > 0

    async def _do(self, fault: Fault) -> None:
        if is_of_node(fault.kind):
            assert self._nodes is not None
            self.done[fault.kind] += await self._nodes.do(fault)
            return
        if fault.kind == "fill the disk" and not self._stand.store.has_disk:
            self.skipped[fault.kind] += 1
            return
        self._log.note(fault.kind, phase="begin", target=fault.target, seconds=fault.seconds)
        try:
            self.done[fault.kind] += await self._acts[fault.kind](fault)
        finally:
            self._log.note(fault.kind, phase="end", target=fault.target)

    @contextmanager
    def _disturbing(self, *servers: str) -> Iterator[None]:
        self.disturbed.update(servers)
        self.under_way.update(servers)
        try:
            yield
        finally:
            self.under_way.subtract(servers)
            self.disturbed.update(servers)

    @asynccontextmanager
    async def _store_disturbed(self) -> AsyncIterator[None]:
        """What is done to the store is done to all; it is over when the store is there."""
        with self._disturbing(*SERVERS):
            yield
        await self._store.up.wait()

    # Processes

    async def _kill_server(self, fault: Fault) -> bool:
        with self._disturbing(fault.target):
            starts = self._stand.servers[fault.target].starts
            hit = self._stand.servers[fault.target].send(signal.SIGKILL)
            await self._until_back(fault.target, starts)
        return hit

    async def _kill_server_process(self, fault: Fault) -> bool:
        with self._disturbing(fault.target):
            pid = self._some_process(fault)
            return self._stand.servers[fault.target].send(signal.SIGKILL, pid)

    async def _kill_worker(self, fault: Fault) -> bool:
        return self._stand.workers[fault.target].send(signal.SIGKILL)

    async def _stop_server(self, fault: Fault) -> bool:
        with self._disturbing(fault.target):
            return await _stop_for(fault.seconds, self._some_process(fault))

    async def _stop_worker(self, fault: Fault) -> bool:
        return await _stop_for(fault.seconds, self._stand.workers[fault.target].pid)

    async def _restart_servers(self, _fault: Fault) -> bool:
        for name, server in self._stand.servers.items():
            with self._disturbing(name):
                starts = server.starts
                server.send(signal.SIGTERM)
                await self._until_back(name, starts)
        return True

    async def _until_back(self, name: str, starts: int) -> None:
        """Wait until a server that was started `starts` times is there once more."""
        server = self._stand.servers[name]
        deadline = time.monotonic() + _STOP_TIMEOUT
        while time.monotonic() < deadline:
            if server.starts > starts and await self._stand.listens(name):
                return
            await asyncio.sleep(0.1)

    def _some_process(self, fault: Fault) -> int:
        processes = self._stand.server_processes(fault.target)
        return processes[int(fault.chance * len(processes))] if processes else 0

    # Connections

    async def _lose_replies(self, fault: Fault) -> bool:
        with self._disturbing(fault.target):
            await self._through_gate(fault, "lose", "keep")
        return True

    async def _stall(self, fault: Fault) -> bool:
        """Half-open for a time; then all goes on, or the connections are reset."""
        with self._disturbing(fault.target):
            await self._through_gate(fault, "stall", "resume", cut=fault.chance < 0.5)
        return True

    async def _through_gate(self, fault: Fault, do: str, undo: str, *, cut: bool = False) -> None:
        of_store = "store" in fault.kind
        gate = f"store of {fault.target}" if of_store else f"server {fault.target}"
        self._stand.gate(gate, do)
        await asyncio.sleep(fault.seconds)
        if cut:
            self._stand.gate(gate, "cut")
        self._stand.gate(gate, undo)

    # The store

    async def _kill_store(self, fault: Fault) -> bool:
        async with self._store_disturbed():
            return self._store.kill(hold=fault.chance**2)

    async def _stop_store(self, fault: Fault) -> bool:
        async with self._store_disturbed():
            hit = self._store.pause()
            await asyncio.sleep(fault.seconds)
            self._store.resume()
        return hit

    async def _restart_store(self, fault: Fault) -> bool:
        async with self._store_disturbed():
            return self._store.restart(hold=fault.chance**2)

    async def _fill_disk(self, fault: Fault) -> bool:
        async with self._store_disturbed():
            await asyncio.to_thread(self._store.fill_disk)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                self._store.free_disk()
        return True

    async def _limit_memory(self, fault: Fault) -> bool:
        """So little that the store is full at once; work has to go on, but for enqueues."""
        store = self._store
        async with self._store_disturbed():
            hit = await _unless_away(store, "CONFIG", "SET", "maxmemory", _HEADROOM)
            await asyncio.sleep(fault.seconds)
            await store.insist("CONFIG", "SET", "maxmemory", 0)
        return hit

    async def _flush_scripts(self, _fault: Fault) -> bool:
        nodes = await self._stand.store.primaries()
        return any([await _unless_away(node, "SCRIPT", "FLUSH") for node in nodes])

    @property
    def _store(self) -> Store:
        assert isinstance(self._stand.store, Store)
        return self._stand.store

    # The clock

    async def _step_clock(self, fault: Fault) -> bool:
        far = fault.chance * LARGEST_STEP
        self._offset = far if "forward" in fault.kind else -far
        await self._set_clock()
        return True

    async def heal(self) -> None:
        """Undo what a fault that was broken off may have left, and set the clock right."""
        if self._nodes is not None:
            await self._nodes.heal()
        else:
            self._store.free_disk()
            await self._store.insist("CONFIG", "SET", "maxmemory", 0)
        kind = f"step the clock {'forward' if self._offset < 0 else 'back'}"
        self._log.note(kind, phase="begin", target="")
        self._offset = 0.0
        await self._set_clock()
        self._log.note(kind, phase="end", target="")

    async def _set_clock(self) -> None:
        await self._stand.store.set_clocks(round(self._offset * 1_000_000))


async def _unless_away(node: AnyNode, *command: str | int) -> bool:
    try:
        await node.insist(*command, timeout=3.0)
    except (redis.RedisError, OSError):
        return False
    return True


async def _stop_for(seconds: float, pid: int) -> bool:
    """Stop a process for some seconds; whether it was there. It goes on whatever becomes of it."""
    try:
        process = os.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        process = -1
    if process < 0:
        return False
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGCONT)
        os.close(process)
    return True
