"""The two faces of the library, so that one test can say what holds for both."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from sharq import AsyncSharQ, Settings, SharQ
from tests.support.direct import CLOCK_KEY, STARTED_AT
from tests.support.stores import PrivateStore, wait_for


class Blocking:
    """An `AsyncSharQ` whose coroutines are run to their ends, on an event loop of its own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._closed = False
        self._runner = asyncio.Runner()
        self._face = AsyncSharQ(*arguments, **named)
        try:
            self._runner.run(self._face.start())
        except BaseException:
            self._runner.close()
            raise

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._face, name)
        if not inspect.iscoroutinefunction(member):
            return member
        return lambda *arguments, **named: self._runner.run(member(*arguments, **named))

    def run_awaitable(self, awaitable: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self._runner.run(wait())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._runner.run(self._face.aclose())
            self._runner.close()


Face = Any
"""What both have in common: the methods of `SharQ`."""


def run(face: Face, command: Any) -> Any:
    """The result of a command of `face.redis_client()`, which may be an awaitable."""
    return face.run_awaitable(command) if inspect.isawaitable(command) else command


class Opener(Protocol):
    """Opens a face; it is closed when the test is over."""

    def __call__(self, source: Any = None, **named: Any) -> Face: ...


@contextmanager
def opener(kind: Callable[..., Face]) -> Iterator[Opener]:
    """Open any number of faces of one kind."""
    faces: list[Face] = []

    def open_face(source: Any = None, **named: Any) -> Face:
        faces.append(kind(source, **named))
        return faces[-1]

    try:
        yield open_face
    finally:
        for face in faces:
            face.close()


FACES = {"SharQ": SharQ, "AsyncSharQ": Blocking}


class HandClock:
    """The injected clock of the faces that use `CLOCKED_SCRIPTS` on a store; in ms."""

    def __init__(self, store: PrivateStore) -> None:
        self._store = store
        self.now = STARTED_AT // 1000
        self.advance(0)

    def advance(self, ms: int) -> None:
        self.now += ms
        self._store.client.set(CLOCK_KEY, self.now * 1000)


def embedded(folder: Path) -> Settings:
    """Settings for an embedded store in `folder`, which may lose data with the machine."""
    redis = {"conn_type": "embedded", "data_dir": folder, "appendfsync": "no"}
    return Settings.from_mapping({"redis": redis})


def process_runs(pid: int) -> bool:
    """Whether a thread of such a process runs: the last one takes its sockets and locks with it."""
    threads: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        threads = os.listdir(f"/proc/{pid}/task")
    return any(_thread_runs(Path(f"/proc/{pid}/task/{thread}")) for thread in threads)


def _thread_runs(thread: Path) -> bool:
    try:
        state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def kill_process(pid: int) -> None:
    """End a process as a crash would, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_for(f"process {pid} is gone", lambda: not process_runs(pid))


def settings_for(store: PrivateStore, **sharq: Any) -> Settings:
    """Settings for the store's socket; the arguments are options of ``[sharq]``."""
    redis = {
        "conn_type": "unix_sock",
        "unix_socket_path": store.socket_path,
        "key_prefix": "library",
    }
    return Settings.from_mapping({"redis": redis, "sharq": sharq})
