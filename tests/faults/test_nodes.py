"""What the harness does with a store of several nodes, on real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit import read_audit
from tests.faults.auditing import Auditing
from tests.faults.schedule import CLUSTER, NODES, SENTINEL, is_of_node, schedule
from tests.faults.setup import PRIMARIES, setup_of, slot_of
from tests.faults.tenants import KINDS
from tests.support.clusters import ReplicatedCluster
from tests.support.stores import PrivateStore, wait_for

SETUP = setup_of(CLUSTER, 1)
TAG = f"{SETUP.prefix}:bulk"
STREAM = f"{{{TAG}}}:audit"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ReplicatedCluster]:
    with ReplicatedCluster(**{"enable-debug-command": "local"}) as cluster:
        yield cluster


def test_each_primary_has_types_and_a_probe() -> None:
    def primary_of(name: str) -> int:
        return slot_of(f"{SETUP.prefix}:{name}") * PRIMARIES // 16_384

    assert [primary_of(name) for name in SETUP.probes] == [0, 1, 2]
    assert {primary_of(name) for name in KINDS} == {0, 1, 2}


def test_slots_are_those_of_the_store(cluster: ReplicatedCluster) -> None:
    for tag in SETUP.tags:
        assert cluster.slot_of(f"{{{tag}}}:audit") == slot_of(tag)


@pytest.mark.parametrize("kind", [CLUSTER, SENTINEL])
def test_an_hour_has_two_hundred_faults_of_nodes_and_all_of_them(kind: str) -> None:
    kinds = [each.kind for each in schedule(7, 60, kind) if is_of_node(each.kind)]
    assert len(kinds) > 220
    assert set(kinds) == set(NODES[kind])


def test_clocks_may_be_left_alone() -> None:
    assert any("clock" in fault.kind for fault in schedule(7, 10, CLUSTER))
    assert not any("clock" in fault.kind for fault in schedule(7, 10, CLUSTER, steps=False))


class Audited:
    """The audit of a cluster."""

    def __init__(self, cluster: ReplicatedCluster, path: Path) -> None:
        self.path = path
        sockets = [node.socket_path for node in cluster.nodes]
        self._audit = Auditing(lambda: sockets, SETUP.prefix, path, replicas=1)

    def drain(self) -> None:
        asyncio.run(self._drain())

    async def _drain(self) -> None:
        await self._audit.drain()

    def close(self) -> list[str]:
        self._audit.close()
        return [entry.job for entry in read_audit(self.path)]


def note(primary: PrivateStore, job: str) -> Any:
    entry = f'{{"what":"enqueue","queue":"q","job":"{job}","now":1}}'
    return primary.command("XADD", STREAM, "*", "e", entry)


@pytest.mark.timing
def test_the_audit_has_what_no_promotion_loses(cluster: ReplicatedCluster, tmp_path: Path) -> None:
    primary = cluster.primary_of(STREAM)
    replica = cluster.replica_of(primary)
    audited = Audited(cluster, tmp_path / "audit.jsonl")
    note(primary, "kept")
    audited.drain()
    # The replica cannot come back for more, and is promoted.
    primary.command("CONFIG", "SET", "requirepass", "nobody")
    primary.command("CLIENT", "KILL", "TYPE", "replica")
    note(primary, "lost")
    with pytest.raises(TimeoutError):
        audited.drain()
    cluster.isolate(primary)
    wait_for("a replica is promoted", lambda: replica.command("ROLE")[0] == b"master", 20)
    primary.command("CONFIG", "SET", "requirepass", "")
    cluster.mend()
    note(replica, "after")
    wait_for("the replica follows", lambda: primary.command("ROLE")[3] == b"connected", 20)
    audited.drain()
    assert audited.close() == ["kept", "after"]


@pytest.mark.timing
def test_a_node_that_hears_nobody_is_replaced_and_comes_back(cluster: ReplicatedCluster) -> None:
    primary = cluster.primary_of(STREAM)
    replica = cluster.replica_of(primary)
    cluster.deafen(primary)
    wait_for("a replica is promoted", lambda: replica.command("ROLE")[0] == b"master", 20)
    cluster.deafen(primary, deaf=False)
    wait_for("it is a replica", lambda: primary.command("ROLE")[0] == b"slave", 20)
    cluster.mend()


@pytest.mark.timing
def test_slots_move_key_by_key_and_back(cluster: ReplicatedCluster) -> None:
    slot = slot_of(TAG)
    source = cluster.owner_of(slot)
    target = next(
        node
        for node in cluster.nodes
        if node is not source and node.command("ROLE")[0] == b"master"
    )
    source.command("SET", f"{{{TAG}}}:moved", "1")
    for end in (target, source):
        cluster.begin_move(slot, end)
        cluster.finish_move(slot, end)
        cluster.wait_until_ok()
        assert end.command("GET", f"{{{TAG}}}:moved") == b"1"
    cluster.begin_move(slot, target)
    cluster.cancel_move(slot)
    assert source.command("GET", f"{{{TAG}}}:moved") == b"1"


@pytest.mark.timing
def test_nodes_come_and_go_with_slots(cluster: ReplicatedCluster) -> None:
    slot = slot_of(TAG)
    source = cluster.owner_of(slot)
    source.command("SET", f"{{{TAG}}}:there", "1")
    pair = cluster.add_pair()
    cluster.migrate(slot, slot, pair[0])
    assert pair[0].command("GET", f"{{{TAG}}}:there") == b"1"
    cluster.migrate(slot, slot, source)
    cluster.remove_pair(*pair)
    assert len(cluster.nodes) == 2 * PRIMARIES
    assert source.command("GET", f"{{{TAG}}}:there") == b"1"
