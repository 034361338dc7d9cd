"""The store of a run: a Valkey that loses nothing, on a disk of its own that can be filled."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sharq.embedded import allocator
from tests.faults.audit import offset_key
from tests.faults.keeper import Reconnector
from tests.faults.processes import Managed, run_quietly
from tests.faults.setup import Setup
from tests.support.stores import store_binary

DISK_BYTES: Final = 384 << 20

_START_TIMEOUT: Final = 60.0
_ZEROS: Final = bytes(1 << 20)
_RETRY_START: Final = 0.2


class Store:
    """Runs from `start` on, and is started again whenever it has died.

    `on_return` is called each time it answers again. `has_disk` tells whether its data is on a
    file system of its own, which root may mount.
    """

    def __init__(
        self, folder: Path, keeper: Reconnector, setup: Setup, on_return: Callable[[], None]
    ) -> None:
        self.setup = setup
        self.password: str | None = None
        self.socket = str(folder / "store.sock")
        self.up = asyncio.Event()
        self.returned_at = 0.0
        self._data = folder / "data"
        self._data.mkdir()
        self._ballast = self._data / "ballast"
        self.has_disk = mount(self._data, keeper, DISK_BYTES)
        self._on_return = on_return
        self._client: Any = redis.Redis(
            unix_socket_path=self.socket,
            protocol=2,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )
        options = {
            "port": "0",
            "unixsocket": self.socket,
            "unixsocketperm": "600",
            "dir": str(self._data),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "logfile": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = Managed(
            "store",
            [*allocator.preloading(), store_binary(), *words],
            keeper=keeper,
            log=folder / "store.log",
            environment=allocator.environment(),
        )
        self._hold = 0.0
        self._supervising: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self._start()
        self._supervising = asyncio.create_task(self._supervise())

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

    @property
    def sockets(self) -> list[str]:
        """Where it can be reached."""
        return [self.socket]

    async def primaries(self) -> list[Self]:
        """Itself."""
        return [self]

    async def whole(self) -> list[Self]:
        """Itself."""
        return [self]

    async def set_clocks(self, us: int) -> None:
        """Move the clock of all scripts to so many µs after the store's."""
        for tag in self.setup.tags:
            await self.insist("SET", offset_key(tag), us)

    def kill(self, hold: float) -> bool:
        """End it as a crash would; it comes back after `hold` seconds. Whether it was there."""
        return self._goes(hold, signal.SIGKILL)

    def restart(self, hold: float) -> bool:
        """End it in good order; it comes back after `hold` seconds. Whether it was there."""
        return self._goes(hold, signal.SIGTERM)

    def pause(self) -> bool:
        """Let it hang: it keeps its connections and does not answer. Whether it was there."""
        return self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send(signal.SIGCONT)
        if self.up.is_set():
            self._on_return()

    def fill_disk(self) -> None:
        """Leave no room on its disk."""
        with suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while True:
                ballast.write(_ZEROS)

    def free_disk(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    async def memory(self) -> int:
        """The bytes that it uses."""
        info = await self.insist("INFO", "memory")
        return int(info["used_memory"])

    async def end(self) -> None:
        """End it."""
        await self.process.end()
        if self._supervising is not None:
            self._supervising.cancel()
        await self._client.aclose()
        if self.has_disk:
            run_quietly("umount", "-l", str(self._data))

    def _goes(self, hold: float, how: signal.Signals) -> bool:
        self.up.clear()
        self._hold = hold
        return self.process.send(how)

    async def _supervise(self) -> None:
        while self.process.wanted:
            await self.process.wait()
            self.up.clear()
            if self.process.wanted:
                hold, self._hold = self._hold, 0.0
                await asyncio.sleep(max(hold, _RETRY_START))
                with suppress(RuntimeError):
                    await self._start()

    async def _start(self) -> None:
        await self.process.start()
        deadline = time.monotonic() + _START_TIMEOUT
        while not await self._answers():
            if not self.process.pid:
                raise RuntimeError("the store has ended")
            if time.monotonic() > deadline:
                raise TimeoutError("the store does not start")
            await asyncio.sleep(0.01)
        self.returned_at = time.monotonic()
        self.up.set()
        self._on_return()

    async def _answers(self) -> bool:
        try:
            return bool(await self.command("PING"))
        except (redis.RedisError, OSError):
            return False


def mount(folder: Path, keeper: Reconnector, size_in_bytes: int) -> bool:
    """Give a folder a file system of its own, in memory; whether that is possible."""
    if os.geteuid() != 0:
        return False
    size = f"size={size_in_bytes}"
    if not run_quietly("mount", "-t", "tmpfs", "-o", size, "sharq-faults", str(folder)):
        return False
    keeper.mounted(str(folder))
    return True
