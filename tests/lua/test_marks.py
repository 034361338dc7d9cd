"""What is remembered of jobs that have ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sharq import results
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job

MakeQueue = Callable[..., ExpiringQueue]


def shard_sizes(queue: ExpiringQueue) -> list[int]:
    """Elements of the lists that marks are in."""
    marks = [key for key in queue.key_names() if ":f:" in key]
    lists = [key for key in marks if queue.store.command("TYPE", key) == b"list"]
    return [queue.store.command("LLEN", key) for key in lists]


@pytest.mark.parametrize("started_after", [0, 1_999, 14_999])
def test_an_end_is_remembered_for_its_retention(make_queue: MakeQueue, started_after: int) -> None:
    queue = make_queue(finished_retention=60_000)
    queue.advance(started_after)
    queue.put("a")
    (job,) = queue.take()
    queue.finish(job)
    queue.advance(59_999)
    assert queue.status("a").state == results.FINISHED
    assert queue.finish(job) == results.ALREADY_FINISHED
    assert queue.finish_by_name("a") == results.ALREADY_FINISHED
    queue.advance(15_001)
    assert queue.status("a").state == results.NOT_FOUND
    assert queue.finish(job) == results.NOT_ACTIVE


def test_a_discarded_job_is_remembered_as_dead(queue: ExpiringQueue) -> None:
    queue.put("a", limit=0)
    (job,) = queue.take()
    queue.release(job)
    assert queue.status("a").state == results.DEAD
    assert queue.finish(job) == results.NOT_ACTIVE


def test_without_a_retention_nothing_is_kept(make_queue: MakeQueue) -> None:
    queue = make_queue(finished_retention=0, dead_max_jobs=0)
    queue.put("a")
    queue.put("b", limit=0)
    a, b = queue.take(2)
    assert queue.finish(a) == results.SUCCESS
    assert queue.release(b) == results.DEAD
    assert queue.finish(a) == results.NOT_ACTIVE
    assert queue.status("a").state == results.NOT_FOUND
    assert queue.status("b").state == results.NOT_FOUND
    assert [key for key in queue.key_names() if ":f:" in key] == []


def test_the_newest_end_counts(queue: ExpiringQueue) -> None:
    queue.put("a")
    (first,) = queue.take()
    queue.finish(first)
    queue.put("a", limit=0)
    (second,) = queue.take()
    queue.release(second)
    assert queue.status("a").state == results.DEAD
    queue.advance(20_000)
    queue.put("a")
    (third,) = queue.take()
    queue.finish(third)
    assert queue.status("a").state == results.FINISHED
    assert queue.finish(third) == results.ALREADY_FINISHED
    assert queue.finish(first) == results.NOT_ACTIVE


def test_thousands_of_ends_are_spread_over_small_keys(queue: ExpiringQueue) -> None:
    names = [str(i) for i in range(3_000)]
    queue.put_many(new_job(name, limit=int(name) % 2 - 1) for name in names)
    while taken := queue.take(100):
        for job in taken:
            if job.requeues_remaining == 0:
                queue.release(job)
            else:
                queue.finish(job)
    states = queue.run_many([queue.operations.status(TYPE, "q", name) for name in names])
    assert [status.state for status in states] == [results.FINISHED, results.DEAD] * 1_500
    assert 10 < max(shard_sizes(queue)) <= 10_000 / 10


def test_an_id_that_ends_again_and_again_does_not_fill_a_key(queue: ExpiringQueue) -> None:
    queue.put("other")
    queue.finish_all(queue.take())
    for _ in range(1_500):
        queue.put("a")
        (job,) = queue.take()
        queue.finish(job)
    assert max(shard_sizes(queue)) <= 1_000
    assert queue.finish(job) == results.ALREADY_FINISHED
    assert queue.status("other").state == results.FINISHED


def test_the_newest_end_counts_where_the_marks_have_been_spread_further(
    queue: ExpiringQueue,
) -> None:
    queue.put("a", "first")
    (early,) = queue.take()
    queue.finish(early)
    queue.put_many(new_job(str(i)) for i in range(1_000))
    while taken := queue.take(100):
        queue.finish_all(taken)
    queue.put("a", "first")
    (late,) = queue.take()
    queue.finish(late)
    assert queue.finish(late) == results.ALREADY_FINISHED
    assert queue.finish(early) == results.NOT_ACTIVE


def test_all_marks_end(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(1_000))
    while taken := queue.take(100):
        queue.advance(1_000)
        queue.finish_all(taken)
    queue.advance(75_000)
    assert [key for key in queue.key_names() if ":f:" in key] == []
