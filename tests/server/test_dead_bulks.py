"""Bulks of dead letters go on in the background, whatever happens to the store and the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sharq import AsyncSharQ
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.support import Rest
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=60)

ALL = {"all": True}


@pytest.fixture
def store() -> Iterator[PrivateStore]:
    """A store of the test's own, to do harm to; it keeps what it has answered."""
    with PrivateStore(appendonly=True) as store:
        yield store


async def kill(sq: AsyncSharQ, count: int, queue_type: str = "t") -> None:
    """Let so many jobs die."""
    for at in range(0, count, 100):
        some = range(at, min(at + 100, count))
        jobs = [sq.new_job(b"1", 0, f"j{n}", f"q{n % 7}", queue_type) for n in some]
        await sq.submit_many(jobs)
        batch = await sq.take(queue_type, 100)
        assert len(batch) == len(jobs)
        await sq.fail_many([job.lease for job in batch.jobs], retry=False)


async def over(rest: Rest, queue_type: str = "t") -> dict[str, Any]:
    """Wait for the end of the bulk."""
    while True:
        answer = await rest.get(f"/dead/{queue_type}/retry")
        if answer.status == 200 and answer.body["bulk"]["state"] != "running":
            return dict(answer.body["bulk"])
        await asyncio.sleep(0.01)


async def waiting(sq: AsyncSharQ, queue_type: str = "t") -> int:
    return sum([await sq.queue_length(queue_type, f"q{n}") for n in range(7)])


def tasks() -> set[str]:
    return {
        task.get_coro().__qualname__  # type: ignore[union-attr]
        for task in asyncio.all_tasks()
    }


async def test_a_bulk_waits_for_a_store_that_is_away(
    rest: Rest, server: SharQServer, store: PrivateStore, expect_log: ExpectLog
) -> None:
    expect_log("A bulk of dead letters waits for the store", certain=False)
    expect_log("Lost the store")
    await kill(server.sq, 2000)
    assert (await rest.post("/dead/t/retry", ALL)).status == 202
    while (await rest.get("/dead/t/retry")).body["bulk"]["moved"] == 0:
        await asyncio.sleep(0)
    await asyncio.to_thread(store.kill)
    assert (await rest.get("/dead/t/")).error == (503, "store_unavailable")
    await asyncio.to_thread(store.start)
    bulk = await over(rest)
    assert (bulk["state"], bulk["moved"], bulk["left"]) == ("done", 2000, 0)
    assert await waiting(server.sq) == 2000


async def test_the_answer_that_a_bulk_has_begun_is_enough(
    rest: Rest, server: SharQServer, store: PrivateStore, expect_log: ExpectLog
) -> None:
    """The store goes away right after it: the first step has to wait."""
    expect_log("A bulk of dead letters waits for the store")
    expect_log("Lost the store")
    await kill(server.sq, 300)
    begin = server.engine.flows.dead.advance

    def advance(*arguments: Any) -> Any:
        server.engine.flows.dead.advance = begin  # type: ignore[method-assign]
        store.kill()
        return begin(*arguments)

    server.engine.flows.dead.advance = advance  # type: ignore[method-assign]
    assert (await rest.post("/dead/t/retry", ALL)).status == 202
    while (await rest.get("/deepstatus/")).status == 200:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(store.start)
    assert (await over(rest))["moved"] == 300


async def test_bulks_of_several_types_go_on_at_once_and_one_follows_another(
    rest: Rest, server: SharQServer
) -> None:
    await kill(server.sq, 500)
    await kill(server.sq, 500, "u")
    for _ in range(3):
        for queue_type in "tu":
            answer = await rest.post(f"/dead/{queue_type}/retry", {"all": True, "limit": 150})
            assert answer.status == 202
        for queue_type in "tu":
            assert (await over(rest, queue_type))["moved"] == 150
    assert (await rest.delete("/dead/t/", ALL)).status == 202
    assert (await over(rest))["moved"] == 50
    assert (await waiting(server.sq), await waiting(server.sq, "u")) == (450, 450)
    assert "DeadBulks._run" not in tasks()


async def test_a_cancelled_bulk_ends_its_task(rest: Rest, server: SharQServer) -> None:
    await kill(server.sq, 3000)
    assert (await rest.post("/dead/t/retry", ALL)).status == 202
    assert (await rest.delete("/dead/t/retry")).status == 200
    bulk = await over(rest)
    assert bulk["state"] == "cancelled"
    while "DeadBulks._run" in tasks():
        await asyncio.sleep(0.01)
    assert await waiting(server.sq) == bulk["moved"] < 3000


async def test_a_server_that_stops_leaves_its_bulk_to_another(
    settings: Settings, store: PrivateStore
) -> None:
    first = SharQServer(settings)
    await first.start()
    try:
        await kill(first.sq, 2500)
        begun = await first.sq.begin_dead("t", "retry")
        assert begun.begun
        first.app.advance_bulk("t")
        while (await first.sq.dead_bulk("t")).moved == 0:  # type: ignore[union-attr]
            await asyncio.sleep(0)
    finally:
        await first.stop()
    assert "DeadBulks._run" not in tasks()
    sharq = replace(settings.sharq, enable_requeue_script=True, job_requeue_interval=100)
    second = SharQServer(replace(settings, sharq=sharq))
    await second.start()
    try:
        before = await second.sq.dead_bulk("t")
        assert before is not None
        assert before.state == "running"
        assert 0 < before.moved < 2500
        # The one that stopped has left it: its claim would last for ten seconds.
        async with asyncio.timeout(8):
            while (bulk := await second.sq.dead_bulk("t")).state == "running":  # type: ignore[union-attr]
                await asyncio.sleep(0.05)
        assert (bulk.id, bulk.moved) == (begun.id, 2500)  # type: ignore[union-attr]
        assert await waiting(second.sq) == 2500
    finally:
        await second.stop()


async def test_a_server_that_has_stopped_takes_no_bulk_on(settings: Settings) -> None:
    server = SharQServer(settings)
    await server.start()
    await server.stop()
    server.app.advance_bulk("t")
    assert "DeadBulks._run" not in tasks()
