"""Failures: when a job is tried again, and what is remembered of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from sharq import results
from sharq.results import JobError, JobOptions, NewJob
from tests.support.burying import BOOM, fail, reject
from tests.support.direct import SEED
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE
from tests.support.limited import job, put

MakeQueue = Callable[..., ExpiringQueue]

SECOND = 1_000


def drawn(member: str, n: str) -> float:
    """The factor of a backoff, as sharq/lua/include/backoff.lua draws it."""
    digest = hashlib.sha1(f"{SEED}:{member}:{n}".encode()).hexdigest()
    return 0.8 + 0.4 * int(digest[:8], 16) / 2**32


def fail_after_failures(queue: ExpiringQueue, failures: int) -> tuple[int, float]:
    """Fail a job that has failed so often before; ms until it comes back, and the factor."""
    queue.put("a")
    for _ in range(failures):
        (taken,) = queue.take()
        assert fail(queue, taken, delay=0) == results.SUCCESS
    (taken,) = queue.take()
    assert taken.attempt == failures + 1
    assert fail(queue, taken) == results.SUCCESS
    wait_us = queue.batch().wait_us
    assert wait_us is not None
    return wait_us // 1000, drawn("q/a", taken.lease.rpartition("/")[2])


@pytest.mark.parametrize(
    ("failures", "bound"), [(0, 1_000), (1, 2_000), (2, 4_000), (11, 2_048_000)]
)
def test_a_failed_job_comes_back_after_a_backoff_that_doubles(
    queue: ExpiringQueue, failures: int, bound: int
) -> None:
    wait, factor = fail_after_failures(queue, failures)
    assert wait == round(bound * factor)
    assert 0.8 * bound <= wait <= 1.2 * bound
    queue.advance(wait - 1)
    assert queue.take() == []
    queue.advance(1)
    assert queue.take_ids() == ["a"]


@pytest.mark.parametrize("failures", [12, 70])
def test_a_backoff_is_cut_before_it_can_overflow(queue: ExpiringQueue, failures: int) -> None:
    wait, factor = fail_after_failures(queue, failures)
    assert wait == round(3_600_000 * factor)


def test_the_longest_backoff_of_all_is_a_time(make_queue: MakeQueue) -> None:
    year = 31_536_000_000
    wait, factor = fail_after_failures(make_queue(backoff_min=year, backoff_max=year), 1100)
    assert wait == round(year * factor)


def test_a_minimum_of_0_is_at_once(make_queue: MakeQueue) -> None:
    assert fail_after_failures(make_queue(backoff_min=0), 3)[0] == 0


def test_two_jobs_that_fail_together_do_not_come_back_together(queue: ExpiringQueue) -> None:
    for job_id in "abcdefgh":
        queue.put(job_id, job_id)
    for taken in queue.take(8):
        fail(queue, taken)
    waits = {queue.status(job_id, job_id).ready_in for job_id in "abcdefgh"}
    assert len(waits) > 4


def test_a_failure_with_a_delay_has_its_own(queue: ExpiringQueue) -> None:
    queue.put("a")
    fail(queue, queue.take()[0], delay=5_000)
    assert queue.status("a").ready_in == 5_000


def test_a_failure_counts(queue: ExpiringQueue) -> None:
    queue.put("a", limit=1)
    fail(queue, queue.take()[0], delay=0)
    (taken,) = queue.take()
    assert (taken.attempt, taken.requeues_remaining) == (2, 0)
    assert fail(queue, taken, delay=0) == results.DEAD
    assert queue.take() == []


def test_the_status_of_a_job_that_failed_tells_why(queue: ExpiringQueue) -> None:
    queue.put("a")
    assert queue.status("a").attempt is None
    first = queue.now
    fail(queue, queue.take()[0], delay=100, worker="w 1")
    status = queue.status("a")
    assert (status.attempt, status.error, status.worker) == (2, BOOM, "w 1")
    assert (status.first_failed_at, status.ready_in) == (first, 100)
    queue.advance(100)
    (taken,) = queue.take()
    status = queue.status("a")
    assert (status.state, status.attempt, status.error) == (results.ACTIVE, 2, BOOM)
    fail(queue, taken, delay=0, error={"type": "Other"})
    status = queue.status("a")
    assert (status.attempt, status.error, status.worker) == (3, JobError("Other"), "w 1")
    assert status.first_failed_at == first


def test_a_lease_that_runs_out_leaves_the_last_error(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=SECOND)
    queue.put("a")
    fail(queue, queue.take()[0], delay=0, worker="w1")
    queue.take()
    queue.advance(SECOND)
    queue.sweep()
    status = queue.status("a")
    assert (status.attempt, status.error, status.worker) == (3, BOOM, "w1")


def expire(queue: ExpiringQueue) -> int:
    """Let the lease of the next job run out; ms until it is ready again."""
    assert queue.take_ids() == ["a"]
    queue.advance(SECOND)
    assert queue.sweep().returned == 1
    ready_in = queue.status("a").ready_in
    assert ready_in is not None
    return ready_in


def test_a_job_that_kills_its_workers_does_not_come_first_again_and_again(
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(job_expire_interval=SECOND)
    queue.put("a")
    assert [expire(queue), expire(queue)] == [0, 0]
    third = expire(queue)
    assert 3_200 <= third <= 4_800
    queue.advance(third)
    assert 6_400 <= expire(queue) <= 9_600


@pytest.mark.parametrize("end", ["fail", "release"])
def test_a_row_of_expiries_ends_with_an_end_that_was_told(make_queue: MakeQueue, end: str) -> None:
    queue = make_queue(job_expire_interval=SECOND)
    queue.put("a")
    assert [expire(queue), expire(queue)] == [0, 0]
    (taken,) = queue.take()
    if end == "fail":
        fail(queue, taken, delay=0)
    else:
        queue.release(taken)
    assert [expire(queue), expire(queue)] == [0, 0]
    assert expire(queue) > 0


def test_an_end_that_does_not_count_leaves_what_is_remembered(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=SECOND)
    queue.put("a")
    fail(queue, queue.take()[0], delay=0)
    assert [expire(queue), expire(queue)] == [0, 0]
    queue.release(queue.take()[0], counted=False)
    assert queue.status("a").error == BOOM
    assert expire(queue) > 0


def test_a_release_is_no_failure(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.release(queue.take()[0])
    assert queue.status("a").attempt is None


@pytest.mark.parametrize(
    "options",
    [
        JobOptions(cost=3),
        JobOptions(priority=4),
        JobOptions(group="g"),
        JobOptions(burst=3, concurrency=2, group="g", cost=2, priority=9),
    ],
)
def test_a_limited_job_keeps_its_failures_and_its_terms(
    queue: ExpiringQueue, options: JobOptions
) -> None:
    queue.run(
        queue.operations.enqueue(TYPE, [NewJob(TYPE, "q", "a", b"[1, 2]", 10, 5, None, options)])
    )
    for attempt in range(1, 4):
        (taken,) = queue.take()
        assert (taken.attempt, taken.requeues_remaining, taken.payload) == (
            attempt,
            6 - attempt,
            b"[1, 2]",
        )
        fail(queue, taken, delay=0, worker="w", error={"message": "a b ; c ! d , e"})
        queue.advance(100)
    status = queue.status("a")
    assert (status.attempt, status.worker) == (4, "w")
    assert status.error == JobError(None, "a b ; c ! d , e", None)
    (taken,) = queue.take()
    reject(queue, taken)
    assert queue.take() == []


def test_a_repeated_answer_has_a_job_that_failed_as_it_was(queue: ExpiringQueue) -> None:
    put(queue, job("a", cost=2))
    fail(queue, queue.take()[0], delay=0)
    first = queue.take(request="r")
    (again,) = queue.take(request="r")
    assert [(again.job_id, again.attempt, again.payload)] == [
        (each.job_id, each.attempt, each.payload) for each in first
    ]


@pytest.mark.parametrize("end", ["finish", "cancel", "clear", "purge"])
def test_an_error_goes_with_its_job(make_queue: MakeQueue, end: str) -> None:
    queue = make_queue(finished_retention=0, interval_retention=0)
    queue.put("a")
    fail(queue, queue.take()[0], delay=0)
    if end == "finish":
        queue.finish(queue.take()[0])
    elif end == "cancel":
        queue.cancel("a")
    else:
        queue.clear(purge=end == "purge")
    kinds = {key.rpartition("}:")[2].partition(":")[0] for key in queue.key_names()}
    # A clear leaves where the queue's sequence was, until its retention ends.
    assert kinds - {"q"} == {"c", "serial"}


def test_a_job_that_failed_is_the_same_job(queue: ExpiringQueue) -> None:
    queue.put("a", payload=b'{"x": 1}')
    fail(queue, queue.take()[0], delay=0)
    assert queue.put("a", payload=b'{"x": 1}').outcome == results.DUPLICATE
    assert queue.put("a", payload=b'{"x":1}').outcome == results.CONFLICT
    assert queue.page().jobs[0].payload == b'{"x": 1}'
    queue.take()
    assert queue.put("a", payload=b'{"x": 1}').outcome == results.DUPLICATE
