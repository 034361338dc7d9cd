"""What a dispatch tells of its queue's rate: the interval, and a burst where there is one."""

from __future__ import annotations

from typing import Any

import pytest

from sharq._fastpath import Job
from sharq.operations.targets import Target
from sharq.results import JobOptions, LimitValues, NewJob
from tests.support.hands import TYPE, Hands

COUNT = 2
"""Jobs that a call takes: one alone may go another way through the script."""


def put(queue: Hands, interval: float, burst: int | None, jobs: int = 3) -> None:
    options = None if burst is None else JobOptions(burst=burst)
    queue.put_many(
        NewJob(TYPE, "q", f"j{n}", b"1", interval, -1, None, options) for n in range(jobs)
    )


def told(queue: Hands, count: int, request: str | None = None) -> list[Any]:
    """The interval fields of a dispatch, as the script tells them."""
    call = queue.operations.dequeue(TYPE, count, request)
    reply: list[Any] = queue.run(call._replace(parse=lambda reply: reply))
    return reply[10::8]


@pytest.mark.parametrize("count", [1, COUNT])
@pytest.mark.parametrize(
    ("interval", "burst", "text"),
    [
        (1000, 5, b"1000*5"),
        (1.5, 5, b"1.500*5"),
        (0, 5, b"0*5"),
        (31_536_000_000, 1_000_000, b"31536000000*1000000"),
        (1000, 1, 1000),
        (1000, None, 1000),
        (1.5, None, b"1.500"),
    ],
)
def test_a_dispatch_tells_a_burst_over_one(
    queue: Hands, count: int, interval: float, burst: int | None, text: bytes | int
) -> None:
    put(queue, interval, burst)
    alike = told(queue, count, "r")
    assert alike == [text] * min(count, burst or 1)
    assert told(queue, count, "r") == alike, "and so does its repetition"


def test_the_burst_of_the_api_is_the_one_that_counts(queue: Hands) -> None:
    put(queue, 1000, 2)
    values = LimitValues(burst=3)
    queue.run(queue.operations.set_limits(TYPE, Target("queue", "q"), values))
    jobs: list[Job] = queue.take(3)
    assert [(job.interval, job.burst) for job in jobs] == [(1000, 3)] * 3


def test_a_repeated_answer_has_the_burst_of_now(queue: Hands) -> None:
    put(queue, 1000, None, jobs=1)
    assert told(queue, 1, "r") == [1000]
    values = LimitValues(burst=4)
    queue.run(queue.operations.set_limits(TYPE, Target("queue", "q"), values))
    assert told(queue, 1, "r") == [b"1000*4"]
