"""What a clear takes away, and what stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sharq import results
from sharq.results import Cleared
from tests.support.expiring import ExpiringQueue
from tests.support.hands import new_job

MakeQueue = Callable[..., ExpiringQueue]
HOUR = 3_600_000


@pytest.mark.parametrize("purge", [False, True])
def test_a_clear_of_an_unknown_queue_removes_nothing(queue: ExpiringQueue, purge: bool) -> None:
    assert queue.clear("unknown", purge=purge) == Cleared(0, 0)
    assert queue.key_names() == []


@pytest.mark.parametrize("purge", [False, True])
def test_a_clear_leaves_the_rate(queue: ExpiringQueue, purge: bool) -> None:
    queue.put_many(new_job(job_id, interval=1_000) for job_id in "ab")
    queue.take()
    queue.clear(purge=purge)
    queue.put("c", interval=1_000)
    queue.advance(999)
    assert queue.take() == []
    queue.advance(1)
    assert queue.take_ids() == ["c"]


def test_a_leased_job_of_a_cleared_queue_can_be_finished(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    (a,) = queue.take()
    assert queue.clear() == Cleared(1, 0)
    assert queue.status("a").state == results.ACTIVE
    assert queue.finish(a) == results.SUCCESS


def test_what_comes_after_a_clear_is_not_concerned(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put_many(new_job(job_id) for job_id in "abc")
    queue.take()
    queue.clear()
    queue.put_many(new_job(job_id) for job_id in "bde")
    b, _ = queue.take(2)
    queue.release(b)
    queue.advance(1_000)
    swept = queue.sweep()
    assert (swept.returned, swept.discarded) == (1, 1)
    assert queue.take_ids(5) == ["b", "d", "e"]
    assert queue.status("a").state == results.DEAD


def test_a_clear_of_a_queue_with_leased_jobs_alone_dooms_them(queue: ExpiringQueue) -> None:
    queue.put("a")
    (a,) = queue.take()
    assert queue.clear() == Cleared(0, 0)
    assert queue.release(a) == results.DEAD


def test_a_clear_keeps_an_interval_of_the_api_and_a_purge_drops_it(queue: ExpiringQueue) -> None:
    queue.put("a", interval=10)
    queue.set_interval(HOUR)
    queue.clear()
    assert queue.metrics().interval_set_by == "api"
    queue.put("b", interval=10)
    assert queue.metrics().interval == HOUR
    queue.clear(purge=True)
    assert queue.metrics().interval is None
    queue.put("c", interval=10)
    assert queue.metrics().interval == 10


def test_a_purge_ends_leases(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put_many(new_job(job_id) for job_id in "abc")
    a, _ = queue.take(2)
    assert queue.clear(purge=True) == Cleared(1, 2)
    assert queue.finish(a) == results.NOT_ACTIVE
    assert not queue.type_metrics().has_jobs
    queue.put("a", payload=b"2")
    assert queue.finish(a) == results.NOT_ACTIVE
    queue.advance(1_000)
    assert queue.sweep_all() == 0
    assert [job.payload for job in queue.take(5)] == [b"2"]


def test_a_purge_of_thousands_of_leases_ends_them_all(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    names = [str(i) for i in range(2_500)]
    queue.put_many(new_job(name) for name in names)
    queue.put("other", "another")
    taken = [job for _ in range(26) for job in queue.take(100)]
    assert len(taken) == 2_501
    assert queue.clear(purge=True) == Cleared(0, 2_500)
    ours = [job for job in taken if job.queue_id == "q"]
    assert set(queue.finish_all(ours)) == {results.NOT_ACTIVE}
    assert queue.listed(waiting=False) == ["another"]

    # Jobs with the same names: one leased anew, the others waiting.
    queue.put_many(new_job(name) for name in names)
    queue.advance(999)
    (again,) = queue.take()
    queue.advance(1)
    assert queue.sweep_all() == 1
    assert queue.status("other", "another").state == results.QUEUED
    assert queue.status(again.job_id).state == results.ACTIVE
    assert queue.length() == 2_499
    queue.clear(purge=True)
    queue.finish_all(queue.take())
    queue.advance(12 * 60_000)
    queue.sweep_all()
    assert queue.key_names() == []


def test_a_cleared_queue_without_rate_leaves_nothing(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "abc")
    queue.clear()
    assert {key.partition("}:")[2][:2] for key in queue.key_names()} == {"c:"}
