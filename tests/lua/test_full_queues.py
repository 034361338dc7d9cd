"""A queue that is full tells when its rate makes room."""

from __future__ import annotations

from sharq.results import FULL, Enqueued
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job


def room(queue: ExpiringQueue, bound: int, queue_id: str = "q", interval: int = 0) -> int | None:
    got = queue.put("more", queue_id, bound=bound, interval=interval)
    assert got.outcome == FULL
    return got.room_in


def test_14_room_comes_with_the_next_turn(queue: ExpiringQueue) -> None:
    for job_id in "abc":
        queue.put(job_id, interval=1_000)
    assert room(queue, 3) == 0
    queue.take()
    assert (room(queue, 2), room(queue, 1)) == (1_000, 2_000)
    queue.advance(400)
    assert (room(queue, 2), room(queue, 1)) == (600, 1_600)
    queue.advance(700)
    assert (room(queue, 2), room(queue, 1)) == (0, 1_000)
    queue.take()
    assert queue.put("d", bound=2, interval=1_000).outcome == "queued"


def test_14_a_delayed_job_makes_room_when_it_is_due(queue: ExpiringQueue) -> None:
    queue.put("a", interval=10)
    (a,) = queue.take()
    queue.release(a, delay=5_000)
    assert room(queue, 1) == 5_000


def test_14_an_interval_of_the_api_counts(queue: ExpiringQueue) -> None:
    for job_id in "ab":
        queue.put(job_id, interval=10)
    queue.take()
    assert queue.run(queue.operations.set_interval(TYPE, "q", 3_600_000))
    assert room(queue, 1, interval=10) == 3_600_000


def test_14_without_a_rate_nothing_is_told(queue: ExpiringQueue) -> None:
    assert room(queue, 0) is None
    assert room(queue, 0, interval=50) is None
    queue.put("a")
    assert room(queue, 1) is None


def test_14_many_jobs_of_one_call_are_told_each(queue: ExpiringQueue) -> None:
    jobs = [
        new_job(job_id)._replace(interval=100, max_queued_length=bound)
        for job_id, bound in (("a", 2), ("b", 2), ("c", 2), ("d", 1))
    ]
    assert queue.put_many(jobs) == [
        Enqueued("queued", 0),
        Enqueued("queued", 1),
        Enqueued(FULL, 2, 0),
        Enqueued(FULL, 2, 100),
    ]
