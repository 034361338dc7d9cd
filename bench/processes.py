"""Servers under load, each a process of its own, and the store that it works on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sharq import Settings
from tests.support.stores import PrivateStore

_STOP_TIMEOUT = 30.0

NO_LOG: dict[str, Any] = {}
EVERYSEC: dict[str, Any] = {"appendonly": True, "appendfsync": "everysec"}
ALWAYS: dict[str, Any] = {"appendonly": True, "appendfsync": "always"}


class Served(NamedTuple):
    """A server process that listens."""

    port: int
    pid: int


class Stand(NamedTuple):
    """A store, and a server process on it."""

    store: PrivateStore
    server: Served

    @property
    def port(self) -> int:
        """The port of the server."""
        return self.server.port

    @property
    def settings(self) -> Settings:
        """Settings of a library on the same store."""
        address = {"conn_type": "unix_sock", "unix_socket_path": self.store.socket_path}
        return Settings.from_mapping({"redis": address})


@contextmanager
def stand(**options: Any) -> Iterator[Stand]:
    """A store with `options` (`NO_LOG`, `EVERYSEC`, `ALWAYS`), and a server on it."""
    with PrivateStore(**options) as store, server_on(store) as server:
        yield Stand(store, server)


@contextmanager
def another(here: Stand) -> Iterator[int]:
    """One more server process on the store of a stand: its port."""
    with server_on(here.store) as server:
        yield server.port


def server_on(store: PrivateStore, **settings: str) -> AbstractContextManager[Served]:
    """A server process on a store; `settings` are environment variables."""
    settings |= {
        "SHARQ_REDIS_CONN_TYPE": "unix_sock",
        "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
    }
    return serving("sharq_server", "--port", "0", **settings)


@contextmanager
def serving(module: str, *arguments: str, **settings: str) -> Iterator[Served]:
    """Run a module that prints its URL at the end of its first line.

    `settings` are environment variables; no other one that would configure SharQ is passed on.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SHARQ_")}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environ | settings,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        try:
            first = process.stdout.readline().decode()
            if "http://" not in first:
                process.wait()
                log.seek(0)
                raise RuntimeError(f"{module} did not start: {log.read().decode()}")
            port = urlsplit(first.split()[-1]).port
            assert port is not None
            yield Served(port, process.pid)
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT)
            process.stdout.close()


def processor_time(pid: int) -> float:
    """Seconds that a process has used of a processor; Linux alone tells (OSError elsewhere)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
