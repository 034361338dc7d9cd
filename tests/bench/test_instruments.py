"""The benchmark's instruments against a real server, real stores and real processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import ceiling, connections, limit, push_cycles, shards
from bench.http_load import load
from bench.load import Order
from bench.peers.failures import Missing
from bench.peers.registry import Peer, Ready
from bench.peers.run import running
from bench.processes import Stand, serving, stand
from bench.push_stand import key_of
from bench.sending import IN_FRAMES, ONE_BY_ONE
from bench.store import BenchStore, StoreCalls, new_job

QUEUES = 50
UNDER_WAY = 32

WORKER = """
import sys, redis
store = redis.Redis(unix_socket_path=sys.argv[1])
while True:
    store.blpop("jobs")
"""
PRODUCER = """
import json, sys, time, redis
print(json.dumps({"began": time.time()}))
redis.Redis(unix_socket_path=sys.argv[1]).rpush("jobs", *range(int(sys.argv[2])))
"""


@pytest.fixture(params=[pytest.param("wrk", marks=pytest.mark.needs("wrk")), "load.py"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two generators of HTTP load."""
    if request.param == "load.py":
        monkeypatch.setattr("bench.http_load.shutil.which", lambda _name: None)


@pytest.fixture(scope="module")
def here() -> Iterator[Stand]:
    with stand() as it:
        yield it


@pytest.fixture
def calls(here: Stand) -> Iterator[StoreCalls]:
    it = StoreCalls(here.store)
    yield it
    it.close()
    here.store.client.flushdb()


@pytest.mark.usefixtures("generator")
def test_load_enqueues_jobs_evenly(here: Stand, calls: StoreCalls) -> None:
    outcome = load(Order("enqueue", here.port, 1, "even", QUEUES))
    assert not outcome.others
    names = [f"queue-{number}" for number in range(QUEUES)]
    lengths = calls.run([calls.operations.queue_length("even", name) for name in names])
    assert max(lengths) - min(lengths) <= UNDER_WAY
    # Requests that are under way at the end are carried out and not counted.
    assert outcome.count <= sum(lengths) <= outcome.count + UNDER_WAY
    assert 0 < outcome.p50_ms <= outcome.p99_ms


@pytest.mark.timing
@pytest.mark.usefixtures("generator", "calls")
def test_with_so_many_under_way_each_takes_as_long_as_so_many_answers(here: Stand) -> None:
    outcome = load(Order("enqueue", here.port, 1, "steady", QUEUES))
    assert outcome.p50_ms == pytest.approx(1000 * UNDER_WAY / outcome.answers, rel=0.5)


@pytest.mark.usefixtures("generator")
def test_load_finishes_what_it_dequeues(here: Stand, calls: StoreCalls) -> None:
    jobs = 20_000
    calls.fill(new_job("cycles", f"queue-{number % QUEUES}") for number in range(jobs))
    outcome = load(Order("cycle", here.port, 1, "cycles"))
    assert not outcome.others
    assert here.store.client.zcard(key_of("cycles", "leases")) <= UNDER_WAY
    names = [f"queue-{number}" for number in range(QUEUES)]
    left = sum(calls.run([calls.operations.queue_length("cycles", name) for name in names]))
    assert outcome.count == pytest.approx(2 * (jobs - left), abs=2 * UNDER_WAY)


@pytest.mark.usefixtures("generator")
def test_load_counts_refusals_apart(here: Stand) -> None:
    outcome = load(Order("cycle", here.port, 1, "nothing-here"))
    assert outcome.answers == 0
    assert sum(outcome.others.values()) > UNDER_WAY


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a limit costs is looked at for so long that each queue has two jobs, and with few."""
    monkeypatch.setattr(limit, "SECONDS", 2.2)
    monkeypatch.setattr(limit, "RATE", 100)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("size", [32, 1])
def test_a_limit_that_decides_holds_jobs_of_every_queue_back(here: Stand, size: int) -> None:
    sample = limit.measure(here, size, limited=True)
    assert sample.share is not None
    assert 0 < sample.share < 101
    assert sum(sample.micros) > 0


@pytest.mark.usefixtures("short")
def test_a_limit_that_decides_nothing_is_not_measured(
    here: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, "BACKLOG", 0)
    with pytest.raises(RuntimeError, match="did not decide"):
        limit.measure(here, 32, limited=True)


@pytest.mark.usefixtures("short")
def test_without_a_limit_there_is_no_share_of_it(here: Stand) -> None:
    sample = limit.measure(here, 32, limited=False)
    assert sample.share is None
    assert sum(sample.micros) > 0


@pytest.mark.usefixtures("generator")
def test_the_constant_answer_is_one_to_each_enqueue() -> None:
    with serving("bench.constant") as constant:
        outcome = load(Order("enqueue", constant.port, 1))
    assert outcome.answers > UNDER_WAY
    assert not outcome.others


def test_push_takes_the_calls_that_the_server_sends(here: Stand) -> None:
    sent = push_cycles.batches(here)
    assert sent.enqueue == pytest.approx(IN_FRAMES.jobs, rel=0.05)
    assert 1 <= sent.dequeue <= 64
    assert 1 <= sent.finish <= 100


@pytest.mark.parametrize("alone", [False, True])
def test_connections_share_the_jobs_and_all_are_finished(here: Stand, *, alone: bool) -> None:
    sample = connections.measure(here, 3, 3_000, alone=alone)
    assert sample.store > 0
    assert sample.server > 0
    assert 1 < sample.jobs_a_delivery <= 64
    assert 1 < sample.jobs_a_call <= 100
    assert 1 <= sample.spread < 10
    assert not here.store.client.keys("*:leases")


@pytest.mark.parametrize("way", shards.WAYS)
def test_each_job_of_a_spread_type_is_handed_out_and_finished(way: str) -> None:
    with shards.cluster_of(2) as here:
        sample = shards.measure(here, 4, way, 2_000)
        assert all(each.client.dbsize() > 0 for each in here.nodes)
    assert all(value > 0 for value in sample)
    # The busiest of two has half of the work at least.
    assert sample.capacity <= 2.001e6 / sample.store


SIZES = ceiling.Sizes(8, 8, 8)


def test_the_ceiling_is_that_of_jobs_that_are_all_finished() -> None:
    with BenchStore() as store:
        store.client.config_resetstat()
        times = ceiling.by_calls(store, SIZES)
        stats = store.client.info("commandstats")
    assert all(time > 0 for time in times)
    # Every finish has written a mark; nothing was refused.
    assert stats["cmdstat_evalsha"]["failed_calls"] == 0
    assert times.ceiling == pytest.approx(1e6 / sum(times))


@pytest.mark.timing
@pytest.mark.needs("redis-benchmark")
def test_redis_benchmark_and_our_driver_agree() -> None:
    with BenchStore() as store:
        own = ceiling.by_calls(store, SIZES)
        enqueue, dequeue = ceiling.by_redis_benchmark(store, SIZES)
        stats = store.client.info("commandstats")
    assert stats["cmdstat_evalsha"]["failed_calls"] == 0
    assert own.enqueue / 3 < enqueue < own.enqueue * 3
    assert own.dequeue / 3 < dequeue < own.dequeue * 3


def peer(worker: str, producer: str) -> tuple[Peer, Ready]:
    """A peer of a few lines, in this Python."""
    command = [sys.executable, "-c"]
    ready = Ready("1", [*command, worker, "{socket}"], [*command, producer, "{socket}"], {})
    small = Peer("small", 10, lambda _say: ready, ONE_BY_ONE, lambda store: store.llen("jobs"), "")
    return small, ready


def test_a_peer_is_measured_until_nothing_is_left() -> None:
    small, ready = peer(WORKER, PRODUCER)
    with running(small, ready, durable=True) as (here, workers):
        workers.pause()
        workers.resume()
        assert here.cycles(500) > 0
        assert here.store is not None
        assert here.store.client.llen("jobs") == 0
        assert here.store.client.config_get("appendfsync") == {"appendfsync": "always"}


def test_a_peer_whose_producer_fails_is_missing(tmp_path: Path) -> None:
    small, ready = peer(WORKER, "raise SystemExit('no such thing')")
    with pytest.raises(Missing, match="no such thing"), running(small, ready, durable=False):
        pass
