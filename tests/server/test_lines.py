"""Push of a spread type: all its shards' jobs, within the credit, the longest ready first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from operator import itemgetter
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from sharq.heads import SILENT
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.push import schedule
from sharq_server.push.handing_on import HandingOn
from sharq_server.push.lines import Lines
from sharq_server.push.subscribers import SubscriberGroup
from tests.server.subscriber import Subscriber
from tests.server.test_push import job, listening
from tests.support.direct import DirectStore
from tests.support.past import Past
from tests.support.stores import PrivateStore

pytestmark = [pytest.mark.gen_test(timeout=30), pytest.mark.usefixtures("only_wakeups")]

SLACK_MS = 250


@pytest.fixture
def only_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No poll hides a wake-up that is missing."""
    monkeypatch.setattr(schedule, "POLL_AFTER", (1000.0, 1000.0))


@pytest.fixture
def servers(settings: Settings) -> list[SharQServer]:
    """Three servers on one store."""
    return [SharQServer(settings) for _ in range(3)]


@pytest.fixture
def ports(io_loop: IOLoop, servers: list[SharQServer]) -> Iterator[list[int]]:
    """Their ports."""
    listeners = []
    for server in servers:
        io_loop.run_sync(server.start)
        io_loop.run_sync(lambda server=server: listening(server))
        listeners.append(server.app.listen(0, "127.0.0.1"))
    yield [listener.addresses()[0][1] for listener in listeners]
    for server, listener in zip(servers, listeners, strict=True):
        listener.stop()
        io_loop.run_sync(listener.close_all_connections)
        io_loop.run_sync(server.stop)


@asynccontextmanager
async def subscribers(ports: list[int], **subscription: Any) -> AsyncIterator[list[Subscriber]]:
    async with AsyncExitStack() as stack:
        several = []
        for port in ports:
            each = await stack.enter_async_context(await Subscriber.connect(port))
            await each.subscribe(**subscription)
            several.append(each)
        yield several


async def spread(server: SharQServer, shards: int, queue_type: str = "t") -> None:
    await server.sq.set_shards(queue_type, shards)


async def enqueue(server: SharQServer, jobs: int, queues: int, interval: int = 0) -> None:
    """The n-th job of a queue is named `n-queue`."""
    new = [
        server.sq.new_job(b"1", interval, f"{at // queues}-q{at % queues}", f"q{at % queues}", "t")
        for at in range(jobs)
    ]
    for outcome in await server.sq.submit_many(new):
        assert not isinstance(outcome, Exception), outcome


def queue_in(server: SharQServer, shard: int) -> str:
    """A queue whose home is a shard of `t`."""
    shards = server.engine.flows.shards
    wanted = shards.homes("t")[shard]
    return next(name for at in range(10_000) if shards.home("t", name := f"q{at}") == wanted)


class Worker:
    """Takes and finishes jobs, and sees that it never holds more than its credit."""

    def __init__(self, subscriber: Subscriber, credit: int) -> None:
        self._subscriber = subscriber
        self._credit = credit
        self.got: list[tuple[float, str, str]] = []
        self.task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            jobs = (await self._subscriber.event("jobs", 60))["jobs"]
            assert len(jobs) <= self._credit
            self.got += [(loop.time(), each["queue_id"], each["job_id"]) for each in jobs]
            await self._subscriber.finish(*jobs)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        if not self.task.cancelled():
            self.task.result()


async def work(several: list[Subscriber], credit: int, total: int) -> list[tuple[float, str, str]]:
    """What the subscribers have got when there is nothing left, in the order of its arrival."""
    workers = [Worker(each, credit) for each in several]
    async with asyncio.timeout(20):
        while sum(len(worker.got) for worker in workers) < total:
            await asyncio.sleep(0.01)
            assert not any(worker.task.done() for worker in workers)
    await asyncio.sleep(0.05)
    for worker in workers:
        await worker.stop()
    # By the time alone: the loop's clock may stand still while several frames are read.
    return sorted((each for worker in workers for each in worker.got), key=itemgetter(0))


def assert_each_once(got: list[tuple[float, str, str]], jobs: int, queues: int) -> None:
    names = [name for _, _, name in got]
    assert Counter(names) == Counter(f"{at // queues}-q{at % queues}" for at in range(jobs))


# ---- all of them, once, within the credit ----


@pytest.mark.parametrize("shards", [4, 16])
@pytest.mark.parametrize("credit", [1, 3, 100])
async def test_each_job_is_delivered_once_within_the_credit(
    servers: list[SharQServer], ports: list[int], shards: int, credit: int
) -> None:
    await spread(servers[0], shards)
    async with subscribers(ports[:1], credit=credit) as several:
        await enqueue(servers[2], 150, 30)
        got = await work(several, credit, 150)
    assert_each_once(got, 150, 30)
    for at in range(30):
        order = [name for _, queue, name in got if queue == f"q{at}"]
        assert order == sorted(order)


@pytest.mark.parametrize("credit", [1, 5])
async def test_several_servers_share_the_jobs(
    servers: list[SharQServer], ports: list[int], credit: int
) -> None:
    await spread(servers[0], 8)
    async with subscribers(ports, credit=credit) as several:
        await enqueue(servers[0], 200, 50)
        got = await work(several, credit, 200)
        assert_each_once(got, 200, 50)
        # Idle again: the next ones come, too.
        await enqueue(servers[1], 30, 30)
        assert_each_once(await work(several, credit, 30), 30, 30)


async def test_rates_are_kept(servers: list[SharQServer], ports: list[int]) -> None:
    await spread(servers[0], 8)
    async with subscribers(ports[:2], credit=3) as several:
        await enqueue(servers[0], 60, 10, interval=100)
        got = await work(several, 3, 60)
    times = defaultdict(list)
    for at, queue, _ in got:
        times[queue].append(at)
    for each in times.values():
        assert each[-1] - each[0] >= 0.48
    metrics = await servers[0].engine.run(servers[0].engine.flows.type_metrics("t"))
    assert metrics.early == 0


# ---- the longest ready first ----


@pytest.mark.parametrize("credit", [1, 3, 100])
async def test_the_longest_ready_go_first(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore, credit: int
) -> None:
    await spread(servers[0], 8)
    ages = fill_with_the_past(servers[0], clean_store)
    async with subscribers(ports[:1], credit=credit) as several:
        assert_in_order(await work(several, credit, len(ages)), ages)


async def test_answers_that_are_late_together_keep_the_order(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    await spread(servers[0], 8)
    ages = fill_with_the_past(servers[0], clean_store)
    async with subscribers(ports[:1], credit=1) as (subscriber,):
        await subscriber.finish(*(await subscriber.jobs(1)))
        await subscriber.ask(op="unsubscribe", queue_type="t")
        forget_heads(servers[0])
        clean_store.pause()
        try:
            await subscriber.subscribe(credit=100)
            lines = servers[0].push.dispatcher._by_type["t"]
            assert isinstance(lines, Lines)
            async with asyncio.timeout(5):
                while not all(line.is_silent(lines.clock()) for line in lines.each):
                    await asyncio.sleep(0.01)
        finally:
            clean_store.resume()
        assert_in_order(await work([subscriber], 100, len(ages) - 1), ages)


async def test_a_process_that_was_late_itself_reads_what_came_first(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    await spread(servers[0], 8)
    ages = fill_with_the_past(servers[0], clean_store)
    home = servers[0].engine.flows.shards.home
    heads = servers[0].engine.flows.heads.of("t").of
    youngest = min(heads, key=lambda name: max(ages[q] for q in ages if home("t", q) == name))
    async with subscribers(ports[:1], credit=1) as (subscriber,):
        await subscriber.finish(*(await subscriber.jobs(1)))
        await subscriber.ask(op="unsubscribe", queue_type="t")
        forget_heads(servers[0])
        heads[youngest].seen = servers[0].push.dispatcher._clock()
        lines = await in_the_middle_of_looks(servers[0], subscriber)
        stall()
        assert any(line.is_late(lines.clock()) for line in lines.each)
        assert_in_order(await work([subscriber], 100, len(ages) - 1), ages)


async def test_a_store_that_is_slow_to_answer_is_asked_for_jobs_all_the_same(
    servers: list[SharQServer],
    ports: list[int],
    clean_store: PrivateStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = HandingOn.settled

    async def slowly(self: HandingOn, name: str) -> None:
        await settled(self, name)
        await asyncio.sleep(0.06)

    monkeypatch.setattr(HandingOn, "settled", slowly)
    await spread(servers[0], 8)
    ages = fill_with_the_past(servers[0], clean_store)
    async with subscribers(ports[:1], credit=100) as several:
        got = await work(several, 100, len(ages))
    assert {name for _, _, name in got} == set(ages)


def stall() -> None:
    """Keep the loop for longer than others wait for a shard."""
    time.sleep(SILENT + 0.05)


def forget_heads(server: SharQServer) -> None:
    """Let it be long ago that this server has heard of its shards."""
    for head in server.engine.flows.heads.of("t").of.values():
        head.seen = -inf


async def in_the_middle_of_looks(server: SharQServer, subscriber: Subscriber) -> Lines:
    """Subscribe; returns the lines while shards are looked at of which nothing is known."""
    subscriber.send(op="subscribe", queue_type="t", credit=100)
    async with asyncio.timeout(5):
        while True:
            lines = server.push.dispatcher._by_type.get("t")
            if isinstance(lines, Lines) and any(line.looks for line in lines.each):
                return lines
            await asyncio.sleep(0)


def fill_with_the_past(server: SharQServer, store: PrivateStore) -> dict[str, int]:
    """Enqueue jobs that have been ready for some time; returns for how many ms, by queue."""
    direct = DirectStore(store.socket_path)
    past = Past(direct, server.engine.settings.redis.key_prefix, server.engine.flows.shards.home)
    ages = {f"q{at}": 1000 + at * 7919 % 97 * 40 for at in range(60)}
    ages |= {f"many{at}": 3000 + at for at in range(60)}
    for queue, age in ages.items():
        past.enqueue(age, "t", queue, queue)
    direct.close()
    return ages


def assert_in_order(got: list[tuple[float, str, str]], ages: dict[str, int]) -> None:
    order = [ages[name] for _, _, name in got]
    for at, age in enumerate(order):
        assert max(order[at:]) - age < SLACK_MS, (at, age, max(order[at:]))


async def test_a_wake_up_hides_no_older_job(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    await spread(servers[0], 2)
    old, new = (queue_in(servers[0], shard) for shard in range(2))
    direct = DirectStore(clean_store.socket_path)
    prefix = servers[0].engine.settings.redis.key_prefix
    past = Past(direct, prefix, servers[0].engine.flows.shards.home)
    past.enqueue(5000, "t", old, "old")
    past.enqueue(1000, "t", new, "new")
    direct.close()
    async with subscribers(ports[:1] * 2, credit=2, mode="notify") as (first, second):
        home = servers[0].engine.flows.shards.home("t", old)
        beside = next(
            name
            for at in range(10_000, 20_000)
            if servers[0].engine.flows.shards.home("t", name := f"q{at}") == home
        )
        assert (await first.event("ready", 2))["ready"] == 2
        # Its shard has offered the older one, and tells this server of another.
        await servers[1].sq.submit(servers[1].sq.new_job(b"1", 0, "beside", beside, "t"))
        await second.event("ready", 2)
        for name in ("old", "new"):
            (got,) = (await first.ask(op="dequeue", queue_type="t"))["jobs"]
            assert got["job_id"] == name


# ---- lines ----


async def test_a_credit_of_one_waits_in_all_shards(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 16)
    async with subscribers(ports[:1], credit=1) as (subscriber,):
        for shard in [*range(16), 5, 5, 0]:
            queue = queue_in(servers[0], shard)
            await servers[1].sq.submit(servers[1].sq.new_job(b"1", 0, "j", queue, "t"))
            (got,) = await subscriber.jobs(1, timeout=2)
            assert got["queue_id"] == queue
            await subscriber.finish(got)


async def test_what_a_full_server_is_woken_for_goes_to_another(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 4)
    queues = [queue_in(servers[0], shard) for shard in range(4)]
    async with subscribers(ports[:2], credit=1) as (first, second):
        await second.ask(op="unsubscribe", queue_type="t")
        await first.ask(op="enqueue", jobs=[job("a", f"t/{queues[0]}")])
        await first.jobs(1)
        # It still stands in the other lines, without room.
        await second.subscribe(credit=1)
        await first.ask(op="enqueue", jobs=[job("b", f"t/{queues[1]}")])
        (other,) = await second.jobs(1, timeout=2)
        assert other["job_id"] == "b"
        await second.finish(other)
        await first.ask(op="enqueue", jobs=[job("c", f"t/{queues[2]}")])
        assert (await second.jobs(1, timeout=2))[0]["job_id"] == "c"


@pytest.mark.parametrize("way", ["credit", "unsubscribe", "disconnect", "drain"])
async def test_who_leaves_hands_on(servers: list[SharQServer], ports: list[int], way: str) -> None:
    await spread(servers[0], 4)
    async with subscribers(ports[:2], credit=1) as (first, second):
        await second.ask(op="credit", queue_type="t", credit=0)
        jobs = [job(f"j{at}", f"t/{queue_in(servers[0], at)}") for at in range(4)]
        await first.ask(op="enqueue", jobs=jobs)
        (one,) = await first.jobs(1)
        if way == "credit":
            await first.ask(op="credit", queue_type="t", credit=0)
        elif way == "unsubscribe":
            await first.ask(op="unsubscribe", queue_type="t")
        elif way == "disconnect":
            first.socket.close()
        else:
            await servers[0].push.drain(0.1)
        await second.ask(op="credit", queue_type="t", credit=3)
        names = {each["job_id"] for each in await second.jobs(3, timeout=2)}
        assert names == {f"j{at}" for at in range(4)} - {one["job_id"]}


async def test_two_types_of_a_subscriber_share_its_credit(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 8)
    await spread(servers[0], 4, "u")
    for queue_type in ("t", "u", "v"):
        await servers[0].sq.submit_many(
            [servers[0].sq.new_job(b"1", 0, f"j{at}", f"q{at}", queue_type) for at in range(20)]
        )
    async with await Subscriber.connect(ports[0]) as subscriber:
        await subscriber.ask(op="credit", credit=1)
        for queue_type in ("t", "u", "v"):
            await subscriber.subscribe(queue_type, 10)
        got = []
        for _ in range(60):
            frame = await subscriber.event("jobs", 2)
            assert len(frame["jobs"]) == 1
            got.append(frame["queue_type"])
            # Longer than what is known of heads counts.
            await asyncio.sleep(0.03 if len(got) > 12 else 0.3)
            await subscriber.finish(*frame["jobs"])
            if len(got) == 12:
                assert min(Counter(got)[each] for each in "tuv") >= 3, got
    assert Counter(got) == {"t": 20, "u": 20, "v": 20}


async def test_a_long_poll_waits_in_all_shards(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 8)
    push = servers[0].push
    for shard in range(8):
        waiting = asyncio.ensure_future(push.wait_for("t", 5, None, 5, lambda _: None))
        await asyncio.sleep(0.02)
        queue = queue_in(servers[0], shard)
        await servers[1].sq.submit(servers[1].sq.new_job(b"1", 0, "j", queue, "t"))
        batch = await waiting
        assert batch is not None
        assert [each.queue_id for each in batch.jobs] == [queue]
    assert ports


# ---- the number of shards changes ----


async def test_subscribers_follow_a_change_of_the_number(
    servers: list[SharQServer], ports: list[int]
) -> None:
    async with subscribers(ports[:2], credit=2) as several:
        for shards in (4, 16, 1, 2):
            await servers[2].sq.set_shards("t", shards)
            await enqueue(servers[2], 40, 40)
            got = await work(several, 2, 40)
            assert_each_once(got, 40, 40)
    for each in several:
        assert {event["event"] for event in each.seen} <= {"welcome", "reply", "jobs"}


async def test_who_is_told_of_jobs_follows_too(
    servers: list[SharQServer], ports: list[int]
) -> None:
    async with subscribers(ports[:1], credit=2, mode="notify") as (subscriber,):
        for shards in (4, 1, 8):
            await servers[2].sq.set_shards("t", shards)
            await enqueue(servers[2], 1, 1)
            assert (await subscriber.event("ready", 2))["ready"] == 1
            answer = await subscriber.ask(op="dequeue", queue_type="t")
            await subscriber.finish(*answer["jobs"])


# ---- offers ----


async def test_an_offer_counts_over_the_shards(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 4)
    await enqueue(servers[0], 12, 12)
    async with subscribers(ports[:1], credit=10, mode="notify") as (subscriber,):
        assert (await subscriber.event("ready", 2))["ready"] == 10
        answer = await subscriber.ask(op="dequeue", queue_type="t", count=10)
        assert len(answer["jobs"]) == 10
        await subscriber.finish(*answer["jobs"])
        assert (await subscriber.event("ready", 2))["ready"] == 2


async def test_an_offer_passes_to_another_server(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 4)
    async with subscribers(ports[:2], credit=5, mode="notify") as several:
        await enqueue(servers[2], 1, 1)
        offers = [asyncio.ensure_future(each.event("ready", 2)) for each in several]
        await asyncio.wait(offers)
        assert [each.result()["ready"] for each in offers] == [1, 1]


async def test_jobs_go_where_there_is_room_before_they_are_offered(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 4)
    async with (
        subscribers(ports[:2], credit=50, mode="notify") as watchers,
        subscribers(ports[:1], credit=200) as (worker,),
    ):
        for _ in range(3):
            await enqueue(servers[2], 40, 40)
            await worker.finish(*(await worker.jobs(40)))
        for watcher in watchers:
            assert await watcher.nothing_comes("ready", 0.1)


# ---- what it costs ----


async def calls_of(store: PrivateStore, seconds: float) -> int:
    store.client.config_resetstat()
    await asyncio.sleep(seconds)
    return store.script_calls()


async def test_idle_lines_cost_nothing(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    await spread(servers[0], 16)
    async with subscribers(ports[:1] * 3, credit=1) as several:
        await enqueue(servers[2], 1, 1)
        assert len(await work(several, 1, 1)) == 1
        assert await calls_of(clean_store, 0.5) == 0


async def test_a_long_poll_beside_those_that_are_told_asks_each_shard_once(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    await spread(servers[0], 8)
    async with subscribers(ports[:1], credit=5, mode="notify"):
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(servers[0].push.wait_for("t", 1, None, 5, lambda _: None))
        clean_store.client.config_resetstat()
        await asyncio.sleep(0.3)
        # Its only place is reserved for one line after the other.
        assert clean_store.script_calls() <= 3 * 8
        await enqueue(servers[1], 1, 1)
        assert len(await waiting or ()) == 1


@pytest.mark.timing
async def test_an_idle_subscriber_is_woken_as_soon_as_without_shards(
    servers: list[SharQServer], ports: list[int]
) -> None:
    loop = asyncio.get_running_loop()
    await spread(servers[0], 16)
    medians = {}
    async with subscribers(ports[:1], credit=1) as (subscriber,):
        await subscriber.subscribe("plain", credit=1)
        for queue_type in ("plain", "t"):
            took = []
            for at in range(40):
                began = loop.time()
                new = servers[1].sq.new_job(b"1", 0, "j", f"q{at}", queue_type)
                await servers[1].sq.submit(new)
                (got,) = await subscriber.jobs(1)
                took.append(loop.time() - began)
                await subscriber.finish(got)
            medians[queue_type] = sorted(took)[20]
    assert medians["t"] <= 1.5 * medians["plain"] + 0.002, medians


async def test_a_job_of_a_small_credit_costs_a_few_calls(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    await spread(servers[0], 16)
    async with subscribers(ports[:1], credit=1) as (subscriber,):
        await asyncio.sleep(0.1)
        clean_store.client.config_resetstat()
        for at in range(20):
            queue = f"q{at}"
            await subscriber.ask(op="enqueue", jobs=[job("j", f"t/{queue}")])
            await subscriber.finish(*(await subscriber.jobs(1)))
        # Enqueue, dispatch, finish, and to stand in that line again.
        assert clean_store.script_calls() <= 20 * 4 + 16


async def test_a_backlog_costs_no_more_calls_than_without_shards(
    servers: list[SharQServer], ports: list[int], clean_store: PrivateStore
) -> None:
    costs = {}
    for shards in (1, 4):
        await spread(servers[0], shards)
        await enqueue(servers[2], 2000, 500)
        clean_store.client.config_resetstat()
        async with subscribers(ports[:1] * 4, credit=100) as several:
            assert_each_once(await work(several, 100, 2000), 2000, 500)
        costs[shards] = clean_store.script_calls()
    # Those at the beginning and at the end, of each shard.
    assert costs[4] <= costs[1] * 1.3 + 4 * 4, costs


async def test_a_type_that_is_not_spread_has_no_lines(
    servers: list[SharQServer], ports: list[int]
) -> None:
    await spread(servers[0], 4, "spread")
    async with subscribers(ports[:1], credit=1) as (subscriber,):
        await subscriber.subscribe("spread")
        groups = servers[0].push.dispatcher._by_type
        assert type(groups["t"]) is SubscriberGroup
        assert isinstance(groups["spread"], Lines)
        assert len(groups) == 6
        await subscriber.ask(op="unsubscribe", queue_type="spread")
        await asyncio.sleep(0.05)
        assert list(groups) == ["t"]
