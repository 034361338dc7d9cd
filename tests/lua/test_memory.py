"""A queue that is never empty, and never idle, takes no more and more memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sharq._fastpath import Job
from tests.support.expiring import ExpiringQueue

MakeQueue = Callable[..., ExpiringQueue]


def end_by_finish(queue: ExpiringQueue, job: Job) -> None:
    queue.finish(job)


def end_by_discard(queue: ExpiringQueue, job: Job) -> None:
    queue.release(job)


def end_after_an_expiry(queue: ExpiringQueue, job: Job) -> None:
    queue.advance(1_000)
    queue.sweep()
    queue.finish_all(queue.take())


def end_after_a_release(queue: ExpiringQueue, job: Job) -> None:
    queue.release(job, counted=False)
    queue.finish_all(queue.take())


def end_after_a_delay(queue: ExpiringQueue, job: Job) -> None:
    queue.release(job, 5, counted=False)
    queue.advance(5)
    queue.finish_all(queue.take())


@pytest.mark.parametrize(
    "end",
    [
        end_by_finish,
        end_by_discard,
        end_after_an_expiry,
        end_after_a_release,
        end_after_a_delay,
    ],
)
def test_jobs_that_have_gone_leave_nothing_in_their_queue(
    make_queue: MakeQueue, end: Callable[[ExpiringQueue, Job], None]
) -> None:
    queue = make_queue(job_expire_interval=1_000, finished_retention=0, dead_max_jobs=0)
    limit = 1 if end is end_after_an_expiry else 0

    def fields() -> int:
        keys = [key for key in queue.key_names() if not key.endswith(":serial")]
        return sum(
            queue.store.command("EVAL", COUNT_FIELDS, 1, key) for key in keys if ":c:" not in key
        )

    queue.put("first", limit=limit)
    sizes = []
    for i in range(20):
        queue.put(str(i), limit=limit)
        end(queue, queue.take()[0])
        sizes.append(fields())
    assert sizes[2:] == sizes[2:3] * 18


COUNT_FIELDS = """
local kind = redis.call('TYPE', KEYS[1]).ok
local size = {hash = 'HLEN', zset = 'ZCARD', string = 'EXISTS'}
return redis.call(size[kind], KEYS[1])
"""
