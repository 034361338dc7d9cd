"""What HTTP/1.1 has besides plain requests; what is no request is in `catalogue.py`."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from sharq_server import SharQServer
from tests.server.catalogue import GET, HOST, NO_REQUESTS, POST
from tests.server.support import Answer, Raw, Rest

pytestmark = pytest.mark.gen_test


async def test_a_transfer_encoding_that_is_not_known_is_named(raw: Raw) -> None:
    answer = await raw.send(NO_REQUESTS["Transfer-Encoding xchunked"])
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


IN_GZIP = {"Content-Encoding": "gzip"}


async def test_bodies_in_gzip_are_decoded_on_every_route(rest: Rest) -> None:
    async def call(method: str, path: str, body: Any, **head: str) -> Answer:
        data = gzip.compress(json.dumps(body).encode())
        return await rest.call(method, path, data, {**IN_GZIP, **head})

    job = {"job_id": "j", "interval": 0, "payload": {"to": "x" * 5000}}
    assert (await call("POST", "/enqueue/t/q/", job)).status == 201
    named = {**job, "job_id": "k", "queue_type": "t", "queue_id": "q"}
    assert (await call("POST", "/enqueue/", {"jobs": [named]})).body["results"] == [
        {"status": "queued"}
    ]
    taken = (await rest.get("/dequeue/t/")).body
    assert taken["payload"] == job["payload"]
    lease = {"lease": taken["lease"]}
    assert (await call("POST", "/extend/t/q/j/", {**lease, "by": 5})).status == 200
    encoding = {"Content-Encoding": "X-GZIP"}
    assert (await call("POST", "/finish/t/q/j/", lease, **encoding)).status == 200
    assert (await call("POST", "/interval/t/q/", {"interval": 7})).status == 200
    assert (await call("DELETE", "/deletequeue/t/q/", {"purge_all": True})).body["message"] == (
        "Successfully removed all queued calls and purged related resources"
    )


async def test_no_body_and_an_identity_are_fine(rest: Rest) -> None:
    assert (await rest.call("GET", "/metrics/", None, IN_GZIP)).status == 200
    assert (await rest.call("POST", "/dequeue/t/", b"", IN_GZIP)).error == (404, "nothing_ready")
    identity = {"Content-Encoding": "Identity"}
    body = b'{"job_id": "j", "interval": 0, "payload": 1}'
    assert (await rest.call("POST", "/enqueue/t/q/", body, identity)).status == 201


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_chunked_body_in_gzip_is_read(raw: Raw, rest: Rest, piece: int) -> None:
    body = b'{"job_id": "j", "interval": 0, "payload": 1}'
    data = gzip.compress(body[:20]) + gzip.compress(body[20:])
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)
    head = b"POST /enqueue/t/q/ HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
    async with raw.connect() as connection:
        await connection.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        await connection.send(b"0\r\n\r\n")
        assert (await connection.answer()).status == 201
    assert (await rest.get("/dequeue/t/")).body["payload"] == 1


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
    while server.push.dispatcher.redelivery.busy:
        await asyncio.sleep(0.005)


async def test_a_client_that_is_gone_by_then_leases_nothing(
    raw: Raw, rest: Rest, server: SharQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()
    await rest.enqueue()
    link = server.engine.connections.connected()
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
