"""A cancelled job is gone, wherever it waits, and everything else is as if it had never come."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sharq import results
from sharq.identifiers import check_lease
from sharq.results import Lease
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job

MakeQueue = Callable[..., ExpiringQueue]

LONG = b'"%s"' % (b"x" * 300)


def jobs_left(queue: ExpiringQueue) -> list[str]:
    """The ids of the waiting jobs in the order in which they are delivered."""
    ids = []
    while taken := queue.take(100):
        ids += [job.job_id for job in taken]
        queue.finish_all(taken)
    return ids


def kinds_of_keys(queue: ExpiringQueue) -> set[str]:
    return {key.partition("}:")[2][:2] for key in queue.key_names()}


@pytest.mark.parametrize("payload", [b"1", LONG])
@pytest.mark.parametrize("cancelled", ["a", "b", "c", "ab", "bc", "ac", "ba", "cb", "abc", "bca"])
def test_waiting_jobs_are_cancelled(queue: ExpiringQueue, payload: bytes, cancelled: str) -> None:
    queue.put_many(new_job(job_id, payload=payload) for job_id in "abc")
    for number, job_id in enumerate(cancelled, 1):
        assert queue.cancel(job_id) == results.SUCCESS
        assert queue.cancel(job_id) == results.NOT_FOUND
        assert queue.status(job_id).state == results.NOT_FOUND
        assert queue.length() == 3 - number
    left = [job_id for job_id in "abc" if job_id not in cancelled]
    assert [queue.status(job_id).position for job_id in left] == list(range(len(left)))
    assert jobs_left(queue) == left
    assert kinds_of_keys(queue) - {"c:", "f:", "se"} == set()


def test_the_last_job_of_a_queue_leaves_nothing_behind(queue: ExpiringQueue) -> None:
    queue.put("a", interval=1_000)
    assert queue.cancel("a") == results.SUCCESS
    assert kinds_of_keys(queue) == {"c:"}
    assert queue.metrics().interval is None
    assert not queue.type_metrics().has_jobs


def test_a_cancelled_id_can_be_used_again(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "abc")
    queue.cancel("b")
    assert queue.put("b", payload=b"2").outcome == results.QUEUED
    assert [(job.job_id, job.payload) for job in queue.take(9)] == [
        ("a", b"1"), ("c", b"1"), ("b", b"2")
    ]  # fmt: skip


def test_the_rate_keeps_its_slots(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, interval=1_000) for job_id in "abc")
    (a,) = queue.take()
    assert queue.cancel("a", n=a.lease.rpartition("/")[2]) == results.SUCCESS
    assert queue.cancel("b") == results.SUCCESS
    queue.advance(999)
    assert queue.batch().wait_us == 1_000
    queue.advance(1)
    assert queue.take_ids() == ["c"]


def test_the_place_is_free_for_a_bounded_job(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "abc")
    assert queue.put("d", bound=3).outcome == results.FULL
    queue.cancel("b")
    assert queue.put("d", bound=3).outcome == results.QUEUED


@pytest.mark.parametrize("delay", [0, 500])
def test_a_job_that_was_given_back_is_cancelled(queue: ExpiringQueue, delay: int) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    for job in queue.take(2):
        queue.release(job, delay)
    assert queue.cancel("a") == results.SUCCESS
    assert queue.length() == 1
    queue.advance(delay)
    assert jobs_left(queue) == ["b"]


def test_the_schedule_waits_for_the_next_delayed_job(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    a, b = queue.take(2)
    queue.release(a, 100)
    queue.release(b, 900)
    queue.cancel("a")
    assert queue.batch().wait_us == 900_000
    queue.cancel("b")
    assert queue.batch().wait_us is None


def test_the_schedule_of_a_queue_with_other_jobs_stays(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, interval=1_000) for job_id in "abc")
    (a,) = queue.take()
    queue.release(a, 5_000)
    queue.cancel("a")
    assert queue.batch().wait_us == 1_000_000


def test_a_leased_job_is_cancelled_by_its_lease_alone(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put("a", limit=-1)
    (first,) = queue.take()
    old = first.lease.rpartition("/")[2]
    assert queue.cancel("a") == results.JOB_ACTIVE
    queue.advance(1_000)
    queue.sweep()
    assert queue.cancel("a", n=old) == results.NOT_ACTIVE
    (second,) = queue.take()
    assert queue.cancel("a", n=old) == results.JOB_ACTIVE
    assert queue.cancel("a", n=second.lease.rpartition("/")[2]) == results.SUCCESS
    assert queue.finish(second) == results.NOT_ACTIVE
    assert queue.extend(second, 1).outcome == results.NOT_ACTIVE
    assert queue.status("a").state == results.NOT_FOUND
    assert queue.sweep_all() == 0
    assert not queue.type_metrics().has_jobs


def test_a_lease_that_ran_out_cancels_until_the_sweep_takes_the_job(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put("a")
    (job,) = queue.take()
    queue.advance(5_000)
    assert queue.cancel("a", n=job.lease.rpartition("/")[2]) == results.SUCCESS


def test_what_has_ended_is_not_cancelled(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, limit=0) for job_id in "ab")
    a, b = queue.take(2)
    queue.finish(a)
    queue.release(b)
    assert queue.cancel("a") == results.ALREADY_FINISHED
    assert queue.cancel("a", n=check_lease(a.lease).n) == results.ALREADY_FINISHED
    assert queue.cancel("b") == results.NOT_FOUND
    assert queue.cancel("unknown", "unknown") == results.NOT_FOUND
    assert queue.cancel("unknown", n="7") == results.NOT_ACTIVE


def test_a_request_is_not_answered_again_with_a_cancelled_job(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    a, _ = queue.take(2, "r")
    queue.cancel("a", n=check_lease(a.lease).n)
    assert [job.job_id for job in queue.take(2, "r")] == ["b"]


def test_a_clear_counts_no_cancelled_job(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "abcde")
    for job_id in "bdc":
        queue.cancel(job_id)
    assert queue.clear().waiting == 2
    queue.put_many(new_job(job_id) for job_id in "bd")
    assert jobs_left(queue) == ["b", "d"]


def test_many_jobs_in_one_call(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, queue_id) for queue_id in ("q", "p") for job_id in "abc")
    jobs = [("q", "a"), ("p", "c"), ("q", "a"), ("q", "x"), ("p", "b")]
    leases = [Lease(TYPE, *job, n="") for job in jobs]
    outcomes = queue.run(queue.operations.cancel(TYPE, leases))
    assert [ended.outcome for ended in outcomes] == [
        results.SUCCESS, results.SUCCESS, results.NOT_FOUND, results.NOT_FOUND, results.SUCCESS
    ]  # fmt: skip
    assert (queue.length("q"), queue.length("p")) == (2, 1)


@pytest.mark.parametrize("count", [1, 7, 100])
def test_gaps_of_any_shape_are_skipped(queue: ExpiringQueue, count: int) -> None:
    chance = random.Random(count)
    names = [f"j{i}" for i in range(1_500)]
    queue.put_many(new_job(name) for name in names)
    left = dict.fromkeys(names)
    for _ in range(12):
        some = chance.sample(list(left), 20)
        leases = [Lease(TYPE, "q", name, n="") for name in some]
        queue.run(queue.operations.cancel(TYPE, leases))
        for name in some:
            del left[name]
        order = list(left)
        assert queue.length() == len(order)
        for at in chance.sample(range(len(order)), 5):
            status = queue.status(order[at])
            assert status.estimated or status.position == at
            assert not status.estimated or at > 1_000
        for name in queue.take_ids(count):
            assert name == next(iter(left))
            del left[name]
    assert jobs_left(queue) == list(left)
    assert not [key for key in queue.key_names() if "}:j:" in key]


def test_the_ends_of_gaps_are_all_that_they_leave(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i), payload=LONG) for i in range(1_000))
    for i in range(1, 999):
        queue.cancel(str((i * 7) % 998 + 1))
    (hash_key,) = [key for key in queue.key_names() if "}:j:" in key]
    assert queue.length() == 2
    assert queue.store.command("HLEN", hash_key) == 2 * 2 + 2
    assert queue.take_ids(9) == ["0", "999"]


def test_far_positions_behind_gaps_are_estimated(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(2_500))
    queue.cancel("1")
    queue.cancel("2400")
    status = queue.status("1001")
    assert (status.position, status.estimated) == (1_000, False)
    status = queue.status("2000")
    assert (status.position, status.estimated) == (1_998, True)


def test_jobs_that_were_removed_from_outside_between_gaps_are_passed(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i), payload=LONG) for i in range(20))
    for i in (3, 4, 5, 9, 15):
        queue.cancel(str(i))
    (hash_key,) = [key for key in queue.key_names() if "}:j:" in key]
    queue.store.command("DEL", hash_key)
    assert queue.take(5) == []
    queue.put("a")
    while queue.length() > 0 and not (taken := queue.take_ids(5)):
        pass
    assert taken == ["a"]
    assert queue.length() == 0
