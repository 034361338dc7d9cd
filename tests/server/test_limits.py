"""Sizes and times that a request has to keep to, and what it is told when it does not."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from sharq import Batch
from sharq_server import SharQServer
from sharq_server.http.listener import Listener
from sharq_server.http.pace import Pace
from tests.server.support import Raw, Rest
from tests.support.http import Connection

pytestmark = pytest.mark.gen_test

HOST = b"Host: localhost\r\n"
CHUNKED = b"POST /finish/t/q/j/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
MAX_PAYLOAD = 1000
MAX_BODY = MAX_PAYLOAD + 64 * 1024
MAX_BULK = 100_000


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    return {"sharq": {"max_payload_bytes": MAX_PAYLOAD, "max_bulk_bytes": MAX_BULK}}


def head(path: bytes, length: int, *more: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % length]
    return b"\r\n".join([*lines, *more]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        (b"/enqueue/t/q/", MAX_BODY),
        (b"/finish/t/q/j/", MAX_BODY),
        (b"/nowhere/", MAX_BODY),
        (b"/enqueue/", MAX_BULK),
    ],
)
async def test_a_body_over_the_routes_limit_is_refused_before_it_is_sent(
    raw: Raw, path: bytes, limit: int
) -> None:
    answer = await raw.send(head(path, limit + 1))
    assert answer.error == (413, "payload_too_large")
    assert str(limit) in answer.body["message"]
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("path", "limit"), [(b"/enqueue/t/q/", MAX_BODY), (b"/enqueue/", MAX_BULK)]
)
async def test_a_body_of_the_routes_limit_is_read(raw: Raw, path: bytes, limit: int) -> None:
    async with raw.connect() as connection:
        await connection.send(head(path, limit) + b" " * limit)
        assert (await connection.answer()).error == (400, "not_json")


async def test_a_client_that_expects_continue_is_refused_before_it_sends(raw: Raw) -> None:
    answer = await raw.send(head(b"/enqueue/t/q/", MAX_BODY + 1, b"Expect: 100-continue"))
    assert answer.error == (413, "payload_too_large")


async def test_a_client_that_sends_a_large_body_all_the_same_gets_its_answer(raw: Raw) -> None:
    async with raw.connect() as connection:
        size = 8 * 1024 * 1024
        await connection.send(head(b"/enqueue/t/q/", size))
        sending = asyncio.ensure_future(connection.send(b"x" * size))
        assert (await connection.answer()).error == (413, "payload_too_large")
        sending.cancel()


@pytest.mark.parametrize("path", [b"/enqueue/t/q/", b"/nowhere/"])
@pytest.mark.parametrize("size", [10, 40_000, 10_000_000])
async def test_a_chunked_body_over_the_limit_is_refused(raw: Raw, path: bytes, size: int) -> None:
    async with raw.connect() as connection:
        await connection.send(
            b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (path, HOST)
        )
        chunks = b"%x\r\n%b\r\n" % (size, b"x" * size)
        sending = asyncio.ensure_future(
            connection.send(chunks * (MAX_BODY // size + 2) + b"0\r\n\r\n")
        )
        assert (await connection.answer()).error == (413, "payload_too_large")
        assert await connection.ended()
        sending.cancel()


async def test_a_payload_over_its_limit_is_refused_and_the_connection_stays(raw: Raw) -> None:
    async with raw.connect() as connection:
        for size, expected in ((MAX_PAYLOAD + 1, 413), (MAX_PAYLOAD, 201)):
            payload = "x" * (size - 2)
            body = json.dumps({"job_id": "j", "interval": 0, "payload": payload}).encode()
            await connection.send(head(b"/enqueue/t/q/", len(body)) + body)
            answer = await connection.answer()
            assert answer.status == expected
            if expected == 413:
                assert answer.error == (413, "payload_too_large")
                assert "`payload`" in answer.body["message"]


@pytest.mark.parametrize("size", [16 * 1024, 17 * 1024, 100_000, 1_000_000])
async def test_headers_over_the_limit_are_refused(raw: Raw, size: int) -> None:
    async with raw.connect() as connection:
        request = b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * size + b"\r\n\r\n"
        sending = asyncio.ensure_future(connection.send(request))
        answer = await connection.answer()
        assert answer.error == (431, "headers_too_large")
        assert answer.headers["Connection"] == "close"
        assert await connection.ended()
        sending.cancel()


async def test_headers_over_the_limit_are_refused_later_on_a_connection_too(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await connection.answer()).status == 200
        await connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 20_000)
        assert (await connection.answer()).error == (431, "headers_too_large")


async def test_headers_under_the_limit_are_read(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(
            b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 15 * 1024 + b"\r\n\r\n"
        )
        assert (await connection.answer()).status == 200


REST_OF_HEAD = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("size", "end"),
    [
        *((size, REST_OF_HEAD) for size in (8193, 15_000, 20_000, 100_000, 1_000_000)),
        *((size, b"") for size in (20_000, 100_000, 1_000_000)),
    ],
)
async def test_a_url_over_the_limit_is_refused(raw: Raw, size: int, end: bytes) -> None:
    async with raw.connect() as connection:
        sending = asyncio.ensure_future(connection.send(b"GET /" + b"x" * size + end))
        assert (await connection.answer()).error == (414, "uri_too_long")
        assert await connection.ended()
        sending.cancel()


async def test_a_long_url_is_no_problem_of_its_own(rest: Rest) -> None:
    answer = await rest.get("/dequeue/t/?request_id=" + "x" * 8000)
    assert answer.error == (400, "invalid_argument")


@pytest.mark.parametrize(
    "data", [b"GET / HT", b"GET / HTTP/1.1\r\n" + HOST, head(b"/finish/t/q/j/", 2) + b"{"]
)
async def test_a_request_that_comes_too_late_for_a_server_that_ends_is_told_so(
    raw: Raw, http_server: Listener, data: bytes
) -> None:
    async with raw.connect() as connection:
        await connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await connection.answer()).status == 200
        await connection.send(data)
        await asyncio.sleep(0.05)
        http_server.stop()
        closing = asyncio.ensure_future(http_server.close_all_connections())
        answer = await connection.answer()
        assert answer.error == (503, "stopping")
        assert (answer.headers["Connection"], answer.headers["Retry-After"]) == ("close", "1")
        assert await connection.ended()
        await closing


class TestSlowClients:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"idle_connection_timeout": 0.2, "body_timeout": 0.2}

    @pytest.mark.parametrize(
        "data",
        [
            b"G",
            b"GET / HTTP/1.1",
            b"GET / HTTP/1.1\r\n" + HOST,
            head(b"/finish/t/q/j/", 2),
            head(b"/finish/t/q/j/", 2) + b"{",
            b"POST /finish/t/q/j/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n",
            b"POST /nowhere/ HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{",
        ],
    )
    async def test_a_request_that_does_not_come_in_time_is_given_up(
        self, raw: Raw, data: bytes
    ) -> None:
        answer = await raw.send(data)
        assert answer.error == (408, "request_timeout")
        assert answer.headers["Connection"] == "close"

    async def test_a_second_request_that_does_not_come_in_time_is_given_up(self, raw: Raw) -> None:
        async with raw.connect() as connection:
            await connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await connection.answer()).status == 200
            await connection.send(b"GET / HT")
            assert (await connection.answer()).error == (408, "request_timeout")

    async def test_a_client_that_sends_byte_after_byte_is_given_up_in_time(self, raw: Raw) -> None:
        async with raw.connect() as connection:
            await connection.send(head(b"/finish/t/q/j/", 1000))
            since = time.monotonic()
            drip = asyncio.ensure_future(self._drip(connection))
            assert (await connection.answer()).error == (408, "request_timeout")
            assert time.monotonic() - since < 2
            drip.cancel()

    @pytest.mark.parametrize("path", [b"/finish/t/q/j/", b"/metrics/t/"])
    async def test_a_large_body_has_its_time(self, raw: Raw, path: bytes) -> None:
        async with raw.connect() as connection:
            await connection.send(head(path, 30 * 2000))
            since = time.monotonic()
            while time.monotonic() - since < 0.6:
                await connection.send(b" " * 2000)
                await asyncio.sleep(0.02)
            await connection.send(b" " * 60_000)
            assert (await connection.answer()).status in (404, 405)

    async def test_what_is_around_chunks_is_no_progress(self, raw: Raw) -> None:
        async with raw.connect() as connection:
            await connection.send(CHUNKED)

            async def drip() -> None:
                while True:
                    await connection.send(b"1;%b\r\n \r\n" % (b"x" * 2000))
                    await asyncio.sleep(0.02)

            dripping = asyncio.ensure_future(drip())
            assert (await connection.answer()).error == (408, "request_timeout")
            dripping.cancel()

    async def test_a_large_body_in_chunks_has_its_time(self, raw: Raw) -> None:
        async with raw.connect() as connection:
            await connection.send(CHUNKED)
            since = time.monotonic()
            while time.monotonic() - since < 0.6:
                await connection.send(b"7d0\r\n%b\r\n" % (b" " * 2000))
                await asyncio.sleep(0.02)
            await connection.send(b"0\r\n\r\n")
            assert (await connection.answer()).error == (404, "not_active")

    def test_a_body_of_known_length_has_the_time_for_all_of_it(self) -> None:
        # 60 s and a second for each 16 KiB of a MiB, whenever it comes.
        pace = Pace(0.0, 1024 * 1024)
        for second in range(1, 125):
            pace.size += 1100
            assert not pace.is_slow(second, 10.0, held=False)
        assert pace.is_slow(125.0, 10.0, held=False)

    def test_the_time_of_a_body_stands_still_while_the_server_holds_it(self) -> None:
        pace = Pace(0.0)
        for second in range(1, 101):
            assert not pace.is_slow(second, 10.0, held=True)
        for second in range(101, 161):
            pace.size += 103
            assert not pace.is_slow(second, 10.0, held=False)
        assert pace.is_slow(161.0, 10.0, held=False)

    def test_a_kibibyte_in_any_ten_seconds_is_enough(self) -> None:
        pace = Pace(0.0, 1024 * 1024)
        pace.size = 1024
        assert not pace.is_slow(10.0, 10.0, held=False)
        pace.size += 1023
        assert not pace.is_slow(20.0, 10.0, held=False)
        assert pace.is_slow(20.5, 10.0, held=False)

    def test_a_body_has_a_rate_to_keep(self) -> None:
        pace = Pace(0.0)
        for second in range(1, 61):
            pace.size += 2000
            assert not pace.is_slow(second, 10.0, held=False)
        # 60 s and a second for each 16 KiB, of 120,000 bytes.
        assert not pace.is_slow(67.0, 10.0, held=False)
        assert pace.is_slow(68.0, 10.0, held=False)
        assert not pace.is_slow(68.0, 10.0, held=True)

    async def test_an_idle_connection_ends_without_a_word(self, raw: Raw) -> None:
        async with raw.connect() as connection:
            assert await connection.ended()
        async with raw.connect() as connection:
            await connection.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await connection.answer()).status == 200
            assert await connection.ended()

    async def test_a_request_that_waits_for_the_store_is_not_late(
        self, raw: Raw, server: SharQServer, http_server: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked, answered = asyncio.Event(), asyncio.Event()

        async def run(_flow: object) -> Batch:
            asked.set()
            await answered.wait()
            return Batch("t", [-1, 0, -1])

        monkeypatch.setattr(server.engine, "run", run)
        async with raw.connect() as connection:
            await connection.send(head(b"/dequeue/t/", 2) + b"{}")
            await asked.wait()
            await http_server.close_all_connections()
            assert await connection.ended()
        answered.set()

    @staticmethod
    async def _drip(connection: Connection) -> None:
        while True:
            await connection.send(b" ")
            await asyncio.sleep(0.02)
