"""What a trusted proxy says of its clients, where it counts, and what others say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import RequestHandler

from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.api import openapi
from sharq_server.http.access_log import AccessLog
from tests.server.subscriber import Subscriber
from tests.server.support import Raw, Rest, until, write_tokens
from tests.support.http import Connection

pytestmark = pytest.mark.gen_test

BEARER = {"Authorization": "Bearer worker"}
FORWARDED = {
    "X-Forwarded-For": "6.6.6.6, 1.2.3.4",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/queue",
}


@pytest.fixture
def trusted() -> str:
    return "127.0.0.1, 10.0.0.0/8"


@pytest.fixture
def options(tmp_path: Path, trusted: str) -> dict[str, dict[str, Any]]:
    write_tokens(tmp_path / "tokens", {"worker": (["enqueue", "dequeue", "finish"], ["t"])})
    return {
        "sharq-server": {
            "trusted_proxies": trusted,
            "token_file": str(tmp_path / "tokens"),
            "heartbeat": 100,
        }
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


class _Tell(RequestHandler):
    def get(self) -> None:
        self.write({"remote_ip": self.request.remote_ip, "protocol": self.request.protocol})


@pytest.fixture
def server(io_loop: IOLoop, settings: Settings, path: Path) -> Iterator[SharQServer]:
    log = AccessLog(str(path))
    server = SharQServer(settings, log)
    server.app.add_handlers(".*", [("/tell", _Tell)])
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)
    log.close()


def words(path: Path) -> list[list[str]]:
    """The words of each line of the access log."""
    return [line.split() for line in path.read_text().splitlines()]


def users(path: Path) -> list[tuple[str, str]]:
    """Address and token of each line of the access log."""
    return [(line[0], line[2]) for line in words(path)]


HOT = ("GET", "/dequeue/t/")
OTHERS = [
    ("GET", "/dequeue/t/?wait=0.01"),
    ("POST", "/enqueue/t/q/"),
    ("GET", "/nowhere"),
]


async def test_the_log_has_the_client(rest: Rest, path: Path) -> None:
    for method, route in (HOT, *OTHERS):
        body = b"{}" if method == "POST" else None
        await rest.call(method, route, body, {**BEARER, **FORWARDED})
    await asyncio.sleep(0)
    assert users(path) == [("1.2.3.4", "worker")] * 4


async def test_several_fields_are_one(raw: Raw, path: Path) -> None:
    async with raw.connect() as connection:
        for route in (HOT[1], f"{HOT[1]}?wait=0"):
            fields = "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 10.1.1.1\r\n"
            fields += "Authorization: Bearer worker\r\n"
            await connection.send(
                f"GET {route} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
            )
            assert (await connection.answer()).status == 404
    assert users(path) == [("1.2.3.4", "worker")] * 2


async def test_handlers_and_the_description_have_it_too(rest: Rest) -> None:
    told = (await rest.call("GET", "/tell", headers=FORWARDED)).body
    assert told == {"remote_ip": "1.2.3.4", "protocol": "https"}
    assert (await rest.get("/tell")).body == {"remote_ip": "127.0.0.1", "protocol": "http"}
    described = (await rest.call("GET", "/openapi.json", headers=FORWARDED)).body
    assert described["servers"] == [{"url": "/queue"}]
    assert "servers" not in (await rest.get("/openapi.json")).body


async def test_a_request_does_not_speak_for_the_next_one(raw: Raw, path: Path) -> None:
    async with raw.connect() as connection:
        for fields in ("X-Forwarded-For: 1.2.3.4\r\n", "", "X-Forwarded-For: nonsense\r\n"):
            await connection.send(f"GET /tell HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
            assert (await connection.answer()).status == 200
    assert [user for user, _ in users(path)] == ["1.2.3.4", "127.0.0.1", "127.0.0.1"]


async def test_a_token_has_its_name_where_it_is_known(rest: Rest, path: Path) -> None:
    job = {"job_id": "j", "interval": 0, "payload": 1}
    await rest.call("POST", "/enqueue/t/q/", job, BEARER)
    await rest.call("POST", "/enqueue/other/q/", job, BEARER)
    await rest.call("POST", "/enqueue/t/q/", job, {"Authorization": "Bearer unknown"})
    await rest.call("POST", "/enqueue/t/q/", job)
    await rest.get("/")
    assert [(line[2], line[8]) for line in words(path)] == [
        ("worker", "201"),
        ("worker", "403"),
        ("-", "401"),
        ("-", "401"),
        ("-", "200"),
    ]
    assert not [line for line in words(path) if "Bearer" in line]


async def test_subscribers_are_logged_by_their_own_address(
    http_server: object, http_port: int, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    protocol = "sharq.v1.json, sharq.bearer.d29ya2Vy"
    for fields in (BEARER, {"Sec-WebSocket-Protocol": protocol}):
        reader, writer = await asyncio.open_connection("127.0.0.1", http_port)
        lines = {
            "Host": "localhost",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **FORWARDED,
            **fields,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection = Connection(reader, writer)
        await connection.send(f"GET /ws/ HTTP/1.1\r\n{head}\r\n".encode())
        # It never answers a ping.
        await until(lambda: "Subscriber at 1.2.3.4 timed out" in caplog.text)
        connection.close()
        caplog.clear()
    assert users(path) == [("1.2.3.4", "worker")] * 2


class TestFromOthers:
    @pytest.fixture
    def trusted(self) -> str:
        return "10.0.0.0/8, unix"

    async def test_it_is_ignored(self, rest: Rest, path: Path, http_port: int) -> None:
        for method, route in (HOT, *OTHERS):
            body = b"{}" if method == "POST" else None
            await rest.call(method, route, body, {**BEARER, **FORWARDED})
        assert users(path) == [("127.0.0.1", "worker")] * 4
        told = (await rest.call("GET", "/tell", headers=FORWARDED)).body
        assert told == {"remote_ip": "127.0.0.1", "protocol": "http"}
        described = (await rest.call("GET", "/openapi.json", headers=FORWARDED)).body
        assert "servers" not in described
        async with await Subscriber.connect(http_port, **BEARER, **FORWARDED):
            assert users(path)[-1] == ("127.0.0.1", "worker")

    async def test_on_a_unix_socket_it_counts(
        self, http_server: Any, tmp_path: Path, path: Path
    ) -> None:
        http_server.add_sockets([bind_unix_socket(str(tmp_path / "s"))])
        await asyncio.sleep(0)
        for fields, address in ((FORWARDED, "1.2.3.4"), ({}, "0.0.0.0")):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            connection = Connection(reader, writer)
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            await connection.send(f"GET /tell HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode())
            answer = await connection.answer()
            assert answer.body["remote_ip"] == address
            connection.close()
        assert [address for address, _ in users(path)] == ["1.2.3.4", "unix:"]


class TestUnderTornadosServer:
    @pytest.fixture
    def rest(self, io_loop: IOLoop, server: SharQServer) -> Iterator[Rest]:
        sockets = bind_sockets(0, "127.0.0.1")
        stock = HTTPServer(server.app)
        stock.add_sockets(sockets)
        client = AsyncHTTPClient(force_instance=True)
        yield Rest(client, sockets[0].getsockname()[1])
        client.close()
        stock.stop()
        io_loop.run_sync(stock.close_all_connections)

    async def test_routes_have_the_client_and_the_prefix(self, rest: Rest, path: Path) -> None:
        await rest.call("GET", HOT[1], headers={**BEARER, **FORWARDED})
        described = (await rest.call("GET", "/openapi.json", headers=FORWARDED)).body
        assert described["servers"] == [{"url": "/queue"}]
        await rest.call("GET", HOT[1], headers=BEARER)
        assert users(path) == [("1.2.3.4", "worker"), ("1.2.3.4", "-"), ("127.0.0.1", "worker")]


def test_the_description_is_the_same_but_for_its_place() -> None:
    plain, below = (json.loads(openapi.reply(prefix).body) for prefix in ("", "/queue"))
    assert below.pop("servers") == [{"url": "/queue"}]
    assert plain == below
