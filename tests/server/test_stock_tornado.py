"""The application under Tornado's own HTTP server, as a program of somebody else may run it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from sharq_server import SharQServer
from sharq_server.api.routes import ROUTES
from tests.server.subscriber import Subscriber
from tests.server.support import Raw, Rest, until, write_tokens

pytestmark = pytest.mark.gen_test(timeout=20)

JOB = {"job_id": "j", "interval": 0, "payload": 1}


@pytest.fixture
def port(io_loop: IOLoop, server: SharQServer) -> Iterator[int]:
    sockets = bind_sockets(0, "127.0.0.1")
    stock = HTTPServer(server.app)
    stock.add_sockets(sockets)
    yield sockets[0].getsockname()[1]
    stock.stop()
    io_loop.run_sync(stock.close_all_connections)


@pytest.fixture
def rest(io_loop: IOLoop, port: int) -> Iterator[Rest]:
    client = AsyncHTTPClient(force_instance=True)
    yield Rest(client, port)
    client.close()


@pytest.fixture
def raw(port: int) -> Raw:
    return Raw(port)


async def test_every_route_is_served(rest: Rest) -> None:
    asked: list[tuple[str, str, Any, int]] = [
        ("GET", "/", None, 200),
        ("GET", "/openapi.json", None, 200),
        ("GET", "/deepstatus/", None, 200),
        ("POST", "/enqueue/t/q/", JOB, 201),
        ("POST", "/enqueue/", {"jobs": [{**JOB, "queue_type": "u", "queue_id": "r"}]}, 200),
        ("GET", "/status/t/q/j/", None, 200),
        ("GET", "/dequeue/t/", None, 200),
        ("POST", "/extend/t/q/j/", {"by": 1000}, 200),
        ("POST", "/release/t/q/j/", None, 200),
        ("POST", "/dequeue/t/?wait=5", None, 200),
        ("POST", "/fail/t/q/j/", {"delay": 0}, 200),
        ("POST", "/dequeue/t/?wait=5", None, 200),
        ("POST", "/finish/t/q/j/", None, 200),
        ("GET", "/dequeue/", None, 404),
        ("POST", "/interval/u/r/", {"interval": 5}, 200),
        ("DELETE", "/interval/u/r/", None, 200),
        ("POST", "/limits/u/r/", {"burst": 5}, 200),
        ("GET", "/limits/u/", None, 200),
        ("GET", "/shards/u/", None, 200),
        ("POST", "/shards/u/", {"shards": 1}, 200),
        ("POST", "/pause/u/?group=g", None, 200),
        ("POST", "/resume/u/?group=g", None, 200),
        ("GET", "/dead/t/", None, 200),
        ("POST", "/dead/t/retry", {"all": True}, 202),
        ("GET", "/dead/t/retry", None, 200),
        ("GET", "/metrics/", None, 200),
        ("GET", "/metrics/t/", None, 200),
        ("GET", "/metrics/u/r/", None, 200),
        ("GET", "/doctor/", None, 200),
        ("GET", "/jobs/u/r/", None, 200),
        ("GET", "/leases/u/r/", None, 200),
        ("POST", "/recount/u/", None, 200),
        ("DELETE", "/job/u/r/j/", None, 200),
        ("DELETE", "/deletequeue/u/r/", None, 200),
    ]
    for method, path, body, status in asked:
        answer = await rest.call(method, path, b"" if method == "POST" and not body else body)
        assert answer.status == status, (method, path, answer)
        assert answer.body.get("code") in (None, "nothing_ready"), (method, path, answer)
    metrics = await rest.get("/prometheus/")
    assert (metrics.status, metrics.text[:13]) == (200, b"# HELP sharq_")
    found = {path.split("/")[1] for _, path, _, _ in asked} | {"prometheus"}
    assert found == {route.first for route in ROUTES}
    assert (await rest.get("/nowhere")).error == (404, "not_found")
    assert (await rest.post("/metrics/")).error == (405, "method_not_allowed")


async def test_a_body_in_gzip_is_decoded(rest: Rest) -> None:
    head = {"Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(JOB).encode())
    assert (await rest.call("POST", "/enqueue/t/q/", body, head)).status == 201
    assert (await rest.call("POST", "/enqueue/t/q/", body[:-1], head)).error == (400, "bad_request")
    bomb = gzip.compress(b" " * 1_200_000)
    answer = await rest.call("POST", "/enqueue/t/q/", bomb, head)
    assert answer.error == (413, "payload_too_large")


async def test_the_page_is_served(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET /ui/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in await connection.until(b"\r\n\r\n")
        assert b"<html" in await connection.until(b"</title>")


@pytest.mark.parametrize(
    ("field", "error"),
    [
        (b"Host: evil.example", (403, "forbidden")),
        (b"Host: localhost\r\nOrigin: http://evil.example", (403, "forbidden")),
        (b"Host: localhost\r\nSec-Fetch-Site: cross-site", (403, "forbidden")),
        (b"Host: localhost\r\nContent-Encoding: br", (415, "unsupported_media_type")),
        (b"Host: localhost\r\nExpect: more", (417, "expectation_failed")),
    ],
)
async def test_who_may_not_is_refused(
    raw: Raw, server: SharQServer, field: bytes, error: tuple[int, str]
) -> None:
    body = json.dumps(JOB).encode()
    head = b"POST /enqueue/t/q/ HTTP/1.1\r\n%b\r\nContent-Length: %d\r\n\r\n" % (field, len(body))
    async with raw.connect() as connection:
        await connection.send(head + body)
        assert (await connection.answer()).error == error
    assert not len(await server.sq.take("t"))


async def test_a_body_over_the_limit_is_refused_before_it_comes(raw: Raw) -> None:
    head = b"POST /enqueue/t/q/ HTTP/1.1\r\nHost: localhost\r\n"
    answer = await raw.send(head + b"Content-Length: 99999999\r\n\r\n")
    assert answer.error == (413, "payload_too_large")
    async with raw.connect() as connection:
        await connection.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        sending = asyncio.ensure_future(
            connection.send(b"100000\r\n%b\r\n" % (b" " * 0x100000) * 3)
        )
        assert (await connection.answer()).error == (413, "payload_too_large")
        sending.cancel()


SLOW = [b"Content-Length: 40000", b"Transfer-Encoding: chunked"]


def part(length: bytes, size: int) -> bytes:
    """A piece of a body, in its chunk if it has one."""
    return b"%x\r\n%b\r\n" % (size, b" " * size) if length == SLOW[1] else b" " * size


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sharq_server.http.pace.BODY_SECONDS", 0.2)
    monkeypatch.setattr("sharq_server.http.pace._LOOK_EVERY", 0.05)


@pytest.mark.parametrize("path", [b"/enqueue/t/q/", b"/finish/t/q/j/"])
@pytest.mark.parametrize("length", SLOW)
@pytest.mark.usefixtures("short_times")
async def test_a_body_that_comes_too_slowly_is_given_up(
    raw: Raw, path: bytes, length: bytes, server: SharQServer
) -> None:
    async with raw.connect() as connection:
        await connection.send(b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (path, length))

        async def drip() -> None:
            with suppress(OSError):
                while True:
                    await connection.send(part(length, 1))
                    await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        assert (await connection.answer()).error == (408, "request_timeout")
        dripping.cancel()
    await until(lambda: not server.app.under_way)


@pytest.mark.parametrize("length", SLOW)
@pytest.mark.usefixtures("short_times")
async def test_a_body_that_comes_well_is_waited_for(raw: Raw, length: bytes) -> None:
    async with raw.connect() as connection:
        head = b"POST /finish/t/q/j/ HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % length
        await connection.send(head)
        for _ in range(20):
            await connection.send(part(length, 2000))
            await asyncio.sleep(0.03)
        if length == SLOW[1]:
            await connection.send(b"0\r\n\r\n")
        assert (await connection.answer()).error == (404, "not_active")


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        write_tokens(tmp_path / "tokens", {"worker": (["dequeue", "finish"], ["t"])})
        return {"sharq-server": {"token_file": str(tmp_path / "tokens")}}

    async def test_who_brings_none_is_refused(self, rest: Rest, port: int) -> None:
        assert (await rest.get("/dequeue/t/")).error == (401, "unauthorized")
        bearer = {"Authorization": "Bearer worker"}
        assert (await rest.call("GET", "/dequeue/t/", headers=bearer)).status == 404
        assert (await rest.call("GET", "/dequeue/u/", headers=bearer)).status == 403
        with pytest.raises(HTTPClientError, match="401"):
            await Subscriber.connect(port)
        async with await Subscriber.connect(port, **bearer) as subscriber:
            answer = await subscriber.ask(op="subscribe", queue_type="u", credit=1)
            assert answer["code"] == "forbidden"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Upgrade": None}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "x"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"method": "POST"}, 405),
    ],
)
async def test_a_handshake_is_refused_as_elsewhere(
    raw: Raw, fields: dict[str, str | None], status: int
) -> None:
    given: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "rSg7uRqebWB2f3l5A99MoA==",
        "Sec-WebSocket-Version": "13",
        **fields,
    }
    method = given.pop("method", "GET")
    lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
    async with raw.connect() as connection:
        await connection.send("\r\n".join([f"{method} /ws/ HTTP/1.1", *lines, "", ""]).encode())
        assert (await connection.answer()).status == status


async def test_a_job_from_subscribe_to_finish(rest: Rest, port: int, server: SharQServer) -> None:
    async with await Subscriber.connect(port) as subscriber:
        await subscriber.subscribe(credit=2)
        await rest.enqueue(payload="x" * 300_000)
        await rest.enqueue(job_id="k")
        jobs = await subscriber.jobs(2)
        assert await subscriber.finish(*jobs) == ["success"] * 2
        subscriber.send(op="ping")
        await subscriber.event("pong")
        subscriber.socket.write_message(b"binary", binary=True)
        assert await subscriber.closed() == 1003
    await until(lambda: not server.push.sessions)


async def test_leases_of_who_leaves_stay_and_what_was_not_written_goes_back(
    rest: Rest, port: int, server: SharQServer
) -> None:
    for at in range(40):
        await rest.enqueue(path=f"t/q{at}", job_id=f"j{at}", payload="x" * 250_000)
    subscriber = await Subscriber.connect(port)
    # Its client library reads no more than a message ahead of who asks for them.
    subscriber.send(op="subscribe", queue_type="t", credit=40)
    (session,) = server.push.sessions
    await until(lambda: session._unwritten)
    lost = [lease for *_, delivery in session._unwritten for lease in delivery.leases]
    assert lost
    session.abort()
    await until(lambda: session.closed and not server.push.dispatcher.redelivery.busy)
    for lease in lost:
        queue_type, queue_id, job_id, _ = lease.split("/")
        answer = await rest.get(f"/status/{queue_type}/{queue_id}/{job_id}/")
        assert answer.body["state"] == "queued"


async def test_a_drain_ends_waits_and_sessions(rest: Rest, port: int, server: SharQServer) -> None:
    async with await Subscriber.connect(port) as subscriber:
        await subscriber.subscribe()
        waiting = asyncio.ensure_future(rest.get("/dequeue/u/?wait=20"))
        await until(lambda: server.push._polls)
        server.app.draining = True
        draining = asyncio.ensure_future(server.push.drain(5.0))
        await subscriber.event("draining")
        assert (await waiting).error == (503, "stopping")
        assert await subscriber.closed() == 1012
        await draining
    answer = await rest.get("/")
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    with pytest.raises(HTTPClientError, match="503"):
        await Subscriber.connect(port)
