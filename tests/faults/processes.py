"""Processes that the harness starts, watches, and starts again when they have died."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.keeper import Reconnector

PYTHON: Final = (sys.executable, "-P", "-m")

_LINE: Final = 1 << 20
_LOOK_EVERY: Final = 0.2
_LEAVING_TIMEOUT: Final = 2.0


class Managed:
    """A process in a group of its own, whose errors go to a log.

    `on_line` gets each line that it writes. While it is `wanted`, `supervise` starts it again
    whenever it has ended; `starts` counts that.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        keeper: Reconnector,
        log: Path,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[bytes], None] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = environment
        self.wanted = True
        self.starts = 0
        self._keeper = keeper
        self._log = log
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._group = 0
        self._reading: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int:
        """Its process id; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if self._on_line else log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
                limit=_LINE,
            )
        self.starts += 1
        self._group = self._process.pid
        self._keeper.begins(self._group)
        leaving = asyncio.create_task(self._see_off(self._group))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        if self._on_line is not None:
            self._reading = asyncio.create_task(self._read(self._on_line))

    async def supervise(self, pause: float) -> None:
        """Start it again, after `pause` seconds, whenever it has ended, until it is not wanted."""
        while self.wanted:
            await self.wait()
            await asyncio.sleep(pause)
            if self.wanted:
                await self.start()

    async def wait(self) -> int:
        """Wait for the end of the process; its exit code. Its children may live on for a while."""
        assert self._process is not None
        code = await self._process.wait()
        if self._reading is not None:
            await self._reading
        return code

    def send(self, number: signal.Signals, pid: int = 0) -> bool:
        """Send a signal to the process, or to the one of its group with `pid`; if it is there."""
        if not self.pid:
            return False
        try:
            os.kill(pid or self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        if self._group:
            with suppress(ProcessLookupError):
                os.killpg(self._group, number)

    def children(self) -> list[int]:
        """The processes that it has started."""
        if not self.pid:
            return []
        try:
            listing = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(word) for word in listing.split()]

    def tell(self, **order: Any) -> None:
        """Give an order; nobody hears it where the process has ended."""
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(msgspec.json.encode(order) + b"\n")

    async def end(self, grace: float = 15.0) -> None:
        """Ask it to end; kill the group after `grace` seconds."""
        self.wanted = False
        if self._process is None:
            return
        self.send_to_group(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.wait()
        self.send_to_group(signal.SIGKILL)
        await self.wait()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_LEAVING_TIMEOUT)

    async def _see_off(self, group: int) -> None:
        """Tell the keeper at once when a group is gone: its number may come again."""
        while _is_there(group):
            await asyncio.sleep(_LOOK_EVERY)
        self._keeper.ends(group)

    async def _read(self, on_line: Callable[[bytes], None]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            on_line(line)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def resources(pid: int) -> dict[str, int]:
    """What a process holds: `sockets`, `files` and `memory` (resident, KiB)."""
    sockets = files = memory = 0
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                files += 1
                sockets += os.readlink(entry.path).startswith("socket:")
        status = Path(f"/proc/{pid}/status").read_text()
        memory = int(status.partition("VmRSS:")[2].split()[0])
    return {"sockets": sockets, "files": files, "memory": memory}


def run_quietly(*command: str) -> bool:
    """Run a short command; whether it succeeded."""
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
