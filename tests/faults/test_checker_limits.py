"""Fine points of the checks of limits, each in an audit and a history written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.story import START, Story, dispatches


@pytest.fixture
def story() -> Story:
    return Story()


def put(story: Story, count: int, **fields: Any) -> None:
    first = sum(entry.what == "enqueue" for entry in story.audit) + 1
    for at in range(first, first + count):
        story.ask(f"j{at}")
        story.put(f"j{at}", **fields)


def limit(story: Story, level: str, now: int = 0, **values: Any) -> None:
    story.enter("limits", now, queue=level, **values)
    story.say("limits", "ok", queue=level)


def pause(story: Story, level: str, now: int, till: int) -> None:
    story.enter("pause", now, queue=level, till=till if till <= 0 else START + till, script="pause")
    story.say("pause", "ok", queue=level)


# ---- I4 ----


def test_a_burst_goes_at_once_and_no_further(story: Story) -> None:
    put(story, 5, interval=100, burst=3)
    dispatches(story, 0, 0, 0, 100)
    assert story.violated == set()
    dispatches(story, 199)
    assert story.violated == {"I4"}


def test_a_cost_takes_as_many_intervals(story: Story) -> None:
    put(story, 3, interval=100, cost=3)
    dispatches(story, 0, 300)
    assert story.violated == set()
    dispatches(story, 599)
    assert story.violated == {"I4"}


@pytest.mark.parametrize("level", ["=", "=g"])
def test_a_group_and_a_type_have_rates_of_their_own(story: Story, level: str) -> None:
    limit(story, level, interval=100)
    story.ask("j1")
    story.put("j1", group="g")
    story.say("enqueue", "ok", queue="other", job="j2")
    story.enter("enqueue", 0, job="j2", queue="other", place=1, group="g")
    story.go("j1", 1, charged="1;0,0;0,0,g;")
    story.go("j2", 2, 100, queue="other", place=1, charged="1;0,0;0,0,g;")
    story.history.pop()
    story.history.pop()
    story.enter("cancel", 100, job="j3", queue="third", n=0)
    assert "I4" not in story.violated
    story.ask("j3")
    story.put("j3", 100, group="g")
    story.go("j3", 3, 199, place=2, charged="1;0,0;0,0,g;")
    assert "I4" in story.violated


@pytest.mark.parametrize(
    ("real", "told", "next_at"),
    [(5, 10, 500), (1, 10, 100), (1, 150, 150), (1, 250, 250), (3, 10, 300)],
)
def test_a_real_cost_is_charged_or_given_back(
    story: Story, real: int, told: int, next_at: int
) -> None:
    put(story, 3, interval=100, cost=3)
    story.go("j1", 1, charged="3;0,0;;")
    story.enter("cost", told, job="j1", n=1, cost=3, real=real)
    story.go("j2", 2, next_at)
    assert story.violated == set()


def test_a_pause_of_a_queue_without_jobs_forgets_a_rate_that_has_run_out(story: Story) -> None:
    put(story, 1, interval=100)
    dispatches(story, 0)
    story.end("j1", 1, 1)
    story.say("finish", "unknown", job="j1", n=1)
    pause(story, "q", 100, 0)
    story.ask("j2")
    story.put("j2", 200, at=200, interval=100)
    story.audit[-1].now = START + 50
    dispatches(story, 260, clock=-200)
    assert story.violated == set()


def test_a_real_cost_that_is_higher_is_not_forgotten(story: Story) -> None:
    put(story, 3, interval=100)
    dispatches(story, 0)
    story.enter("cost", 10, job="j1", n=1, cost=1, real=5)
    dispatches(story, 499)
    assert story.violated == {"I4"}


def test_what_has_served_as_idleness_is_not_given_back(story: Story) -> None:
    put(story, 3, interval=100, cost=2)
    story.go("j1", 1, charged="2;0,0;;")
    story.go("j2", 2, 200, charged="2;0,0;;")
    story.enter("cost", 210, job="j1", n=1, cost=2, real=1)
    story.go("j3", 3, 399)
    assert story.violated == {"I4"}


def test_a_change_of_the_interval_scales_what_was_charged(story: Story) -> None:
    put(story, 2, interval=100, cost=3)
    dispatches(story, 0)
    limit(story, "q", 10, interval=50, api=True)
    dispatches(story, 149)
    assert story.violated == {"I4"}


# ---- I5 ----


@pytest.mark.parametrize(("first", "violated"), [("j2", set()), ("j1", {"I5"})])
def test_a_higher_priority_goes_first(story: Story, first: str, violated: set[str]) -> None:
    put(story, 1)
    put(story, 1, priority=3)
    story.go(first, 1)
    assert story.violated == violated


def test_a_job_that_came_back_goes_by_its_enqueue(story: Story) -> None:
    put(story, 1)
    put(story, 2, priority=3)
    story.go("j2", 1)
    story.back("j2", 1, 1000)
    story.go("j2", 2, 1000, attempt=2)
    story.go("j3", 3, 1000)
    assert story.violated == set()


@pytest.mark.parametrize(("now", "violated"), [(50, set()), (49, {"I5"})])
def test_a_delayed_enqueue_goes_when_it_is_due(story: Story, now: int, violated: set[str]) -> None:
    put(story, 1, due=START + 50)
    dispatches(story, now)
    assert story.violated == violated


# ---- I14 ----


def test_leases_are_no_more_than_the_concurrency(story: Story) -> None:
    put(story, 3, concurrency=2)
    dispatches(story, 0, 0)
    assert story.violated == set()
    dispatches(story, 1)
    assert story.violated == {"I14"}


def test_the_leases_of_a_queue_count_in_its_new_group(story: Story) -> None:
    limit(story, "=g", concurrency=2)
    put(story, 3, group="h")
    dispatches(story, 0, 0)
    limit(story, "q", 1, group="g")
    dispatches(story, 2)
    assert story.violated == {"I14"}


def test_counts_of_the_store_are_those_of_its_leases(story: Story) -> None:
    put(story, 1, group="g")
    dispatches(story, 0)
    left = {"type": "t", "queue": "q", "job": "j1", "state": "active"}
    counts = {"e": 1, "d": 1}
    counters = {"t": {str(START // 60_000): {**counts, "queues": {"q": counts}}}}
    levels = [
        {"type": "t", "level": "q", "leased": 1, "group": "g"},
        {"type": "t", "level": "=g", "leased": 1, "group": ""},
        {"type": "t", "level": "=", "leased": 1, "group": ""},
    ]
    story.drained = {"jobs": [left], "keys": [], "counters": counters, "levels": levels}
    assert story.violated == {"I8"}, "it is not drained"
    levels[1]["leased"] = 2
    assert story.violated == {"I8", "I14"}


# ---- I15 ----


@pytest.mark.parametrize("level", ["q", "=g", "="])
@pytest.mark.parametrize(("till", "violated"), [(10, set()), (11, {"I15"}), (-1, {"I15"})])
def test_nothing_goes_while_it_is_paused(
    story: Story, level: str, till: int, violated: set[str]
) -> None:
    put(story, 1, group="g")
    pause(story, level, 0, till)
    dispatches(story, 10)
    assert story.violated == violated


def test_what_is_resumed_goes_on(story: Story) -> None:
    put(story, 1)
    pause(story, "q", 0, -1)
    pause(story, "q", 5, 0)
    dispatches(story, 10)
    assert story.violated == set()


def test_a_pause_may_have_ended_before_the_clock_was_moved_back(story: Story) -> None:
    put(story, 2)
    pause(story, "q", 10, 100)
    dispatches(story, 50, clock=-45)
    assert story.violated == set()


# ---- I16 ----


def room(story: Story, ms: int, credit: int = 1, op: str = "subscribe") -> None:
    story.note(op, ms=ms, type="t", credit=credit)


@pytest.mark.parametrize(("now", "violated"), [(355, set()), (356, {"I16"})])
def test_a_job_that_may_go_to_somebody_goes_in_time(
    story: Story, now: int, violated: set[str]
) -> None:
    room(story, 0)
    put(story, 1, now=100)
    dispatches(story, now)
    assert story.violated == violated


@pytest.mark.parametrize(("begin", "violated"), [(640, {"I16"}), (800, set())])
def test_only_who_has_room_is_waited_for(story: Story, begin: int, violated: set[str]) -> None:
    put(story, 1)
    room(story, begin)
    dispatches(story, 1000)
    assert story.violated == violated


def test_a_rate_a_pause_and_a_lease_hold_a_job_back(story: Story) -> None:
    room(story, 0, 5)
    put(story, 2, interval=400, concurrency=1)
    dispatches(story, 0)
    pause(story, "=", 100, 700)
    story.end("j1", 1, 900)
    story.say("finish", "unknown", job="j1", n=1)
    dispatches(story, 1100)
    assert story.violated == set()


def test_a_pause_holds_all_jobs_of_a_call_back(story: Story) -> None:
    room(story, 0, 5)
    put(story, 2)
    pause(story, "q", 10, 700)
    dispatches(story, 700, 700)
    assert story.violated == set()


def test_a_tat_that_was_left_by_a_clock_ahead_holds_a_job_back(story: Story) -> None:
    room(story, 0, 5)
    put(story, 2)
    dispatches(story, 0, clock=900)
    dispatches(story, 900)
    assert story.violated == set()


def test_a_server_that_stops_gives_nothing_out(story: Story) -> None:
    put(story, 1)
    dispatches(story, 100)
    story.say("dequeue", "fail", answer={"code": "nothing_ready"})
    for event in story.history[-2:]:
        event.t = START * 1000 - 500_000_000 + 20_000
    story.fault("restart all servers", 10, 30)
    assert story.violated == set()


def test_a_delay_holds_a_job_back(story: Story) -> None:
    room(story, 0)
    put(story, 1, due=START + 900)
    dispatches(story, 1000)
    assert story.violated == set()


def test_nothing_is_asked_soon_after_a_fault(story: Story) -> None:
    room(story, 0)
    story.fault("flush the scripts", 0, 1)
    put(story, 1, now=100)
    dispatches(story, 5000)
    assert story.violated == set()


def test_late_clients_do_not_count(story: Story) -> None:
    room(story, 0)
    put(story, 1, now=100)
    story.note("stall", ms=300)
    story.history[-1].ms = 200
    dispatches(story, 500)
    assert story.violated == set()


@pytest.mark.parametrize(("asked", "violated"), [(20, {"I16"}), (3, set()), (95, set())])
def test_a_dequeue_finds_what_could_go(story: Story, asked: int, violated: set[str]) -> None:
    put(story, 1)
    dispatches(story, 100)
    story.say("dequeue", "fail", answer={"code": "nothing_ready"})
    for event in story.history[-2:]:
        event.t = START * 1000 - 500_000_000 + asked * 1000
    assert story.violated == violated


@pytest.mark.parametrize(("request_id", "violated"), [("r1", set()), ("r2", {"I16"})])
def test_a_dequeue_that_repeats_another_finds_nothing_new(
    story: Story, request_id: str, violated: set[str]
) -> None:
    put(story, 2)
    story.go("j1", 1, 0, request="r1")
    story.back("j1", 1, 1000)
    story.say("dequeue", "unknown", request_id="r1")
    dispatches(story, 1100)
    story.say("dequeue", "fail", request_id=request_id, answer={"code": "nothing_ready"})
    for event in story.history[-2:]:
        event.t = START * 1000 - 500_000_000 + 1_050_000
    assert story.violated & {"I16"} == violated


@pytest.mark.parametrize(("mode", "violated"), [("deliver", set()), ("notify", {"I16"})])
def test_the_credit_of_a_subscriber_may_be_on_its_way(
    story: Story, mode: str, violated: set[str]
) -> None:
    put(story, 1)
    story.note("subscribe", type="t", credit=1, mode=mode)
    dispatches(story, 100)
    story.say("dequeue", "ok", p="ws#1", answer={"jobs": []})
    for event in story.history[-2:]:
        event.t = START * 1000 - 500_000_000 + 20_000
    assert story.violated == violated
