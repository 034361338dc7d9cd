"""Fine points of the checks of failures and dead letters, in an audit and a history by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.story import START, Story


@pytest.fixture
def story() -> Story:
    story = Story()
    story.settings = {
        "backoff_min": 100,
        "backoff_max": 300,
        "dead_max_jobs": 2,
        "dead_retention": 5000,
    }
    return story


def deliver(story: Story, job: str, n: int, now: int = 0, **fields: Any) -> None:
    """A job is put in, and leased."""
    story.ask(job)
    story.put(job, now, **fields)
    story.go(job, n, now, left=fields.get("left", -1))


def die(story: Story, job: str, n: int, now: int = 10, how: str = "reject", **fields: Any) -> None:
    fields = {"script": "settle", "kept": True, **fields}
    story.enter("dead", now, job=job, n=n, how=how, **fields)


def fail(story: Story, job: str, n: int, now: int, due: int, **fields: Any) -> None:
    """A lease ends in a failure, told by its holder."""
    told = {"script": "settle", "due": START + due, "attempt": n, **fields}
    story.back(job, n, now, how="fail", **told)


def bury(story: Story, *names: str) -> None:
    for n, job in enumerate(names, 1):
        deliver(story, job, n)
        die(story, job, n)


def retry(story: Story, job: str, now: int = 20, *, told: bool = True, **fields: Any) -> None:
    """A dead letter is put in again, as the script tells it."""
    story.put(job, now, script="dead_retry", **fields)
    story.enter("unburied", now, job=job, why="retry", script="dead_retry")
    if told:
        story.say("retry_dead", "ok", job=job)


# ---- I5: how long a job stays away ----


@pytest.mark.parametrize(
    ("attempt", "delay", "violated"),
    [
        (1, 80, set()),
        (1, 120, set()),
        (1, 78, {"I5"}),
        (1, 122, {"I5"}),
        (2, 200, set()),
        (2, 100, {"I5"}),
        (3, 300, set()),
        (9, 360, set()),
        (9, 363, {"I5"}),
    ],
)
def test_a_failed_job_waits_for_the_backoff(
    story: Story, attempt: int, delay: int, violated: set[str]
) -> None:
    deliver(story, "j1", 1)
    for n in range(1, attempt):
        fail(story, "j1", n, 10, 10)
        story.go("j1", n + 1, 10, attempt=n + 1)
    fail(story, "j1", attempt, 10, 10 + delay)
    story.say("fail", "ok", job="j1", n=attempt)
    assert story.violated == violated


@pytest.mark.parametrize(("due", "violated"), [(60, set()), (59, {"I5"}), (160, {"I5"})])
def test_a_failed_job_waits_for_what_was_told(story: Story, due: int, violated: set[str]) -> None:
    deliver(story, "j1", 1)
    fail(story, "j1", 1, 10, due)
    story.say("fail", "ok", job="j1", n=1, delay=50)
    assert story.violated == violated


def test_a_failed_job_that_comes_before_its_time_is_seen(story: Story) -> None:
    deliver(story, "j1", 1)
    fail(story, "j1", 1, 10, 110)
    story.go("j1", 2, 109, attempt=2)
    assert story.violated == {"I5"}


@pytest.mark.parametrize(
    ("delays", "violated"),
    [((0, 0, 300), set()), ((0, 0, 0), {"I5"}), ((0, 150), {"I5"}), ((0, 0, 300, 300), set())],
)
def test_the_third_expiry_in_a_row_waits(
    story: Story, delays: tuple[int, ...], violated: set[str]
) -> None:
    deliver(story, "j1", 1)
    now = 0
    for n, delay in enumerate(delays, 1):
        now += 1000
        story.back("j1", n, now, due=START + now + delay, attempt=n)
        now += delay
        story.go("j1", n + 1, now, attempt=n + 1)
    assert story.violated == violated


def test_a_failure_ends_a_row_of_expiries(story: Story) -> None:
    deliver(story, "j1", 1)
    for n in (1, 2):
        story.back("j1", n, 1000 * n, attempt=n)
        story.go("j1", n + 1, 1000 * n, attempt=n + 1)
    fail(story, "j1", 3, 2010, 2010)
    story.go("j1", 4, 2010, attempt=4)
    story.back("j1", 4, 3010, attempt=4)
    assert story.violated == set()


# ---- I7: why a job dies ----


@pytest.mark.parametrize(
    ("how", "left", "reason", "violated"),
    [
        ("reject", 5, "rejected", set()),
        ("fail", 0, "exhausted", set()),
        ("release", 0, "exhausted", set()),
        ("fail", 1, "exhausted", {"I7"}),
        ("fail", 0, "rejected", {"I7"}),
        ("reject", 0, "exhausted", {"I7"}),
    ],
)
def test_a_death_has_a_reason(
    story: Story, how: str, left: int, reason: str, violated: set[str]
) -> None:
    deliver(story, "j1", 1, left=left)
    die(story, "j1", 1, how=how, reason=reason, left=left)
    assert story.violated == violated


def test_a_rejected_job_that_lives_is_seen(story: Story) -> None:
    deliver(story, "j1", 1)
    fail(story, "j1", 1, 10, 110)
    story.say("fail", "ok", job="j1", n=1, retry=False)
    assert story.violated >= {"I7"}


def test_what_a_clear_discards_is_no_dead_letter(story: Story) -> None:
    for n, job in enumerate(("j1", "j2"), 1):
        deliver(story, job, n)
    story.enter("clear", 1, removed=0)
    die(story, "j1", 1, cleared=True, kept=False)
    assert story.violated == set()
    die(story, "j2", 2, cleared=True, kept=True, reason="rejected")
    assert "I7" in story.violated


@pytest.mark.parametrize("field", ["left", "priority", "cost"])
def test_a_retry_is_what_was_enqueued(story: Story, field: str) -> None:
    bury(story, "j1")
    retry(story, "j1")
    assert story.violated == set()
    story.go("j1", 2, 30, place=2)
    die(story, "j1", 2, 40)
    retry(story, "j1", 50, **{field: 3})
    assert story.violated == {"I7"}


# ---- I1 and I2: dead letters are there until they go ----


def fall(story: Story, job: str, why: str, now: int = 10) -> None:
    story.enter("fallen", now, job=job, why=why, script="settle")


@pytest.mark.parametrize(("job", "violated"), [("j1", set()), ("j2", {"I1"})])
def test_the_oldest_falls_out(story: Story, job: str, violated: set[str]) -> None:
    bury(story, "j1", "j2", "j3")
    fall(story, job, "jobs")
    assert story.violated == violated


def test_none_falls_out_within_the_bound(story: Story) -> None:
    bury(story, "j1", "j2")
    fall(story, "j1", "jobs")
    assert story.violated == {"I1"}


@pytest.mark.parametrize(("now", "violated"), [(5010, set()), (5000, {"I1"})])
def test_none_falls_out_before_its_age(story: Story, now: int, violated: set[str]) -> None:
    bury(story, "j1")
    fall(story, "j1", "age", now)
    assert story.violated == violated


def test_what_is_beyond_the_bound_falls_out(story: Story) -> None:
    bury(story, "j1", "j2", "j3")
    story.ask("j4")
    story.put("j4", 20)
    assert story.violated == {"I8"}


def test_a_newer_death_replaces_the_dead_letter(story: Story) -> None:
    bury(story, "j1")
    deliver(story, "j1", 2, 20)
    story.audit[-1].place = 2
    fall(story, "j1", "replaced", 30)
    die(story, "j1", 2, 30)
    assert story.violated == set()
    fall(story, "j1", "replaced", 40)
    assert story.violated == {"I1"}


def test_a_death_that_replaces_in_silence_is_seen(story: Story) -> None:
    bury(story, "j1")
    deliver(story, "j1", 2, 20)
    story.audit[-1].place = 2
    die(story, "j1", 2, 30)
    assert story.violated == {"I1"}


def test_a_retry_without_a_job_is_seen(story: Story) -> None:
    bury(story, "j1")
    story.enter("unburied", 20, job="j1", why="retry", script="dead_retry")
    story.say("retry_dead", "ok", job="j1")
    assert story.violated == {"I1"}


def test_a_retry_that_leaves_its_dead_letter_is_seen(story: Story) -> None:
    bury(story, "j1")
    story.put("j1", 20, script="dead_retry")
    story.enter("cancel", 30, job="j1", n=0)
    story.say("cancel", "ok", job="j1")
    assert story.violated == {"I2"}


def test_a_retry_of_nothing_is_seen(story: Story) -> None:
    story.ask("j1")
    story.put("j1")
    story.enter("cancel", 10, job="j1", n=0)
    story.say("cancel", "ok", job="j1")
    retry(story, "j1")
    assert story.violated == {"I2"}


def test_a_retry_with_another_payload_is_seen(story: Story) -> None:
    bury(story, "j1")
    retry(story, "j1", sha="other")
    assert story.violated == {"I2"}


def dead(*names: str, **more: Any) -> dict[str, Any]:
    """What a snapshot has of these dead letters."""
    members = [f"q/{name}" for name in names]
    numbers = {"bytes": 14 * len(members), "fallen": 0, "dropped": 0, **more}
    sizes = dict.fromkeys(members, 5)
    return {"type": "t", "order": dict.fromkeys(members, START * 1000), "about": sizes,
            "jobs": sizes, **numbers}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "violated"),
    [
        (dead("j1"), set()),
        (dead(), {"I1"}),
        (dead("j1", "j2"), {"I2"}),
        (dead("j1", bytes=13), {"I10"}),
        (dead("j1", about={}), {"I10"}),
        (dead("j1", fallen=1), {"I9"}),
        (dead("j1", dropped=1), {"I9"}),
    ],
)
def test_the_dead_letters_at_the_end_are_those_of_the_audit(
    story: Story, found: dict[str, Any], violated: set[str]
) -> None:
    bury(story, "j1")
    counts = {"e": 1, "d": 1, "queues": {"q": {"e": 1, "d": 1}}}
    counters = {"t": {str(START // 60_000): counts}}
    story.drained = {"jobs": [], "keys": [], "counters": counters, "dead": [found]}
    assert story.violated == violated


# ---- I11 and I12 ----


@pytest.mark.parametrize(("interval", "violated"), [(70, set()), (0, {"I11"})])
def test_a_retry_leaves_a_queue_that_lives_as_it_is(
    story: Story, interval: int, violated: set[str]
) -> None:
    bury(story, "j1")
    story.ask("j2")
    story.put("j2", 15, interval=70)
    retry(story, "j1", asked=interval, interval=interval, place=3)
    assert story.violated == violated


@pytest.mark.parametrize(("retries", "violated"), [(1, set()), (2, {"I12"}), (0, {"I12"})])
def test_a_retry_was_asked_for_and_told(story: Story, retries: int, violated: set[str]) -> None:
    bury(story, "j1")
    retry(story, "j1", told=False)
    for _ in range(retries):
        story.say("retry_dead", "ok", job="j1")
    assert story.violated == violated


@pytest.mark.parametrize(
    ("asked", "moved", "violated"), [(True, 1, set()), (True, 2, {"I12"}), (False, 0, {"I12"})]
)
def test_a_bulk_has_moved_what_it_tells(
    story: Story, asked: bool, moved: int, violated: set[str]
) -> None:
    bury(story, "j1")
    if asked:
        story.say("bulk", "ok", kind="delete")
    story.enter("unburied", 20, job="j1", why="delete", script="dead_advance")
    progress = {"kind": "delete", "bulk": "b", "moved": moved}
    story.say("bulk_progress", "ok", answer=progress)
    assert story.violated == violated
