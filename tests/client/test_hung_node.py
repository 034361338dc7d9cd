"""A node of a cluster that hangs: the others' leases are back, and their jobs taken, in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest

from sharq import AsyncSharQ, NewJob, Settings, SharQ
from sharq.blocking_engine import SyncEngine
from sharq.deployment import Deployment
from sharq.engine import Engine
from sharq.errors import StoreError, StoreUnavailable
from sharq.results import QUEUED
from tests.support.loops import on_loop
from tests.support.stores import PrivateCluster, PrivateStore, wait_for

PREFIX: Final = "lanes"
LEASE: Final = 0.2
INTERVAL: Final = 0.1
IN_TIME: Final = 1.2
"""Seconds: the lease, the interval, and what a busy machine takes. A call to a node that hangs is
given up after five seconds, and one to the registry's after half of one.
"""

Sweeper = Callable[[Settings, threading.Event], None]
"""Sweeps until the event is set."""


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PrivateCluster]:
    # The nodes do not notice themselves that one of them hangs.
    with PrivateCluster(3, **{"cluster-node-timeout": 60_000}) as cluster:
        yield cluster


def settings_for(cluster: PrivateCluster, **sharq: Any) -> Settings:
    first, *others = cluster.ports
    redis = {
        "conn_type": "tcp_sock",
        "port": first,
        "cluster_nodes": " ".join(f"127.0.0.1:{port}" for port in others),
        "clustered": True,
        "key_prefix": PREFIX,
    }
    intervals = {
        "job_expire_interval": round(LEASE * 1000),
        "job_requeue_interval": round(INTERVAL * 1000),
    }
    return Settings.from_mapping({"redis": redis, "sharq": {**intervals, **sharq}})


@contextmanager
def sweeping(
    settings: Settings, make: Callable[[Settings, threading.Event], None]
) -> Iterator[None]:
    """Somebody sweeps, in a thread."""
    stopped = threading.Event()
    thread = threading.Thread(target=make, args=(settings, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def by_tasks(settings: Settings, stopped: threading.Event) -> None:
    async def sweep() -> None:
        engine = Engine(Deployment.read(settings), reclaims=False)
        await engine.start()
        try:
            while not stopped.is_set():
                pause = INTERVAL
                with suppress(StoreError):
                    pause = await engine.sweep_when_due()
                await asyncio.sleep(min(pause, engine.sweep_pause()))
        finally:
            await engine.aclose()

    asyncio.run(sweep())


def by_threads(settings: Settings, stopped: threading.Event) -> None:
    engine = SyncEngine(Deployment.read(settings), reclaims=False)
    pause = 0.0
    while not stopped.wait(pause):
        pause = INTERVAL
        with suppress(StoreError):
            pause = engine.sweep_when_due()
    engine.close()


def type_of(cluster: PrivateCluster, node: PrivateStore) -> str:
    """A type that a node serves."""
    names = (f"t{number}" for number in range(1000))
    return next(
        name for name in names if cluster.owner_of(cluster.slot_of(f"{{{PREFIX}:{name}}}")) is node
    )


def time_until_back(queue: SharQ, queue_type: str) -> float:
    """Lease a job, and wait until it has been taken back."""
    queue.submit(NewJob(queue_type, "q", f"j{time.monotonic_ns()}", b"1", 0, -1))
    job = wait_for("a job is ready", lambda: next(iter(queue.take(queue_type).jobs), None))
    began = time.monotonic()
    names = (queue_type, job.queue_id, job.job_id)
    wait_for("the job is back", lambda: queue.job_status(*names).state == QUEUED, 20)
    return time.monotonic() - began


@pytest.mark.timing
@pytest.mark.parametrize("sweeper", [by_tasks, by_threads])
@pytest.mark.parametrize("of_registry", [False, True])
def test_a_lease_of_another_node_is_taken_back_in_time(
    own_cluster: PrivateCluster,
    sweeper: Sweeper,
    of_registry: bool,
) -> None:
    registry = own_cluster.owner_of(own_cluster.slot_of(f"{{{PREFIX}}}"))
    hung = next(node for node in own_cluster.nodes if (node is registry) == of_registry)
    ours = type_of(own_cluster, hung)
    others = [type_of(own_cluster, node) for node in own_cluster.nodes if node is not hung]
    queue = SharQ(settings_for(own_cluster, enable_requeue_script=False))
    try:
        with sweeping(settings_for(own_cluster), sweeper):
            # It has read the registry, and knows when leases run out.
            for name in (ours, *others):
                time_until_back(queue, name)
            hung.pause()
            try:
                took = []
                until = time.monotonic() + 6.5
                while time.monotonic() < until:
                    took += [time_until_back(queue, name) for name in others]
            finally:
                hung.resume()
            assert max(took) < IN_TIME, sorted(took)[-5:]
            # And its own are back when it is.
            wait_for("the node is asked again", lambda: time_until_back(queue, ours) < IN_TIME)
    finally:
        queue.close()
        for node in own_cluster.nodes:
            node.client.flushall()


@pytest.mark.timing
@on_loop
async def test_a_poll_that_meets_a_shard_that_hangs_asks_the_others(
    own_cluster: PrivateCluster,
) -> None:
    sq = AsyncSharQ(
        settings_for(own_cluster, enable_requeue_script=False, job_expire_interval=60_000)
    )
    await sq.start()
    hung = own_cluster.nodes[1]
    try:
        await sq.set_shards("sms", 3)
        for at in range(600):
            await sq.submit(NewJob("sms", f"q{at}", "j", b"1", 0, -1))
        # What is known of the heads counts for a quarter of a second; then it is asked for anew.
        await asyncio.sleep(0.3)
        hung.pause()
        took, jobs = [], 0
        began = time.monotonic()
        while time.monotonic() < began + 6:
            asked = time.monotonic()
            jobs += len((await sq.take("sms")).jobs)
            took.append(time.monotonic() - asked)
            await asyncio.sleep(0.02)
        assert max(took) < 0.8, sorted(took)[-5:]
        assert jobs == len(took)
        while jobs < 600:
            asked = time.monotonic()
            try:
                jobs += len((await sq.take("sms", 100)).jobs)
            except StoreUnavailable:
                break
        assert 300 < jobs < 600, "those of the others"
        assert time.monotonic() - asked < 2.0, "nothing is said only when it was asked, too"
        hung.resume()
        while jobs < 600:
            with suppress(StoreUnavailable):
                jobs += len((await sq.take("sms", 100)).jobs)
        assert jobs == 600, "no lease is lost"
    finally:
        hung.resume()
        await sq.aclose()
        for node in own_cluster.nodes:
            node.client.flushall()


@pytest.mark.timing
@on_loop
async def test_the_metrics_of_the_others_are_told_soon(own_cluster: PrivateCluster) -> None:
    sq = AsyncSharQ(settings_for(own_cluster))
    await sq.start()
    hung = own_cluster.owner_of(own_cluster.slot_of(f"{{{PREFIX}}}"))
    types = {node.port: type_of(own_cluster, node) for node in own_cluster.nodes}
    try:
        for name in types.values():
            await sq.submit(NewJob(name, "q", "j", b"1", 0, -1))
        hung.pause()
        asked = time.monotonic()
        overview = await sq.overview()
        # The time, the registry and the types are asked for, one after the other.
        assert time.monotonic() - asked < 4
        ours = types.pop(hung.port)
        assert set(overview.queue_types) == set(types.values())
        assert (overview.unreached, overview.complete) == ([ours], False)
    finally:
        hung.resume()
        await sq.aclose()
        for node in own_cluster.nodes:
            node.client.flushall()
