"""Both links to a cluster, against real clusters: what one promises the other one does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import redis

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.operations.call import Anywhere, Call
from sharq.settings.options import StoreSettings
from sharq.store.blocking_cluster import SyncClusterLink, open_sync_link
from sharq.store.blocking_link import SyncLink
from sharq.store.cluster import ClusterLink, open_link
from sharq.store.errors import Misdirected, OnTheMove
from sharq.store.link import Link
from sharq.store.routing import Refresh
from tests.support.commands import PING, Script
from tests.support.loops import eventually, on_loop
from tests.support.proxy import Proxy
from tests.support.stores import PrivateCluster, PrivateStore, free_port, wait_for

T = TypeVar("T")

COUNT = Script("return redis.call('INCR', KEYS[1])")

REMOVE = Script("return redis.call('DEL', KEYS[1])")

# Like the queue's scripts: the first key never exists, the second one may.
GUARDED = Script("return redis.call('INCR', KEYS[2])")


class OnThread:
    """An asyncio link on a loop in a thread, with the methods of a blocking one."""

    def __init__(self, link: Link | ClusterLink) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._link = link

    def run(self, call: Call[Any]) -> Any:
        return self._wait(self._link.run(call))

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return self._wait(self._link.run_many(calls))

    def try_each(self, attempt: Call[Any]) -> dict[str, StoreError | None]:
        return self._wait(self._link.try_each(attempt))

    def close(self) -> None:
        self._wait(self._link.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        left = asyncio.all_tasks(self._loop)
        self._loop.close()
        assert not left

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def sources(scripts: Sequence[Script]) -> dict[str, str]:
    return {script.digest: script.source for script in scripts}


AnyLink = OnThread | SyncLink | SyncClusterLink
Opener = Callable[..., AnyLink]


def open_kind(
    kind: str, settings: StoreSettings, sources: Mapping[str, str], **options: Any
) -> OnThread | SyncLink | SyncClusterLink:
    if kind == "blocking":
        return open_sync_link(settings, sources, **options)
    return OnThread(open_link(settings, sources, **options))


@pytest.fixture(params=["asyncio", "blocking"])
def open_any(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Opens a link of either kind, in a run of the test for each."""
    links: list[AnyLink] = []

    def opened(settings: StoreSettings, *scripts: Script, **options: Any) -> AnyLink:
        links.append(open_kind(request.param, settings, sources(scripts), **options))
        return links[-1]

    yield opened
    for link in links:
        link.close()


@pytest.fixture
def open_both() -> Iterator[Callable[..., list[AnyLink]]]:
    """Opens a link of each kind, for what takes too long to be done twice."""
    links: list[AnyLink] = []

    def opened(settings: StoreSettings, *scripts: Script, **options: Any) -> list[AnyLink]:
        links.extend(
            open_kind(kind, settings, sources(scripts), **options)
            for kind in ("asyncio", "blocking")
        )
        return links

    yield opened
    for link in links:
        link.close()


@pytest.fixture(scope="module")
def harmed() -> Iterator[PrivateCluster]:
    """A cluster that tests may harm, and mend again; it serves what it can."""
    with PrivateCluster(cluster_require_full_coverage="no") as cluster:
        yield cluster


@pytest.fixture
def own_cluster(harmed: PrivateCluster) -> Iterator[PrivateCluster]:
    yield harmed
    for node in harmed.nodes:
        if node._process is None:
            node.start()
    harmed.wait_until_ok()


def at(cluster: PrivateCluster, index: int = 0) -> StoreSettings:
    node = cluster.nodes[index]
    return StoreSettings(conn_type="tcp_sock", host=node.host, port=node.port, clustered=True)


def key_on(cluster: PrivateCluster, index: int, name: str = "key") -> bytes:
    """A key whose slot the node `index` serves."""
    node = cluster.nodes[index]
    for number in range(10_000):
        key = f"{{{name}{number}}}".encode()
        if cluster.owner_of(cluster.slot_of(key)) is node:
            return key
    raise AssertionError("no key found")


def count(*keys: bytes) -> Call[Any]:
    return COUNT.call(keys=keys)


def clear(cluster: PrivateCluster) -> None:
    for node in cluster.nodes:
        node.client.flushall()


# ---- routes ----


def test_calls_reach_the_nodes_of_their_keys_and_results_come_in_order(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    clear(cluster)
    link = open_any(at(cluster), COUNT)
    keys = [f"{{key{number}}}".encode() for number in range(60)]
    assert link.run_many([count(key) for key in [*keys, *keys]]) == [1] * 60 + [2] * 60
    kept = [len(node.client.keys("*")) for node in cluster.nodes]
    assert sum(kept) == 60
    assert min(kept) > 5


@pytest.mark.parametrize("index", range(3))
def test_any_node_leads_to_all(cluster: PrivateCluster, open_any: Opener, index: int) -> None:
    clear(cluster)
    link = open_any(at(cluster, index), COUNT)
    assert [link.run(count(key_on(cluster, each))) for each in range(3)] == [1, 1, 1]


def spare(number: int) -> bytes:
    return b"{spare.%d}" % number


ATTEMPT: Call[Any] = REMOVE.call(keys=(spare(0),))._replace(
    key=b"", anywhere=Anywhere(spare, lambda number: REMOVE.call(keys=(spare(number),)).packed)
)


def names_of(cluster: PrivateCluster) -> list[str]:
    return sorted(f"127.0.0.1:{port}" for port in cluster.ports)


def removals(cluster: PrivateCluster) -> list[int]:
    """How often each node was asked to remove a key."""
    stats: list[Any] = [
        node.client.info("commandstats").get("cmdstat_del", {}) for node in cluster.nodes
    ]
    return [int(each.get("calls", 0)) for each in stats]


def test_every_primary_is_asked_once_whether_it_takes_writes(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    link = open_any(at(cluster), REMOVE)
    before = removals(cluster)
    assert link.try_each(ATTEMPT) == dict.fromkeys(names_of(cluster))
    assert removals(cluster) == [count + 1 for count in before]


def test_a_call_without_a_key_is_answered(cluster: PrivateCluster, open_any: Opener) -> None:
    assert open_any(at(cluster)).run(PING) == b"PONG"


def test_a_script_that_one_node_has_lost_is_loaded_again(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    clear(cluster)
    link = open_any(at(cluster), COUNT)
    keys = [key_on(cluster, index) for index in range(3)]
    link.run_many([count(key) for key in keys])
    cluster.nodes[1].client.script_flush()
    assert link.run_many([count(key) for key in keys]) == [2, 2, 2]


def test_a_cluster_that_prefers_hostnames_is_reached(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    clients = [node.client for node in cluster.nodes]
    try:
        for client in clients:
            client.config_set("cluster-announce-hostname", "localhost")
            client.config_set("cluster-preferred-endpoint-type", "hostname")
    except redis.ResponseError:
        pytest.skip("this store knows no hostnames")
    try:
        wait_for(
            "the hostnames are known",
            lambda: b"?" not in str(command_of(cluster.nodes[0], "CLUSTER", "SLOTS")).encode(),
        )
        told = open_any(at(cluster), REMOVE).try_each(ATTEMPT)
        assert told == dict.fromkeys(f"localhost:{port}" for port in cluster.ports)
    finally:
        for client in clients:
            client.config_set("cluster-preferred-endpoint-type", "ip")
            client.config_set("cluster-announce-hostname", "")


# ---- slots that move ----


@pytest.fixture
def moving(cluster: PrivateCluster) -> Iterator[Callable[[bytes], None]]:
    """Marks the slot of a key as under way to another node, until the test ends."""
    slots: list[int] = []

    def begin(key: bytes) -> None:
        slots.append(cluster.slot_of(key))
        owner = cluster.owner_of(slots[-1])
        target = next(node for node in cluster.nodes if node is not owner)
        cluster.begin_move(slots[-1], target)

    yield begin
    for slot in slots:
        cluster.cancel_move(slot)


def test_a_key_on_its_way_is_unavailable_and_nothing_is_written(
    cluster: PrivateCluster, open_any: Opener, moving: Callable[[bytes], None]
) -> None:
    clear(cluster)
    link = open_any(at(cluster), GUARDED)
    tag = key_on(cluster, 1)
    keys = (tag + b":void", tag + b":counter")
    link.run(GUARDED.call(keys=keys))
    moving(tag)
    with pytest.raises(StoreUnavailable) as error:
        link.run(GUARDED.call(keys=keys))
    assert (error.value.outcome_unknown, error.value.retry_after) == (False, 1)
    assert cluster.nodes[1].client.get(keys[1]) == b"1"


def test_a_slot_on_its_way_concerns_no_other(
    cluster: PrivateCluster, open_any: Opener, moving: Callable[[bytes], None]
) -> None:
    clear(cluster)
    link = open_any(at(cluster), COUNT)
    moved, other = key_on(cluster, 1), key_on(cluster, 1, "other")
    moving(moved)
    error, result = link.run_many([count(moved), count(other)])
    assert (type(error), result) == (OnTheMove, 1)


def test_a_moved_slot_is_followed_and_the_map_is_learned_once(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    clear(cluster)
    link = open_any(at(cluster), COUNT)
    key = key_on(cluster, 0)
    others = [key_on(cluster, index, "other") for index in range(3)]
    link.run_many([count(key), *map(count, others)])
    slot = cluster.slot_of(key)
    cluster.begin_move(slot, cluster.nodes[2])
    cluster.finish_move(slot, cluster.nodes[2])
    asked = sum(map(maps_told, cluster.nodes))
    try:
        with ThreadPoolExecutor(10) as threads:
            results = list(threads.map(lambda _: link.run(count(key)), range(50)))
        assert sorted(results) == list(range(2, 52))
        assert cluster.nodes[2].client.get(key) == b"51"
        assert link.run_many([count(other) for other in others]) == [2, 2, 2]
        assert sum(map(maps_told, cluster.nodes)) - asked <= 2
    finally:
        cluster.begin_move(slot, cluster.nodes[0])
        cluster.finish_move(slot, cluster.nodes[0])


def maps_told(node: PrivateStore) -> int:
    """How often a node was asked for the map."""
    stats: dict[str, Any] = node.client.info("commandstats")
    told = stats.get("cmdstat_cluster|slots") or stats.get("cmdstat_cluster") or {"calls": 0}
    return int(told["calls"])


def test_a_link_that_is_not_told_of_the_cluster_calls_a_moved_key_unavailable(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    link = open_any(replace(at(cluster), clustered=False), COUNT)
    with pytest.raises(Misdirected):
        link.run(count(key_on(cluster, 1)))


# ---- nodes that come and go ----


@pytest.mark.timing
def test_a_killed_node_concerns_its_own_keys_alone_and_is_found_again(
    own_cluster: PrivateCluster, open_both: Callable[..., list[AnyLink]]
) -> None:
    clear(own_cluster)
    links = open_both(at(own_cluster), COUNT, REMOVE)
    keys = [key_on(own_cluster, index) for index in range(3)]
    for link in links:
        link.run_many([count(key) for key in keys])
    own_cluster.nodes[1].kill()
    for link in links:
        first, lost, third = link.run_many([count(key) for key in keys])
        assert {type(first), type(third)} == {int}
        assert isinstance(lost, StoreUnavailable)
        started = time.monotonic()
        link.run(count(keys[0]))
        assert time.monotonic() - started < 0.2
        told = link.try_each(ATTEMPT)
        assert isinstance(told.pop(f"127.0.0.1:{own_cluster.ports[1]}"), StoreUnavailable)
        assert set(told.values()) == {None}
    own_cluster.nodes[1].start()
    for link in links:
        find(link, count(keys[1]))


def find(link: AnyLink, call: Call[Any]) -> None:
    """Wait until `call` is answered."""

    def answered() -> bool:
        try:
            link.run(call)
        except StoreError:
            return False
        return True

    wait_for("the call is answered", answered, 5)


def test_the_slot_of_a_killed_node_is_followed_to_its_heir(
    own_cluster: PrivateCluster, open_both: Callable[..., list[AnyLink]]
) -> None:
    clear(own_cluster)
    # The first node known dies, too: the map is asked for elsewhere.
    links = open_both(at(own_cluster, 0), COUNT)
    key = key_on(own_cluster, 0)
    for link in links:
        link.run_many([count(key_on(own_cluster, index)) for index in range(3)])
    slot = own_cluster.slot_of(key)
    dead, heir, other = own_cluster.nodes
    dead.kill()
    give([heir, other], [slot], heir)
    for link in links:
        find(link, count(key))
    assert heir.client.get(key) == b"2"
    heir.client.delete(key)
    dead.start()
    give(own_cluster.nodes, [slot], dead)


def test_a_node_that_left_the_map_loses_its_connections(
    open_both: Callable[..., list[AnyLink]],
) -> None:
    with PrivateCluster(2) as cluster:
        target, leaving = cluster.nodes
        key = key_on(cluster, 1)
        links = open_both(at(cluster), COUNT)
        before = connections(leaving)
        for link in links:
            link.run(count(key))
        assert connections(leaving) == before + 2
        leaving.client.delete(key)
        slots: Any = command_of(leaving, "CLUSTER", "SLOTS")
        (theirs,) = [entry for entry in slots if entry[2][1] == leaving.port]
        give([target, leaving], range(theirs[0], theirs[1] + 1), target)
        cluster.wait_until_ok()
        for link in links:
            link.run(count(key))
        wait_for("its connections are closed", lambda: connections(leaving) == before)
        assert target.client.get(key) == b"2"


def command_of(node: PrivateStore, *words: str | int) -> Any:
    return node.client.execute_command(*words)  # type: ignore[no-untyped-call]


def connections(node: PrivateStore) -> int:
    """How many clients a node has; the test's own is one of them."""
    return len(node.client.client_list(_type="normal"))


def give(nodes: Sequence[PrivateStore], slots: Sequence[int], owner: PrivateStore) -> None:
    """Make `owner` the owner of empty slots in the eyes of `nodes`."""
    identity = command_of(owner, "CLUSTER", "MYID").decode()
    # Or what the former owner has said of its slots, and is on its way, has more weight.
    command_of(owner, "CLUSTER", "BUMPEPOCH")
    for node in sorted(nodes, key=lambda node: node is not owner):
        with node.client.pipeline(transaction=False) as pipeline:
            for slot in slots:
                words = ("CLUSTER", "SETSLOT", slot, "NODE", identity)
                pipeline.execute_command(*words)  # type: ignore[no-untyped-call]
            # A node that is left without slots becomes a replica and says so to the rest of them.
            pipeline.execute(raise_on_error=False)


def test_a_cluster_that_is_not_there_is_unavailable_and_found_when_it_comes(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    clear(cluster)
    node = cluster.nodes[0]
    key = key_on(cluster, 1)
    with Proxy((node.host, node.port)) as proxy:
        proxy.refuse()
        link = open_any(replace(at(cluster), port=proxy.port), COUNT)
        assert {type(result) for result in link.run_many([count(key)] * 3)} == {StoreUnavailable}
        (told,) = link.try_each(ATTEMPT).items()
        assert told[0] == f"127.0.0.1:{proxy.port}"
        assert isinstance(told[1], StoreUnavailable)
        proxy.accept()
        find(link, count(key))


def test_another_configured_node_tells_the_map_when_the_first_is_away(
    cluster: PrivateCluster, open_any: Opener
) -> None:
    clear(cluster)
    nowhere, there = free_port(), f"127.0.0.1:{cluster.ports[1]}"
    settings = replace(at(cluster), port=nowhere, cluster_nodes=(there,))
    link = open_any(settings, COUNT)
    assert [link.run(count(key_on(cluster, each))) for each in range(3)] == [1, 1, 1]


# ---- refusals and the end ----


def test_wrong_credentials_are_denied(cluster: PrivateCluster, open_any: Opener) -> None:
    with pytest.raises(StoreDenied):
        open_any(replace(at(cluster), username="bob", password="wrong"), COUNT).run(PING)


def test_a_store_that_is_no_cluster_is_told(store: PrivateStore, open_any: Opener) -> None:
    settings = StoreSettings(conn_type="tcp_sock", host=store.host, port=store.port, clustered=True)
    with pytest.raises(UnexpectedReply, match="cluster support disabled"):
        open_any(settings).run(PING)


def test_a_closed_link_takes_no_calls(cluster: PrivateCluster, open_any: Opener) -> None:
    link = open_any(at(cluster), COUNT)
    before = [connections(node) for node in cluster.nodes]
    for each in range(3):
        link.run(count(key_on(cluster, each)))
    if isinstance(link, OnThread):
        link._wait(link._link.aclose())
    else:
        link.close()
    wait_for(
        "the connections are closed",
        lambda: [connections(node) for node in cluster.nodes] == before,
    )
    with pytest.raises(StoreUnavailable, match="closed"):
        link.run(PING)


@on_loop
async def test_the_link_learns_the_map_before_it_is_asked(cluster: PrivateCluster) -> None:
    link = open_link(at(cluster), COUNT.scripts)
    assert isinstance(link, ClusterLink)
    await link.start()
    await eventually("the map is known", lambda: link.connected)
    await link.aclose()


def test_the_map_is_not_asked_for_because_of_an_older_one(cluster: PrivateCluster) -> None:
    link = SyncClusterLink(at(cluster), COUNT.scripts)
    link.run(PING)
    asked = sum(map(maps_told, cluster.nodes))
    assert [link._refresh(Refresh(version)) for version in (0, 1, 0, 1)] == [None] * 4
    assert sum(map(maps_told, cluster.nodes)) == asked + len(cluster.nodes)
    link.close()


@on_loop
async def test_the_asyncio_link_does_not_ask_because_of_an_older_map_either(
    cluster: PrivateCluster,
) -> None:
    link = ClusterLink(at(cluster), COUNT.scripts)
    await link.run(PING)
    asked = sum(map(maps_told, cluster.nodes))
    assert [await link._refresh(Refresh(version)) for version in (0, 1, 0, 1)] == [None] * 4
    assert sum(map(maps_told, cluster.nodes)) == asked + len(cluster.nodes)
    await link.aclose()


@on_loop
async def test_a_link_that_looks_for_its_cluster_closes() -> None:
    nowhere = StoreSettings(conn_type="tcp_sock", port=free_port(), clustered=True)
    link = open_link(nowhere, COUNT.scripts)
    await link.start()
    task = asyncio.create_task(link.run(PING))
    await asyncio.sleep(0.1)
    assert not link.connected
    await link.aclose()
    with pytest.raises(StoreUnavailable):
        await task


@on_loop
async def test_a_caller_that_gives_up_does_not_keep_others_from_the_map(
    cluster: PrivateCluster,
) -> None:
    link = open_link(at(cluster), COUNT.scripts)
    hasty = asyncio.create_task(link.run(PING))
    patient = asyncio.create_task(link.run(PING))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == b"PONG"
    await link.aclose()
