"""A node of a cluster that is dead or hangs: the types of the others go on, and are told apart."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sharq import AsyncSharQ, LeasedJob
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.support.stores import PrivateCluster, PrivateStore

pytestmark = pytest.mark.gen_test(timeout=40)

AWAY = "store_unavailable"


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PrivateCluster]:
    options: dict[str, Any] = {
        "cluster-require-full-coverage": "no",
        "appendonly": True,
        "appendfsync": "always",
    }
    with PrivateCluster(3, **options) as cluster:
        yield cluster


class Shards:
    """The cluster, and who serves what of one deployment."""

    def __init__(self, cluster: PrivateCluster, prefix: str) -> None:
        self.cluster = cluster
        self.prefix = prefix
        self.registry = cluster.owner_of(cluster.slot_of(f"{{{prefix}}}"))
        self.others = [node for node in cluster.nodes if node is not self.registry]
        self._types: dict[int, Iterator[str]] = {}

    def new_type(self, node: PrivateStore) -> str:
        """Another type that a node serves."""
        names = self._types.setdefault(node.port, map("t{}".format, itertools.count()))
        at = self.cluster.nodes.index(node)
        first, last = at * 16384 // 3, (at + 1) * 16384 // 3 - 1
        return next(
            name
            for name in names
            if first <= self.cluster.slot_of(f"{{{self.prefix}:{name}}}") <= last
        )

    def registered(self) -> set[str]:
        page: Any = self.registry.client.zrange(f"{{{self.prefix}}}:types", 0, -1)
        return {name.decode() for name in page}

    def keys(self) -> set[bytes]:
        return {key for node in self.cluster.nodes for key in node.client.scan_iter()}

    def mend(self) -> None:
        for node in self.cluster.nodes:
            if node._process is None:
                node.start()
            else:
                node.resume()
        self.cluster.wait_until_ok()


@pytest.fixture
def store(own_cluster: PrivateCluster) -> PrivateStore:
    return own_cluster.nodes[0]


@pytest.fixture
def shards(own_cluster: PrivateCluster, key_prefix: str) -> Iterator[Shards]:
    found = Shards(own_cluster, key_prefix)
    yield found
    found.mend()


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    intervals = {"job_expire_interval": 400, "job_requeue_interval": 100}
    return {"sharq": {"enable_requeue_script": True, **intervals}}


@pytest.fixture
def settings(shards: Shards, key_prefix: str, options: dict[str, dict[str, Any]]) -> Settings:
    first, *others = shards.cluster.ports
    redis = {
        "conn_type": "tcp_sock",
        "port": first,
        "cluster_nodes": " ".join(f"127.0.0.1:{port}" for port in others),
        "clustered": True,
        "key_prefix": key_prefix,
    }
    return Settings.from_mapping({"redis": redis, **options})


@pytest.fixture(autouse=True)
def lost(expect_log: ExpectLog) -> None:
    expect_log("Lost the store", certain=False)
    expect_log("No connection to the store", certain=False)
    expect_log("Expired jobs are not taken back", certain=False)


async def until(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds; the test's own time is the bound."""
    while not await holds():
        await asyncio.sleep(0.02)


async def is_back(rest: Rest, queue_type: str, job_id: str = "j") -> None:
    """Wait until a job waits again."""

    async def waits() -> bool:
        answer = await rest.get(f"/status/{queue_type}/q/{job_id}/")
        return bool(answer.status == 200 and answer.body["state"] == "queued")

    await until(waits)


async def lease(rest: Rest, queue_type: str, job_id: str = "j") -> str:
    """Enqueue a job and take one; returns which."""
    assert (await rest.enqueue(f"{queue_type}/q", job_id)).status == 201
    answer = await rest.get(f"/dequeue/{queue_type}/")
    assert answer.status == 200
    return str(answer.body["job_id"])


def name(node: PrivateStore) -> str:
    return f"127.0.0.1:{node.port}"


# ---- the registry's node ----


async def test_without_the_registry_types_are_taken_swept_and_told(
    rest: Rest, shards: Shards, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sharq_server.process.maintenance")
    known, unknown = map(shards.new_type, shards.others)
    gone = shards.new_type(shards.registry)
    await lease(rest, known)
    await is_back(rest, known)
    assert (await rest.enqueue(f"{gone}/q")).status == 201
    await asyncio.to_thread(shards.registry.kill)

    await lease(rest, unknown)
    taken = await lease(rest, known, "k0")
    await is_back(rest, unknown)
    await is_back(rest, known, taken)

    told = (await rest.get("/metrics/")).body
    assert (told["status"], told["complete"]) == ("success", False)
    assert sorted(told["queue_types"]) == sorted([known, unknown])
    assert told["unreached_types"] == [gone]
    assert sum(told["enqueue_counts"].values()) == 3
    text = (await rest.get("/prometheus/")).text.decode()
    assert f'sharq_jobs{{queue_type="{known}",state="waiting"}} 2.0' in text
    assert f'sharq_store_up{{node="{name(shards.registry)}"}} 0.0' in text

    # Several of its rounds, and looks between them.
    for number in range(1, 4):
        await is_back(rest, known, await lease(rest, known, f"k{number}"))
    assert says(caplog) == ["Expired jobs are not taken back"]

    await asyncio.to_thread(shards.mend)

    async def is_registered() -> bool:
        return unknown in await asyncio.to_thread(shards.registered)

    async def is_whole() -> bool:
        body = (await rest.get("/metrics/")).body
        return "complete" not in body and "unreached_types" not in body

    async def is_told() -> bool:
        return len(says(caplog)) > 1

    await until(is_registered)
    await until(is_whole)
    await until(is_told)
    assert says(caplog) == ["Expired jobs are not taken back", "Expired jobs are taken back again"]


def says(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the sweep has logged, without reasons."""
    return [
        record.getMessage().partition(":")[0]
        for record in caplog.records
        if "taken back" in record.getMessage()
    ]


@pytest.mark.parametrize("kind", ["kill", "pause"])
async def test_a_server_begins_without_the_registry(
    shards: Shards, settings: Settings, kind: str
) -> None:
    types = [shards.new_type(node) for node in (*shards.others, *shards.others)]
    await asyncio.to_thread(getattr(shards.registry, kind))
    server = SharQServer(settings)
    await server.start()
    try:
        took = []
        for queue_type in types:
            begun = time.monotonic()
            assert await server.sq.enqueue(1, 0, "j", "q", queue_type) == {"status": "queued"}
            took.append(time.monotonic() - begun)
        assert took[0] < 2.5, took
        assert max(took[1:]) < 0.5, took
        # By what this server knows alone.
        assert (await server.sq.dequeue(types[0]))["job_id"] == "j"

        async def waits() -> bool:
            return bool((await server.sq.job_status(types[0], "q", "j")).state == "queued")

        await until(waits)
        await asyncio.to_thread(shards.mend)

        async def are_registered() -> bool:
            return set(types) <= await asyncio.to_thread(shards.registered)

        await until(are_registered)
    finally:
        await server.stop()


async def test_what_another_process_could_not_register_is_registered_by_who_uses_it(
    rest: Rest, shards: Shards, settings: Settings
) -> None:
    queue_type = shards.new_type(shards.others[0])
    await rest.get("/metrics/")
    await asyncio.to_thread(shards.registry.kill)
    async with AsyncSharQ(settings) as library:
        await library.enqueue(1, 0, "j", "q", queue_type)
    await asyncio.to_thread(shards.mend)
    assert queue_type not in shards.registered()
    assert (await rest.get(f"/dequeue/{queue_type}/")).body["job_id"] == "j"
    await is_back(rest, queue_type)


# ---- /deepstatus/ ----


@pytest.mark.parametrize("kind", ["kill", "pause"])
async def test_the_deep_status_is_good_while_a_node_takes_writes(
    rest: Rest, shards: Shards, kind: str
) -> None:
    nodes = sorted(map(name, shards.cluster.nodes))
    whole = (200, {"status": "success", "nodes": {"up": nodes, "down": []}})
    assert (await rest.get("/deepstatus/")).outcome == whole
    assert (await rest.get("/deepstatus/?strict=true")).outcome == whole
    lost, *others = shards.cluster.nodes
    await asyncio.to_thread(getattr(lost, kind))
    part = {"up": sorted(map(name, others)), "down": [name(lost)]}
    for _ in range(3):
        begun = time.monotonic()
        answer = await rest.get("/deepstatus/")
        assert answer.outcome == (200, {"status": "success", "nodes": part})
        assert time.monotonic() - begun < 2
    answer = await rest.get("/deepstatus/?strict=1")
    assert answer.error == (503, AWAY)
    assert answer.body["nodes"] == part
    for node in others:
        await asyncio.to_thread(getattr(node, kind))
    answer = await rest.get("/deepstatus/")
    assert answer.error == (503, AWAY)
    assert answer.body["nodes"] == {"up": [], "down": nodes}
    await asyncio.to_thread(shards.mend)

    async def is_whole() -> bool:
        return bool((await rest.get("/deepstatus/?strict=true")).outcome == whole)

    await until(is_whole)


async def test_a_strict_that_is_none_is_refused(rest: Rest) -> None:
    assert (await rest.get("/deepstatus/?strict=perhaps")).error == (400, "invalid_argument")
    assert (await rest.get("/deepstatus/?strict=1&strict=1")).error == (400, "invalid_argument")


class TestWithoutSweep:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq": {"enable_requeue_script": False}}

    async def test_the_deep_status_is_one_script_call_a_node_and_leaves_nothing(
        self, rest: Rest, shards: Shards
    ) -> None:
        for _ in range(2):
            await rest.get("/deepstatus/")
        before = [node.script_calls() for node in shards.cluster.nodes]
        assert (await rest.get("/deepstatus/")).status == 200
        assert [node.script_calls() for node in shards.cluster.nodes] == [n + 1 for n in before]
        keys = {key for node in shards.cluster.nodes for key in node.client.scan_iter()}
        assert not [key for key in keys if b":." in key]


# ---- subscribers ----


# Wake-ups come from the first node, so that its loss is noticed by itself.
@pytest.mark.parametrize("which", [0, 1])
async def test_subscribers_are_paused_with_their_types_and_resumed_by_themselves(
    rest: Rest, shards: Shards, http_port: int, which: int
) -> None:
    lost = shards.cluster.nodes[which]
    others = [node for node in shards.cluster.nodes if node is not lost]
    gone, healthy, also = shards.new_type(lost), *map(shards.new_type, others)
    async with (
        await Subscriber.connect(http_port) as of_gone,
        await Subscriber.connect(http_port) as of_healthy,
        await Subscriber.connect(http_port) as of_both,
        await Subscriber.connect(http_port) as of_none,
    ):
        await of_gone.subscribe(gone)
        await of_healthy.subscribe(healthy)
        await of_both.subscribe(gone)
        await of_both.subscribe(also)
        await asyncio.to_thread(lost.kill)
        assert (await of_gone.event("paused"))["code"] == AWAY
        away = {"event": "types_away", "code": AWAY, "queue_types": [gone]}
        assert await of_both.event("types_away") == away

        # Nothing else stops, nor waits.
        for queue_type, subscriber in ((healthy, of_healthy), (also, of_both)):
            assert (await rest.enqueue(f"{queue_type}/q")).status == 201
            (job,) = await subscriber.jobs(1, 2.0)
            assert await subscriber.finish(job) == ["success"]

        # Of all that it subscribes to, of some, and of all again.
        await of_gone.subscribe(healthy)
        await of_gone.event("resumed")
        assert await of_gone.event("types_away") == away
        await of_gone.ask(op="unsubscribe", queue_type=healthy)
        assert (await of_gone.event("paused"))["code"] == AWAY
        async with await Subscriber.connect(http_port) as late:
            await late.subscribe(gone)
            await late.event("paused")

        await asyncio.to_thread(shards.mend)
        await of_gone.event("resumed")
        assert await of_both.event("types_back") == {"event": "types_back", "queue_types": [gone]}
        assert (await rest.enqueue(f"{gone}/q")).status == 201
        jobs = await asyncio.wait_for(first_job(of_gone, of_both), 10)
        assert [job["job_id"] for job in jobs] == ["j"]
        for subscriber in (of_healthy, of_none, of_both):
            await subscriber.ask(op="ping")
            assert not {"paused", "resumed"} & {each["event"] for each in subscriber.seen}


async def first_job(*subscribers: Subscriber) -> list[dict[str, Any]]:
    """The jobs of whoever gets some first."""
    tasks = [asyncio.ensure_future(each.jobs(1)) for each in subscribers]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


async def test_when_all_nodes_are_away_all_are_paused(
    rest: Rest, shards: Shards, http_port: int
) -> None:
    types = [shards.new_type(node) for node in shards.cluster.nodes]
    async with (
        await Subscriber.connect(http_port) as of_all,
        await Subscriber.connect(http_port) as of_none,
    ):
        for queue_type in types:
            await of_all.subscribe(queue_type)
        for node in shards.cluster.nodes:
            await asyncio.to_thread(node.kill)
        await of_all.event("paused")
        await of_none.event("paused")
        await asyncio.to_thread(shards.mend)
        await of_none.event("resumed")
        await of_all.event("resumed")
        for queue_type in types:
            while (await rest.enqueue(f"{queue_type}/q")).status not in (200, 201):
                await asyncio.sleep(0.02)
        assert len(await of_all.jobs(3)) == 3


async def test_a_long_poll_goes_on_beside_a_dead_node_and_when_its_own_is_back(
    rest: Rest, server: SharQServer, shards: Shards
) -> None:
    lost, other = shards.cluster.nodes[:2]
    gone, healthy = shards.new_type(lost), shards.new_type(other)
    polls = [
        asyncio.ensure_future(rest.get(f"/dequeue/{queue_type}/?wait=18"))
        for queue_type in (gone, healthy)
    ]
    while len(server.push.dispatcher._by_type) < 2:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(lost.kill)
    assert (await rest.enqueue(f"{healthy}/q")).status == 201
    assert (await polls[1]).body["job_id"] == "j"
    await asyncio.to_thread(shards.mend)
    while (await rest.enqueue(f"{gone}/q")).status not in (200, 201):
        await asyncio.sleep(0.02)
    assert (await polls[0]).body["job_id"] == "j"


@pytest.mark.timing
async def test_a_worker_of_two_types_goes_on_with_one(
    rest: Rest, shards: Shards, working: Any, expect_log: ExpectLog
) -> None:
    expect_log("refused|types away|server paused|lease lost", certain=False)
    lost, other = shards.cluster.nodes[:2]
    gone, healthy = shards.new_type(lost), shards.new_type(other)
    ended: asyncio.Queue[str] = asyncio.Queue()
    go_on = asyncio.Event()

    async def handler(job: LeasedJob) -> None:
        if job.queue_type == gone:
            await go_on.wait()
        await ended.put(job.queue_type)

    for queue_type in (gone, healthy):
        assert (await rest.enqueue(f"{queue_type}/q")).status == 201
    async with working(handler, [gone, healthy], concurrency=4):
        assert await ended.get() == healthy
        await asyncio.to_thread(lost.kill)
        # Its finish is refused for as long as the node is away.
        go_on.set()
        assert await ended.get() == gone
        for number in range(3):
            assert (await rest.enqueue(f"{healthy}/q", f"k{number}")).status == 201
            assert await asyncio.wait_for(ended.get(), 2) == healthy

            async def is_finished(job_id: str = f"k{number}") -> bool:
                answer = await rest.get(f"/status/{healthy}/q/{job_id}/")
                return bool(answer.body.get("state") == "finished")

            await asyncio.wait_for(until(is_finished), 0.3)
        await asyncio.to_thread(shards.mend)

        async def is_over() -> bool:
            answer = await rest.get(f"/status/{gone}/q/j/")
            return bool(answer.status == 200 and answer.body["state"] == "finished")

        await until(is_over)


# ---- nodes that are there and take no writes ----


async def test_a_primary_without_its_replicas_is_down_with_its_types(
    rest: Rest, shards: Shards, http_port: int
) -> None:
    lost, other = shards.cluster.nodes[:2]
    gone, healthy = shards.new_type(lost), shards.new_type(other)
    info: Any = lost.client.info("server")
    if int(str(info["redis_version"]).split(".")[0]) < 7:
        pytest.skip("this store lets scripts write without replicas")
    async with await Subscriber.connect(http_port) as subscriber:
        await subscriber.subscribe(gone)
        lost.client.config_set("min-replicas-to-write", 1)
        try:
            assert (await subscriber.event("paused"))["code"] == AWAY
            told = (await rest.get("/deepstatus/")).body
            assert told["nodes"]["down"] == [name(lost)]
            assert (await rest.get("/deepstatus/?strict=true")).error == (503, AWAY)
            assert (await rest.enqueue(f"{healthy}/q")).status == 201
            assert (await rest.enqueue(f"{gone}/q")).error == (503, AWAY)
        finally:
            lost.client.config_set("min-replicas-to-write", 0)
        await subscriber.event("resumed")
        assert (await rest.enqueue(f"{gone}/q")).status == 201
        await subscriber.jobs(1)


async def test_a_slot_on_its_way_is_no_node_that_is_down(rest: Rest, shards: Shards) -> None:
    nodes = sorted(map(name, shards.cluster.nodes))
    whole = {"up": nodes, "down": []}
    assert (await rest.get("/deepstatus/")).body["nodes"] == whole
    slots = [shards.cluster.slot_of(f"{{{shards.prefix}:.{place}}}") for place in range(40)]
    slot = slots[0]
    source = shards.cluster.owner_of(slot)
    target = next(node for node in shards.cluster.nodes if node is not source)
    shards.cluster.begin_move(slot, target)
    try:
        assert (await rest.get("/deepstatus/")).body["nodes"] == whole
        shards.cluster.finish_move(slot, target)
        assert (await rest.get("/deepstatus/")).body["nodes"] == whole
    finally:
        if shards.cluster.owner_of(slot) is target:
            shards.cluster.begin_move(slot, source)
            shards.cluster.finish_move(slot, source)


async def test_a_server_that_knows_nothing_yet_says_so(shards: Shards, settings: Settings) -> None:
    await asyncio.to_thread(shards.registry.kill)
    server = SharQServer(settings)
    await server.start()
    try:
        overview = await server.sq.overview()
        assert (overview.queue_types, overview.complete) == ([], False)
    finally:
        await server.stop()
