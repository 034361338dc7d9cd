"""Two servers behind a proxy, as docs/operating.md has them, and a client of them."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.proxies.recipes import recipe
from tests.server.command import Server
from tests.server.support import write_tokens
from tests.support.stores import PrivateStore, free_port, wait_for

TLS = Path(__file__).parent.parent / "support" / "tls"
HOST = "jobs.example.com"
CLIENT = "127.0.0.9"
"""The address of clients: another one than the proxy's."""

TOKENS = {
    "producer": (["enqueue", "status", "metrics"], ["*"]),
    "worker": (["dequeue", "finish"], ["*"]),
}


class Place(NamedTuple):
    """What a proxy has of its own in a test."""

    folder: Path
    port: int
    servers: tuple[int, int]

    def socket(self, at: int) -> str:
        """Where a server has its unix socket, if it has one."""
        return f"unix:{self.folder}/{at}.sock"

    @property
    def certificate(self) -> Path:
        return self.folder / "jobs.pem"


class Proxy(NamedTuple):
    """A kind of proxy: `write` writes its configuration, and returns its command.

    `unix`: the servers have unix sockets, too, and trust who connects there.
    """

    name: str
    write: Callable[[Place], Sequence[str]]
    unix: bool = False


class Answer(NamedTuple):
    status: int
    body: Any
    headers: http.client.HTTPMessage


class Client(http.client.HTTPSConnection):
    """A connection to the proxy, kept from request to request."""

    def __init__(self, port: int, token: str | None = None, timeout: float = 20) -> None:
        super().__init__(HOST, port, timeout=timeout)
        self._token = token
        self._context = ssl.create_default_context(cafile=TLS / "jobs.pem")

    def connect(self) -> None:
        plain = socket.create_connection(
            ("127.0.0.1", self.port), self.timeout, source_address=(CLIENT, 0)
        )
        self.sock = self._context.wrap_socket(plain, server_hostname=HOST)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; `body` is sent as JSON, bytes as they are."""
        self.put(method, path, body, **headers)
        answer = self.getresponse()
        text = answer.read()
        is_json = answer.headers["Content-Type"] == "application/json"
        return Answer(answer.status, json.loads(text) if is_json else text, answer.headers)

    def put(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Send a request, whose answer is not awaited."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token is not None:
            given["Authorization"] = f"Bearer {self._token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.request(method, path, body, given)


class Deployment:
    """Runs until the context is left."""

    def __init__(self, proxy: Proxy, folder: Path, store: PrivateStore, key_prefix: str) -> None:
        self.place = Place(folder, free_port(), (free_port(), free_port()))
        self.homes = [folder / "one", folder / "two"]
        self._store = {
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
            "SHARQ_REDIS_KEY_PREFIX": key_prefix,
        }
        self._client = store.client
        self._key_prefix = key_prefix
        self._proxy = proxy
        self._held = ExitStack()
        self.servers: list[Server] = []

    @property
    def logs(self) -> list[Path]:
        """The access logs of the servers."""
        return [home / "access.log" for home in self.homes]

    def __enter__(self) -> Self:
        with self._held:
            write_tokens(self.place.folder / "tokens", TOKENS)
            for name in ("jobs.pem", "jobs.key"):
                shutil.copy(TLS / name, self.place.folder / name)
            for home in self.homes:
                home.mkdir()
            self.servers = [self._started(at) for at in range(2)]
            self._held.callback(lambda: [server.kill() for server in self.servers])
            self._start_proxy()
            self._held = self._held.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def client(self, token: str | None = None, timeout: float = 20) -> Client:
        return Client(self.place.port, token, timeout)

    def restart(self, at: int) -> None:
        """Restart a server, and wait until it is ready and answers through the proxy again."""
        server = self.servers[at]
        assert server.stop() == 0, server.log
        # The stand-in's own: what the page says to wait for.
        self.servers[at] = self._started(at)
        wait_for("it is ready", lambda: self.servers[at].call("GET", "/deepstatus/")[0] == 200)
        before = self.logs[at].stat().st_size
        wait_for("requests come", lambda: self._has_line(at, before), 20)

    def waits(self, queue_type: str) -> bool:
        """Whether a server waits for jobs of a type."""
        return bool(self._client.keys(f"{{{self._key_prefix}:{queue_type}*"))

    def lines(self, wanted: str) -> list[str]:
        """Whole lines of the access logs with a text."""
        found = [log.read_text().splitlines(keepends=True) for log in self.logs if log.exists()]
        return [line for lines in found for line in lines if wanted in line and line[-1] == "\n"]

    def _has_line(self, at: int, since: int) -> bool:
        with self.logs[at].open() as log:
            log.seek(since)
            return any("deepstatus" not in line for line in log)

    def _started(self, at: int) -> Server:
        home, port = self.homes[at], self.place.servers[at]
        (home / "sharq.conf").write_text(
            recipe(
                "ini",
                {
                    "8081": str(port),
                    "/etc/sharq/tokens": str(self.place.folder / "tokens"),
                    "/var/log/sharq/8081.log": str(self.logs[at]),
                },
            )
        )
        arguments = ["--config", str(home / "sharq.conf"), "--port", str(port)]
        more = dict(self._store)
        if self._proxy.unix:
            arguments += ["--host", f"127.0.0.1 {self.place.socket(at)}"]
            more["SHARQ_SERVER_TRUSTED_PROXIES"] = "unix"
        return Server(home, *arguments, embedded=False, **more)

    def _start_proxy(self) -> None:
        command = self._proxy.write(self.place)
        log = self._held.enter_context((self.place.folder / "proxy.log").open("wb"))
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
        self._held.callback(_end, process)

        def serves() -> bool:
            assert process.poll() is None, (self.place.folder / "proxy.log").read_text()
            try:
                with self.client() as client:
                    return client.ask("GET", "/deepstatus/").status == 200
            except OSError:
                return False

        wait_for("the proxy serves", serves, 20)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
