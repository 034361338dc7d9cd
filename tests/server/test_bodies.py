"""Bodies and paths that are unusual and can be; those that cannot are in `catalogue.py`."""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from tests.server.catalogue import job
from tests.server.support import Raw, Rest

pytestmark = pytest.mark.gen_test


@pytest.mark.parametrize(
    "body",
    [
        job() + b" \r\n\t",
        b"\n" + job(),
        b'{"job_id":"x","payload":2,"interval":5,"job_id":"j","payload":1,"interval":0}',
        b'{"\\u006aob_id":"j","interval":0,"payload":1}',
        job(interval="-0"),
        job(interval="31536000000"),
        job(requeue_limit=str(2**63 - 1)),
        job(max_queued_length=str(2**63 - 1)),
    ],
    ids=lambda body: str(body)[:40],
)
async def test_an_unusual_job_that_can_be(rest: Rest, body: bytes) -> None:
    assert (await rest.post("/enqueue/t/q/", body)).status == 201
    taken = (await rest.get("/dequeue/t/")).body
    assert (taken["job_id"], taken["payload"]) == ("j", 1)


@pytest.mark.parametrize("origin", ["http://localhost", "https://localhost:1", "HTTP://a.b"])
async def test_a_target_may_be_a_whole_url(raw: Raw, origin: str) -> None:
    async with raw.connect() as connection:
        await connection.send(f"GET {origin}/metrics/t/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await connection.answer()).status == 200
        await connection.send(f"GET {origin} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await connection.answer()).body == {"message": "Hello, SharQ!"}


@pytest.mark.parametrize("path", ["/%6detrics/t/", "/metrics/%74/", "/metrics/%74"])
async def test_percent_encoding_of_what_needs_none_changes_nothing(rest: Rest, path: str) -> None:
    nothing = {
        "status": "success",
        "queue_ids": [],
        "held_by": None,
        "ready_in": None,
        **dict.fromkeys(("waiting", "delayed", "active", "ready", "held", "early"), 0),
        "oldest_ready": None,
        **dict.fromkeys(("enqueue_counts", "dequeue_counts", "finish_counts"), ANY),
        "dead": {"jobs": 0, "bytes": 0, "oldest": None, "fallen_out": 0, "dropped": 0},
    }
    assert (await rest.get(path)).outcome == (200, nothing)


async def test_a_name_of_100_characters_can_be(rest: Rest) -> None:
    name = "aZ09_-" * 16 + "abcd"
    assert (await rest.enqueue(f"{name}/{name}", name)).status == 201
    assert (await rest.get(f"/status/{name}/{name}/{name}/")).body["state"] == "queued"
