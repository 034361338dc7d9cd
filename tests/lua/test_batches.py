"""What one dequeue gives when it is asked for several jobs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sharq import results
from sharq.identifiers import check_lease
from sharq.operations.operations import BATCH_BYTES
from sharq.operations.targets import Target
from sharq.results import JobOptions, LimitValues, NewJob
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job

MakeQueue = Callable[..., ExpiringQueue]
YEAR = 31_536_000_000


def test_a_queue_without_a_limit_gives_as_many_as_asked_for(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(150))
    assert queue.take_ids(100) == [str(i) for i in range(100)]
    assert queue.take_ids(100) == [str(i) for i in range(100, 150)]


def test_a_queue_with_a_limit_gives_one(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i), interval=1) for i in range(5))
    queue.advance(1_000)
    assert queue.take_ids(100) == ["0"]


def test_jobs_come_from_the_queues_that_have_been_ready_longest(queue: ExpiringQueue) -> None:
    for name in "dbca":
        queue.put_many(new_job(f"{name}{i}", name, interval=5) for i in range(2))
        queue.advance(1)
    queue.advance(1)
    assert queue.take_ids(3) == ["d0", "b0", "c0"]
    queue.advance(1)
    assert queue.take_ids(3) == ["a0"]
    queue.advance(5)
    assert sorted(queue.take_ids(3)) == ["b1", "c1", "d1"]


def test_an_answer_stays_within_its_bound(queue: ExpiringQueue) -> None:
    names = ["n" * 99 + digit for digit in "0123456789"]
    payload = json.dumps("x" * 1_000).encode()
    jobs = [
        NewJob("t" * 100, queue_id, f"{i:0100}", payload, 0, 2**63 - 1)
        for queue_id in names
        for i in range(50)
    ]
    operations = queue.operations
    for at in range(0, len(jobs), 100):
        queue.run(operations.enqueue("t" * 100, jobs[at : at + 100]))
    # More than the server lets anyone ask for, so that the bytes end it.
    batch = queue.run(operations.dequeue("t" * 100, 1_000))
    answer = batch.to_json_list()
    assert BATCH_BYTES * 0.7 < len(answer) <= BATCH_BYTES
    assert len(json.loads(answer)["jobs"]) == len(batch)
    assert len(batch.jobs_json(0, len(batch), YEAR)) <= BATCH_BYTES


def test_a_job_that_does_not_fit_stays_where_it_was(queue: ExpiringQueue) -> None:
    large = json.dumps("x" * 100_000).encode()
    queue.put_many(new_job(job_id, payload=large) for job_id in "abcde")
    assert [queue.take_ids(5) for _ in range(3)] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_job_beyond_the_bound_comes_alone(queue: ExpiringQueue) -> None:
    huge = json.dumps("x" * 1_000_000).encode()
    queue.put("small")
    queue.put("huge", payload=huge)
    assert queue.take_ids(5) == ["small"]
    (job,) = queue.take(5)
    assert job.payload == huge


def test_all_that_was_asked_for_leaves_no_wait(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id, interval=10) for job_id in "ab")
    assert queue.batch(1).wait_us == 0
    assert queue.batch(1).wait_us == 10_000


def test_with_nothing_scheduled_there_is_no_wait(queue: ExpiringQueue) -> None:
    assert queue.batch().wait_us is None
    queue.put("a")
    assert queue.batch(2).wait_us is None


def test_a_repeated_request_gets_its_batch_again(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i), payload=b'"%d"' % i) for i in range(6))
    first = queue.batch(3, "r")
    again = queue.batch(3, "r")
    assert again.to_json_list() == first.to_json_list()
    queue.finish(first.jobs[1])
    assert [job.job_id for job in queue.take(3, "r")] == ["0", "2"]
    assert queue.length() == 3


def test_a_repeated_request_gets_no_job_of_a_later_lease(queue: ExpiringQueue) -> None:
    queue.put("a")
    (mine,) = queue.take(1, "r")
    queue.release(mine)
    (theirs,) = queue.take()
    assert theirs.job_id == "a"
    assert queue.take(1, "r") == []


def test_an_extended_job_is_repeated_for_as_long_as_it_is_held(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=1_000)
    queue.put_many(new_job(job_id) for job_id in "abc")
    a, b = queue.take(2, "r")
    queue.extend(a, 10_000)
    queue.extend(b, 2_000)
    queue.advance(3_000)
    queue.sweep()
    assert [job.lease for job in queue.take(2, "r")] == [a.lease]


def test_a_job_that_is_finished_twice_in_a_call_is_finished_once(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(job_id) for job_id in "ab")
    a, b = queue.take(2)
    leases = [check_lease(job.lease) for job in (a, b, a)]
    ended = queue.run(queue.operations.finish_many(TYPE, leases))
    assert [one.outcome for one in ended] == [
        results.SUCCESS,
        results.SUCCESS,
        results.ALREADY_FINISHED,
    ]
    assert not queue.type_metrics().has_jobs


@pytest.mark.parametrize("count", [1, 5])
def test_an_answer_tells_since_when_the_queue_of_its_first_job_was_ready(
    queue: ExpiringQueue, count: int
) -> None:
    def ready(request_id: str | None = None) -> int | None:
        return queue.run(queue.operations.dequeue(TYPE, count, request_id)).ready_ms

    assert ready() is None
    queue.put_many(new_job(str(i), interval=1_000) for i in range(4))
    queue.advance(300)
    # Since the enqueue: the queue was idle before.
    assert ready("r") == 300
    assert ready("r") is None
    queue.advance(1_250)
    # Since its interval has passed.
    assert ready() == 250
    queue.advance(1_000)
    assert ready() == 0
    late = new_job("late", "other")._replace(options=JobOptions(delay=500))
    queue.put_many([late])
    queue.advance(700)
    assert ready() == 200


def test_of_several_queues_the_one_that_was_ready_longest_is_told(queue: ExpiringQueue) -> None:
    for name in "ab":
        queue.put_many([new_job(name, name, interval=5)])
        queue.advance(40)
    batch = queue.run(queue.operations.dequeue(TYPE, 10))
    assert [job.job_id for job in batch.jobs] == ["a", "b"]
    assert batch.ready_ms == 80


@pytest.mark.parametrize("target", [Target("type"), Target("group", "g"), Target("queue", "q")])
@pytest.mark.parametrize("count", [1, 5])
def test_what_limits_hold_back_is_ready_when_they_allow_it(
    queue: ExpiringQueue, target: Target, count: int
) -> None:
    run, operations = queue.run, queue.operations
    run(operations.set_limits(TYPE, Target("queue", "q"), LimitValues(group="g")))
    run(operations.set_limits(TYPE, target, LimitValues(interval=1_000)))
    queue.put_many(new_job(str(i), interval=0) for i in range(3))
    queue.advance(100)
    assert run(operations.dequeue(TYPE, count)).ready_ms == 100
    queue.advance(1_040)
    assert run(operations.dequeue(TYPE, count)).ready_ms == 40
    queue.advance(1_000)
    run(operations.pause(TYPE, target, 500, "", "api"))
    queue.advance(530)
    assert run(operations.dequeue(TYPE, count)).ready_ms == 30
