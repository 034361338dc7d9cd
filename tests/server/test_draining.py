"""A server that stops and is not done yet: what those are told who come meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.server.command import Server
from tests.support.stores import wait_for

JOB = {"job_id": "j", "interval": 0, "payload": 1}
TLS = Path(__file__).parent.parent / "support" / "tls"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Way(NamedTuple):
    """How a server is reached: arguments and environment of the command."""

    arguments: tuple[str, ...] = ()
    tls: bool = False


WAYS = {
    "plain": Way(),
    "tls": Way(("--config", "tls.conf"), tls=True),
    "workers": Way(("--workers", "3")),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    (tmp_path / "tls.conf").write_text(
        f"[sharq-server]\ntls_certificate = {TLS / 'server.pem'}\ntls_key = {TLS / 'server.key'}\n"
    )
    return WAYS[request.param]


class Told(NamedTuple):
    status: int
    body: dict[str, Any]
    retry_after: str | None
    connection: str | None


def connect(server: Server, way: Way) -> http.client.HTTPConnection:
    if not way.tls:
        return server.connect()
    context = ssl.create_default_context(cafile=TLS / "authority.pem")
    return http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)


def ask(
    server: Server,
    way: Way,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Told:
    """A request on a connection of its own."""
    connection = connect(server, way)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, headers or {})
        answer = connection.getresponse()
        return Told(
            answer.status,
            json.loads(answer.read()),
            answer.getheader("Retry-After"),
            answer.getheader("Connection"),
        )
    finally:
        connection.close()


def is_stopping(server: Server, way: Way) -> bool:
    return ask(server, way, "GET", "/").status == 503


class Held(NamedTuple):
    """A request under way, whose body has not come to its end. `since` is when the server was told
    to stop.
    """

    connection: http.client.HTTPConnection
    since: float

    def end(self) -> int:
        self.connection.send(json.dumps(JOB)[10:].encode())
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


@contextmanager
def held_up(server: Server, way: Way) -> Iterator[Held]:
    """The server has begun a request, and was told to stop."""
    connection = connect(server, way)
    body = json.dumps(JOB).encode()
    connection.putrequest("POST", "/enqueue/t/held/")
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.send(body[:10])
    since = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    wait_for("the server tells that it stops", lambda: is_stopping(server, way), 4)
    try:
        yield Held(connection, since)
    finally:
        connection.close()


def test_new_connections_are_told_and_leases_still_end(tmp_path: Path, way: Way) -> None:
    with Server(tmp_path, *way.arguments) as server:
        leases = []
        for at in range(3):
            ask(server, way, "POST", "/enqueue/t/q/", {**JOB, "job_id": f"j{at}"})
            leases.append(ask(server, way, "GET", "/dequeue/t/").body["lease"])
        with held_up(server, way) as held:
            for method, path, body, headers in (
                ("GET", "/", None, None),
                ("GET", "/deepstatus/", None, None),
                ("GET", "/nowhere/", None, None),
                ("GET", "/metrics/", None, None),
                ("GET", "/dequeue/t/", None, None),
                ("GET", "/dequeue/t/?wait=1", None, None),
                ("POST", "/enqueue/t/q/", JOB, None),
                (
                    "POST",
                    "/enqueue/",
                    {"jobs": [{**JOB, "queue_type": "t", "queue_id": "q"}]},
                    None,
                ),
                ("GET", "/status/t/q/j0/", None, None),
                ("GET", "/dead/t/", None, None),
                ("POST", "/dead/t/retry", {"all": True}, None),
                ("GET", "/ws/", None, HANDSHAKE),
                ("GET", "/ui/", None, None),
            ):
                told = ask(server, way, method, path, body, headers)
                assert (told.status, told.body["code"]) == (503, "stopping"), path
                assert (told.retry_after, told.connection) == ("1", "close"), path
                assert told.body["status"] == "failure"
            for path, body in (
                ("finish/t/q/j0", {"lease": leases[0]}),
                ("release/t/q/j1", {"lease": leases[1]}),
                ("extend/t/q/j2", {"lease": leases[2], "by": 1000}),
                ("fail/t/q/j2", {"lease": leases[2], "error": {"type": "E"}}),
            ):
                told = ask(server, way, "POST", f"/{path}/", body)
                assert (told.status, told.connection) == (200, "close"), told
            assert held.end() == 201
            assert server.wait() == 0
        assert "were not finished in time" not in server.log


def test_what_is_wrong_with_a_request_is_told_all_the_same(tmp_path: Path, way: Way) -> None:
    with Server(tmp_path, *way.arguments) as server, held_up(server, way):
        assert ask(server, way, "GET", "/", headers={"Host": "evil.example"}).status == 403
        assert ask(server, way, "GET", "/", headers={"Expect": "wonders"}).status == 417
        told = ask(server, way, "POST", "/finish/t/q/none/", {})
        assert (told.status, told.body["code"]) == (404, "not_active")


def flood(server: Server, way: Way, answers: list[int], over: threading.Event) -> None:
    while not over.is_set():
        with suppress(OSError, http.client.HTTPException):
            answers.append(ask(server, way, "POST", "/finish/t/q/none/", {}).status)
            answers.append(ask(server, way, "GET", "/dequeue/t/").status)


@pytest.mark.parametrize(
    ("way", "holds"), [("plain", True), *((name, False) for name in WAYS)], indirect=["way"]
)
def test_a_flood_of_new_connections_does_not_hold_up_the_end(
    tmp_path: Path, way: Way, holds: bool
) -> None:
    answers: list[int] = []
    over = threading.Event()
    with Server(tmp_path, *way.arguments) as server:
        threads = [
            threading.Thread(target=flood, args=(server, way, answers, over)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        try:
            wait_for("the flood comes", lambda: len(answers) > 20)
            since = time.monotonic()
            if holds:
                with held_up(server, way):
                    assert server.wait() == 0
                print(server.log)
                assert 4 < time.monotonic() - since < 9
            else:
                assert server.stop() == 0
                assert time.monotonic() - since < 3
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert set(answers) <= {404, 503}
    if holds:
        assert answers.count(503) > 20
        assert answers.index(503) < len(answers) - 20


def test_who_sends_nothing_does_not_hold_up_the_end(tmp_path: Path, way: Way) -> None:
    with Server(tmp_path, *way.arguments) as server, held_up(server, way) as held:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        since = time.monotonic()
        assert held.end() == 201
        assert server.wait() == 0
        assert time.monotonic() - since < 3
        for each in silent:
            each.close()


def test_a_worker_that_stops_alone_leaves_new_connections_to_the_others(tmp_path: Path) -> None:
    way = Way()
    with Server(tmp_path, "--workers", "2") as server:
        wait_for("both workers run", lambda: len(server.children()) == 2)
        wait_for("they serve", lambda: ask(server, way, "GET", "/deepstatus/").status == 200)
        # One of them has a request under way, and is told to stop.
        connection = connect(server, way)
        connection.putrequest("POST", "/enqueue/t/held/")
        connection.putheader("Content-Length", "100")
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        holder = owner_of(connection.sock, server.children())
        os.kill(holder, signal.SIGTERM)
        ends = time.monotonic() + 3
        while time.monotonic() < ends and holder in server.children():
            assert ask(server, way, "GET", "/").status == 200
            time.sleep(0.01)
        assert holder in server.children(), "it waits for its request"
        connection.close()


def owner_of(client: socket.socket, processes: list[int]) -> int:
    """Which process has the other end of a connection."""
    ends = [client.getpeername()[1], client.getsockname()[1]]
    inode = ""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(each.rpartition(":")[2], 16) for each in fields[1:3]]
        # Others may have had the same port a moment ago.
        if ports == ends and fields[3] == "01":
            inode = f"socket:[{fields[9]}]"
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                if os.readlink(descriptor) == inode:
                    return process
    raise AssertionError("nobody has it")


def test_a_server_that_restarts_behind_a_balancer_harms_nobody(tmp_path: Path) -> None:
    """Two servers on one store: who is told that one stops asks the other."""
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
    way = Way()
    with Server(tmp_path, "--workers", "2") as store_owner:
        socket_path = str(tmp_path / "data" / "store.sock")
        more = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": socket_path,
        }
        with (
            Server(homes[0], embedded=False, **more) as one,
            Server(homes[1], embedded=False, **more) as two,
            held_up(one, way) as held,
        ):
            done = 0
            for at in range(20):
                for server in (one, two):
                    told = ask(server, way, "POST", "/enqueue/t/q/", {**JOB, "job_id": f"j{at}"})
                    if told.status == 201:
                        done += 1
                        break
                    assert told.body["code"] == "stopping"
                    assert "outcome" not in told.body
            assert done == 20
            assert held.end() == 201
            assert one.wait() == 0
            count = ask(two, way, "GET", "/metrics/t/q/").body["queue_length"]
            assert count == 20
        assert store_owner.stop() == 0


# ---- with a delay ----


class Leaving(NamedTuple):
    server: Server
    since: float


@contextmanager
def leaving(folder: Path, *arguments: str, delay: int = 1500) -> Iterator[Leaving]:
    """A server that was told to stop, and says so."""
    with Server(folder, *arguments, SHARQ_SERVER_STOP_DELAY=str(delay)) as server:
        # It takes a moment for every worker to serve.
        wait_for("it serves", lambda: ask(server, Way(), "GET", "/deepstatus/").status == 200)
        before = [ask(server, Way(), "GET", "/deepstatus/").status for _ in range(20)]
        assert set(before) == {200}
        since = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        wait_for("it says so", lambda: ask(server, Way(), "GET", "/deepstatus/").status == 503)
        yield Leaving(server, since)


def refuses(server: Server) -> bool:
    """Whether the port is closed."""
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_server_with_a_delay_serves_until_it_is_over(tmp_path: Path, workers: str) -> None:
    with leaving(tmp_path, "--workers", workers, delay=4000) as (server, since):
        told = ask(server, Way(), "GET", "/deepstatus/")
        assert (told.status, told.body["code"]) == (503, "stopping")
        assert (told.retry_after, told.connection) == ("1", "close")
        kept = [server.connect() for _ in range(3)]
        for each in kept:
            each.connect()
        number = 0
        while time.monotonic() - since < 1.2:
            number += 1
            job = {**JOB, "job_id": f"j{number}"}
            told = ask(server, Way(), "POST", "/enqueue/t/q/", job)
            assert (told.status, told.connection) == (201, "close")
            told = ask(server, Way(), "GET", "/dequeue/t/")
            assert (told.status, told.connection) == (200, "close")
            path = f"/finish/t/q/j{number}/"
            told = ask(server, Way(), "POST", path, {"lease": told.body["lease"]})
            assert (told.status, told.connection) == (200, "close")
        for each in kept:
            # What it has accepted is answered, in the end.
            each.request("GET", "/")
            answer = each.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (200, "close")
            answer.read()
            each.close()
        assert server.wait() == 0
        assert 3.9 < time.monotonic() - since < 15
        assert refuses(server)
        assert server.log.count("Stopping in 4 s; requests are served until then") == int(workers)


def test_a_long_poll_ends_with_the_delay_as_if_its_time_were_over(tmp_path: Path) -> None:
    with leaving(tmp_path) as (server, since):
        told = ask(server, Way(), "GET", "/dequeue/t/?wait=20")
        assert 1.4 < time.monotonic() - since < 8
        assert (told.status, told.body["code"]) == (404, "nothing_ready")
        assert server.wait() == 0


def test_a_second_signal_cuts_the_delay_short(tmp_path: Path) -> None:
    with leaving(tmp_path, delay=60_000) as (server, _):
        since = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.wait()
        assert time.monotonic() - since < 5


def test_requests_under_way_outlive_the_delay_and_new_ones_find_no_port(tmp_path: Path) -> None:
    with leaving(tmp_path, delay=500) as (server, _):
        connection = server.connect()
        body = json.dumps(JOB).encode()
        connection.putrequest("POST", "/enqueue/t/held/")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        wait_for("the port is closed", lambda: refuses(server))
        assert server.process.poll() is None
        connection.send(body)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (201, "close")
        answer.read()
        connection.close()
        assert server.wait() == 0
