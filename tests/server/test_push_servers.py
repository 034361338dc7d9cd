"""Push with several servers on one store, and what it costs the store while nothing happens."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from sharq.config import LANE, Settings
from sharq_server import SharQServer, schedule
from tests.server.command import Server
from tests.server.subscriber import Subscriber
from tests.server.test_push import HANDSHAKE, job, listening
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture
def ports(io_loop: IOLoop, settings: Settings) -> Iterator[list[int]]:
    """The ports of two servers on one store."""
    servers = [SharQServer(settings) for _ in range(2)]
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


@pytest.fixture
def only_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "POLL_AFTER", (1000.0, 1000.0))


@asynccontextmanager
async def subscribers(ports: list[int], **subscription: Any) -> AsyncIterator[list[Subscriber]]:
    async with AsyncExitStack() as stack:
        several = []
        for port in ports:
            each = await stack.enter_async_context(await Subscriber.connect(port))
            await each.subscribe(**subscription)
            several.append(each)
        yield several


async def collect(subscriber: Subscriber, into: list[str], finish: bool = True) -> None:
    """Take and finish jobs for ever."""
    while True:
        jobs = (await subscriber.event("jobs", 60))["jobs"]
        into += [each["job_id"] for each in jobs]
        if finish:
            subscriber.send(op="finish", leases=[each["lease"] for each in jobs])


@pytest.mark.usefixtures("only_wakeups")
@pytest.mark.parametrize("interval", [0, 20])
async def test_each_job_is_delivered_once_and_every_server_gets_its_share(
    ports: list[int], interval: int
) -> None:
    total = 200
    got: list[list[str]] = [[], []]
    async with subscribers(ports, credit=5) as several:
        tasks = [asyncio.ensure_future(collect(*each)) for each in zip(several, got, strict=True)]
        producer = await Subscriber.connect(ports[0])
        for at in range(total):
            name = f"t/q{at % 10}"
            await producer.ask(op="enqueue", jobs=[job(f"j{at}", name, interval=interval)])
        while len(got[0]) + len(got[1]) < total:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        producer.socket.close()
    assert Counter(got[0] + got[1]) == Counter(f"j{at}" for at in range(total))
    assert min(map(len, got)) >= total / 4


@pytest.mark.usefixtures("only_wakeups")
async def test_a_job_goes_where_there_is_room(ports: list[int]) -> None:
    async with subscribers(ports, credit=1) as (first, second):
        await first.ask(op="enqueue", jobs=[job(f"j{at}") for at in range(2)])
        (one,), (other,) = await first.jobs(1), await second.jobs(1)
        await first.ask(op="enqueue", jobs=[job("next")])
        await second.finish(other)
        assert (await second.jobs(1))[0]["job_id"] == "next"
        await first.finish(one)


@pytest.mark.usefixtures("only_wakeups")
async def test_who_leaves_hands_on(ports: list[int]) -> None:
    async with subscribers(ports, credit=1) as (first, second):
        await first.ask(op="enqueue", jobs=[job(f"j{at}", interval=200) for at in range(2)])
        taken = [asyncio.ensure_future(each.event("jobs", 0.1)) for each in (first, second)]
        done = await asyncio.gather(*taken, return_exceptions=True)
        # Whichever got the first job leaves: the other one has to be told of the second.
        winner, other = (first, second) if isinstance(done[0], dict) else (second, first)
        await winner.ask(op="unsubscribe", queue_type="t")
        winner.socket.close()
        assert (await other.jobs(1))[0]["job_id"] == "j1"


@pytest.mark.usefixtures("only_wakeups")
async def test_one_server_offers_a_ready_job(ports: list[int]) -> None:
    async with subscribers(ports, mode="notify", credit=5) as several:
        await several[0].ask(op="enqueue", jobs=[job("j")])
        offers = await asyncio.gather(
            *(each.event("ready", 0.15) for each in several), return_exceptions=True
        )
        assert sum(isinstance(offer, dict) for offer in offers) == 1


async def commands_of(store: PrivateStore, seconds: float) -> dict[str, int]:
    """The commands that the store ran in some time, by name."""
    store.client.config_resetstat()
    await asyncio.sleep(seconds)
    stats: Any = store.client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): numbers["calls"]
        for name, numbers in stats.items()
        if not name.startswith(("cmdstat_config", "cmdstat_info"))
    }


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for the sockets of both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def masked(text: bytes) -> bytes:
    """A short text frame as a client sends it, with a mask of zeros."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


@pytest.mark.parametrize("http", [LANE])
@pytest.mark.usefixtures("many_files")
async def test_two_thousand_idle_subscribers_cost_nothing(
    ports: list[int], clean_store: PrivateStore
) -> None:
    frame = masked(b'{"op":"subscribe","queue_type":"t","credit":1}')
    writers = []
    for _ in range(2000):
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        writer.write(HANDSHAKE + frame)
        await reader.readuntil(b'"status":"success"')
        writers.append(writer)
    commands = await commands_of(clean_store, 5)
    for writer in writers:
        writer.close()
    # One type: a poll every one to five seconds, and a ping each second and server.
    assert 1 <= commands["evalsha"] <= 6
    assert commands["ping"] <= 12


@pytest.mark.parametrize("http", [LANE])
async def test_two_thousand_idle_types_cost_no_more_than_the_pace(
    ports: list[int], clean_store: PrivateStore
) -> None:
    async with AsyncExitStack() as stack:
        for part in range(2):
            each = await stack.enter_async_context(await Subscriber.connect(ports[0]))
            ids = [
                each.send(op="subscribe", queue_type=f"t{part}-{at}", credit=1)
                for at in range(1000)
            ]
            await each.answer(ids[-1])
        await asyncio.sleep(1)
        commands = await commands_of(clean_store, 5)
    assert 0 < commands["evalsha"] <= 5 * schedule.POLLS_PER_SECOND + 20


def test_worker_processes_share_the_jobs_and_a_stop_loses_none(
    tmp_path: Path, io_loop: IOLoop
) -> None:
    async def run(server: Server) -> None:
        got: list[str] = []
        async with subscribers([server.port] * 6, credit=5) as several:
            tasks = [asyncio.ensure_future(collect(each, got)) for each in several]
            for at in range(100):
                await several[0].socket.write_message(
                    json.dumps({"op": "enqueue", "jobs": [job(f"j{at}", f"t/q{at % 7}")]})
                )
            while len(got) < 100:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert sorted(got) == sorted(f"j{at}" for at in range(100))

    with Server(tmp_path, "--workers", "3") as server:
        io_loop.run_sync(lambda: run(server), timeout=20)
        assert server.stop() == 0
