"""Jobs that arrive from another store: once, at their places, with the rate of their queues."""

from __future__ import annotations

import pytest

from sharq import results
from sharq.operations.arrival_calls import HEAD, LOOK, TAIL, Arriving
from sharq.operations.targets import Target
from sharq.results import LimitValues
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE

HOUR = 3_600_000


def job(
    job_id: str,
    where: str = TAIL,
    *,
    interval: int = 0,
    wait: int = 0,
    left: int = -1,
    queue_id: str = "q",
    payload: bytes = b"1",
) -> Arriving:
    return Arriving(queue_id, job_id, payload, interval, left, wait, where)


def arrive(queue: ExpiringQueue, *jobs: Arriving, token: str = "") -> list[str]:
    return queue.run(queue.operations.take_over(TYPE, token, list(jobs)))


def stage(queue: ExpiringQueue, former: str, token: str = "", text: bytes = b"") -> str:
    return queue.run(queue.operations.chunk(TYPE, former, token, text)).token


def test_a_chunk_is_taken_over_once(queue: ExpiringQueue) -> None:
    assert stage(queue, "", "c1", b"jobs") == ""
    assert arrive(queue, job("a"), job("b"), token="c1") == [results.QUEUED] * 2
    assert queue.take_ids(2) == ["a", "b"]
    assert queue.finish_by_name("a") == results.SUCCESS
    assert arrive(queue, job("a"), job("b"), token="c1") == [results.QUEUED] * 2
    assert queue.take_ids(2) == []


def test_a_chunk_that_is_not_there_is_not_taken_over(queue: ExpiringQueue) -> None:
    stage(queue, "", "c1")
    assert arrive(queue, job("a"), token="c2") == []
    assert queue.length() == 0


def test_a_chunk_takes_the_place_of_the_one_that_is_named(queue: ExpiringQueue) -> None:
    stage(queue, "", "c1", b"first")
    assert stage(queue, "", "c2") == "c1"
    assert stage(queue, "other", "c2") == "c1"
    assert queue.run(queue.operations.chunk(TYPE, LOOK)) == ("c1", b"first", "")
    arrive(queue, job("a"), token="c1")
    assert queue.run(queue.operations.chunk(TYPE, LOOK)) == ("c1", b"first", "queued")
    assert stage(queue, "c1", "c2", b"second") == "c1"
    assert queue.run(queue.operations.chunk(TYPE, LOOK)) == ("c2", b"second", "")
    assert stage(queue, "c2") == "c2"
    assert queue.run(queue.operations.chunk(TYPE, LOOK)) == ("", b"", "")


def test_words_tell_what_was_there(queue: ExpiringQueue) -> None:
    queue.put("waits")
    queue.put("held", "other")
    queue.take(2)
    jobs = [job("waits"), job("held", queue_id="other", payload=b"2"), job("new"), job("new")]
    assert arrive(queue, *jobs) == [
        *(results.DUPLICATE, results.CONFLICT, results.QUEUED, results.DUPLICATE)
    ]


@pytest.mark.parametrize("where", [TAIL, HEAD, "1000"])
def test_without_a_chunk_a_job_is_known_by_its_mark(queue: ExpiringQueue, where: str) -> None:
    assert arrive(queue, job("a", where)) == [results.QUEUED]
    queue.clear(purge=True)
    assert arrive(queue, job("a", where)) == [results.COPIED]
    assert arrive(queue, job("a", where, payload=b"2")) == [results.QUEUED]
    stage(queue, "", "c1")
    assert arrive(queue, job("a", where), token="c1") == [results.COPIED]
    queue.clear(purge=True)
    assert arrive(queue, job("a", where)) == [results.QUEUED]


def test_a_bound_refuses_nothing(queue: ExpiringQueue) -> None:
    queue.put("a", bound=1)
    assert arrive(queue, job("b")) == [results.QUEUED]


def test_the_next_job_waits_for_the_dispatch_elsewhere(queue: ExpiringQueue) -> None:
    arrive(queue, job("a", interval=1000, wait=400), job("b", interval=1000, wait=400))
    queue.advance(399)
    assert queue.take_ids() == []
    queue.advance(1)
    assert queue.take_ids() == ["a"]
    queue.advance(999)
    assert queue.take_ids() == []
    queue.advance(1)
    assert queue.take_ids() == ["b"]


def test_a_wait_brings_nothing_forward(queue: ExpiringQueue) -> None:
    queue.put("a", interval=HOUR)
    queue.put("b", interval=HOUR)
    queue.take()
    arrive(queue, job("c", interval=HOUR, wait=5))
    queue.advance(HOUR - 1)
    assert queue.take_ids() == []
    queue.advance(1)
    assert queue.take_ids() == ["b"]


def test_a_wait_counts_by_the_interval_in_force(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.set_interval(5000)
    # Elsewhere the last dispatch was 600 ms ago.
    arrive(queue, job("b", interval=1000, wait=400))
    queue.advance(4399)
    assert queue.take_ids() == []
    queue.advance(1)
    assert queue.take_ids() == ["a"]


def test_a_lease_runs_out_and_its_job_is_first(queue: ExpiringQueue) -> None:
    arrive(queue, job("a", "300", left=1), job("b", "100", left=0))
    arrive(queue, job("c"))
    queue.advance(100)
    swept = queue.sweep()
    assert (swept.returned, swept.discarded) == (0, 1)
    assert queue.status("b").state == results.DEAD
    queue.advance(200)
    assert queue.sweep().returned == 1
    (a, c) = queue.take(2)
    assert (a.job_id, a.requeues_remaining, a.attempt) == ("a", 0, 2)
    assert c.job_id == "c"


def test_a_lease_has_a_number_like_any_other(queue: ExpiringQueue) -> None:
    arrive(queue, job("a", "300"))
    queue.put("b")
    (b,) = queue.take()
    assert queue.finish_by_name("a") == results.SUCCESS
    assert queue.finish_by_name("a") == results.ALREADY_FINISHED
    assert queue.finish(b) == results.SUCCESS


def test_the_head_is_before_all_that_wait(queue: ExpiringQueue) -> None:
    queue.put("here-1")
    queue.put("here-2")
    queue.take()
    arrive(queue, job("back", HEAD))
    assert queue.take_ids(3) == ["back", "here-2"]


def test_the_head_of_a_cleared_queue(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.take()
    queue.put("b")
    queue.clear()
    arrive(queue, job("back", HEAD), job("new", "10"))
    assert queue.take_ids() == ["back"]
    queue.advance(10)
    assert queue.sweep().returned == 1
    assert queue.take_ids() == ["new"]


def test_the_sums_agree(queue: ExpiringQueue) -> None:
    arrive(queue, *(job(f"l{at}", "60000", queue_id=f"q{at % 2}") for at in range(5)))
    arrive(queue, *(job(f"h{at}", HEAD) for at in range(3)))
    arrive(queue, *(job(f"w{at}", queue_id=f"q{at % 2}") for at in range(4)))
    metrics = queue.type_metrics()
    assert (metrics.waiting, metrics.active) == (7, 5)
    assert sum(metrics.enqueue_counts.values()) == 12
    assert sum(metrics.dequeue_counts.values()) == 5
    assert sum(metrics.finish_counts.values()) == 0
    queue.finish_by_name("l0", "q0")
    assert sum(queue.type_metrics().finish_counts.values()) == 1


def test_leases_fill_the_places_of_a_concurrency(queue: ExpiringQueue) -> None:
    arrive(queue, job("a"))
    queue.take()
    values = LimitValues(None, None, 2, None, None)
    queue.run(queue.operations.set_limits(TYPE, Target("queue", "q"), values))
    arrive(queue, job("b", "60000"))
    arrive(queue, job("c"))
    assert queue.take_ids() == []
    assert queue.finish_by_name("b") == results.SUCCESS
    assert queue.take_ids() == ["c"]


def test_nothing_is_left_of_a_queue_that_ran_empty(queue: ExpiringQueue) -> None:
    stage(queue, "", "c1")
    arrive(queue, job("a", "100"), job("b", "100", interval=50, wait=20), token="c1")
    stage(queue, "c1")
    for name in ("a", "b"):
        assert queue.finish_by_name(name) == results.SUCCESS
    queue.advance(2 * HOUR)
    queue.sweep()
    assert [key for key in queue.key_names() if ":c:" not in key] == []
