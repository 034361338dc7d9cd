"""A server whose answers wait for a replica (`replicas_acked`), while that hangs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sharq import NewJob, Settings, SharQ
from sharq.engine import Engine
from sharq_server.api.durability import statements
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.server.test_push import job
from tests.support.replicas import PrivateReplicas
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture
def store(stores: PrivateReplicas) -> PrivateStore:
    return stores.primary


@pytest.fixture
def connect(http_server: Any, http_port: int) -> Any:
    return lambda: Subscriber.connect(http_port)


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    return {"redis": {"replicas_acked": 1}}


async def test_requests_that_change_something_wait_and_others_do_not(
    rest: Rest, stores: PrivateReplicas, expect_log: ExpectLog
) -> None:
    expect_log("Too few replicas of the store at .* confirm changes")
    assert (await rest.enqueue()).status == 201
    lease = (await rest.post("/dequeue/t/")).body["lease"]
    stores.replica.pause()
    waiting = [
        asyncio.ensure_future(rest.enqueue(job_id="k")),
        asyncio.ensure_future(rest.post("/finish/t/q/j/", {"lease": lease})),
        asyncio.ensure_future(rest.post("/pause/t/q/")),
    ]
    async with asyncio.timeout(3):
        while (await rest.get("/status/t/q/k/")).status != 200:
            pass
        assert (await rest.get("/metrics/t/q/")).status == 200
        assert (await rest.post("/dequeue/none/")).status == 404
        assert not any(each.done() for each in waiting)
    for answer in await asyncio.gather(*waiting):
        assert answer.error == (503, "store_unavailable")
        assert answer.body["outcome"] == "unknown"
        assert answer.body["message"].startswith("Too few replicas confirmed it in time;")
    # By now the server knows, and carries nothing out.
    refused = await rest.enqueue(job_id="later")
    assert refused.error == (503, "store_unavailable")
    assert "outcome" not in refused.body
    assert (await rest.get("/status/t/q/later/")).status == 404
    stores.replica.resume()
    while (answer := await rest.enqueue(job_id="k")).status == 503:
        await asyncio.sleep(0.02)
    assert answer.body["duplicate"]


async def test_the_deep_status_tells_of_replicas_that_do_not_confirm(
    rest: Rest, stores: PrivateReplicas, expect_log: ExpectLog
) -> None:
    expect_log("Too few replicas of the store at .* confirm changes")
    assert (await rest.get("/deepstatus/")).outcome == (200, {"status": "success"})
    stores.replica.pause()
    for _ in range(2):
        async with asyncio.timeout(1.5):
            told = await rest.get("/deepstatus/")
        assert told.error == (503, "store_unavailable")
        assert "Too few replicas confirm changes" in told.body["message"]
    stores.replica.resume()
    async with asyncio.timeout(10):
        while (await rest.get("/deepstatus/")).status != 200:
            await asyncio.sleep(0.02)


async def test_a_job_is_delivered_when_the_replica_has_its_lease(
    connect: Any, stores: PrivateReplicas, settings: Settings
) -> None:
    leases = f"{{{settings.redis.key_prefix}:t}}:leases"
    async with await connect() as subscriber:
        await subscriber.subscribe()
        stores.replica.pause()
        with SharQ(Settings(redis=replace(settings.redis, replicas_acked=0))) as unacked:
            unacked.submit(NewJob("t", "q", "j", b"1", 0, -1))
        while not stores.primary.client.exists(leases):
            await asyncio.sleep(0.005)
        assert await subscriber.nothing_comes(seconds=0.3)
        stores.replica.resume()
        (delivered,) = await subscriber.jobs(1)
        assert stores.replica.client.exists(leases)
        stores.replica.pause()
        finish = subscriber.send(op="finish", leases=[delivered["lease"]])
        while stores.primary.client.exists(leases):
            await asyncio.sleep(0.005)
        assert await subscriber.nothing_comes("reply", 0.3)
        stores.replica.resume()
        assert (await subscriber.answer(finish))["results"] == ["success"]


async def test_jobs_are_enqueued_over_the_websocket_when_the_replica_has_them(
    connect: Any, stores: PrivateReplicas
) -> None:
    async with await connect() as subscriber:
        await subscriber.ask(op="enqueue", jobs=[job("first")])
        stores.replica.pause()
        sent = subscriber.send(op="enqueue", jobs=[job("j")])
        assert await subscriber.nothing_comes("reply", 0.3)
        stores.replica.resume()
        assert (await subscriber.answer(sent))["results"][0]["status"] == "queued"


@pytest.mark.parametrize(
    ("acked", "words"),
    [(0, "which follow with a delay"), (1, ""), (2, "fewer replicas (1) than replicas_acked (2)")],
)
async def test_replicas_that_lack_are_told_of(
    stores: PrivateReplicas, acked: int, words: str
) -> None:
    engine = Engine.for_server(stores.settings(acked))
    await engine.start()
    try:
        said = [each.found for each in statements(await engine.look_at_store())]
    finally:
        await engine.aclose()
    told = [each for each in said if "replica" in each]
    assert len(told) == bool(words)
    assert all(words in each for each in told)
