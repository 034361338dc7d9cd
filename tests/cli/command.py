"""The command `sharq` in tests: in this process, or as one of its own."""

from __future__ import annotations

import http.client
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sharq.__main__ import main
from tests.server.command import call, environment

COMMAND = [sys.executable, "-m", "sharq"]


class Said(NamedTuple):
    """The exit code of a command, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines of the output, by their tabs."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def facts(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows}


class Shell:
    """Runs the command against a server."""

    def __init__(
        self,
        url: str,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        self.url = url
        self.home = home
        self.monkeypatch = monkeypatch
        self.capfd = capfd
        for name in [name for name in os.environ if name.startswith("SHARQ_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("SHARQ_URL", url)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Said:
        """Run it in this process."""
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self.capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as left:
            code = int(left.code or 0)
        sys.stdout.flush()
        return Said(code, *self.capfd.readouterr())

    def environment(self, **more: str) -> dict[str, str]:
        return environment(self.home, SHARQ_URL=self.url, **more)

    def process(self, *arguments: str, stdin: bytes = b"", **more: str) -> Said:
        """Run it as a process of its own, with pipes."""
        ended = subprocess.run(
            [*COMMAND, *arguments],
            check=False,
            input=stdin,
            env=self.environment(**more),
            capture_output=True,
            timeout=20,
        )
        return Said(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def on_terminal(
        self, *arguments: str, columns: int = 80, typed: bytes = b"", **more: str
    ) -> Said:
        """Run it as a process of its own on a terminal; all that it writes is in `out`."""
        near, far = pty.openpty()
        os.write(near, typed)
        with subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=far,
            stdout=far,
            stderr=far,
            env=self.environment(COLUMNS=str(columns), TERM="xterm", **more),
        ) as process:
            os.close(far)
            text = b"".join(iter(lambda: _read(near), b""))
            code = process.wait(20)
        os.close(near)
        return Said(code, text.decode().replace("\r\n", "\n"), "")

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """A request without the command; it has to succeed."""
        host = self.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            status, answer = call(connection, method, path, body)
        finally:
            connection.close()
        assert 200 <= status < 300, answer
        return answer

    def put(
        self, kind: str, queue: str = "q", job: str = "j", payload: Any = 1, **more: Any
    ) -> None:
        options = {"job_id": job, "interval": 0, "payload": payload, **more}
        self.rest("POST", f"/enqueue/{kind}/{queue}/", options)

    def bury(self, kind: str, jobs: Sequence[str], queue: str = "q", **error: str) -> None:
        """Make dead letters."""
        for job in jobs:
            self.put(kind, queue, job, {"of": job})
            self.rest("POST", f"/dequeue/{kind}/")
            told = {"retry": False, **({"error": error} if error else {})}
            self.rest("POST", f"/fail/{kind}/{queue}/{job}/", told)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""
