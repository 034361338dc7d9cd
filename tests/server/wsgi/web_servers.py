"""Web servers that speak WSGI, as processes: each is started as its documentation says."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from tests.support.parts import find
from tests.support.stores import free_port, wait_for

ROOT: Final = Path(__file__).parents[3]

Command = Callable[[int, str], list[str]]
"""From a port and the place of an application, ``module:name``, to a command."""


def _path(command: str) -> str:
    found = find(command)
    assert found is not None, f"{command} is not installed"
    return found


def _gunicorn(*options: str) -> Command:
    def command(port: int, place: str) -> list[str]:
        return [_path("gunicorn"), "--bind", f"127.0.0.1:{port}", *options, place]

    return command


def _waitress(port: int, place: str) -> list[str]:
    return [_path("waitress-serve"), f"--listen=127.0.0.1:{port}", place]


def _uwsgi(*options: str) -> Command:
    def command(port: int, place: str) -> list[str]:
        where = ["--file", place] if place.endswith(".py") else ["--module", place]
        # It ends by SIGTERM as all others do; by default it starts anew.
        return [_path("uwsgi"), "--http", f"127.0.0.1:{port}", "--die-on-term", *options, *where]

    return command


COMMANDS: Final[dict[str, Command]] = {
    "gunicorn": _gunicorn(),
    "gunicorn, threads": _gunicorn("--threads", "8"),
    "gunicorn, processes": _gunicorn("--workers", "2", "--preload"),
    "gunicorn, gevent": _gunicorn("--worker-class", "gevent"),
    "waitress": _waitress,
    "uwsgi": _uwsgi(),
    "uwsgi, keep-alive": _uwsgi("--http-keepalive", "--disable-logging"),
    "uwsgi, processes": _uwsgi("--master", "--processes", "2"),
    "uwsgi, threads": _uwsgi("--threads", "8"),
    "uwsgi, gevent": _uwsgi("--gevent", "20", "--gevent-monkey-patch"),
}


class WebServer:
    """A web server at work; ended with the context. What it writes goes to `log`."""

    def __init__(
        self,
        name: str,
        place: str,
        home: Path,
        variables: dict[str, str] | None = None,
        path: Sequence[Path] = (ROOT,),
    ) -> None:
        self.port = free_port()
        self.log = home / f"web-server-{self.port}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHARQ_")}
        places = [str(each) for each in (*path, ROOT / "server")]
        more = {"HOME": str(home), "PYTHONPATH": os.pathsep.join(places)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                COMMANDS[name](self.port, place),
                cwd=home,
                env={**kept, **more, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        try:
            wait_for(f"{name} answers", self._answers, 20)
        except BaseException:
            self.kill()
            raise

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.kill()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"The web server ended at its start:\n{self.log.read_text()}")
        with suppress(OSError, http.client.HTTPException):
            connection = self.connect()
            try:
                # Whatever the application answers; nothing of SharQ's is begun by it.
                connection.request("GET", "/ws/", headers={"X-Settings": "{}"})
                return connection.getresponse().status in (426, 500)
            finally:
                connection.close()
        return False
