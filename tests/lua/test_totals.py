"""How many jobs of a type wait, are delayed, leased and finished; the model checks it, too."""

from __future__ import annotations

import pytest

from tests.support.expiring import ExpiringQueue
from tests.support.hands import new_job

MINUTE = 60_000


def totals(queue: ExpiringQueue) -> tuple[int, int, int]:
    metrics = queue.type_metrics()
    return metrics.waiting, metrics.delayed, metrics.active


def finished(queue: ExpiringQueue) -> dict[int, int]:
    """Finished jobs by how many minutes ago, where there are any."""
    counts = queue.type_metrics().finish_counts
    this = queue.now // MINUTE
    return {this - at // MINUTE: count for at, count in counts.items() if count}


def bucket(queue: ExpiringQueue) -> str:
    """The newest counters of the type."""
    return "{sharq:t}:c:" + queue.store.command("GET", "{sharq:t}:c:last").decode()


def test_each_job_counts_in_its_state(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name, f"queue-{name}") for name in "abcd")
    assert totals(queue) == (4, 0, 0)
    first, second, third = queue.take(3)
    assert totals(queue) == (1, 0, 3)
    queue.release(first, 1_000)
    queue.release(second)
    assert totals(queue) == (2, 1, 1)
    queue.finish(third)
    queue.cancel(first.job_id, first.queue_id)
    assert totals(queue) == (2, 0, 0)
    queue.clear(second.queue_id)
    assert totals(queue) == (1, 0, 0)
    assert len(queue.take()) == 1
    assert totals(queue) == (0, 0, 1)


def test_the_totals_last_over_minutes_in_which_nothing_happens(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name, f"queue-{name}") for name in "abc")
    queue.release(queue.take()[0], 5 * 60 * MINUTE)
    queue.advance(60 * MINUTE)
    assert totals(queue) == (2, 1, 0)
    queue.take()
    queue.advance(MINUTE)
    queue.put("d")
    assert totals(queue) == (2, 1, 1)


def test_a_clock_that_goes_back_over_a_minute_changes_no_total(queue: ExpiringQueue) -> None:
    minute = queue.now // MINUTE * MINUTE + MINUTE
    for at in (-1, 1, -1, 1):
        queue.move_to((minute + at) * 1_000)
        queue.put(f"job{queue.now}", f"queue-{at}")
        queue.put(f"more{queue.now}-{totals(queue)[0]}")
    assert totals(queue)[0] == sum(
        queue.metrics(name).queue_length for name in ("queue--1", "queue-1", "q")
    )
    queue.move_to((minute + 1) * 1_000)
    counts = queue.type_metrics().enqueue_counts
    assert sum(counts.values()) == totals(queue)[0]


def test_finished_jobs_are_those_that_did_not_end_otherwise(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(number), f"queue-{number}") for number in range(10))
    jobs = queue.take(10)
    for job in jobs:
        queue.extend(job, 10 * MINUTE)
    queue.finish_all(jobs[:3])
    assert finished(queue) == {0: 3}
    queue.release(jobs[3])
    queue.cancel(jobs[4].job_id, jobs[4].queue_id, jobs[4].lease.rpartition("/")[2])
    queue.clear(jobs[5].queue_id, purge=True)
    assert finished(queue) == {0: 3}
    queue.advance(MINUTE)
    queue.sweep()
    queue.finish(jobs[6])
    assert finished(queue) == {0: 1, 1: 3}
    queue.advance(MINUTE)
    queue.put("another")
    queue.finish_all(jobs[7:9])
    assert finished(queue) == {0: 2, 1: 1, 2: 3}


def test_a_minute_may_begin_with_a_dequeue_or_with_the_end_of_a_lease(
    queue: ExpiringQueue,
) -> None:
    queue.put_many(new_job(name, f"queue-{name}") for name in "abcd")
    queue.advance(MINUTE)
    first, second = queue.take(2)
    assert finished(queue) == {}
    queue.extend(second, 10 * MINUTE)
    queue.finish(first)
    assert finished(queue) == {0: 1}
    queue.advance(MINUTE)
    queue.release(second)
    assert finished(queue) == {1: 1}
    queue.finish_all(queue.take(2))
    assert finished(queue) == {0: 2, 1: 1}


def test_a_delayed_job_counts_as_delayed_until_its_queue_is_looked_at(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name, "q") for name in "ab")
    for job in [*queue.take(), *queue.take()]:
        queue.release(job, 1_000)
    queue.advance(1_000)
    assert totals(queue) == (0, 2, 0)
    queue.take()
    assert totals(queue) == (1, 0, 1)


def test_jobs_that_are_gone_from_outside_are_not_counted(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name, "q") for name in "abc")
    queue.store.command("HDEL", "{sharq:t}:j:q", "b", ":2")
    assert [job.job_id for job in [*queue.take(), *queue.take()]] == ["a", "c"]
    assert totals(queue) == (0, 0, 2)


@pytest.mark.parametrize("wrong", [5, -5])
def test_a_wrong_total_is_right_when_the_type_has_no_jobs(queue: ExpiringQueue, wrong: int) -> None:
    queue.put("a")
    queue.store.command("HINCRBY", bucket(queue), "c", wrong)
    queue.store.command("HINCRBY", bucket(queue), "k", wrong)
    assert totals(queue)[0] == max(0, 1 + wrong) - max(0, wrong)
    (job,) = queue.take()
    queue.finish(job)
    queue.sweep()
    assert totals(queue) == (0, 0, 0)


def test_queues_are_counted_by_whether_they_may_go(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name, f"queue-{name}")._replace(interval=1_000) for name in "abc")
    queue.advance(250)
    metrics = queue.type_metrics()
    assert (metrics.ready, metrics.held, metrics.oldest_ready) == (3, 0, 250)
    queue.put("a2", "queue-a", interval=1_000)
    queue.take()
    metrics = queue.type_metrics()
    assert (metrics.ready, metrics.held) == (2, 1)
    queue.take(2)
    metrics = queue.type_metrics()
    assert (metrics.ready, metrics.held, metrics.oldest_ready) == (0, 1, None)


def test_counts_last_their_time_if_the_clock_goes_back(queue: ExpiringQueue) -> None:
    queue.put("a")
    minute = queue.now // MINUTE * MINUTE
    queue.advance(-5 * MINUTE)
    queue.put("b")
    queue.move_to((minute + 9 * MINUTE) * 1_000)
    assert queue.type_metrics().enqueue_counts[minute] == 1
