"""What other rate-limited queues got wrong, each by its name."""

from __future__ import annotations

import pytest

from sharq.operations.scripts import shipped
from tests.support.expiring import ExpiringQueue
from tests.support.hands import Hands, PipelinedStore
from tests.support.limited import job, limit, pause, put, resume
from tests.support.stores import PrivateStore

HOUR = 3_600_000
LEVELS = [("queue", "q"), ("group", "g"), ("type", "")]
levels = pytest.mark.parametrize(("kind", "name"), LEVELS)


def test_work_that_was_parked_is_found_after_a_restart() -> None:
    with PrivateStore(appendonly=True, appendfsync="always") as store:
        connection = PipelinedStore(store.socket_path)
        queue = Hands(connection, shipped())
        limit(queue, "type", concurrency="1")
        limit(queue, "group", "g", concurrency="1")
        put(queue, job("a", "q1", group="g"), job("b", "q2", group="g"), job("c", "q3"))
        (a,) = queue.take(5)
        pause(queue, "queue", "q3")
        connection.close()
        store.kill()
        store.start()

        connection = PipelinedStore(store.socket_path)
        queue = Hands(connection, shipped())
        assert queue.batch(5).wait_us is None
        queue.finish(a)
        (b,) = queue.take(5)
        assert b.job_id == "b"
        queue.finish(b)
        assert queue.take(5) == []
        resume(queue, "queue", "q3")
        assert queue.take_ids(5) == ["c"]
        connection.close()


def test_a_limited_key_does_not_delay_others(queue: ExpiringQueue) -> None:
    pause(queue, "group", "full")
    for first in range(0, 1_000, 100):
        put(queue, *(job("a", f"q{n}", group="full") for n in range(first, first + 100)))
    limit(queue, "queue", "slow", concurrency="1")
    put(queue, job("b", "slow"), job("c", "slow"), job("d", "other"), job("e", "other", group="g"))
    assert sorted(queue.take_ids(10)) == ["b", "d", "e"]
    assert queue.store.command("ZCARD", "{sharq:t}:ready") == 2
    queue.put("f", "another")
    assert queue.take_ids(10) == ["f"]


@levels
def test_a_burst_is_the_number_of_all_that_go_at_once(
    queue: ExpiringQueue, kind: str, name: str
) -> None:
    limit(queue, kind, name, interval="100", burst="3")
    put(queue, *(job(f"j{n}", group="g") for n in range(9)))
    assert len(queue.take(9)) == 3
    queue.advance(99.999)
    assert queue.take() == []
    queue.advance(0.001)
    assert len(queue.take(9)) == 1
    queue.advance(1_000)
    assert len(queue.take(9)) == 3


def test_limits_do_not_wait_for_each_other_while_they_hold(queue: ExpiringQueue) -> None:
    limit(queue, "type", concurrency="1", interval="10")
    limit(queue, "group", "g", concurrency="1")
    put(queue, job("a", "q1", group="g"), job("b", "q2", group="g"))
    (a,) = queue.take(5)
    pause(queue, "group", "g")
    queue.advance(10)
    assert queue.take(5) == []
    queue.finish(a)
    # The blocked group has taken nothing of the type: neither its slot, nor its rate.
    put(queue, job("c", "q3"))
    (c,) = queue.take(5)
    assert c.job_id == "c"
    resume(queue, "group", "g")
    assert queue.take(5) == []
    queue.finish(c)
    queue.advance(10)
    assert queue.take_ids(5) == ["b"]


@levels
def test_no_edge_of_a_window_lets_twice_as_many_through(
    queue: ExpiringQueue, kind: str, name: str
) -> None:
    limit(queue, kind, name, interval="100", burst="10")
    put(queue, *(job(f"j{n}", group="g") for n in range(60)))
    times: list[int] = []
    # Ten a second, asked for just before and just after each second.
    for step in (999, 1, 1, 998, 1, 1, 998, 1):
        queue.advance(step)
        times += [queue.now] * len(queue.take(60))
    assert len(times) > 20
    for at, first in enumerate(times):
        for after, last in enumerate(times[at:]):
            assert after <= (last - first) / 100 + 9


@levels
@pytest.mark.parametrize("retry", ["release", "expiry"])
def test_a_retry_does_not_bypass_a_limit(
    queue: ExpiringQueue, kind: str, name: str, retry: str
) -> None:
    limit(queue, kind, name, interval=str(HOUR), concurrency="1")
    put(queue, job("a", group="g"), job("b", group="g"))
    (a,) = queue.take(5)
    if retry == "release":
        queue.release(a)
    else:
        queue.advance(queue.settings.job_expire_interval)
        queue.sweep_all()
    assert queue.take(5) == []
    left = queue.batch().wait_us
    assert left is not None
    queue.advance(left / 1_000 - 0.001)
    assert queue.take(5) == []
    queue.advance(0.001)
    assert queue.take_ids(5) == ["a"]


@levels
def test_a_changed_limit_reaches_what_is_scheduled(
    queue: ExpiringQueue, kind: str, name: str
) -> None:
    limit(queue, kind, name, interval=str(HOUR))
    put(queue, *(job(job_id, group="g") for job_id in "abcd"))
    assert queue.take_ids(5) == ["a"]
    assert queue.batch().wait_us == HOUR * 1_000
    limit(queue, kind, name, interval="10")
    assert queue.batch().wait_us == 10_000
    queue.advance(10)
    assert queue.take_ids(5) == ["b"]
    limit(queue, kind, name, interval=str(HOUR))
    assert queue.batch().wait_us == HOUR * 1_000
    limit(queue, kind, name, burst="3")
    assert queue.take_ids(5) == ["c", "d"]


def test_a_paused_type_is_not_taken_for_empty(queue: ExpiringQueue) -> None:
    put(queue, job("a"), job("b", "q2", group="g"))
    pause(queue, "type")
    assert queue.take(5) == []
    metrics = queue.type_metrics()
    assert (metrics.has_jobs, metrics.held_by, metrics.ready_in) == (True, "paused", None)
    assert sorted(queue.listed(waiting=True)) == ["q", "q2"]
    assert queue.length() == 1
    swept = queue.sweep()
    assert (swept.idle, swept.vacant) == (False, False)
    assert queue.status("a").held_by == "type_paused"
    resume(queue, "type")
    assert sorted(queue.take_ids(5)) == ["a", "b"]


def test_a_paused_type_without_jobs_stays_registered(queue: ExpiringQueue) -> None:
    pause(queue, "type")
    queue.advance(HOUR)
    swept = queue.sweep()
    assert (swept.idle, swept.vacant) == (True, False)
    resume(queue, "type")
    assert queue.sweep().vacant


@levels
def test_a_concurrency_that_is_set_later_counts_what_is_leased(
    queue: ExpiringQueue, kind: str, name: str
) -> None:
    put(queue, *(job(job_id, group="g") for job_id in "abc"))
    a, _ = queue.take(2)
    limit(queue, kind, name, concurrency="2")
    assert queue.take() == []
    queue.finish(a)
    assert queue.take_ids(5) == ["c"]
