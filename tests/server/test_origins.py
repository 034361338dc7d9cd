"""Requests with the wrong Host or Origin are refused, on every route and both ways of HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.support import Raw, Rest

pytestmark = pytest.mark.gen_test

BODY = b'{"job_id":"j","interval":0,"payload":1}'
FORBIDDEN = (403, "forbidden")


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    return {
        "sharq-server": {
            "allowed_hosts": "jobs.example.com",
            "allowed_origins": "https://friend.example",
        }
    }


def request(line: str, *fields: str, host: str = "localhost", body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


ENQUEUE, DEQUEUE, FINISH = "POST /enqueue/t/q/", "GET /dequeue/t/", "POST /finish/t/q/j/"
WRITING = [
    ENQUEUE,
    "POST /enqueue/",
    DEQUEUE,
    "GET /dequeue/",
    "GET /dequeue/t/?count=2",
    "POST /dequeue/t/",
    FINISH,
    "POST /release/t/q/j/",
    "POST /extend/t/q/j/",
    "POST /interval/t/q/",
    "DELETE /interval/t/q/",
    "POST /limits/t/q/",
    "DELETE /limits/t/",
    "POST /pause/t/",
    "POST /resume/t/q/",
    "DELETE /deletequeue/t/q/",
    "PUT /metrics/",
]
READING = ["GET /", "GET /limits/t/q/", "GET /metrics/", "GET /metrics/t/", "GET /status/t/q/j/"]


async def test_a_foreign_host_is_refused_everywhere(raw: Raw, rest: Rest) -> None:
    await rest.enqueue(job_id="waiting")
    for line in [*WRITING, *READING, "GET /ui/", "GET /nowhere", "GET /ws/"]:
        answer = await raw.send(request(line, host="evil.example:8080", body=BODY))
        assert answer.error == FORBIDDEN, line
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 1


async def test_a_host_of_the_servers_own_is_served(raw: Raw) -> None:
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "jobs.example.com"):
        async with raw.connect() as connection:
            # The second time the host is known already.
            for expected in ("queued", "queued"):
                await connection.send(request(ENQUEUE, host=host, body=BODY))
                assert (await connection.answer()).body["status"] == expected, host


async def test_a_foreign_host_behind_known_ones_is_refused(raw: Raw, rest: Rest) -> None:
    async with raw.connect() as connection:
        for _ in range(3):
            await connection.send(request(DEQUEUE))
            assert (await connection.answer()).status == 404
        await connection.send(request(ENQUEUE, host="evil.example", body=BODY))
        assert (await connection.answer()).error == FORBIDDEN
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 0


FOREIGN = [
    "Origin: https://evil.example",
    "Sec-Fetch-Site: cross-site",
    "sec-fetch-site: same-site",
]


async def test_a_foreign_page_changes_nothing(raw: Raw, rest: Rest) -> None:
    await rest.enqueue(job_id="waiting")
    for line in WRITING:
        for field in FOREIGN:
            async with raw.connect() as connection:
                # Behind one that is served, so that the Host is known.
                await connection.send(request("GET /metrics/t/"))
                assert (await connection.answer()).status == 200
                await connection.send(request(line, field, body=BODY))
                assert (await connection.answer()).error == FORBIDDEN, (line, field)
                assert await connection.ended()
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        *((line, field) for line in READING[:1] for field in FOREIGN),
        (DEQUEUE, "Sec-Fetch-Site: none"),
        (ENQUEUE, "Origin: http://localhost"),
        (ENQUEUE, "Sec-Fetch-Site: same-origin"),
        (ENQUEUE, "Origin: https://friend.example"),
        (ENQUEUE, "Sec-Fetch-Site: cross-site\r\nOrigin: https://friend.example"),
    ],
)
async def test_what_a_page_may_do(raw: Raw, line: str, field: str) -> None:
    async with raw.connect() as connection:
        body = BODY if line == ENQUEUE else b""
        await connection.send(request(line, field, body=body))
        assert (await connection.answer()).status in (200, 201, 404)


async def test_a_foreign_page_opens_no_websocket(raw: Raw) -> None:
    upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    for field in [*FOREIGN, "Origin: http://[", "Origin: null"]:
        head = "\r\n".join(["GET /ws/ HTTP/1.1", "Host: localhost", *upgrade, field, "", ""])
        async with raw.connect() as connection:
            await connection.send(head.encode())
            assert (await connection.answer()).error == FORBIDDEN, field
