"""The interval of a queue: who sets it, and how long its rate is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.expiring import ExpiringQueue
from tests.support.hands import PREFIX, TYPE, new_job

MakeQueue = Callable[..., ExpiringQueue]
HOUR = 3_600_000
YEAR = 31_536_000_000


def shown(queue: ExpiringQueue) -> tuple[int | None, str | None]:
    metrics = queue.metrics()
    return metrics.interval, metrics.interval_set_by


def end_all(queue: ExpiringQueue) -> None:
    queue.finish_all(queue.take(100))


def test_an_unknown_queue_has_no_interval_to_set(queue: ExpiringQueue) -> None:
    assert not queue.set_interval(10)
    assert not queue.reset_interval()
    assert queue.key_names() == []


def test_each_enqueue_sets_the_interval(queue: ExpiringQueue) -> None:
    queue.put("a", interval=10)
    assert shown(queue) == (10, "enqueue")
    queue.put("b", interval=20)
    assert shown(queue) == (20, "enqueue")


def told(queue: ExpiringQueue, count: int, request: str | None = None) -> list[tuple[str, int]]:
    return [(job.job_id, job.interval) for job in queue.take(count, request)]


@pytest.mark.parametrize("count", [1, 5])
def test_a_job_tells_the_interval_of_its_queue(queue: ExpiringQueue, count: int) -> None:
    for name, interval in (("a", 0), ("b", 25), ("c", YEAR)):
        queue.put(name, name, interval=interval)
    assert [each for _ in range(3) for each in told(queue, count)] == [
        ("a", 0),
        ("b", 25),
        ("c", YEAR),
    ]


@pytest.mark.parametrize("count", [1, 5])
def test_a_job_tells_the_interval_in_force_at_its_dispatch(
    queue: ExpiringQueue, count: int
) -> None:
    queue.put("a", interval=10)
    queue.set_interval(30)
    queue.put("b", interval=10)
    assert told(queue, count, "r") == [("a", 30)]
    queue.set_interval(50)
    assert told(queue, count, "r") == [("a", 50)], "the same job, once more"
    queue.advance(50)
    assert told(queue, count) == [("b", 50)]
    queue.store.command("DEL", f"{{{PREFIX}:{TYPE}}}:q:q")
    assert told(queue, count, "r") == [("a", 0)], "a state that was damaged"


@pytest.mark.parametrize("outcome", ["duplicate", "conflict", "full"])
def test_an_enqueue_that_changes_nothing_leaves_the_interval(
    queue: ExpiringQueue, outcome: str
) -> None:
    queue.put("a", interval=10)
    queue.take()
    queue.put("b", interval=10)
    got = {
        "duplicate": lambda: queue.put("b", interval=HOUR),
        "conflict": lambda: queue.put("b", interval=HOUR, payload=b"2"),
        "full": lambda: queue.put("c", interval=HOUR, bound=1),
    }[outcome]()
    assert got.outcome == outcome
    assert shown(queue) == (10, "enqueue")
    assert queue.batch().wait_us == 10_000


def test_a_reset_gives_the_interval_back_to_the_next_enqueue(queue: ExpiringQueue) -> None:
    queue.put("a", interval=10)
    queue.set_interval(HOUR)
    assert queue.reset_interval()
    assert not queue.reset_interval()
    assert shown(queue) == (HOUR, "enqueue")
    queue.put("b", interval=10)
    assert shown(queue) == (10, "enqueue")


def test_an_interval_of_the_api_outlives_the_jobs_for_its_retention(
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(interval_retention=5_000)
    queue.put("a")
    queue.set_interval(10)
    end_all(queue)
    queue.advance(4_999)
    assert shown(queue) == (10, "api")
    queue.put("b", interval=20)
    assert shown(queue) == (10, "api")
    end_all(queue)
    queue.advance(5_000)
    assert shown(queue) == (None, None)
    assert not queue.set_interval(30)
    queue.put("c", interval=20)
    assert shown(queue) == (20, "enqueue")


def test_the_retention_does_not_begin_while_a_job_is_leased(make_queue: MakeQueue) -> None:
    queue = make_queue(interval_retention=5_000)
    queue.put("a")
    queue.set_interval(10)
    queue.take()
    queue.advance(20_000)
    assert shown(queue) == (10, "api")
    queue.finish_by_name("a")
    queue.advance(4_999)
    assert shown(queue) == (10, "api")


def test_an_idle_queue_with_an_interval_of_the_api_can_be_changed(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.set_interval(10)
    end_all(queue)
    queue.advance(1_000)
    assert queue.set_interval(20)
    assert shown(queue) == (20, "api")
    assert queue.reset_interval()
    assert shown(queue) == (None, None)


def test_a_reset_leaves_nothing_of_an_idle_queue(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.set_interval(10)
    end_all(queue)
    queue.advance(10)
    queue.reset_interval()
    assert [key for key in queue.key_names() if ":q:" in key] == []


def test_an_idle_queue_is_known_for_as_long_as_its_rate(queue: ExpiringQueue) -> None:
    queue.put("a", interval=1_000)
    end_all(queue)
    queue.advance(999)
    assert queue.set_interval(2_000)
    queue.reset_interval()
    queue.advance(1_000)
    assert shown(queue) == (2_000, "enqueue")
    queue.advance(1)
    assert shown(queue) == (None, None)
    assert not queue.set_interval(10)


def test_a_rate_state_that_outlives_the_apis_interval_is_the_enqueuers_again(
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(interval_retention=5_000)
    queue.put("a")
    queue.set_interval(HOUR)
    end_all(queue)
    queue.advance(5_000)
    assert shown(queue) == (HOUR, "enqueue")
    queue.put("b", interval=10)
    assert shown(queue) == (10, "enqueue")
    assert queue.take_ids() == ["b"]


@pytest.mark.parametrize("retention", [0, 1_000, HOUR])
def test_when_all_has_run_out_nothing_is_left(make_queue: MakeQueue, retention: int) -> None:
    queue = make_queue(interval_retention=retention, finished_retention=0)
    queue.put_many(new_job(job_id, interval=700) for job_id in "ab")
    queue.set_interval(500)
    end_all(queue)
    queue.advance(500)
    end_all(queue)
    queue.advance(max(retention, 12 * 60_000))
    queue.sweep()
    assert queue.key_names() == []


def test_the_longest_interval_is_kept_for_its_year(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, interval=YEAR) for job_id in "ab")
    end_all(queue)
    queue.clear()
    queue.advance(YEAR - 1)
    queue.put("c", interval=YEAR)
    assert queue.batch().wait_us == 1_000
    queue.advance(1)
    assert queue.take_ids() == ["c"]


def test_without_an_interval_jobs_come_at_once(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(5))
    assert [queue.take_ids() for _ in range(5)] == [[str(i)] for i in range(5)]


def test_after_a_step_back_of_the_clock_nothing_is_early(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, interval=1_000) for job_id in "abc")
    queue.take()
    queue.advance(-5_000)
    assert queue.batch().wait_us == 6_000_000
    queue.advance(5_999)
    assert queue.take() == []
    queue.advance(1)
    assert queue.take_ids() == ["b"]


def test_after_a_step_back_a_longer_interval_still_counts(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    queue.take()
    queue.advance(100)
    queue.set_interval(50)
    assert queue.metrics().next_ready_in == 0
    queue.advance(-100)
    assert queue.metrics().next_ready_in == 50
    assert queue.batch().wait_us == 50_000


def test_a_queue_keeps_its_turn_when_its_interval_changes(queue: ExpiringQueue) -> None:
    queue.put("a", "first", interval=10)
    queue.advance(1)
    queue.put("b", "second", interval=10)
    queue.advance(1)
    queue.set_interval(5, "first")
    queue.put("c", "first", interval=7)
    assert queue.take_ids(2) == ["a", "b"]
