"""A job that is released with a delay."""

from __future__ import annotations

from sharq import results
from sharq.results import JobStatus
from tests.support.expiring import ExpiringQueue
from tests.support.hands import new_job


def test_a_delayed_job_counts_and_blocks_nobody(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "abc")
    (a,) = queue.take()
    assert queue.release(a, delay=100) == results.SUCCESS
    assert queue.length() == 3
    assert queue.take_ids() == ["b"]
    assert queue.put("late", bound=2).outcome == results.FULL


def test_a_new_job_does_not_wait_for_delayed_ones(queue: ExpiringQueue) -> None:
    queue.put("a")
    (a,) = queue.take()
    queue.release(a, delay=100)
    queue.put("b")
    assert queue.take_ids() == ["b"]


def test_a_returned_job_does_not_wait_for_delayed_ones(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    a, b = queue.take(2)
    queue.release(a, delay=100)
    queue.release(b)
    assert queue.take_ids() == ["b"]


def test_a_delayed_job_takes_its_old_place_when_it_is_due(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "abc")
    a, b = queue.take(2)
    queue.release(a, delay=100)
    queue.release(b, delay=50)
    queue.advance(99.999)
    assert queue.take_ids() == ["b"]
    queue.advance(0.001)
    assert queue.take_ids(5) == ["a", "c"]


def test_the_schedule_knows_when_a_delayed_job_is_due(queue: ExpiringQueue) -> None:
    queue.put("a", interval=30)
    (a,) = queue.take()
    queue.release(a, delay=100)
    assert queue.batch().wait_us == 100_000
    queue.advance(99.5)
    assert queue.batch().wait_us == 500
    queue.advance(0.5)
    assert queue.take_ids() == ["a"]


def test_a_delay_does_not_shorten_the_interval(queue: ExpiringQueue) -> None:
    queue.put("a", interval=1_000)
    (a,) = queue.take()
    queue.release(a, delay=10)
    queue.advance(10)
    assert queue.batch().wait_us == 990_000


def test_a_status_tells_that_the_place_of_a_delayed_job_is_an_estimate(
    queue: ExpiringQueue,
) -> None:
    queue.put_many(new_job(job_id, interval=10) for job_id in "ab")
    (a,) = queue.take()
    queue.release(a, delay=100)
    assert queue.status("a") == JobStatus(
        results.QUEUED, position=0, ready_in=100, estimated=True, eta=100, held_by="delay"
    )


def test_a_status_counts_due_jobs_that_no_dequeue_has_moved(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, interval=1_000) for job_id in "abc")
    (a,) = queue.take()
    queue.release(a, delay=5_000)
    queue.advance(1_000)
    (b,) = queue.take()
    queue.release(b, delay=3_000)
    queue.advance(5_000)
    assert [queue.status(job_id) for job_id in "abc"] == [
        JobStatus(
            results.QUEUED,
            position=place,
            ready_in=place * 1_000,
            eta=place * 1_000,
            held_by="nothing",
        )
        for place in range(3)
    ]


def test_jobs_that_are_due_at_once_come_in_their_order(queue: ExpiringQueue) -> None:
    names = [f"{i:04}" for i in range(500)]
    queue.put_many(new_job(name) for name in names)
    taken = [job for _ in range(5) for job in queue.take(100)]
    for job in reversed(taken):
        queue.release(job, delay=1_000)
    queue.advance(1_000)
    assert [name for _ in range(5) for name in queue.take_ids(100)] == names


def test_more_due_jobs_than_are_moved_at_once_all_come(queue: ExpiringQueue) -> None:
    names = [f"{i:04}" for i in range(2_500)]
    queue.put_many(new_job(name) for name in names)
    while taken := queue.take(100):
        for job in taken:
            queue.release(job, delay=1_000)
    queue.advance(1_000)
    assert queue.length() == 2_500
    delivered = [name for _ in range(25) for name in queue.take_ids(100)]
    assert sorted(delivered) == names
    assert queue.take() == []


def test_with_very_many_due_jobs_a_status_tells_that_it_estimates(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(1_001))
    while taken := queue.take(100):
        for job in taken:
            queue.release(job, delay=1_000)
    queue.advance(1_000)
    assert queue.status("0").estimated


def test_a_clear_removes_delayed_jobs(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    (a,) = queue.take()
    queue.release(a, delay=100)
    assert queue.clear().waiting == 2
    queue.advance(100)
    assert queue.take() == []
    assert queue.status("a").state == results.NOT_FOUND
