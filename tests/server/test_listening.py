"""Where a server listens: lists, both families, unix sockets, and a system without IPv6."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sharq.settings.tokens import line_for
from sharq_server.http.listener import BACKLOG
from sharq_server.process.listening import CannotListen, Listening, has_ipv6
from tests.server.command import COMMAND, Server, call, run
from tests.support import no_ipv6
from tests.support.stores import wait_for

JOB = {"job_id": "j", "interval": 0, "payload": 1}

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
needs_filter = pytest.mark.skipif(not no_ipv6.supported(), reason="no filter for this system")


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a unix socket, with the Host that curl sends."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str = "GET", route: str = "/", body: Any = None) -> tuple[int, Any]:
    with closing(UnixConnection(path)) as connection:
        return call(connection, method, route, body)


def ask_at(host: str, port: int) -> int:
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        return call(connection, "GET", "/")[0]


def commands(server: Server) -> list[str]:
    return [line.strip() for line in server.output.splitlines() if "curl" in line]


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "0.0.0.0, ::", "127.0.0.1 ::1", "localhost,::1 127.0.0.1"])
def test_both_families_are_served_at_one_port(tmp_path: Path, host: str) -> None:
    with Server(tmp_path, "--host", host, "--insecure") as server:
        for address in ("127.0.0.1", "::1"):
            assert ask_at(address, server.port) == 200
        assert server.stop() == 0
        assert "WARNING" not in server.log


@needs_ipv6
def test_a_client_of_ipv4_has_an_address_of_ipv4(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Server(tmp_path, "--host", "::", "--insecure", "--accesslog", str(log)) as server:
        for address in ("127.0.0.1", "::1"):
            assert ask_at(address, server.port) == 200
        wait_for("both are logged", lambda: len(log.read_text().splitlines()) == 2)
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_unix_socket_is_served_and_removed(tmp_path: Path, workers: str) -> None:
    path, log = tmp_path / "sharq.sock", tmp_path / "access.log"
    place = f"unix:{path}"
    arguments = ("--host", place, "--workers", workers, "--accesslog", str(log))
    with Server(tmp_path, *arguments) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert f"listens on {place}\n" in server.output
        assert ask(path, "POST", "/enqueue/t/q/", JOB) == (201, {"status": "queued"})
        for command in commands(server):
            done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
            assert json.loads(done.stdout)["status"] != "failure"
        with closing(UnixConnection(path)) as connection:
            connection.request("GET", "/", headers={"Host": "evil.example"})
            assert connection.getresponse().status == 403
        wait_for("all is logged", lambda: len(log.read_text().splitlines()) == 5)
        assert {line.split()[0] for line in log.read_text().splitlines()} == {"unix:"}
        assert server.stop() == 0
    assert not path.exists()


def test_the_mode_of_a_socket_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    with Server(tmp_path, "--host", f"unix:{path}", SHARQ_SERVER_SOCKET_MODE="0600"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_list_may_have_addresses_and_sockets(tmp_path: Path) -> None:
    one, two = tmp_path / "one.sock", tmp_path / "two.sock"
    host = f"127.0.0.1, unix:{one} unix:{two}"
    with Server(tmp_path, "--host", host) as server:
        assert f"and on unix:{one}\nand on unix:{two}\n" in server.output
        assert ask_at("127.0.0.1", server.port) == ask(one)[0] == ask(two)[0] == 200


def test_a_socket_that_a_killed_server_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    server = Server(tmp_path, "--host", f"unix:{path}")
    server.kill()
    assert path.is_socket()
    with Server(tmp_path, "--host", f"unix:{path}"):
        assert ask(path)[0] == 200


def refused(home: Path, *arguments: str, **more: Any) -> tuple[int, str]:
    """How a server that cannot start ends, and the one line that it says."""
    done = run(home, "--port", "0", "--data-dir", "data", *arguments, **more)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return done.returncode, line.removeprefix("sharq-server: ")


def test_what_is_in_the_way_is_named_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    path.write_text("mine")
    assert refused(tmp_path, "--host", f"unix:{path}") == (
        1,
        f"Cannot listen on unix:{path}: the file is no socket.",
    )
    assert path.read_text() == "mine"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        assert refused(tmp_path, "--host", f"unix:{path}") == (
            1,
            f"The socket unix:{path} is in use by another process.",
        )
        # Nor does it matter that the other one does not accept.
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(5)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(str(path))
        assert refused(tmp_path, "--host", f"unix:{path}")[0] == 1
        for each in waiting:
            each.close()
        assert path.is_socket()
    absent = tmp_path / "no" / "sharq.sock"
    assert refused(tmp_path, "--host", f"127.0.0.1 unix:{absent}") == (
        1,
        f"Cannot listen on unix:{absent}: No such file or directory.",
    )


def test_a_path_that_is_too_long_is_said_in_one_line(tmp_path: Path) -> None:
    code, line = refused(tmp_path, "--host", f"unix:/{'s' * 107}")
    assert code == 2
    assert line.endswith("the path of a socket has at most 107 bytes")


def test_a_successor_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    place = f"unix:{path}"
    old = Listening([place], 0, 0o660, BACKLOG)
    old.close()
    new = Listening([place], 0, 0o600, BACKLOG)
    old.remove_files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    new.close()
    new.remove_files()
    assert not path.exists()


def test_a_server_that_still_ends_leaves_its_successor_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    homes = [tmp_path / "old", tmp_path / "new"]
    for home in homes:
        home.mkdir()
    arguments = ("--host", f"unix:{path}")
    with Server(homes[0], *arguments, SHARQ_SERVER_STOP_DELAY="100") as old:
        connection = UnixConnection(path)
        connection.putrequest("POST", "/enqueue/t/q/")
        body = json.dumps(JOB).encode()
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        old.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(str(path)) == errno.ECONNREFUSED

        wait_for("nobody listens", refuses)
        with Server(homes[1], *arguments):
            connection.send(body)
            assert connection.getresponse().status == 201
            connection.close()
            assert old.wait() == 0
            assert ask(path)[0] == 200


def test_of_many_that_start_at_once_one_has_the_socket(tmp_path: Path) -> None:
    place = f"unix:{tmp_path / 'sharq.sock'}"
    for _ in range(20):
        won: list[Listening] = []
        lost: list[CannotListen] = []

        def start(won: list[Listening] = won, lost: list[CannotListen] = lost) -> None:
            try:
                won.append(Listening([place], 0, 0o660, BACKLOG))
            except CannotListen as error:
                lost.append(error)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 3)
        # As if killed: the file stays.
        won[0].close()


def test_a_server_of_one_worker_after_another_serves_the_same_socket(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    with Server(tmp_path, "--host", f"unix:{path}", "--workers", "2") as server:
        for _ in range(3):
            for worker in server.children():
                os.kill(worker, signal.SIGKILL)
            wait_for("others serve", lambda: ask(path, "GET", "/deepstatus/")[0] == 200)
            assert path.is_socket()


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1 0.0.0.0", "unix:/s, ::", "127.0.0.1,::"])
def test_every_address_is_judged(tmp_path: Path, host: str) -> None:
    code, line = refused(tmp_path, "--host", host)
    assert code == 2
    exposed = host.replace(",", " ").split()[-1]
    assert f"others can reach it at {exposed}. " in line


def test_unix_sockets_have_no_limit_of_one_address(tmp_path: Path) -> None:
    path = tmp_path / "sharq.sock"
    more = {"SHARQ_SERVER_MAX_CONNECTIONS_PER_ADDRESS": "2"}
    with Server(tmp_path, "--host", f"unix:{path}", **more):
        connections = [UnixConnection(path) for _ in range(5)]
        for each in connections:
            assert call(each, "GET", "/")[0] == 200
        for each in connections:
            each.close()


# ---- without IPv6 ----

WITHOUT = [COMMAND[0], no_ipv6.__file__, *COMMAND]


@needs_filter
@pytest.mark.parametrize("host", ["::", "::1", "::1 ::", "fd00::1"])
def test_a_system_without_ipv6_is_said_in_one_line(tmp_path: Path, host: str) -> None:
    code, line = refused(tmp_path, "--host", host, "--insecure", command=WITHOUT)
    assert code == 1
    for place in host.split():
        assert f"This system has no IPv6: the server cannot listen on {place}." in line


@needs_filter
@pytest.mark.parametrize(
    ("host", "missing"),
    [
        ("localhost", []),
        ("127.0.0.1 ::1", ["::1"]),
        (":: 0.0.0.0", ["::"]),
        ("localhost ::1 ::", ["::1", "::"]),
    ],
)
def test_what_works_without_ipv6_is_served(tmp_path: Path, host: str, missing: list[str]) -> None:
    with Server(tmp_path, "--host", host, "--insecure", command=WITHOUT) as server:
        assert ask_at("127.0.0.1", server.port) == 200
        assert server.stop() == 0
        told = [line for line in server.log.splitlines() if "WARNING" in line and "IPv6" in line]
        assert len(told) == len(missing)
        for line, place in zip(told, missing, strict=True):
            assert line.endswith(f"the server cannot listen on {place}.")
        assert "Traceback" not in server.log


def test_the_greeting_says_who_can_reach_it_and_what_a_client_needs(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(line_for("secret", "one") + "\n")
    tokens.chmod(0o600)
    arguments = ("--host", "0.0.0.0")
    with Server(tmp_path, *arguments, SHARQ_SERVER_TOKEN_FILE=str(tokens)) as server:
        assert "and on all other addresses (0.0.0.0)" in server.output
        assert server.output.count('curl -H "Authorization: Bearer $SHARQ_TOKEN"') == 3
