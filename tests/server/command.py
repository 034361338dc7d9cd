"""The command `sharq-server` as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.support.stores import wait_for

COMMAND = [sys.executable, "-m", "sharq_server"]


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment without what would configure a server, and with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHARQ_")}
    kept.pop("XDG_DATA_HOME", None)
    return kept | {"HOME": str(home)} | more


def run(
    home: Path, *arguments: str, command: Sequence[str] = COMMAND, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [*command, *arguments],
        check=False,
        cwd=home,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=20,
    )


class Server:
    """A running server with its data, unless the arguments say otherwise, in `home`/data.

    Everything that it writes is in `output` and `log`. It is ended with the context.
    """

    def __init__(
        self,
        home: Path,
        *arguments: str,
        embedded: bool = True,
        command: Sequence[str] = COMMAND,
        **more: str,
    ) -> None:
        folder = ["--data-dir", str(home / "data")] if embedded else []
        self.output = ""
        self.log = ""
        self.process = subprocess.Popen(
            [*command, "--port", "0", *folder, *arguments],
            cwd=home,
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A group of its own, as a shell with job control gives it.
            process_group=0,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for reader in self._readers:
            reader.start()
        try:
            wait_for("the server greets", self._has_greeted, 20)
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        match = re.search(r"listens on (https?://\S+)", self.output)
        assert match is not None, self.output
        return match[1]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept open from request to request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            return call(connection, method, path, body)
        finally:
            connection.close()

    def children(self) -> list[int]:
        """The worker processes."""
        listing = subprocess.run(
            ["ps", "-o", "pid=,ppid=,stat="], check=True, capture_output=True, text=True
        )
        rows = [line.split() for line in listing.stdout.splitlines()]
        parent = str(self.process.pid)
        return sorted(int(row[0]) for row in rows if row[1] == parent and row[2][0] != "Z")

    def store_pid(self, home: Path) -> int:
        """The process of the embedded store, 0 while there is none."""
        return int((home / "data" / "store.lock").read_text() or "0")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask the server to end, and return its exit code."""
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(20)
        for reader in self._readers:
            reader.join(10)
        return code

    def kill(self) -> None:
        """End the server and its workers as a crash would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            finally:
                self.kill()
        self.kill()

    def _has_greeted(self) -> bool:
        if self.process.poll() is not None:
            self.wait()
            raise AssertionError(f"The server ended at its start:\n{self.output}{self.log}")
        return self.output.count("curl") == 3

    def _read(self, name: str) -> None:
        with getattr(self.process, name) as stream:
            for line in stream:
                if name == "stdout":
                    self.output += line
                else:
                    self.log += line


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """One request; `body` is sent as JSON."""
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())
