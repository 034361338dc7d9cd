"""Primaries that are killed, hang, or are cut off from the others but not from us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from sharq.settings.options import StoreSettings
from sharq.store.cluster import ClusterLink
from sharq.store.wakeups import Wakeups
from tests.support.clusters import ReplicatedCluster
from tests.support.loops import eventually, on_loop
from tests.support.outages import break_down
from tests.support.stores import PrivateStore


@pytest.fixture(scope="module")
def cluster() -> Iterator[ReplicatedCluster]:
    with ReplicatedCluster() as cluster:
        yield cluster


# The configured node is the one that breaks: it cannot be asked, or tells an old map.
@pytest.mark.timing
@pytest.mark.parametrize("kind", ["partition", "hang", "kill"])
def test_a_type_is_served_soon_after_a_promotion_and_others_do_not_notice(
    cluster: ReplicatedCluster, kind: str
) -> None:
    for face, seen in break_down(kind, cluster).items():
        assert seen.outage < 1.5, (face, seen)
        assert seen.others < 0.5, (face, seen)
        if kind == "partition":
            # It was reached all the time, and its refusals said so.
            assert set(seen.refused) == {"CLUSTERDOWN"}, (face, seen)
            assert not seen.unknown, (face, seen)


class Watcher:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.told: list[bytes] = []
        self.deaf = 0

    def on_wake(self, queue_type: str) -> None:
        self.woken.append(queue_type)

    def on_message(self, message: bytes) -> None:
        self.told.append(message)

    def on_listening(self) -> None:
        pass

    def on_deaf(self) -> None:
        self.deaf += 1


@asynccontextmanager
async def listening(
    node: PrivateStore, beat: float | None = 0.1
) -> AsyncIterator[tuple[Watcher, Wakeups]]:
    """Wake-ups at a node of a cluster, with a beat of a tenth of a second or the usual one."""
    settings = StoreSettings(conn_type="tcp_sock", port=node.port, clustered=True)
    link = ClusterLink(settings, {})
    await link.start()
    await eventually("the map is known", lambda: link.nodes)
    watcher = Watcher()
    wakeups = Wakeups(
        settings,
        (b"own", b"common"),
        lambda message: message.decode() if message.isalpha() else None,
        watcher,
        others=lambda: link.nodes,
        run_at=link.run_at,
        beat=beat,
    )
    wakeups.start()
    try:
        await eventually("wake-ups arrive", lambda: wakeups.subscribed)
        yield watcher, wakeups
    finally:
        await wakeups.aclose()
        await link.aclose()


def primaries(cluster: ReplicatedCluster) -> list[PrivateStore]:
    # By their slots: one that was replaced a moment ago may still take itself for a primary.
    return [cluster.owner_of(slot) for slot in (0, 8192, 16383)]


@on_loop
@pytest.mark.parametrize("hangs", [False, True], ids=["cut off", "hangs"])
async def test_wake_ups_leave_a_node_that_passes_nothing_on(
    cluster: ReplicatedCluster, hangs: bool
) -> None:
    node, other, _ = primaries(cluster)
    async with listening(node) as (watcher, wakeups):
        if hangs:
            node.pause()
        else:
            cluster.isolate(node)
        try:

            def arrives() -> bool:
                other.command("PUBLISH", "own", "mail")
                return bool(watcher.woken)

            await eventually("a wake-up of another node arrives", arrives)
            assert (watcher.deaf, wakeups.subscribed, watcher.told) == (1, True, [])
        finally:
            await asyncio.to_thread(cluster.mend)


@pytest.mark.timing
@on_loop
async def test_wake_ups_of_others_arrive_within_a_second_when_their_node_hangs(
    cluster: ReplicatedCluster,
) -> None:
    node, *_ = primaries(cluster)
    async with listening(node, beat=None) as (watcher, wakeups):
        node.pause()
        began = time.monotonic()
        try:
            await eventually("it is left", lambda: watcher.deaf)
            await eventually("another one is found", lambda: wakeups.subscribed)
            assert time.monotonic() - began < 1.0
        finally:
            await asyncio.to_thread(cluster.mend)


@on_loop
async def test_wake_ups_stay_when_it_is_another_node_that_is_cut_off(
    cluster: ReplicatedCluster,
) -> None:
    node, other, _ = primaries(cluster)
    async with listening(node) as (watcher, _):
        cluster.isolate(other)
        try:
            published = pings(node)
            await eventually("several beats have passed", lambda: pings(node) > published + 8)
            assert (watcher.deaf, watcher.told) == (0, [])
        finally:
            await asyncio.to_thread(cluster.mend)


def pings(node: PrivateStore) -> int:
    """How often a node was pinged by its clients."""
    stats = node.client.info("commandstats")
    return int(stats.get("cmdstat_ping", {"calls": 0})["calls"])
