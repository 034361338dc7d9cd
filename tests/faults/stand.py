"""All that runs in a run: the store, the proxies, servers, workers and clients."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.http_client import Http, Lost, NotSent
from tests.faults.keeper import Reconnector
from tests.faults.places import Places
from tests.faults.processes import PYTHON, Managed, resources
from tests.faults.schedule import SERVERS, WORKERS
from tests.faults.setup import SHARDS, Setup
from tests.faults.store import Store
from tests.faults.stores import store_of
from tests.faults.tenants import SPREAD
from tests.support.stores import free_port

REQUEUE_INTERVAL: Final = 250
FINISHED_RETENTION: Final = 3000
INTERVAL_RETENTION: Final = 6000
FAILURES: Final = {
    "backoff_min": 25,
    "backoff_max": 400,
    "dead_max_jobs": 40,
    "dead_max_bytes": 16_000,
    "dead_retention": 9_000,
}
"""The options of failures and dead letters: so small that some fall out by each bound."""

_SHARQ: Final = (
    f"finished_retention = {FINISHED_RETENTION}\ninterval_retention = {INTERVAL_RETENTION}\n"
    + f"shards = {SPREAD}:{SHARDS}\n"
    + "".join(f"{name} = {value}\n" for name, value in FAILURES.items())
)

LEASES: Final = {"a": 1500, "b": 2500, "c": 2000}

_OPTIONS: Final = {
    "a": "workers = 1",
    "b": "workers = 1",
    "c": "workers = 2",
}
_NO_SERVER: Final = "c"
_DIRECT: Final = (_NO_SERVER,)
"""Servers that reach a single store without a proxy."""

_WORKER_SERVERS: Final = dict(zip(WORKERS, ("a", "c"), strict=True))
_RESTART_PAUSE: Final = 0.3
_READY_TIMEOUT: Final = 60.0
_CLIENTS: Final = ("producers", "consumers")


class Stand:
    """Starts everything in its order, keeps it running, and ends it."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        keeper: Reconnector,
        setup: Setup,
        on_store_return: Callable[[], None],
    ) -> None:
        self.folder = folder
        self._seed = seed
        self._keeper = keeper
        self.setup = setup
        self.store = store_of(setup, folder, keeper, on_store_return)
        self.servers: dict[str, Managed] = {}
        self.workers: dict[str, Managed] = {}
        self._clients: dict[str, Managed] = {}
        self.resources_at_start: dict[str, Any] = {}
        """What the servers held before anybody came."""
        self._ports: dict[str, int] = {}
        self._gates: dict[str, int] = {}
        self._reports: set[str] = set()
        self._heard = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._proxy = self._managed("proxy", "tests.faults.proxy", on_line=self._on_report)

    @property
    def places(self) -> Places:
        """Where the servers are."""
        proxied = {name: self._gates[f"server {name}"] for name in SERVERS}
        store = f"key_prefix = {self.setup.prefix}\n{self._way(_NO_SERVER)}"
        return Places(
            str(self.folder), self._seed, dict(self._ports), proxied, self.setup, _SHARQ, store
        )

    async def start(self) -> None:
        """Start everything; the store runs already."""
        await self._proxy.start()
        self._ports = {name: free_port() for name in SERVERS}
        for name in SERVERS:
            if isinstance(self.store, Store):
                self.gate(f"store of {name}", "open", target=self.store.socket)
            self.gate(f"server {name}", "open", target=self._ports[name])
        wanted = len(SERVERS) * (2 if isinstance(self.store, Store) else 1)
        await self._until(lambda: len(self._gates) == wanted, "the proxies")
        for name in SERVERS:
            self.servers[name] = self._server(name)
            await self.servers[name].start()
            self._keep(self.servers[name])
        await asyncio.gather(*(self._until_working(name) for name in SERVERS))
        self.resources_at_start = await self._settled_resources()
        await self.start_workers()
        for role in self._roles:
            arguments = (role, self._places_text())
            client = self._managed(
                role, "tests.faults.clients", *arguments, on_line=self._on_report
            )
            self._clients[role] = client
            await client.start()
            await self._until_reported(f"ready {role}")

    async def start_workers(self, *, calm: bool = False) -> None:
        """Start the library's workers."""
        for name in WORKERS:
            worker = self._worker(name, calm)
            self.workers[name] = worker
            await worker.start()
            self._keep(worker)

    async def end_workers(self) -> None:
        """End them in good order."""
        await asyncio.gather(*(worker.end() for worker in self.workers.values()))

    def gate(self, name: str, do: str, **more: Any) -> None:
        """Give an order to a proxy."""
        self._proxy.tell(gate=name, do=do, **more)

    def change_clients(self, **what: Any) -> None:
        """Change what the clients do; see `tests.faults.callers.Run`."""
        for client in self._clients.values():
            client.tell(do="change", what=what)

    async def rest_clients(self) -> None:
        """Have the clients do nothing, and wait until they do."""
        for role, client in self._clients.items():
            self._reports.discard(f"resting {role}")
            client.tell(do="rest")
        for role in self._clients:
            await self._until_reported(f"resting {role}")

    def server_processes(self, name: str) -> list[int]:
        """The processes of a server that serve: its workers, or itself."""
        server = self.servers[name]
        return server.children() or ([server.pid] if server.pid else [])

    async def listens(self, name: str) -> bool:
        """Whether a server takes connections."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._ports[name])
        except OSError:
            return False
        writer.close()
        return True

    def resources(self) -> dict[str, Any]:
        """What the processes of each server hold by now."""
        return {name: [resources(pid) for pid in self.server_processes(name)] for name in SERVERS}

    async def _settled_resources(self) -> dict[str, Any]:
        """What the servers hold once all their processes have connected to the store."""
        before: dict[str, Any] = {}
        while (now := self.resources()) != before:
            before = now
            await asyncio.sleep(1.0)
        return now

    def check(self) -> None:
        """Raise where something has ended that is not meant to."""
        for managed in (self._proxy, *self._clients.values()):
            if managed.wanted and managed.starts and not managed.pid:
                raise RuntimeError(f"{managed.name} has ended by itself; see its log")
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise RuntimeError("a process is not supervised any more") from task.exception()

    async def end_clients(self) -> None:
        """End the clients; their histories are complete then."""
        for client in self._clients.values():
            client.wanted = False
            client.tell(do="stop")
        for client in self._clients.values():
            try:
                async with asyncio.timeout(15):
                    await client.wait()
            except TimeoutError:
                await client.end(0)

    async def end(self) -> None:
        """End everything."""
        processes = [*self._clients.values(), *self.workers.values(), *self.servers.values()]
        await asyncio.gather(*(process.end() for process in processes))
        for task in self._tasks:
            task.cancel()
        await self._proxy.end()
        await self.store.end()

    def _managed(self, name: str, module: str, *arguments: str, **more: Any) -> Managed:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SHARQ_")}
        return Managed(
            name,
            [*PYTHON, module, *arguments],
            keeper=self._keeper,
            log=self.folder / f"{name}.log",
            environment=kept | {"PYTHONPATH": os.getcwd()},
            **more,
        )

    @property
    def _roles(self) -> Sequence[str]:
        return _CLIENTS if isinstance(self.store, Store) else (*_CLIENTS, "probes")

    def _way(self, name: str) -> str:
        """How a server finds the store: lines of its section [redis]."""
        if not isinstance(self.store, Store):
            lines = self.store.options(sum(map(ord, name)))
            acked = self.setup.replicas_acked
            return lines + (f"\nreplicas_acked = {acked}" if acked else "")
        if name in _DIRECT:
            return f"conn_type = unix_sock\nunix_socket_path = {self.store.socket}"
        port = self._gates[f"store of {name}"]
        return f"conn_type = tcp_sock\nhost = 127.0.0.1\nport = {port}"

    def _server(self, name: str) -> Managed:
        config = self.folder / f"{name}.conf"
        config.write_text(
            f"[sharq]\njob_expire_interval = {LEASES[name]}\n"
            f"job_requeue_interval = {REQUEUE_INTERVAL}\n{_SHARQ}"
            f"[sharq-server]\nport = {self._ports[name]}\nheartbeat = 3000\n{_OPTIONS[name]}\n"
            f"[redis]\nkey_prefix = {self.setup.prefix}\n{self._way(name)}\n"
        )
        return self._managed(f"server-{name}", "tests.faults.server", "-c", str(config))

    def _worker(self, name: str, calm: bool) -> Managed:
        port = self._gates[f"server {_WORKER_SERVERS[name]}"]
        more = ("calm",) if calm else ()
        arguments = (name, str(port), self._places_text(), *more)
        return self._managed(f"worker-{name}", "tests.faults.worker", *arguments)

    def _places_text(self) -> str:
        return msgspec.json.encode(self.places).decode()

    def _keep(self, managed: Managed) -> None:
        self._tasks.add(asyncio.create_task(managed.supervise(_RESTART_PAUSE)))

    def _on_report(self, line: bytes) -> None:
        report = msgspec.json.decode(line)
        if "gate" in report:
            self._gates[report["gate"]] = report["port"]
        else:
            self._reports.update(f"{word} {what}" for word, what in report.items())
        self._heard.set()
        self._heard = asyncio.Event()

    async def _until_reported(self, report: str) -> None:
        await self._until(lambda: report in self._reports, report)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT
        while not condition():
            self.check()
            left = deadline - time.monotonic()
            if left < 0:
                raise TimeoutError(f"not in time: {what}")
            try:
                async with asyncio.timeout(min(left, 0.5)):
                    await self._heard.wait()
            except TimeoutError:
                continue

    async def _until_working(self, name: str) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT
        async with Http(self._ports[name]) as http:
            while True:
                with suppress(NotSent, Lost):
                    if (await http.call("GET", "/deepstatus/")).status == 200:
                        return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"server {name} does not work; see its log")
                await asyncio.sleep(0.05)
