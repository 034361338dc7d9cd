"""Dequeues of a spread type, over the shards: all of its jobs, the longest ready first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharq import AsyncSharQ, Batch, SharQ
from sharq.engine import Engine
from sharq.errors import StoreError, StoreUnavailable, WrongKind
from sharq.operations.call import Flow
from sharq.operations.sharding import layout
from sharq.results import SUCCESS, Ended
from sharq.settings.reading import Settings
from tests.support.direct import DirectStore
from tests.support.faces import settings_for
from tests.support.loops import on_loop
from tests.support.past import Past
from tests.support.stores import PrivateStore

SLACK_MS = 250


@pytest.fixture
def settings(clean_store: PrivateStore) -> Settings:
    clean_store.load_scripts()
    return settings_for(clean_store)


@asynccontextmanager
async def spread_over(settings: Settings, shards: int) -> AsyncIterator[AsyncSharQ]:
    async with AsyncSharQ(settings) as sq:
        await sq.set_shards("t", shards)
        yield sq


async def enqueue(sq: AsyncSharQ, jobs: int, queues: int, interval: int = 0) -> None:
    """The n-th job of a queue is named `n-queue`."""
    new = [
        sq.new_job(b"1", interval, f"{at // queues}-q{at % queues}", f"q{at % queues}", "t")
        for at in range(jobs)
    ]
    for outcome in await sq.submit_many(new):
        assert not isinstance(outcome, Exception), outcome


@pytest.mark.parametrize("shards", [1, 4, 16])
@pytest.mark.parametrize("count", [1, 50])
@on_loop
async def test_each_job_is_taken_once_and_in_order(
    settings: Settings, shards: int, count: int
) -> None:
    async with spread_over(settings, shards) as sq:
        await enqueue(sq, 120, 30)
        taken: list[tuple[str, str]] = []
        for _ in range(200):
            batch = await sq.take("t", count)
            if not batch:
                break
            assert len(batch) <= count
            taken += [(job.queue_id, job.job_id) for job in batch.jobs]
        assert batch.wait_us is None
    assert len(set(taken)) == len(taken) == 120
    for at in range(30):
        queue = f"q{at}"
        assert [job for name, job in taken if name == queue] == [f"{n}-{queue}" for n in range(4)]


@pytest.mark.parametrize("shards", [4, 16])
@on_loop
async def test_a_dequeue_of_many_collects_over_the_shards(settings: Settings, shards: int) -> None:
    async with spread_over(settings, shards) as sq:
        await enqueue(sq, 64, 64)
        assert len(await sq.take("t", 50)) == 50
        batch = await sq.take("t", 50)
        assert (len(batch), batch.wait_us) == (14, None)
        assert batch.queue_type == "t"


@on_loop
async def test_the_wait_is_the_least_of_all_shards(settings: Settings) -> None:
    async with spread_over(settings, 8) as sq:
        for at, interval in enumerate((40_000, 20_000, 30_000)):
            new = [sq.new_job(b"1", interval, f"{at}-{n}", f"q{at}", "t") for n in range(2)]
            await sq.submit_many(new)
        assert len(await sq.take("t", 10)) == 3
        wait = (await sq.take("t", 10)).wait_us
        assert wait is not None
        assert 15_000_000 < wait <= 20_000_000


@pytest.mark.parametrize("count", [1, 7])
@on_loop
async def test_the_longest_ready_go_first(
    settings: Settings, clean_store: PrivateStore, count: int
) -> None:
    async with spread_over(settings, 8) as sq:
        direct = DirectStore(clean_store.socket_path)
        past = Past(direct, settings.redis.key_prefix, sq._engine.flows.shards.home)
        # Of some queues there are many within a moment, of others there is one now and then.
        ages = {f"q{at}": 1000 + at * (7919 % 97) * 10 for at in range(60)}
        ages |= {f"many{at}": 3000 + at for at in range(60)}
        for queue, age in ages.items():
            past.enqueue(age, "t", queue, queue)
        direct.close()
        left = dict(ages)
        while batch := await sq.take("t", count):
            for job in batch.jobs:
                age = left.pop(job.queue_id)
                # What is handed out together has no order.
                older = [left[each] for each in left if each not in _names(batch)]
                assert max(older, default=0) - age < SLACK_MS, (job.queue_id, age)
        assert left == {}


def _names(batch: Batch) -> set[str]:
    return {job.queue_id for job in batch.jobs}


@on_loop
async def test_a_request_id_finds_its_jobs_again_by_another_process(settings: Settings) -> None:
    async with spread_over(settings, 8) as sq, AsyncSharQ(settings) as other:
        await enqueue(sq, 40, 40)
        first = await sq.take("t", 9, request_id="r")
        assert len(first) == 9
        again = await other.take("t", 9, request_id="r")
        assert sorted(again.leases(0, 9)) == sorted(first.leases(0, 9))
        await other.finish_many(first.leases(0, 9))
        over = await sq.take("t", 9, request_id="r")
        assert (len(over), over.wait_us) == (0, 0)
        assert len(await sq.take("t", 50)) == 31


@on_loop
async def test_a_request_gets_more_of_a_shard_that_has_given_it_some(
    settings: Settings, clean_store: PrivateStore
) -> None:
    async with spread_over(settings, 2) as sq, AsyncSharQ(settings) as other:
        home = sq._engine.flows.shards.home
        direct = DirectStore(clean_store.socket_path)
        past = Past(direct, settings.redis.key_prefix, home)
        # Queues become ready in turn, so long after one another that no call gets two of them.
        shards = home("t", "q0"), home("t", "q4")
        queues = [f"q{at}" for at in range(40)]
        turns = zip(
            *([each for each in queues if home("t", each) == name] for name in shards), strict=False
        )
        ages = {}
        for at, queue in enumerate(each for turn in turns for each in turn):
            ages[queue] = 20_000 - at * 400
            past.enqueue(ages[queue], "t", queue, queue)
        direct.close()
        batch = await sq.take("t", 9, "r")
        leases = batch.leases(0, len(batch))
        # More than one call of each shard.
        assert len(set(leases)) == len(leases) > 2
        again = await other.take("t", 9, "r")
        assert sorted(again.leases(0, len(again))) == sorted(leases)
        left = 0
        while others := await sq.take("t", 60):
            left += len(others)
        assert left == len(ages) - len(leases)


@on_loop
async def test_a_request_id_costs_two_round_trips(settings: Settings) -> None:
    async with spread_over(settings, 8) as sq:
        await enqueue(sq, 40, 40)
        await sq.take("t", 1)
        assert await trips_of(sq._engine, sq._engine.flows.take("t", 1, "r")) == 2
        assert await trips_of(sq._engine, sq._engine.flows.take("t", 1, "r")) == 1


async def trips_of(engine: Engine, flow: Flow[Batch]) -> int:
    """Carry a flow of lists of calls out that gets a job; how many lists there were."""
    trips = 0
    answers: Any = None
    while True:
        try:
            calls = flow.send(answers)
        except StopIteration as stop:
            batch: Batch = stop.value
            break
        trips += 1
        assert isinstance(calls, list)
        answers = await engine.connections.connected().run_many(calls)
    assert len(batch) == 1
    return trips


@on_loop
async def test_a_poll_of_an_empty_type_asks_each_shard_once_for_a_while(
    settings: Settings, clean_store: PrivateStore
) -> None:
    engine = Engine.for_server(settings)
    async with AsyncSharQ.over(engine) as sq:
        await sq.set_shards("t", 16)
        await engine.ping()
        clean_store.client.config_resetstat()
        began = asyncio.get_running_loop().time()
        for _ in range(100):
            assert not await sq.take("t", 1)
        rounds = 1 + (asyncio.get_running_loop().time() - began) // 0.05
        assert clean_store.script_calls() <= 16 * rounds


@on_loop
async def test_who_enqueues_can_take_at_once(settings: Settings) -> None:
    async with spread_over(settings, 16) as sq:
        for at in range(30):
            assert not await sq.take("t", 1)
            await sq.submit(sq.new_job(b"1", 0, "j", f"q{at}", "t"))
            (job,) = (await sq.take("t", 1)).jobs
            assert not await sq.take("t", 1)
            await sq.release_many([job.lease])
            assert len(await sq.take("t", 1)) == 1


@on_loop
async def test_expired_leases_of_all_shards_come_back(clean_store: PrivateStore) -> None:
    clean_store.load_scripts()
    settings = settings_for(clean_store, job_expire_interval=50, job_requeue_interval=20)
    async with spread_over(settings, 4) as sq:
        await enqueue(sq, 12, 12)
        assert len(await sq.take("t", 50)) == 12
        again: list[str] = []
        async with asyncio.timeout(10):
            while len(again) < 12:
                again += [job.job_id for job in (await sq.take("t", 50)).jobs]
                await asyncio.sleep(0.01)
        assert Counter(job.partition("-")[0] for job in again)["0"] >= 12


def test_blocking_clients_take_over_shards(settings: Settings) -> None:
    with SharQ(settings) as sq:
        sq.set_shards("t", 4)
        for at in range(20):
            sq.submit(sq.new_job(b"1", 0, f"j{at}", f"q{at}", "t"))
        assert len(sq.take("t", 30)) == 20
        assert not sq.take("t", 30)


@on_loop
async def test_a_change_of_the_number_is_learned_by_polling(settings: Settings) -> None:
    async with AsyncSharQ(settings) as sq, AsyncSharQ(settings) as other:
        for shards in (4, 16, 1, 2):
            assert not await sq.take("t", 5)
            await other.set_shards("t", shards)
            await enqueue(other, 20, 20)
            # For a moment it may believe that there is still nothing.
            leases: list[str] = []
            async with asyncio.timeout(5):
                while len(leases) < 20:
                    leases += [job.lease for job in (await sq.take("t", 50)).jobs]
            ended = await sq.finish_many(leases)
            assert [each.outcome for each in ended if isinstance(each, Ended)] == [SUCCESS] * 20


@on_loop
async def test_a_damaged_shard_leaves_the_others_theirs(
    settings: Settings, clean_store: PrivateStore
) -> None:
    async with spread_over(settings, 4) as sq:
        await enqueue(sq, 40, 40)
        prefix = settings.redis.key_prefix
        name = layout(prefix, "t", 4)[1]
        clean_store.client.set(f"{{{prefix}:{name.rpartition(':')[0]}}}:4:ready", "damaged")
        home = sq._engine.flows.shards.home
        there = [at for at in range(40) if home("t", f"q{at}") == name]
        taken = [len(await sq.take("t", 40 - len(there) - 3)), len(await sq.take("t", 3))]
        assert sum(taken) == 40 - len(there)
        with pytest.raises(WrongKind):
            await sq.take("t", 10)


@on_loop
async def test_a_shard_that_cannot_be_reached_is_no_answer_of_nothing(settings: Settings) -> None:
    engine = Engine.for_server(settings)
    async with AsyncSharQ.over(engine) as sq:
        await sq.set_shards("t", 4)
        flow = engine.flows.take("t", 3, None)
        asks = flow.send(None)
        assert isinstance(asks, list)
        answers = await engine.connections.connected().run_many(asks)
        lost: list[object] = [*answers[:2], StoreUnavailable("away"), *answers[3:]]
        with pytest.raises(StoreError):
            flow.send(lost)
