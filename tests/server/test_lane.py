"""The fast lane as a connection: order, back-pressure, half-closed clients, what it hands on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import websocket_connect

from sharq_server import SharQServer
from sharq_server.http.listener import Listener
from sharq_server.process.event_loop import loop_factory
from tests.server.conftest import ExpectLog
from tests.server.support import Raw, Rest

pytestmark = pytest.mark.gen_test(timeout=20)

HOST = b"Host: localhost\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> Any:
    return asyncio.SelectorEventLoop if request.param == "asyncio" else loop_factory()


def enqueue(job_id: str, path: str = "t/q", **more: Any) -> bytes:
    body = json.dumps({"job_id": job_id, "interval": 0, "payload": 1, **more}).encode()
    head = f"POST /enqueue/{path}/ HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode()


# ---- order ----


async def test_many_pipelined_requests_of_all_kinds_keep_their_order(raw: Raw) -> None:
    requests, expected = [], []
    for at in range(300):
        requests += [enqueue(f"j{at}"), get("/metrics/t/q/"), get("/dequeue/t/?count=2")]
        requests += [b"POST /finish/t/q/j%d/ HTTP/1.1\r\nHost: a\r\n\r\n" % at, get("/nowhere")]
        expected += [201, 200, 200, 200, 404]
    async with raw.connect() as connection:
        sending = asyncio.ensure_future(connection.send(b"".join(requests)))
        assert [(await connection.answer()).status for _ in expected] == expected
        await sending


async def test_what_is_malformed_behind_others_is_refused_in_its_turn(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(enqueue("j") + get("/metrics/t/") + b"GET / HTTP/9.9\r\n\r\n")
        statuses = [(await connection.answer()).status for _ in range(3)]
        assert statuses == [201, 200, 400]
        assert await connection.ended()


async def test_a_refused_body_behind_others_is_refused_in_its_turn(raw: Raw, rest: Rest) -> None:
    chunked = b"POST /enqueue/t/q/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with raw.connect() as connection:
        await connection.send(get("/metrics/t/") + chunked + b"x\r\n" + enqueue("after"))
        assert [(await connection.answer()).status for _ in range(2)] == [200, 400]
        assert await connection.ended()
    assert (await rest.get("/dequeue/t/")).status == 404


@pytest.mark.parametrize("pause", [False, True])
async def test_a_head_is_judged_before_a_body_that_is_none(raw: Raw, pause: bool) -> None:
    head = b"HEAD /nowhere HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with raw.connect() as connection:
        if pause:
            await connection.send(head)
            await asyncio.sleep(0.02)
        await connection.send((b"" if pause else head) + b"ZZ\r\n")
        assert (await connection.answer(head=True)).status == 403


async def test_bad_bodies_in_a_row_do_not_nest(raw: Raw) -> None:
    bad = b"POST /enqueue/t/q/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{"
    async with raw.connect() as connection:
        sending = asyncio.ensure_future(connection.send(bad * 3000))
        for _ in range(3000):
            assert (await connection.answer()).error == (400, "not_json")
        await sending


# ---- one connection's requests in the store ----


async def test_what_comes_in_a_turn_is_one_call_for_each_kind(
    raw: Raw, server: SharQServer, settings: Any
) -> None:
    store = server.sq.redis_client()
    await server.sq.ping()
    async with raw.connect() as first:
        await first.send(enqueue("warm"))
        assert (await first.answer()).status == 201
    connections = [await raw.open() for _ in range(20)]
    await store.config_resetstat()
    for at, connection in enumerate(connections):
        connection.write(enqueue(f"j{at}", f"t/q{at % 5}"))
    assert {(await connection.answer()).status for connection in connections} == {201}
    for connection in connections:
        connection.write(get("/dequeue/t/"))
    answers = [(await connection.answer()).body for connection in connections]
    assert len({answer["lease"] for answer in answers}) == 20
    for answer, connection in zip(answers, connections, strict=True):
        body = json.dumps({"lease": answer["lease"]}).encode()
        path = f"/finish/t/{answer['queue_id']}/{answer['job_id']}/"
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.write(head.encode() + body)
    assert {(await connection.answer()).status for connection in connections} == {200}
    calls: Any = await store.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] < 30
    for connection in connections:
        connection.close()


async def test_what_one_asks_for_in_vain_does_not_touch_the_others(raw: Raw) -> None:
    connections = [await raw.open() for _ in range(4)]
    requests = [
        enqueue("a", interval=1),
        enqueue("b", payload=2, interval=1, requeue_limit=-5),
        enqueue("a", payload=3, interval=1),
        enqueue("a", interval=1),
    ]
    for connection, request in zip(connections, requests, strict=True):
        connection.write(request)
    answers = [await connection.answer() for connection in connections]
    assert [answer.status for answer in answers] == [201, 400, 409, 201]
    assert answers[3].body == {"status": "queued", "duplicate": True}
    for connection in connections:
        connection.write(get("/dequeue/t/"))
    statuses = sorted([(await connection.answer()).status for connection in connections])
    assert statuses == [200, 404, 404, 404]
    for connection in connections:
        connection.close()


# ---- methods, upgrades, versions ----


@pytest.mark.parametrize("method", ["FOO", "CONNECT", "BREW", "X-1.~"])
async def test_a_method_that_nobody_knows_gets_405(raw: Raw, method: str) -> None:
    async with raw.connect() as connection:
        for _ in range(2):
            await connection.send(f"{method} /finish/t/q/j/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = await connection.answer()
            assert answer.error == (405, "method_not_allowed")
            assert answer.headers["Allow"] == "POST"


async def test_an_upgrade_that_nobody_takes_is_no_upgrade(raw: Raw, rest: Rest) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    async with raw.connect() as connection:
        await connection.send(get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
        assert (await connection.answer()).body == {"message": "Hello, SharQ!"}
        job = enqueue("j").replace(b"Host: a\r\n", b"Host: a\r\n" + upgrade)
        await connection.send(job + get("/metrics/t/"))
        assert (await connection.answer()).status == 201
        assert (await connection.answer()).body["queue_ids"] == ["q"]
    assert (await rest.get("/dequeue/t/")).body["job_id"] == "j"


async def test_what_follows_an_upgrade_at_once_reaches_the_websocket(
    raw: Raw, http_port: int
) -> None:
    head = get(
        "/ws/",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
    )
    text = b'{"op":"ping","id":7}'
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
    async with raw.connect() as connection:
        await connection.send(head + frame)
        assert b"101 Switching Protocols" in await connection.until(b"\r\n\r\n")
        assert b'"event":"welcome"' in await connection.until(b'"limits"')
        assert b'"event":"pong"' in await connection.until(b'"id":7')


async def test_a_websocket_is_taken_over(raw: Raw, http_port: int) -> None:
    socket = await websocket_connect(f"ws://127.0.0.1:{http_port}/ws/")
    assert json.loads(await socket.read_message() or "")["event"] == "welcome"
    await socket.write_message('{"op":"ping"}')
    assert json.loads(await socket.read_message() or "")["event"] == "pong"
    socket.close()


async def test_an_option_to_close_counts_among_others(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET / HTTP/1.0\r\nConnection: keep-alive, Close\r\n\r\n")
        assert (await connection.answer()).status == 200
        assert await connection.ended()


@pytest.mark.parametrize("kept", [False, True])
async def test_http_1_0_keeps_a_connection_where_it_is_asked_to(raw: Raw, kept: bool) -> None:
    fields = b"Connection: Keep-Alive\r\n" if kept else b""
    body = b'{"job_id":"j","interval":0,"payload":1}'
    request = b"POST /enqueue/t/q/ HTTP/1.0\r\n%bContent-Length: %d\r\n\r\n%b" % (
        fields,
        len(body),
        body,
    )
    async with raw.connect() as connection:
        await connection.send(request)
        answer = await connection.answer()
        assert answer.status == 201
        if kept:
            assert answer.headers["Connection"] == "Keep-Alive"
            await connection.send(request)
            assert (await connection.answer()).body["duplicate"] is True
        else:
            assert await connection.ended()


# ---- clients that close, and clients that do not read ----


async def test_a_half_closed_client_gets_its_answer(raw: Raw) -> None:
    for request, status in ((enqueue("j"), 201), (get("/metrics/t/q/"), 200)):
        async with raw.connect() as connection:
            await connection.send(request)
            connection.write_eof()
            assert (await connection.answer()).status == status
            assert await connection.ended()


async def test_a_client_that_closes_in_a_wait_is_given_nothing(raw: Raw, rest: Rest) -> None:
    async with raw.connect() as connection:
        await connection.send(get("/dequeue/t/?wait=20"))
        await asyncio.sleep(0.05)
    await rest.enqueue()
    assert (await rest.get("/dequeue/t/?wait=2")).body["job_id"] == "j"


async def test_a_client_that_does_not_read_is_read_from_no_more(
    raw: Raw, http_server: Listener, server: SharQServer
) -> None:
    class Large(RequestHandler):
        asked = 0

        def get(self) -> None:
            type(self).asked += 1
            self.write(b"x" * 4_000_000)

    server.app.add_handlers(r".*", [(r"/large", Large)])
    async with raw.connect(limit=1024) as connection:
        sending = asyncio.ensure_future(connection.send(get("/large") * 5000))
        while not Large.asked:
            await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert Large.asked <= 3
        assert not sending.done() or Large.asked <= 3
        sending.cancel()


class TestTimes:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"idle_connection_timeout": 0.2}

    async def test_a_client_that_never_reads_is_closed(
        self, raw: Raw, http_server: Listener, server: SharQServer
    ) -> None:
        class Large(RequestHandler):
            def get(self) -> None:
                self.write(b"x" * 20_000_000)

        server.app.add_handlers(r".*", [(r"/large", Large)])
        async with raw.connect(limit=1024) as connection:
            await connection.send(get("/large"))
            while not http_server.connections:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                while http_server.connections:
                    await asyncio.sleep(0.01)


# ---- Tornado's handlers ----


class Pieces(RequestHandler):
    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        for piece in (b"one ", b"two ", b"three"):
            self.write(piece)
            await self.flush()


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.sizes: list[int] = []

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.sizes.append(len(chunk))

    def post(self) -> None:
        self.write({"size": sum(self.sizes), "streamed": len(self.sizes) > 1})


class Broken(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Length", "10")
        self.write(b"short")


class Waiting(RequestHandler):
    closed = False

    async def get(self) -> None:
        with suppress(StreamClosedError):
            while True:
                self.write(b"x")
                await self.flush()
                await asyncio.sleep(0.01)

    def on_connection_close(self) -> None:
        type(self).closed = True


@pytest.fixture(autouse=True)
def handlers(new_loop: Any, server: SharQServer) -> None:
    routes = [("/pieces", Pieces), ("/upload", Upload), ("/broken", Broken), ("/waiting", Waiting)]
    server.app.add_handlers(r".*", routes)


async def test_a_handler_may_send_its_answer_in_pieces(raw: Raw, rest: Rest) -> None:
    answer = await rest.call("HEAD", "/pieces")
    assert (answer.status, answer.text) == (200, b"")
    async with raw.connect() as connection:
        await connection.send(get("/pieces"))
        head = await connection.until(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        body = await connection.until(b"0\r\n\r\n")
        assert body == b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"
        await connection.send(b"GET /pieces HTTP/1.0\r\n\r\n")
        assert b"chunked" not in await connection.until(b"\r\n\r\n")
        assert await connection.until(b"three") == b"one two three"
        assert await connection.ended()


async def test_a_handler_may_take_a_body_in_pieces(raw: Raw) -> None:
    async with raw.connect() as connection:
        size = 900_000
        await connection.send(
            b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        )
        for _ in range(9):
            await connection.send(b"x" * 100_000)
        assert (await connection.answer()).body == {"size": size, "streamed": True}


async def test_an_answer_shorter_than_it_says_ends_the_connection(
    raw: Raw, expect_log: ExpectLog
) -> None:
    expect_log("failed|Uncaught|Cannot send error|Failed to flush", certain=False)
    async with raw.connect() as connection:
        await connection.send(get("/broken"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await connection.answer()


async def test_a_handler_is_told_that_its_client_has_gone(raw: Raw) -> None:
    Waiting.closed = False
    async with raw.connect() as connection:
        await connection.send(get("/waiting"))
        await connection.until(b"x")
    async with asyncio.timeout(5):
        while not Waiting.closed:
            await asyncio.sleep(0.01)


# ---- the end ----


async def test_connections_leave_nothing_behind(
    raw: Raw, http_server: Listener, server: SharQServer, io_loop: IOLoop
) -> None:
    for request in (get("/"), enqueue("j"), get("/pieces"), b"G@T\r\n\r\n", b"GET / HT"):
        async with raw.connect() as connection:
            await connection.send(request)
            await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        while http_server.connections or server.app.under_way:
            await asyncio.sleep(0.01)
