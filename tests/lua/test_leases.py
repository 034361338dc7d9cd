"""Leases: their tokens, their ends, and who may use them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from sharq import results
from sharq.operations.scripts import shipped
from tests.support.expiring import ExpiringQueue
from tests.support.hands import Hands, PipelinedStore, new_job
from tests.support.sentinels import follow
from tests.support.stores import PrivateStore, wait_for

MakeQueue = Callable[..., ExpiringQueue]
TEN_MINUTES = 600_000


def number(lease: str) -> int:
    return int(lease.rpartition("/")[2])


def test_a_token_names_its_job(queue: ExpiringQueue) -> None:
    queue.put("a", "b")
    (job,) = queue.take()
    assert job.lease == f"t/b/a/{number(job.lease)}"


def test_numbers_rise_from_lease_to_lease(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i), f"q{i % 3}") for i in range(300))
    numbers = [number(job.lease) for _ in range(3) for job in queue.take(100)]
    assert numbers == sorted(set(numbers))


def test_numbers_rise_when_the_last_one_has_gone(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(500))
    last = 0
    for gap in (0, 999, 1, 1_000, TEN_MINUTES):
        queue.advance(gap)
        for job in queue.take(100):
            assert number(job.lease) > last
            last = number(job.lease)
    queue.advance(TEN_MINUTES)
    assert [key for key in queue.key_names() if key.endswith(":serial")] == []


def test_no_number_comes_twice_where_a_former_primary_goes_on() -> None:
    with (
        PrivateStore(tcp=True) as primary,
        PrivateStore(tcp=True) as replica,
        closing(PipelinedStore(primary.socket_path)) as one,
        closing(PipelinedStore(replica.socket_path)) as other,
    ):
        former, promoted = Hands(one, shipped()), Hands(other, shipped())
        follow(replica, primary)
        wait_for("it follows", lambda: one.command("WAIT", 1, 100))
        former.put_many(new_job(str(i)) for i in range(20))
        assert former.take()
        wait_for("it has all of it", lambda: one.command("WAIT", 1, 100))
        replica.command("REPLICAOF", "NO", "ONE")
        lost = former.take(5)
        tokens = {job.lease for job in promoted.take(5)}
        assert len(tokens) == 5
        assert not tokens & {job.lease for job in lost}


def test_numbers_are_times(live: Hands) -> None:
    seconds, us = live.store.command("TIME")
    before = int(seconds) * 1_000_000 + int(us)
    live.put("a")
    (job,) = live.take()
    assert before < number(job.lease) < before + 60_000_000


def test_a_token_does_not_fit_a_later_life_of_its_job_id(queue: ExpiringQueue) -> None:
    queue.put("a")
    (old,) = queue.take()
    queue.finish(old)
    queue.advance(10 * TEN_MINUTES)
    queue.put("a")
    assert queue.finish(old) == results.NOT_ACTIVE
    (new,) = queue.take()
    assert queue.finish(old) == results.STALE_LEASE
    assert queue.release(old) == results.STALE_LEASE
    assert queue.extend(old, 1_000).outcome == results.STALE_LEASE
    assert queue.finish(new) == results.SUCCESS


def test_a_lease_holds_until_the_sweep_takes_the_job(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put_many(new_job(job_id) for job_id in "abc")
    a, b, c = queue.take(3)
    queue.advance(50_000)
    assert queue.finish(a) == results.SUCCESS
    assert queue.release(b) == results.SUCCESS
    assert queue.extend(c, 1).outcome == results.SUCCESS
    assert queue.sweep().returned == 0


def test_the_sweep_takes_a_job_from_the_ms_on_at_which_its_lease_ends(
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.advance(0.7)
    queue.put("a")
    queue.take()
    queue.advance(999.2)
    swept = queue.sweep()
    assert (swept.returned, swept.next_expiry_us) == (0, 100)
    queue.advance(0.1)
    assert queue.sweep().returned == 1


def test_an_extension_never_shortens_a_lease(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put("a")
    (job,) = queue.take()
    assert queue.extend(job, 400).lease_ms == 1_000
    assert queue.extend(job, 1_500).lease_ms == 1_500
    queue.advance(1_000)
    assert queue.sweep().returned == 0
    assert queue.extend(job, 100).lease_ms == 500


def test_a_finish_without_a_token_means_whoever_holds_the_lease(queue: ExpiringQueue) -> None:
    queue.put("a")
    assert queue.finish_by_name("a") == results.NOT_ACTIVE
    queue.take()
    assert queue.finish_by_name("a") == results.SUCCESS
    assert queue.finish_by_name("a") == results.ALREADY_FINISHED


def test_a_finished_job_never_comes_again(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put("a")
    (job,) = queue.take(1, "r")
    queue.finish(job)
    queue.advance(1_000)
    assert queue.sweep_all() == 0
    assert queue.take(5) == []
    assert queue.take(1, "r") == []


def test_returned_jobs_come_before_all_that_were_never_delivered(
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put_many(new_job(f"{i}") for i in range(8))
    early, *_ = queue.take(3)
    queue.advance(500)
    late, *_ = queue.take(2)
    queue.release(late)
    queue.advance(500)
    queue.sweep()
    queue.put("last")
    assert queue.take_ids(100) == ["0", "1", "2", "3", "5", "6", "7", "last"]
    assert queue.finish(early) == results.STALE_LEASE
