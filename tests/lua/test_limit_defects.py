"""Defects of limits that random histories and first users have found, each by what went wrong."""

from __future__ import annotations

import pytest

from sharq.operations.targets import Target
from sharq.results import JobOptions, LimitValues, NewJob, Told
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job
from tests.support.limited import job, limit, pause, put, resume

HOUR = 3_600_000


def test_a_queue_that_is_ready_seemed_to_have_a_ms_to_wait(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.advance(0.001)
    assert (queue.metrics().held_by, queue.metrics().ready_in) == ("nothing", 0)


def test_a_costly_first_job_took_its_queue_out_of_the_schedule(queue: ExpiringQueue) -> None:
    put(queue, job("a", cost=2))
    assert queue.take_ids() == ["a"]


def test_a_repeated_answer_had_the_burst_for_an_interval(queue: ExpiringQueue) -> None:
    put(queue, job("a", interval=700, burst=3))
    queue.take(request="r")
    assert [repeated.interval for repeated in queue.take(request="r")] == [700]


def test_a_group_without_an_interval_lost_its_turn_with_each_dispatch(
    queue: ExpiringQueue,
) -> None:
    put(queue, job("a", "q1", group="g"), job("b", "q2", group="g"))
    queue.advance(10)
    put(queue, job("c", "q3"))
    queue.advance(10)
    assert queue.take_ids() + queue.take_ids() + queue.take_ids() == ["a", "b", "c"]


def test_a_group_whose_limit_was_removed_overtook_what_was_ready(queue: ExpiringQueue) -> None:
    limit(queue, "group", "g", interval="1000")
    put(queue, job("a", "q1", group="g"), job("b", "q2", group="g"))
    assert queue.take_ids(5) == ["a"]
    queue.advance(10)
    put(queue, job("c", "q3"))
    queue.advance(10)
    limit(queue, "group", "g", interval="-")
    assert queue.take_ids() + queue.take_ids() == ["c", "b"]


def test_a_group_that_was_resumed_overtook_what_was_ready(queue: ExpiringQueue) -> None:
    pause(queue, "group", "g")
    put(queue, job("a", "q1", group="g"), job("b", "q2", group="g"))
    queue.advance(10)
    put(queue, job("c", "q3"), job("d", "q4"))
    queue.advance(10)
    resume(queue, "group", "g")
    put(queue, job("e", "q1", group="g"))
    taken = [job_id for _ in range(4) for job_id in queue.take_ids()]
    assert taken == ["c", "d", "a", "b"]


def test_a_resume_of_what_is_not_paused_cost_a_later_turn(queue: ExpiringQueue) -> None:
    limit(queue, "group", "g", concurrency="1")
    put(queue, job("a", "q1", group="g"), job("b", "q2", group="g"))
    (a,) = queue.take()
    queue.advance(10)
    put(queue, job("c", "q3"))
    queue.advance(10)
    queue.finish(a)
    resume(queue, "group", "g")
    assert queue.take_ids() + queue.take_ids() == ["c", "b"]


def test_a_full_queue_forgot_the_rate_of_jobs_of_the_same_bulk(queue: ExpiringQueue) -> None:
    first = job("a", interval=1_000, burst=1)
    second = job("b", interval=1_000)._replace(max_queued_length=1)
    put(queue, first)
    assert put(queue, second)[0].room_in == 0
    queue.take()
    third = job("c", "q2", interval=1_000, burst=1)
    fourth = job("d", "q2", interval=1_000)._replace(max_queued_length=1)
    assert put(queue, third, fourth)[1].room_in == 0


def test_the_error_of_a_short_interval_grew_with_a_long_one(queue: ExpiringQueue) -> None:
    year = 31_536_000_000
    queue.advance(0.333)
    put(queue, job("a", interval=0.001), job("b", interval=0.001))
    queue.take()
    put(queue, job("c", interval=year))
    assert queue.batch().wait_us == year * 1_000 + 667


def test_an_interval_that_one_bulk_changed_and_restored_cost_the_turn(
    queue: ExpiringQueue,
) -> None:
    queue.put("a", "q1", interval=1)
    queue.take()
    queue.put("b", "q1", interval=1)
    queue.advance(10)
    queue.put("c", "q2")
    queue.advance(10)
    queue.put_many([new_job("d", "q1", interval=90_000), new_job("e", "q1", interval=1)])
    assert queue.take_ids() == ["b"]


@pytest.mark.parametrize("how", ["finish", "release"])
def test_a_worker_that_paused_its_type_left_its_lease_in_the_group(
    queue: ExpiringQueue, how: str
) -> None:
    limit(queue, "group", "g", concurrency="1")
    put(queue, job("a", group="g"), job("b", group="g"))
    (a,) = queue.take()
    told = Told("q", "a", a.lease.rpartition("/")[2], how, pause="100", scope="type")
    queue.run(queue.operations.settle("t", [told]))
    assert queue.run(queue.operations.show_limits("t", Target("group", "g"))).active == 0
    assert queue.take_ids() == []
    queue.advance(100)
    assert queue.take_ids() == ["b" if how == "finish" else "a"]


def test_a_debt_that_was_cut_was_given_back_as_if_it_had_been_whole(queue: ExpiringQueue) -> None:
    options = JobOptions(cost=1_000_000)
    jobs = [NewJob(TYPE, "q", job_id, b"1", HOUR * 24, -1, None, options) for job_id in "ab"]
    queue.run(queue.operations.enqueue(TYPE, jobs))
    (a,) = queue.take()
    told = Told("q", "a", a.lease.rpartition("/")[2], "finish", "2")
    queue.run(queue.operations.settle(TYPE, [told]))
    assert queue.batch().wait_us == 2 * 24 * HOUR * 1_000


def test_a_limit_that_was_never_used_had_no_turns(queue: ExpiringQueue) -> None:
    limit(queue, "type", interval=200, burst=2)
    put(queue, *(job(str(n)) for n in range(4)))
    assert [queue.status(str(n)).eta for n in range(4)] == [0, 0, 200, 400]


def test_a_pause_seemed_to_be_an_interval_of_an_enqueue(queue: ExpiringQueue) -> None:
    pause(queue, "queue", "q")
    shown = queue.run(queue.operations.show_limits(TYPE, Target("queue", "q")))
    assert (shown.interval, shown.set_by["interval"], shown.tat) == (None, None, None)


def test_a_tat_was_shown_that_had_passed(queue: ExpiringQueue) -> None:
    queue.put("a", interval=100)
    queue.put("b", interval=100)
    queue.take()

    def tat() -> float | None:
        return queue.run(queue.operations.show_limits(TYPE, Target("queue", "q"))).tat

    assert tat() == queue.now + 100
    queue.advance(100)
    assert tat() is None


def test_a_dry_run_did_not_add_a_pause_of_another_level(queue: ExpiringQueue) -> None:
    pause(queue, "type", ms=1_000)
    put(queue, *(job(str(n), interval=100) for n in range(4)))
    call = queue.operations.estimate(TYPE, Target("queue", "q"), LimitValues())
    assert queue.run(call).drains_in == 1_300


def test_a_dry_run_failed_for_a_queue_that_is_not_there(queue: ExpiringQueue) -> None:
    for paused in (False, True):
        if paused:
            pause(queue, "queue", "q", ms=1_000)
        call = queue.operations.estimate(TYPE, Target("queue", "q"), LimitValues(interval=100))
        told = queue.run(call)
        assert (told.drains_in, told.drained_in_before) == (0, 0)


def test_a_lower_cost_of_a_job_that_died_did_not_reach_what_is_scheduled(
    queue: ExpiringQueue,
) -> None:
    options = JobOptions(cost=100)
    jobs = [NewJob(TYPE, "q", job_id, b"1", 1_000, 0, None, options) for job_id in "ab"]
    queue.run(queue.operations.enqueue(TYPE, jobs))
    (a,) = queue.take()
    told = Told("q", "a", a.lease.rpartition("/")[2], "release", "2")
    queue.run(queue.operations.settle(TYPE, [told]))
    assert queue.batch().wait_us == 2_000_000


def test_a_queue_that_was_only_paused_seemed_to_have_an_interval(queue: ExpiringQueue) -> None:
    pause(queue, "queue", "q")
    assert (queue.metrics().interval, queue.metrics().interval_set_by) == (None, None)
    put(queue, job("a", interval=5))
    assert (queue.metrics().interval, queue.metrics().interval_set_by) == (5, "enqueue")
