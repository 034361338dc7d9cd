"""The number of shards of a type, when a replica takes the place of the primary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from sharq import NewJob, Settings, SharQ
from sharq.errors import StoreError, StoreOutcomeUnknown, StoreUnavailable
from sharq.results import QUEUED
from tests.client.test_shards import age
from tests.support.clusters import ReplicatedCluster
from tests.support.faces import FACES, Face
from tests.support.replicas import PrivateReplicas
from tests.support.stores import wait_for

QUEUES = [f"tenant-{at}" for at in range(12)]


def put(server: Face, *names: str) -> list[str]:
    """Enqueue a job for each name that is taken; those are returned."""
    taken = []
    for at, name in enumerate(names):
        with suppress(StoreUnavailable):
            job = NewJob("sms", QUEUES[at % len(QUEUES)], name, b"1", 0, -1)
            assert server.submit(job).outcome == QUEUED
            taken.append(name)
    return taken


def take_all(server: Face) -> list[str]:
    found: list[str] = []
    while batch := server.take("sms", 50).jobs:
        found += [job.job_id for job in batch]
    return sorted(found)


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, stores: PrivateReplicas) -> Iterator[Face]:
    server = FACES[request.param](stores.settings(0))
    yield server
    server.close()


def test_the_replica_has_the_number_when_it_is_answered(
    face: Face, stores: PrivateReplicas
) -> None:
    waits = stores.waits()
    for count in (4, 2, 1, 3):
        face.set_shards("sms", count)
        text: Any = stores.replica.client.get("{sharq_server:sms}:shards")
        assert text.split()[0] == b"%d" % count
    assert stores.waits() > waits


def test_without_replicas_that_confirm_nothing_changes(face: Face, stores: PrivateReplicas) -> None:
    face.set_shards("sms", 2)
    stores.replica.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="Replicas have not confirmed") as caught:
        face.set_shards("sms", 4)
    assert time.monotonic() - began < 3
    assert not caught.value.outcome_unknown
    names = [f"j{at}" for at in range(24)]
    assert put(face, *names) == names
    stores.replica.resume()
    with SharQ(stores.settings(0)) as other:
        assert other.shards("sms") == face.shards("sms") == 2
        assert take_all(other) == sorted(names)


def change(stores: PrivateReplicas, promote_at: int) -> bool:
    """Spread a type at the primary, and promote the replica before so many calls, or at the end.

    Whether it was promoted before the end.
    """
    with SharQ(stores.settings(0)) as server:
        link = server._engine._connected()
        flow = server._engine.flows.resharding.set("sms", 4)
        answer: Any = None
        number = 0
        with suppress(StopIteration, StoreError):
            while True:
                request = flow.send(answer)
                if number == promote_at:
                    stores.replica.command("REPLICAOF", "NO", "ONE")
                number += 1
                calls = request if isinstance(request, list) else [request]
                answers = link.run_many(calls)
                answer = answers if isinstance(request, list) else answers[0]
    return number > promote_at


def at_replica(stores: PrivateReplicas) -> Settings:
    place = {"host": stores.replica.host, "port": stores.replica.port}
    return Settings.from_mapping({"redis": place})


def test_servers_agree_after_a_promotion_at_any_call(stores: PrivateReplicas) -> None:
    """Those that know the new number from the former primary, and those that know nothing."""
    # From where it is known that there is a replica.
    number = 3
    while True:
        stores.mend()
        if not change(stores, number):
            break
        with SharQ(at_replica(stores)) as knows, SharQ(at_replica(stores)) as other:
            # It has met the new number at the former primary, before or after it was answered.
            text: Any = stores.primary.client.get("{sharq_server:sms}:shards")
            noted = text is not None and text.split()[0] == b"4"
            knows._engine.flows.shards.learn("sms", 4 if noted else 1)
            names = put(knows, *(f"a{each}" for each in range(12)))
            names += put(other, *(f"b{each}" for each in range(12)))
            age(other)
            names += put(knows, *(f"c{each}" for each in range(12)))
            names += put(other, *(f"d{each}" for each in range(12)))
            assert len(names) >= 24
            assert knows.shards("sms") == other.shards("sms")
            with SharQ(at_replica(stores)) as late:
                assert take_all(late) == sorted(names), number
        number += 1
    assert number > 10


def test_a_change_that_may_be_lost_has_an_unknown_outcome(stores: PrivateReplicas) -> None:
    with SharQ(stores.settings(0)) as server:
        engine = server._engine
        flow = engine.flows.resharding.set("sms", 4)
        link = engine._connected()
        answer: Any = None
        with pytest.raises(StoreOutcomeUnknown):  # noqa: PT012
            while True:
                request = flow.send(answer)
                calls = request if isinstance(request, list) else [request]
                if calls[0].packed.endswith(b"\r\n4 1\r\n$1\r\n0\r\n"):
                    stores.replica.pause()
                answers = link.run_many(calls)
                answer = answers if isinstance(request, list) else answers[0]
        stores.replica.resume()
        assert server.shards("sms") == 4
        assert put(server, "a", "b") == ["a", "b"]


def test_a_user_that_may_not_ask_changes_it_without_replicas(
    stores: PrivateReplicas, caplog: pytest.LogCaptureFixture
) -> None:
    stores.primary.command("ACL", "SETUSER", "few", "on", ">pw", "~*", "&*", "+@all", "-info")
    try:
        with SharQ(stores.settings(0, username="few", password="pw")) as server:
            stores.replica.pause()
            assert server.set_shards("sms", 4) == 1
            assert "Replicas are not waited for" in caplog.text
    finally:
        stores.primary.command("ACL", "DELUSER", "few")


def test_in_a_cluster_replicas_of_all_shards_are_waited_for() -> None:
    with ReplicatedCluster() as cluster:
        place = {"host": "127.0.0.1", "port": cluster.nodes[0].port, "clustered": "on"}
        with SharQ(Settings.from_mapping({"redis": place})) as server:
            assert server.set_shards("sms", 8) == 1
            home = cluster.primary_of("{sharq_server:sms}")
            other = next(node for node in cluster.nodes[:3] if node is not home)
            replica = cluster.replica_of(other)
            replica.pause()
            with pytest.raises(StoreUnavailable, match="Replicas have not confirmed"):
                server.set_shards("sms", 16)
            replica.resume()
            wait_for("it is changed", lambda: _is_changed(server))


def _is_changed(server: SharQ) -> bool:
    with suppress(StoreUnavailable):
        return server.set_shards("sms", 16) == 8
    return False
