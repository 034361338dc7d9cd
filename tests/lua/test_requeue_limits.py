"""A job is delivered exactly as often as its limit says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sharq import results
from sharq.identifiers import check_lease
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job

MakeQueue = Callable[..., ExpiringQueue]


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 11])
def test_a_limit_of_n_means_n_plus_1_deliveries(make_queue: MakeQueue, limit: int) -> None:
    queue = make_queue(job_expire_interval=1_000, backoff_min=0)
    queue.put("a", limit=limit)
    remaining = []
    while taken := queue.take():
        remaining.append(taken[0].requeues_remaining)
        queue.advance(1_000)
        queue.sweep()
    assert remaining == list(range(limit, -1, -1))
    assert queue.status("a").state == results.DEAD


@pytest.mark.parametrize("limit", [10**9, 10**9 + 1, 10**18, 10**10 + 3, 2**53 + 1, 2**63 - 1])
def test_a_large_limit_is_counted_to_the_last_digit(make_queue: MakeQueue, limit: int) -> None:
    queue = make_queue(job_expire_interval=1_000, backoff_min=0)
    queue.put("a", limit=limit)
    for spent in range(5):
        (job,) = queue.take()
        assert job.requeues_remaining == limit - spent
        queue.advance(1_000)
        queue.sweep()


def test_a_release_that_counts_spends_the_limit(queue: ExpiringQueue) -> None:
    queue.put("a", limit=1)
    (first,) = queue.take()
    assert queue.release(first) == results.SUCCESS
    (second,) = queue.take()
    assert second.requeues_remaining == 0
    assert queue.release(second, delay=10) == results.DEAD
    assert queue.length() == 0


def test_a_release_that_does_not_count_leaves_the_limit(queue: ExpiringQueue) -> None:
    queue.put("a", limit=0)
    for _ in range(4):
        (job,) = queue.take()
        assert job.requeues_remaining == 0
        assert queue.release(job, counted=False) == results.SUCCESS


def test_a_give_back_that_does_not_count_is_no_attempt(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name) for name in ("a", "b"))
    for count in (1, 2, 2, 1):  # by the short way and by the long one
        for job in queue.take(count):
            assert job.attempt == 1
            assert queue.release(job, counted=False) == results.SUCCESS
    (first,) = queue.take()
    assert (first.job_id, first.attempt) == ("a", 1)
    assert queue.release(first) == results.SUCCESS
    for _ in range(3):
        (second,) = queue.take()
        assert (second.job_id, second.attempt) == ("a", 2)
        many = queue.operations.release(TYPE, [check_lease(second.lease)], delay=0, counted=False)
        assert [each.outcome for each in queue.run(many)] == [results.SUCCESS]


def test_a_limit_of_minus_1_never_ends(queue: ExpiringQueue) -> None:
    queue.put("a", limit=-1)
    for _ in range(100):
        (job,) = queue.take()
        assert job.requeues_remaining == -1
        assert queue.release(job) == results.SUCCESS
