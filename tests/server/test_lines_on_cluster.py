"""Push and polling of a type that is spread over the primaries of a cluster, one of which hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from sharq.heads import SILENT
from sharq.operations.sharding import layout
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.push import schedule
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.test_lines import assert_each_once, enqueue, subscribers, work
from tests.server.test_push import listening
from tests.support.stores import PrivateCluster, PrivateStore

pytestmark = pytest.mark.gen_test(timeout=40)

SHARDS = 6


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PrivateCluster]:
    """Three primaries that a test may stop."""
    with PrivateCluster(cluster_require_full_coverage=False) as cluster:
        cluster.wait_until_ok()
        yield cluster


@pytest.fixture
def settings(own_cluster: PrivateCluster, key_prefix: str) -> Settings:
    return Settings.from_mapping(
        {
            "sharq": {"enable_requeue_script": False},
            "redis": {
                "port": own_cluster.ports[0],
                "clustered": True,
                "key_prefix": key_prefix,
            },
        }
    )


@pytest.fixture
def servers(settings: Settings) -> list[SharQServer]:
    return [SharQServer(settings) for _ in range(2)]


@pytest.fixture
def ports(io_loop: IOLoop, servers: list[SharQServer]) -> Iterator[list[int]]:
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


def node_of(cluster: PrivateCluster, prefix: str, name: str) -> PrivateStore:
    tag = f"{{{prefix}:{name.rpartition(':')[0]}}}"
    return cluster.owner_of(cluster.slot_of(tag))


@pytest.mark.parametrize("credit", [1, 100])
async def test_each_job_is_delivered_once(
    servers: list[SharQServer],
    ports: list[int],
    own_cluster: PrivateCluster,
    key_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    credit: int,
) -> None:
    monkeypatch.setattr(schedule, "POLL_AFTER", (1000.0, 1000.0))
    await servers[0].sq.set_shards("t", SHARDS)
    names = layout(key_prefix, "t", SHARDS)
    assert len({node_of(own_cluster, key_prefix, name).port for name in names}) == 3
    async with subscribers(ports, credit=credit) as several:
        await enqueue(servers[1], 120, 30)
        assert_each_once(await work(several, credit, 120), 120, 30)


async def test_a_node_that_hangs_holds_up_its_own_shards_alone(
    servers: list[SharQServer],
    ports: list[int],
    own_cluster: PrivateCluster,
    key_prefix: str,
    expect_log: ExpectLog,
) -> None:
    expect_log(".*", certain=False)
    server = servers[0]
    await server.sq.set_shards("t", SHARDS)
    names = layout(key_prefix, "t", SHARDS)
    shards = server.engine.flows.shards
    node = next(
        each
        for each in own_cluster.nodes
        if not any(server.engine.server_id.encode() in name for name in channels(each))
    )
    hung = {name for name in names if node_of(own_cluster, key_prefix, name) is node}
    assert len(hung) == 2
    queues = [f"q{at}" for at in range(60)]
    others = {queue for queue in queues if shards.home("t", queue) not in hung}
    async with subscribers(ports[:1], credit=4) as (subscriber,):
        for name in queues[:30]:
            await server.sq.submit(server.sq.new_job(b"1", 0, "j", name, "t"))
        got = await finished(subscriber, 30)
        assert got == set(queues[:30])
        node.pause()
        try:
            await all_arrive(server, subscriber, sorted(others & set(queues[30:])))
            new = [server.sq.new_job(b"1", 0, "k", name, "t") for name in sorted(others)[:5]]
            await subscriber.ask(op="unsubscribe", queue_type="t")
            await server.sq.submit_many(new)
            # Two dequeues find out about the two shards; those that follow do not wait for them.
            leases: list[str] = []

            async def poll() -> None:
                while len(leases) < 5:
                    leases.extend(job.lease for job in (await server.sq.take("t", 1)).jobs)

            pollers = []
            async with asyncio.timeout(1.2):
                while len(leases) < 5:
                    pollers.append(asyncio.ensure_future(poll()))
                    await asyncio.sleep(1.5 * SILENT)
        finally:
            node.resume()
        await asyncio.gather(*pollers, return_exceptions=True)
        assert len(set(leases)) == 5
        await server.sq.finish_many(leases)
        await subscriber.subscribe(credit=4)
        rest = sorted(set(queues[30:]) - others)
        for name in rest:
            await server.sq.submit(server.sq.new_job(b"1", 0, "j", name, "t"))
        assert await finished(subscriber, len(rest)) >= set(rest)


def channels(node: PrivateStore) -> list[bytes]:
    """Those on which somebody listens there."""
    return list(node.command("PUBSUB", "CHANNELS"))


async def all_arrive(server: SharQServer, subscriber: Subscriber, queues: list[str]) -> None:
    """Jobs of these queues come within a moment each."""
    for name in queues:
        await server.sq.submit(server.sq.new_job(b"1", 0, "j", name, "t"))
        assert await finished(subscriber, 1, 2) == {name}


async def finished(subscriber: Subscriber, count: int, timeout: float = 15) -> set[str]:
    """The queues of so many jobs, which are finished."""
    names: set[str] = set()
    while len(names) < count:
        jobs = (await subscriber.event("jobs", timeout))["jobs"]
        names |= {each["queue_id"] for each in jobs}
        # What is not finished when the node hangs would hold up the answers to what follows.
        await subscriber.finish(*jobs)
    return names
