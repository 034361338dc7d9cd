"""Fine points of the checker, each in an audit and a history of a few lines, written by hand."""

from __future__ import annotations

import msgspec
import pytest

from tests.faults.history import Delivered, Event
from tests.faults.story import START, WALL, Story, dispatches, jobs, set_interval


@pytest.fixture
def story() -> Story:
    return Story()


# ---- I1 and I2: what went in is there once, or has ended ----


@pytest.mark.parametrize("lives", [0, 1])
def test_an_enqueue_without_an_answer_counts_once_or_not_at_all(story: Story, lives: int) -> None:
    story.ask("j1", "unknown")
    for _ in range(lives):
        story.put("j1")
    assert story.violated == set()


def test_an_enqueue_without_an_answer_does_not_count_twice(story: Story) -> None:
    story.ask("j1", "unknown")
    for n in (1, 2):
        story.put("j1")
        story.go("j1", n, place=n)
        story.enter("dead", 0, job="j1", n=n, left=0, counted=True)
    assert "I2" in story.violated


def test_while_faults_are_about_a_server_may_send_an_enqueue_again(story: Story) -> None:
    story.ask("j1", "ok")
    story.fault("lose replies of the store", 0, 10, "a")
    for n in (1, 2):
        story.put("j1")
        story.go("j1", n, place=n)
        story.end("j1", n)
        story.say("finish", "ok", job="j1", n=n)
    assert story.violated == set()


def test_what_was_refused_is_not_there(story: Story) -> None:
    story.ask("j1", "fail", code="store_unavailable")
    story.put("j1")
    assert story.violated == {"I1"}


def test_what_was_accepted_has_been_there(story: Story) -> None:
    story.ask("j1")
    assert story.violated == {"I1"}


def test_a_duplicate_is_no_second_job(story: Story) -> None:
    story.ask("j1")
    story.ask("j1", duplicate=True)
    story.put("j1")
    assert story.violated == set()


def test_a_job_id_may_be_used_again_after_its_end(story: Story) -> None:
    for n, payload in enumerate((b"1", b"2"), 1):
        story.ask("j1", payload=payload)
        story.put("j1", sha=payload.decode())
        story.go("j1", n, place=n)
        story.tell("j1", n, payload=payload)
        story.end("j1", n)
        story.say("finish", "ok", job="j1", n=n)
    assert story.violated == set()


def test_the_payload_is_that_of_the_same_life(story: Story) -> None:
    for payload in (b"1", b"2"):
        story.ask("j1", payload=payload)
    for n, payload in enumerate((b"1", b"2"), 1):
        story.put("j1", sha="same")
        story.go("j1", n, place=n)
        story.tell("j1", n, payload=payload)
        story.end("j1", n)
        story.say("finish", "ok", job="j1", n=n)
    assert story.violated == {"I2"}


def test_a_job_that_nobody_asked_for_was_invented(story: Story) -> None:
    story.put("j1")
    assert story.violated == {"I2"}


def test_a_job_of_no_lease_was_invented(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.tell("j1", 7)
    assert story.violated == {"I2"}


# ---- I3 and I6: leases ----


def test_a_lease_that_was_extended_runs_out_later(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.go("j1", 1)
    story.enter("extend", 500, job="j1", n=1, ends=START + 3000)
    story.back("j1", 1, 2000)
    assert story.violated == {"I3"}


def test_a_release_may_come_before_the_end_of_the_lease(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.go("j1", 1)
    story.back("j1", 1, 10, script="release")
    story.go("j1", 2, 20, attempt=2)
    assert story.violated == set()


def test_a_finish_under_a_former_lease_is_seen(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.go("j1", 1)
    story.back("j1", 1, 1000)
    story.go("j1", 2, 1000, attempt=2)
    story.end("j1", 1, 1001)
    story.say("finish", "unknown", job="j1", n=1)
    assert story.violated == {"I6"}


def test_a_finish_that_was_told_under_a_former_lease_is_seen(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.go("j1", 1)
    story.back("j1", 1, 1000)
    story.say("finish", "ok", job="j1", n=1)
    assert story.violated == {"I6"}


def test_a_purge_ends_leases(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.go("j1", 1)
    story.enter("clear", 1, removed=0, purge=True, ended=1)
    story.back("j1", 1, 1000)
    assert story.violated >= {"I6"}


# ---- I4: the interval in force ----


def test_a_dispatch_within_the_interval_is_seen(story: Story) -> None:
    jobs(story, 3, 100)
    dispatches(story, 0, 100)
    assert story.violated == set()
    dispatches(story, 199)
    assert story.violated == {"I4"}


@pytest.mark.parametrize("what", [10, 300])
def test_the_interval_is_that_at_the_second_dispatch(story: Story, what: int) -> None:
    jobs(story, 3, 100)
    dispatches(story, 0)
    set_interval(story, 1, what)
    dispatches(story, what - 1)
    assert story.violated == {"I4"}


def test_an_enqueue_changes_no_interval_of_the_api(story: Story) -> None:
    jobs(story, 2, 100)
    dispatches(story, 0)
    set_interval(story, 1, 10)
    story.ask("j3")
    story.put("j3", 2, asked=100, interval=10)
    dispatches(story, 10, 20)
    assert story.violated == set()
    story.enter("reset", 21)
    story.say("reset_interval", "ok")
    story.ask("j4")
    story.put("j4", 22, asked=100, interval=100)
    dispatches(story, 30)
    assert story.violated == {"I4"}


def test_a_step_back_of_the_clock_makes_nothing_early(story: Story) -> None:
    jobs(story, 2, 100)
    dispatches(story, 1000)
    dispatches(story, 1150, clock=-200)
    assert story.violated == {"I4"}


@pytest.mark.parametrize(("pause", "violated"), [(100, set()), (99, {"I4"})])
def test_a_rate_state_that_has_run_out_is_forgotten(
    story: Story, pause: int, violated: set[str]
) -> None:
    jobs(story, 1, 100)
    dispatches(story, 0)
    story.end("j1", 1, 1)
    story.say("finish", "ok", job="j1", n=1)
    story.ask("j2")
    story.put("j2", pause, interval=5000)
    dispatches(story, pause)
    assert story.violated == violated


def test_an_interval_of_the_api_outlives_its_queue_for_a_time(story: Story) -> None:
    jobs(story, 1, 0)
    set_interval(story, 0, 50)
    dispatches(story, 0)
    story.end("j1", 1, 1)
    story.say("finish", "unknown", job="j1", n=1)
    story.ask("j2")
    story.put("j2", 900, asked=0, interval=50)
    dispatches(story, 900)
    assert story.violated == set()
    story.end("j2", 2, 901)
    story.say("finish", "unknown", job="j2", n=2)
    story.ask("j3")
    story.put("j3", 1901, asked=0, interval=50)
    assert story.violated == {"I11"}


def start(story: Story, n: int, ms: float, p: str = "w1.7", decided: float | None = None) -> None:
    """A worker begins the handler of job `n`."""
    t = START * 1000 - WALL + round(ms * 1000)
    started = t if decided is None else START * 1000 - WALL + round(decided * 1000)
    names = {"type": "t", "queue": "q", "job": f"j{n}", "n": n, "payload": msgspec.Raw(b"1")}
    story.history.append(Event(t=t, p=p, e="note", op="deliver", started=started, **names))


def leased(story: Story, count: int) -> None:
    """So many jobs are dispatched, an interval of 100 ms apart."""
    jobs(story, count, 100)
    dispatches(story, *range(0, 100 * count, 100))


@pytest.mark.parametrize(("gap", "violated"), [(100, set()), (99, set()), (98.9, {"I4"})])
def test_handlers_of_a_queue_that_start_too_close_are_seen(
    story: Story, gap: float, violated: set[str]
) -> None:
    leased(story, 2)
    start(story, 1, 500)
    start(story, 2, 500 + gap)
    assert story.violated == violated


def test_handlers_of_two_processes_are_as_far_apart_as_their_dispatches(story: Story) -> None:
    leased(story, 2)
    start(story, 1, 500, "w1.7")
    start(story, 2, 500, "w2.8")
    assert story.violated == set()


def test_a_handler_is_as_far_from_the_last_as_its_own_interval_says(story: Story) -> None:
    jobs(story, 3, 100)
    dispatches(story, 0)
    set_interval(story, 1, 10)
    dispatches(story, 10)
    set_interval(story, 11, 50)
    dispatches(story, 60)
    for n, ms in enumerate((500, 510, 560), 1):
        start(story, n, ms)
    assert story.violated == set()
    start(story, 3, 600)
    assert "I4" in story.violated


def test_a_handler_may_begin_at_once_where_its_queue_began_anew(story: Story) -> None:
    jobs(story, 1, 100)
    dispatches(story, 0)
    start(story, 1, 20)
    story.end("j1", 1, 1)
    story.say("finish", "unknown", job="j1", n=1)
    story.ask("j2")
    story.put("j2", 100, interval=5000)
    dispatches(story, 100)
    start(story, 2, 101)
    assert story.violated == set()


@pytest.mark.parametrize(("late", "violated"), [(250, set()), (300, {"I4"})])
def test_a_handler_may_begin_a_little_after_its_worker_has_decided_so(
    story: Story, late: int, violated: set[str]
) -> None:
    jobs(story, 2, 1000)
    dispatches(story, 0, 1000)
    start(story, 1, 500 + late, decided=500)
    start(story, 2, 1500)
    assert story.violated == violated


def test_after_a_stop_a_worker_keeps_its_starts_apart(story: Story) -> None:
    leased(story, 3)
    story.fault("stop worker", 10, 5000, "w1")
    start(story, 1, 5001, decided=9)
    start(story, 2, 5002)
    assert story.violated == set(), "it was stopped between its decision and the handler"
    start(story, 3, 5003)
    assert story.violated == {"I4"}


# ---- I5: order ----


def test_returned_jobs_go_first_and_in_order(story: Story) -> None:
    jobs(story, 4, 0)
    dispatches(story, 0, 0)
    story.back("j2", 2, 1000)
    story.back("j1", 1, 1000)
    story.go("j1", 3, 1001, attempt=2)
    story.go("j2", 4, 1001, attempt=2)
    story.go("j3", 5, 1001)
    assert story.violated == set()
    story.go("j5", 6, 1002)
    assert story.violated >= {"I2"}


@pytest.mark.parametrize("first", ["j2", "j3"])
def test_a_job_that_goes_before_a_returned_one_is_seen(story: Story, first: str) -> None:
    jobs(story, 3, 0)
    dispatches(story, 0, 0)
    for n in (1, 2):
        story.back(f"j{n}", n, 1000)
    story.go(first, 3, 1001, attempt=2 if first == "j2" else 1)
    assert story.violated == {"I5"}


def test_a_delayed_job_blocks_nobody_and_comes_in_time(story: Story) -> None:
    jobs(story, 2, 0)
    dispatches(story, 0)
    story.back("j1", 1, 10, script="release", due=START + 60)
    dispatches(story, 20)
    story.go("j1", 3, 60, attempt=2)
    assert story.violated == set()


def test_a_job_that_is_given_back_again_waits_for_its_last_time_only(story: Story) -> None:
    jobs(story, 2, 0)
    dispatches(story, 0)
    story.back("j1", 1, 10, script="release")
    story.go("j1", 2, 10, attempt=2)
    story.back("j1", 2, 20, script="release", due=START + 60)
    story.go("j2", 3, 20)
    assert story.violated == set()


def test_a_delayed_job_that_comes_early_is_seen(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.back("j1", 1, 10, script="release", due=START + 60)
    story.go("j1", 2, 59, attempt=2)
    assert story.violated == {"I5"}


def test_a_clock_that_was_ahead_may_have_made_a_delayed_job_due(story: Story) -> None:
    jobs(story, 2, 0)
    story.go("j1", 1, 5000, at=0)
    story.back("j1", 1, 5010, at=10, script="release", due=START + 5060)
    story.go("j1", 2, 70, at=70, attempt=2)
    assert story.violated == set()


# ---- I7: requeue limits ----


@pytest.mark.parametrize(
    ("left", "counted", "after", "violated"),
    [
        (2, True, 1, set()),
        (2, False, 2, set()),
        (-1, True, -1, set()),
        (0, False, 0, set()),
        (2, True, 2, {"I7"}),
        (2, False, 1, {"I7"}),
        (0, True, -1, {"I7"}),
    ],
)
def test_what_remains_after_a_return(
    story: Story, left: int, counted: bool, after: int, violated: set[str]
) -> None:
    story.ask("j1")
    story.put("j1", left=left)
    story.go("j1", 1, left=left)
    story.back("j1", 1, 10, script="release", left=after, counted=counted)
    assert story.violated == violated


@pytest.mark.parametrize("counted", [True, False])
def test_only_what_counts_is_an_attempt(story: Story, counted: bool) -> None:
    story.ask("j1")
    story.put("j1")
    story.go("j1", 1)
    story.back("j1", 1, 10, script="release", counted=counted)
    story.go("j1", 2, 11, attempt=2 if counted else 1)
    assert story.violated == set()
    story.back("j1", 2, 12, script="release", counted=False)
    story.go("j1", 3, 13, attempt=3)
    assert story.violated == {"I7"}


@pytest.mark.parametrize(("left", "violated"), [(0, set()), (1, {"I7"}), (-1, {"I7"})])
def test_a_job_is_discarded_with_none_left_alone(
    story: Story, left: int, violated: set[str]
) -> None:
    story.ask("j1")
    story.put("j1", left=left)
    story.go("j1", 1, left=left)
    story.enter("dead", 1000, job="j1", n=1, left=left, script="requeue")
    assert story.violated == violated


def test_a_leased_job_of_a_cleared_queue_is_discarded(story: Story) -> None:
    jobs(story, 2, 0)
    dispatches(story, 0, 0)
    story.enter("clear", 1, removed=0)
    story.enter("dead", 1000, job="j1", n=1, script="requeue", cleared=True)
    assert story.violated == set()
    story.back("j2", 2, 1000)
    assert story.violated == {"I7"}


@pytest.mark.parametrize(("n", "violated"), [(1, set()), (0, {"I6"}), (2, {"I6"})])
def test_a_leased_job_is_cancelled_by_its_lease_alone(
    story: Story, n: int, violated: set[str]
) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.enter("cancel", 10, job="j1", n=n)
    story.say("cancel", "ok", job="j1", n=n)
    assert story.violated == violated


# ---- I8: liveness ----


@pytest.mark.parametrize(("late", "violated"), [(200, set()), (201, {"I8"})])
def test_an_expired_lease_is_back_in_time(story: Story, late: int, violated: set[str]) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.back("j1", 1, 1000 + late)
    assert story.violated == violated


@pytest.mark.parametrize(("late", "violated"), [(6100, set()), (6301, {"I8"})])
def test_after_an_outage_it_has_the_time_of_the_recovery(
    story: Story, late: int, violated: set[str]
) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.fault("kill store", 1100, 2000)
    story.back("j1", 1, 1000 + late)
    assert story.violated == violated


@pytest.mark.parametrize(("late", "violated"), [(14_000, set()), (14_301, {"I8"})])
def test_a_fault_that_overlaps_one_of_its_kind_does_not_end_it(
    story: Story, late: int, violated: set[str]
) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    for phase, ms in (("begin", 1100), ("begin", 2000), ("end", 2010), ("end", 10_000)):
        story.note("fill the disk", p="faults", ms=ms, phase=phase)
    story.back("j1", 1, 1000 + late)
    assert story.violated == violated


@pytest.mark.parametrize(("servers", "violated"), [("ab", set()), ("a", {"I8"})])
def test_an_outage_of_one_server_of_two_is_none(
    story: Story, servers: str, violated: set[str]
) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.fault("kill server", 0, 1, "b")
    for server in servers:
        story.fault("stop server", 4000, 9000, server)
    story.enter("extend", 10, job="j1", n=1, ends=START + 5000)
    story.back("j1", 1, 8000)
    assert story.violated == violated


def test_a_lease_that_ran_out_by_a_step_of_the_clock_is_not_late(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.back("j1", 1, 5000, at=150)
    assert story.violated == set()


def test_a_job_that_is_left_when_all_was_drained_is_stuck(story: Story) -> None:
    jobs(story, 1, 0)
    left = {"type": "t", "queue": "q", "job": "j1", "state": "queued"}
    counters = {"t": {str(START // 60_000): {"e": 1, "d": 0, "queues": {"q": {"e": 1, "d": 0}}}}}
    story.drained = {"jobs": [left], "keys": [], "counters": counters}
    assert story.violated == {"I8"}


@pytest.mark.parametrize(("ms", "violated"), [(5000, set()), (5001, {"I8"})])
def test_service_is_back_in_time(story: Story, ms: int, violated: set[str]) -> None:
    story.history.append(Event(t=1, p="faults", e="note", op="recovered", server="a", ms=ms))
    assert story.violated == violated


# ---- I10: what is left ----


@pytest.mark.parametrize(
    ("key", "ttl", "violated"),
    [
        ("{p:t}:q:a", 10, set()),
        ("{p:t}:q:a", -1, {"I10"}),
        ("{p:t}:x:.server", 10, set()),
        ("{p:t}:c:123:e:4", 10, set()),
        ("{p:t}:c:123", -1, {"I10"}),
        ("{p:t}:c:last", -1, {"I10"}),
        ("{p:t}:c:123:past", 10, set()),
        ("{p:t}:c:123:past", -1, {"I10"}),
        ("{p:t}:sample", 10, set()),
        ("{p}:types", -1, set()),
        ("{p:t}:leases", -1, {"I10"}),
        ("{p:t}:j:a", 10, {"I10"}),
        ("{p:t}:new", 10, {"I10"}),
    ],
)
def test_only_what_ends_is_left(story: Story, key: str, ttl: int, violated: set[str]) -> None:
    keys = [{"key": key, "type": "string", "ttl": ttl}]
    story.drained = {"jobs": [], "keys": keys, "counters": {}}
    assert story.violated == violated


def test_the_newest_counters_may_be_left(story: Story) -> None:
    names = ["{p:t}:c:last", "{p:t}:c:123"]
    keys = [{"key": name, "type": "hash", "ttl": -1} for name in names]
    story.drained = {"jobs": [], "keys": keys, "counters": {}}
    assert story.violated == set()
    keys.append({"key": "{p:t}:c:124", "type": "hash", "ttl": -1})
    assert story.violated == {"I10"}


def test_resources_return_to_what_they_were(story: Story) -> None:
    some, more = [{"sockets": 5}, {"sockets": 6}], [{"sockets": 20}]
    story.drained = {"jobs": [], "keys": [], "counters": {}}
    story.drained["resources"] = {"start": {"a": some}, "end": {"a": some}}
    assert story.violated == set()
    story.drained["resources"] = {"start": {"a": some}, "end": {"a": more}}
    assert story.violated == {"I10"}


# ---- I11: queues ----


def test_places_of_a_queue_are_its_own(story: Story) -> None:
    jobs(story, 2, 0)
    story.ask("j3")
    story.put("j3", place=4)
    assert story.violated == {"I11"}


def test_places_begin_anew_where_no_job_was_left(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.end("j1", 1)
    story.say("finish", "ok", job="j1", n=1)
    story.ask("j2")
    story.put("j2", place=1)
    assert story.violated == set()


# ---- I12: replies ----


@pytest.mark.parametrize(
    ("outcome", "violated"), [("ok", set()), ("unknown", set()), ("fail", {"I12"})]
)
def test_a_finish_was_asked_for_and_not_refused(
    story: Story, outcome: str, violated: set[str]
) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.end("j1", 1)
    story.say("finish", outcome, job="j1", n=1)
    assert story.violated == violated


def test_a_finish_by_name_is_that_of_any_lease(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.end("j1", 1)
    story.say("finish", "ok", job="j1", n=0)
    assert story.violated == set()
    story.say("finish", "ok", job="j1", n=0)
    assert story.violated == {"I12"}


def test_a_finish_succeeds_once(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    story.end("j1", 1)
    for _ in range(2):
        story.say("finish", "ok", job="j1", n=1)
    assert story.violated == {"I12"}


def test_an_answer_with_more_jobs_than_were_asked_for_is_seen(story: Story) -> None:
    jobs(story, 2, 0)
    dispatches(story, 0, 0)
    both = [Delivered("q", f"j{n}", n, -1, msgspec.Raw(b"1")) for n in (1, 2)]
    story.say("dequeue", "ok", count=1, answer={"jobs": both})
    assert story.violated == {"I12"}


def test_a_change_of_an_interval_was_asked_for(story: Story) -> None:
    jobs(story, 1, 0)
    set_interval(story, 0, 10)
    assert story.violated == set()
    story.say("interval", "ok", interval=20)
    assert story.violated == {"I12"}


# ---- I13: credit, and one delivery ----


def deliver(story: Story, n: int, p: str = "ws#1") -> None:
    payload = msgspec.Raw(b"1")
    story.note("deliver", p=p, type="t", queue="q", job=f"j{n}", n=n, payload=payload)


def test_the_same_request_is_given_the_same_job(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    for _ in range(2):
        story.tell("j1", 1, request="r1")
    assert story.violated == set()
    story.tell("j1", 1, request="r2")
    assert story.violated == {"I13"}


def test_a_job_that_is_delivered_twice_is_seen(story: Story) -> None:
    jobs(story, 1, 0)
    dispatches(story, 0)
    deliver(story, 1)
    deliver(story, 1, "ws#2")
    assert story.violated == {"I13"}


def test_credit_is_free_again_when_a_lease_has_ended(story: Story) -> None:
    jobs(story, 4, 0)
    dispatches(story, 0, 0, 0, 0)
    story.note("subscribe", type="t", credit=1)
    deliver(story, 1)
    story.end("j1", 1)
    story.say("finish", "ok", p="ws#1", job="j1", n=1)
    deliver(story, 2)
    story.note("expired", leases=["t/q/j2/2"])
    deliver(story, 3)
    assert story.violated == set()
    story.say("finish", "fail", p="ws#1", job="j3", n=3, answer={"code": "store_unavailable"})
    deliver(story, 4)
    assert story.violated == {"I13"}


def test_the_credit_of_a_connection_is_that_of_all_its_types(story: Story) -> None:
    jobs(story, 2, 0)
    dispatches(story, 0, 0)
    story.note("subscribe", type="t", credit=5)
    story.note("credit", credit=1)
    deliver(story, 1)
    assert story.violated == set()
    deliver(story, 2)
    assert story.violated == {"I13"}
