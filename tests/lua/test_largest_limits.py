"""The largest value of each limit, all at once."""

from __future__ import annotations

from sharq.results import JobOptions, NewJob
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE
from tests.support.limited import limit, put

YEAR = 31_536_000_000
MOST = 1_000_000
TEN_YEARS = 10 * YEAR
LARGEST = JobOptions(MOST, MOST, "g", MOST, 9, YEAR)


def limit_all(queue: ExpiringQueue, burst: int) -> None:
    for kind, name in (("queue", "q"), ("group", "g"), ("type", "")):
        limit(queue, kind, name, interval=str(YEAR), burst=str(burst), concurrency=str(MOST))


def put_two(queue: ExpiringQueue) -> None:
    put(queue, *(NewJob(TYPE, "q", job_id, b"1", YEAR, -1, None, LARGEST) for job_id in "ab"))
    assert queue.batch().wait_us == YEAR * 1_000
    queue.advance(YEAR)


def test_a_debt_is_paid_after_ten_years(queue: ExpiringQueue) -> None:
    limit_all(queue, 1)
    put_two(queue)
    assert queue.take_ids(2) == ["a"]
    assert queue.batch().wait_us == TEN_YEARS * 1_000
    assert queue.metrics().ready_in == TEN_YEARS
    queue.advance(TEN_YEARS - 0.001)
    assert queue.take_ids() == []
    queue.advance(0.001)
    assert queue.take_ids() == ["b"]


def test_the_largest_burst_lets_the_largest_cost_through(queue: ExpiringQueue) -> None:
    limit_all(queue, MOST)
    put_two(queue)
    assert queue.take_ids(2) == ["a", "b"]


def test_a_change_to_the_longest_interval_has_an_end(queue: ExpiringQueue) -> None:
    limit(queue, "queue", "q", interval="0.001", burst=str(MOST))
    put(queue, *(NewJob(TYPE, "q", job_id, b"1", 0, -1, None, LARGEST) for job_id in "ab"))
    queue.advance(YEAR)
    assert queue.take_ids() == ["a"]
    limit(queue, "queue", "q", interval=str(YEAR), burst="1")
    assert queue.batch().wait_us == TEN_YEARS * 1_000
