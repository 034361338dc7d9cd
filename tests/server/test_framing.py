"""What is no HTTP/1.1 request gets one JSON answer and the end of its connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sharq_server import SharQServer
from tests.server.support import Raw, Rest

pytestmark = pytest.mark.gen_test

HOST = b"Host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST /finish/t/q/j/ HTTP/1.1\r\n" + HOST

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

TLS_HELLO = bytes.fromhex("16030100c4010000c00303") + bytes(range(128, 160)) + b"\x00\x2c"

MALFORMED = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": GET + HOST + b"\r\n",
    "two Hosts in one": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a slash in Host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a space in Host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "an at sign in Host": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "no ASCII in Host": b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/0.9 with headers": b"GET /\r\n" + HOST + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "TLS": TLS_HELLO,
    "bare CR in a header": GET + b"A: b\rc\r\n\r\n",
    "bare CR ends a line": GET + b"A: b\rB: c\r\n\r\n",
    "bare CRs only": b"GET / HTTP/1.1\rHost: localhost\r\r",
    "space before the colon": GET + b"A : b\r\n\r\n",
    "folded header": GET + b"A: b\r\n c\r\n\r\n",
    "folded first header": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "NUL in a header": GET + b"A: b\x00c\r\n\r\n",
    "NUL in the request line": b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no colon": GET + b"A\r\n\r\n",
    "empty header name": GET + b": b\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "one length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "one length twice in one": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "two lengths in one": POST + b"Content-Length: 2, 3\r\n\r\n{}",
    "length and encoding": POST
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length -1": POST + b"Content-Length: -1\r\n\r\n",
    "length +7": POST + b"Content-Length: +7\r\n\r\n{     }",
    "length 1_0": POST + b"Content-Length: 1_0\r\n\r\n{        }",
    "length of 20 digits": POST + b"Content-Length: " + b"1" * 20 + b"\r\n\r\n",
    "length empty": POST + b"Content-Length: \r\n\r\n",
    "length hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "encoding gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "encoding identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "encoding xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "encoding empty": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "encoding twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "encoding in HTTP/1.0": b"POST /finish/t/q/j/ HTTP/1.0\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunk size 0x7": POST + CHUNKED + b"0x7\r\n1234567\r\n0\r\n\r\n",
    "chunk size +7": POST + CHUNKED + b"+7\r\n1234567\r\n0\r\n\r\n",
    "chunk size -1": POST + CHUNKED + b"-1\r\n\r\n",
    "chunk size of 17 Fs": POST + CHUNKED + b"F" * 17 + b"\r\n",
    "chunk size without an end": POST + CHUNKED + b"0" * 20_000,
    "bad end of a chunk": POST + CHUNKED + b"2\r\n{}xx0\r\n\r\n",
    "bad end of the chunks": POST + CHUNKED + b"2\r\n{}\r\n0\r\nxx\r\n\r\n",
    "a field after the chunks": POST + CHUNKED + b"2\r\n{}\r\n0\r\nA: b\r\n\r\n",
    "bad method token": b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "empty method": b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET / \r\n" + HOST + b"\r\n",
    "version HTTP/1.11": b"GET / HTTP/1.11\r\n" + HOST + b"\r\n",
    "no request": b"{}\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_request_is_answered_400_and_the_connection_ends(
    raw: Raw, data: bytes
) -> None:
    answer = await raw.send(data)
    assert answer.error == (400, "bad_request")
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GET + b"Expect: 200-ok\r\n\r\n", (417, "expectation_failed")),
        (
            POST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            (415, "unsupported_media_type"),
        ),
        (
            POST + b"Origin: http://evil.example\r\nContent-Length: 3\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=b",
            (415, "unsupported_media_type"),
        ),
        (
            POST + b"Origin: null\r\nContent-Length: 2\r\n"
            b"Content-Type: Multipart/Form-Data; boundary=x\r\n\r\n{}",
            (415, "unsupported_media_type"),
        ),
        (
            POST + b"Origin: null\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n{}",
            (415, "unsupported_media_type"),
        ),
    ],
)
async def test_a_request_that_asks_too_much_is_refused(
    raw: Raw, data: bytes, expected: tuple[int, str]
) -> None:
    assert (await raw.send(data)).error == expected


async def test_a_transfer_encoding_that_is_not_known_is_named(raw: Raw) -> None:
    answer = await raw.send(MALFORMED["encoding xchunked"])
    assert answer.body["message"] == "The Transfer-Encoding is not supported."


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        GET + b"Connection: close\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\n\r\n",
        GET + b"Content-Encoding: identity\r\nConnection: close\r\n\r\n",
        GET + b"Origin: http://localhost\r\nConnection: close\r\n\r\n",
    ],
)
async def test_an_unusual_request_is_served(raw: Raw, data: bytes) -> None:
    answer = await raw.send(data)
    assert (answer.status, answer.body) == (200, {"message": "Hello, SharQ!"})


async def test_a_request_in_single_bytes_is_served(raw: Raw) -> None:
    async with raw.connect() as connection:
        for byte in GET + b"Connection: close\r\n\r\n":
            await connection.send(bytes([byte]))
        assert (await connection.answer()).status == 200


async def test_a_refused_request_changes_nothing(raw: Raw, rest: Rest) -> None:
    body = b'{"job_id":"j","interval":0,"payload":1}'
    head = b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST
    lengths = b"Content-Length: %d\r\nContent-Length: 1\r\n" % len(body)
    assert (await raw.send(head + lengths + b"\r\n" + body)).status == 400
    assert (await rest.get("/dequeue/t/")).status == 404


async def test_pipelined_requests_are_answered_in_order(raw: Raw) -> None:
    body = b'{"job_id":"%d","interval":0,"payload":%d}'
    jobs = [body % (i, i) for i in range(20)]
    data = b"".join(
        b"POST /enqueue/t/q/ HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(job), job)
        + b"GET /dequeue/t/ HTTP/1.1\r\n%b\r\n" % HOST
        for job in jobs
    )
    async with raw.connect() as connection:
        await connection.send(data)
        for i in range(20):
            assert (await connection.answer()).body == {"status": "queued"}
            assert (await connection.answer()).body["payload"] == i


async def test_what_follows_a_refused_request_is_not_begun(raw: Raw, rest: Rest) -> None:
    body = b'{"job_id":"j","interval":0,"payload":1}'
    smuggled = b"POST /enqueue/t/q/ HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (
        HOST,
        len(body),
        body,
    )
    answer = await raw.send(POST + b"Transfer-Encoding: identity\r\n\r\n" + smuggled)
    assert answer.status == 400
    assert (await rest.get("/dequeue/t/")).status == 404


async def test_a_chunked_body_is_read(raw: Raw, rest: Rest) -> None:
    body = json.dumps({"job_id": "j", "interval": 0, "payload": "x" * 100}).encode()
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7)
    )
    async with raw.connect() as connection:
        await connection.send(
            b"POST /enqueue/t/q/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n"
        )
        await connection.send(chunks + b"0\r\n\r\n")
        assert (await connection.answer()).status == 201
    assert (await rest.get("/dequeue/t/")).body["payload"] == "x" * 100


async def test_an_expected_continue_is_sent_before_the_body_is_read(raw: Raw) -> None:
    async with raw.connect() as connection:
        await connection.send(POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        assert (await connection.answer(head=True)).status == 100
        await connection.send(b"{}")
        assert (await connection.answer()).status == 404


async def settled(server: SharQServer) -> None:
    """Wait until nothing is on its way back to its queue."""
    while server.push.dispatcher.returns.busy:
        await asyncio.sleep(0.005)


async def test_a_client_that_is_gone_by_then_leases_nothing(
    raw: Raw, rest: Rest, server: SharQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()
    await rest.enqueue()
    link = server.sq._connected()
    run = link.run

    async def run_late(call: Any) -> Any:
        asked.set()
        await gone.wait()
        return await run(call)

    monkeypatch.setattr(link, "run", run_late)
    monkeypatch.setattr(link, "send", lambda call: asyncio.ensure_future(run_late(call)))
    async with raw.connect() as connection:
        await connection.send(b"GET /dequeue/t/ HTTP/1.1\r\n" + HOST + b"\r\n")
        await asked.wait()
    gone.set()
    while server.app.under_way:
        await asyncio.sleep(0.01)
    await settled(server)
    status = (await rest.get("/status/t/q/j/")).body
    assert (status["state"], status["position"]) == ("queued", 0)
