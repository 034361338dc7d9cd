"""The library on a cluster: types live on different nodes, and answers are gathered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sharq import NewJob, Settings
from sharq.errors import StoreError, StoreUnavailable
from sharq.results import ACTIVE, DEAD, FINISHED, QUEUED, SUCCESS, Cleared, Ended, Enqueued
from tests.support.faces import FACES, Face, Opener, opener, run
from tests.support.stores import PrivateCluster, wait_for

FAILED = {"status": "failure"}
SUCCEEDED = {"status": "success"}


@pytest.fixture(params=FACES)
def open_face(request: pytest.FixtureRequest) -> Iterator[Opener]:
    with opener(FACES[request.param]) as open_one:
        yield open_one


def settings_for(cluster: PrivateCluster, prefix: str, **sharq: Any) -> Settings:
    first, *others = cluster.ports
    seeds = " ".join(f"127.0.0.1:{port}" for port in others)
    redis = {"port": first, "cluster_nodes": seeds, "clustered": True, "key_prefix": prefix}
    return Settings.from_mapping({"redis": redis, "sharq": sharq})


def types_by_node(cluster: PrivateCluster, prefix: str, each: int = 2) -> list[list[str]]:
    """For each node some types whose keys it holds."""
    types: list[list[str]] = [[] for _ in cluster.nodes]
    at = 0
    while min(map(len, types)) < each:
        name, at = f"type-{at}", at + 1
        owner = cluster.owner_of(cluster.slot_of(f"{{{prefix}:{name}}}"))
        place = types[cluster.nodes.index(owner)]
        if len(place) < each:
            place.append(name)
    return types


@pytest.fixture
def prefix(request: pytest.FixtureRequest, cluster: PrivateCluster) -> Iterator[str]:
    """A key prefix of the test's own; what it held is removed."""
    name = f"library-{abs(hash(request.node.name))}"
    yield name
    for node in cluster.nodes:
        for key in node.client.scan_iter(f"{{{name}*"):
            node.client.delete(key)


@pytest.fixture
def queue(cluster: PrivateCluster, prefix: str, open_face: Opener) -> Face:
    return open_face(settings_for(cluster, prefix))


@pytest.fixture
def types(cluster: PrivateCluster, prefix: str) -> list[str]:
    return [name for names in types_by_node(cluster, prefix) for name in names]


def test_every_operation_reaches_the_node_of_its_type(queue: Face, types: list[str]) -> None:
    for name in types:
        job = (name, "bob", "j1")
        assert queue.enqueue({"of": name}, 0, "j1", "bob", name) == {"status": "queued"}
        assert queue.submit(queue.new_job(b"2", 0, "j2", "bob", name)) == Enqueued(QUEUED, 1)
        assert queue.job_status(*job).state == QUEUED
        assert queue.dequeue(name)["payload"] == {"of": name}
        assert queue.job_status(*job).state == ACTIVE
        assert queue.extend_job(*job, 100_000).outcome == SUCCESS
        assert queue.release_job(*job).outcome == SUCCESS
        lease = queue.take(name).jobs[0].lease
        assert queue.finish_job(*job, lease).outcome == SUCCESS
        assert queue.job_status(*job).state == FINISHED
        assert queue.set_interval(name, "bob", 5) is True
        assert queue.reset_interval(name, "bob") is True
        assert queue.interval(7, "bob", name) == SUCCEEDED
        assert queue.queue_metrics(name, "bob").interval == 7
        assert queue.get_queue_length(name, "bob") == 1
        assert queue.queue_ids(name) == ["bob"]
        assert queue.metrics(name, "bob")["queue_length"] == 1
        assert queue.clear(name, "bob") == Cleared(1, 0)
        assert queue.clear_queue(name, "bob")["status"] == "Failure"
        assert queue.finish("j1", "bob", name) == FAILED
    assert queue.sweep() == 0
    assert queue.deep_status() is True


def test_keys_lie_where_the_types_do(
    queue: Face, cluster: PrivateCluster, prefix: str, types: list[str]
) -> None:
    for name in types:
        queue.enqueue(1, 0, "j1", "bob", name)
    for node, names in zip(cluster.nodes, types_by_node(cluster, prefix), strict=True):
        tags = {key.partition(b"}")[0] for key in node.client.scan_iter(f"{{{prefix}:*")}
        assert tags == {f"{{{prefix}:{name}".encode() for name in names}


def test_the_overview_adds_up_all_nodes(queue: Face, types: list[str]) -> None:
    jobs = [queue.new_job(b"1", 0, f"j{at}", "bob", name) for at in range(3) for name in types]
    assert {answer.outcome for answer in queue.submit_many(jobs)} == {QUEUED}
    for name in types:
        assert queue.dequeue(name)["job_id"] == "j0"
    overview = queue.overview()
    assert sorted(overview.queue_types) == sorted(types)
    assert sum(overview.enqueue_counts.values()) == 3 * len(types)
    assert sum(overview.dequeue_counts.values()) == len(types)
    metrics = queue.metrics()
    assert sorted(metrics["queue_types"]) == sorted(types)
    assert sum(metrics["enqueue_counts"].values()) == 3 * len(types)


def test_many_jobs_keep_their_order_on_every_node(queue: Face, types: list[str]) -> None:
    jobs = [queue.new_job(b"1", 0, f"j{at}", "bob", name) for at in range(120) for name in types]
    answers = queue.submit_many(jobs)
    assert answers == [Enqueued(QUEUED, at) for at in range(120) for _ in types]
    for name in types:
        batches = [queue.take(name, 100), queue.take(name, 100)]
        assert [job.job_id for batch in batches for job in batch.jobs] == [
            f"j{at}" for at in range(120)
        ]


def test_the_sweep_reaches_all_nodes(
    cluster: PrivateCluster, prefix: str, types: list[str], open_face: Opener
) -> None:
    queue = open_face(settings_for(cluster, prefix, job_expire_interval=1))
    for name in types:
        queue.enqueue(1, 0, "j1", "bob", name)
        queue.dequeue(name)
    taken_back = 0

    def all_are_back() -> bool:
        nonlocal taken_back
        taken_back += int(queue.sweep())
        return taken_back == len(types)

    wait_for("all jobs are taken back", all_are_back)
    assert [queue.get_queue_length(name, "bob") for name in types] == [1] * len(types)


def test_the_redis_client_knows_the_cluster(queue: Face, prefix: str, types: list[str]) -> None:
    for name in types:
        queue.enqueue(1, 0, "j1", "bob", name)
    client = queue.redis_client()
    assert queue.redis_client() is client
    for name in types:
        assert run(queue, client.exists(f"{{{prefix}:{name}}}:q:bob")) == 1


# ---- a node that is lost ----


@pytest.fixture
def fragile() -> Iterator[PrivateCluster]:
    """A cluster that goes on where a node is lost, on append-only files."""
    with PrivateCluster(
        cluster_require_full_coverage=False, appendonly=True, appendfsync="always"
    ) as cluster:
        yield cluster


def outcome(act: Any) -> Any:
    try:
        return act()
    except StoreError as error:
        return type(error)


def test_a_lost_node_takes_only_its_own_types_with_it(
    fragile: PrivateCluster, open_face: Opener
) -> None:
    prefix = "library"
    lost = next(
        node
        for node in fragile.nodes
        if node is not fragile.owner_of(fragile.slot_of(f"{{{prefix}}}:types"))
    )
    by_node = types_by_node(fragile, prefix, each=1)
    gone = by_node.pop(fragile.nodes.index(lost))[0]
    left = [names[0] for names in by_node]

    queue = open_face(settings_for(fragile, prefix))
    for name in (gone, *left):
        queue.enqueue(1, 0, "j1", "bob", name)
    lost.kill()

    for name in left:
        assert queue.enqueue(2, 0, "j2", "bob", name) == {"status": "queued"}
        assert queue.dequeue(name)["job_id"] == "j1"
    with pytest.raises(StoreUnavailable):
        queue.enqueue(2, 0, "j2", "bob", gone)
    with pytest.raises(StoreUnavailable):
        queue.dequeue(gone)
    answers = queue.submit_many([NewJob(n, "bob", "j3", b"3", 0, -1) for n in (*left, gone)])
    assert [answer.outcome for answer in answers[:-1]] == [QUEUED, QUEUED]
    assert isinstance(answers[-1], StoreUnavailable)
    for act in (queue.deep_status, queue.ping, queue.requeue):
        with pytest.raises(StoreUnavailable):
            act()
    overview = queue.overview()
    assert sorted(overview.queue_types) == sorted(left)
    assert (overview.complete, overview.unreached) == (False, [gone])
    told = queue.metrics()
    assert (told["complete"], told["unreached_types"]) == (False, [gone])
    assert queue.finish("j1", "bob", left[0]) == SUCCEEDED

    lost.start()
    wait_for("the node is back", lambda: outcome(queue.deep_status) is True)
    wait_for(
        "its types are back", lambda: outcome(lambda: queue.get_queue_length(gone, "bob")) == 1
    )
    assert queue.dequeue(gone)["job_id"] == "j1"
    told = queue.metrics()
    assert sorted(told.pop("queue_types")) == sorted([gone, *left])
    assert set(told) == {"status", "enqueue_counts", "dequeue_counts"}


@pytest.mark.parametrize("kind", ["kill", "pause"])
def test_a_new_process_does_without_the_registry(
    fragile: PrivateCluster, open_face: Opener, prefix: str, kind: str
) -> None:
    registry = fragile.owner_of(fragile.slot_of(f"{{{prefix}}}:types"))
    by_node = types_by_node(fragile, prefix, each=2)
    gone = by_node.pop(fragile.nodes.index(registry))[0]
    healthy = [name for names in by_node for name in names]
    before = open_face(settings_for(fragile, prefix, job_expire_interval=1))
    before.enqueue(1, 0, "j1", "bob", healthy[0])
    assert before.dequeue(healthy[0])["job_id"] == "j1"
    getattr(registry, kind)()
    try:
        queue = open_face(settings_for(fragile, prefix, job_expire_interval=1))
        took = []
        for name in healthy:
            begun = time.monotonic()
            assert queue.enqueue(1, 0, "j2", "bob", name) == {"status": "queued"}
            took.append(time.monotonic() - begun)
        assert took[0] < 2.5, took
        assert max(took[1:]) < 1, took
        for name in healthy[1:]:
            assert queue.dequeue(name)["job_id"] == "j2"
        # What it knows itself; and so does the one that was there before.
        for each, count in ((queue, len(healthy) - 1), (before, 1)):
            with pytest.raises(StoreUnavailable):
                each.sweep()
            assert len([n for n in healthy if each.get_queue_length(n, "bob")]) >= count
        with pytest.raises(StoreUnavailable):
            queue.enqueue(1, 0, "j2", "bob", gone)
        assert queue.overview().complete is False
    finally:
        if kind == "kill":
            registry.start()
        else:
            registry.resume()
    wait_for("the node is back", lambda: outcome(queue.deep_status) is True)

    def are_registered() -> bool:
        queue.enqueue(1, 0, "j3", "bob", healthy[0])
        names: Any = registry.client.zrange(f"{{{prefix}}}:types", 0, -1)
        return set(healthy) <= {name.decode() for name in names}

    wait_for("the types are registered", are_registered, 15)


def test_one_node_of_the_cluster_is_enough_to_find_it(
    cluster: PrivateCluster, prefix: str, open_face: Opener
) -> None:
    for port in cluster.ports:
        redis = {"port": port, "clustered": True, "key_prefix": prefix}
        queue = open_face(Settings.from_mapping({"redis": redis}))
        assert queue.deep_status() is True
        assert queue.enqueue(1, 0, f"j{port}", "bob", f"type-{port}") == {"status": "queued"}


def test_what_has_failed_lies_with_its_type_and_is_tried_again_there(
    queue: Face, types: list[str]
) -> None:
    leases: list[str] = []
    for queue_type in types:
        jobs = [queue.new_job(b"1", 0, f"j{n}", f"q{n}", queue_type) for n in range(120)]
        queue.submit_many(jobs)
        while batch := queue.take(queue_type, 100):
            leases += [job.lease for job in batch.jobs]
    ended = queue.fail_many(leases, error=ValueError("no"), retry=False, worker="w")
    assert {each.outcome for each in ended} == {DEAD}
    for queue_type in types:
        assert len(queue.dead_page(queue_type).letters) == 100
        letter = queue.dead_letter(queue_type, "q7", "j7")
        assert (letter.error.type, letter.worker) == ("ValueError", "w")
        assert queue.retry_dead(queue_type, [("q7", "j7")]) == [Ended(SUCCESS)]
        assert queue.begin_dead(queue_type, "retry", {"error": "ValueError"}).begun
    for queue_type in types:
        while queue.advance_dead(queue_type):
            pass
        bulk = queue.dead_bulk(queue_type)
        assert (bulk.state, bulk.moved) == ("done", 119)
        assert queue.queue_length(queue_type, "q7") == 1
        assert queue.dead_page(queue_type).letters == []
