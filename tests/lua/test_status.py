"""Where a job stands, and when its turn comes."""

from __future__ import annotations

import pytest

from sharq import results
from sharq.results import JobStatus
from tests.support.expiring import ExpiringQueue
from tests.support.hands import new_job


def test_a_turn_comes_an_interval_after_the_one_before(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i), interval=1_000) for i in range(4))
    queue.take()
    queue.advance(400)
    for place in range(3):
        turn = 600 + 1_000 * place
        assert queue.status(str(place + 1)) == JobStatus(
            results.QUEUED, position=place, ready_in=turn, eta=turn, held_by="interval"
        )


@pytest.mark.parametrize("idle_for", [0, 700, 100_000])
def test_the_turns_of_a_queue_that_is_ready_begin_now(queue: ExpiringQueue, idle_for: int) -> None:
    queue.put_many(new_job(str(i), interval=1_000) for i in range(3))
    queue.advance(idle_for)
    assert [queue.status(str(i)).ready_in for i in range(3)] == [0, 1_000, 2_000]


def test_the_places_are_those_in_which_the_jobs_come(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(10))
    taken = queue.take(6)
    for place in (4, 1, 3):
        queue.release(taken[place])
    waiting = ["1", "3", "4", "6", "7", "8", "9"]
    assert [queue.status(job_id).position for job_id in waiting] == list(range(7))
    assert queue.take_ids(10) == waiting


def test_a_leased_job_shows_the_rest_of_its_lease(queue: ExpiringQueue) -> None:
    queue.put("a")
    (job,) = queue.take()
    queue.advance(59_999)
    assert queue.status("a") == JobStatus(results.ACTIVE, lease_expires_in=1)
    queue.advance(10_000)
    assert queue.status("a") == JobStatus(results.ACTIVE, lease_expires_in=0)
    assert queue.extend(job, 5).lease_ms == 5
    assert queue.status("a") == JobStatus(results.ACTIVE, lease_expires_in=5)


def test_an_unknown_job_is_not_found(queue: ExpiringQueue) -> None:
    queue.put("a")
    assert queue.status("b") == JobStatus(results.NOT_FOUND)
    assert queue.status("a", "another") == JobStatus(results.NOT_FOUND)
