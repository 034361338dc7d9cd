"""Dead letters: what becomes one, what is kept of it and how long, and how it lives again."""

from __future__ import annotations

from collections.abc import Callable

import hiredis
import pytest

from sharq import results
from sharq.results import DeadLetter, DeadSummary, JobError, JobOptions, NewJob
from tests.support.burying import (
    BOOM,
    carry,
    dead,
    dead_keys,
    fail,
    kill,
    letters,
    names,
    reject,
)
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job
from tests.support.limited import job, limit, pause, put, resume

MakeQueue = Callable[..., ExpiringQueue]

SECOND, DAY = 1_000, 86_400_000


def summary(queue: ExpiringQueue) -> DeadSummary:
    return queue.type_metrics().dead


def retry(queue: ExpiringQueue, *job_ids: str, queue_id: str = "q") -> list[str]:
    pairs = [(queue_id, job_id) for job_id in job_ids]
    return [ended.outcome for ended in carry(queue, dead(queue).retry(TYPE, pairs))]


# ---- what becomes one ----


def test_a_job_that_fails_for_the_last_time_is_kept_with_all_that_is_known(
    queue: ExpiringQueue,
) -> None:
    options = JobOptions(burst=2, concurrency=3, group="g", cost=4, priority=5)
    payload = b'{"to": "+1", "n":  [1]}'
    queue.run(
        queue.operations.enqueue(TYPE, [NewJob(TYPE, "q", "a", payload, 10.5, 2, None, options)])
    )
    first = queue.now
    for _ in range(2):
        fail(queue, queue.take()[0], delay=0)
        queue.advance(1_000)
    assert fail(queue, queue.take()[0], worker="w 2") == results.DEAD
    assert letters(queue) == [
        DeadLetter(
            queue_id="q",
            job_id="a",
            payload=payload,
            reason=results.EXHAUSTED,
            attempts=3,
            first_failed_at=first,
            died_at=queue.now,
            error=BOOM,
            worker="w 2",
            priority=5,
            cost=4,
            requeue_limit=2,
            interval=10.5,
            burst=2,
            concurrency=3,
            group="g",
        )
    ]
    assert carry(queue, dead(queue).show(TYPE, "q", "a")) == letters(queue)[0]
    assert carry(queue, dead(queue).show(TYPE, "q", "b")) is None


def test_a_plain_job_that_is_released_for_the_last_time(queue: ExpiringQueue) -> None:
    queue.put("a", limit=0, interval=7)
    assert queue.release(queue.take()[0]) == results.DEAD
    (letter,) = letters(queue)
    assert (letter.reason, letter.attempts, letter.error) == (results.EXHAUSTED, 1, None)
    assert (letter.requeue_limit, letter.interval, letter.cost, letter.group) == (0, 7, 1, None)
    assert letter.first_failed_at == letter.died_at == queue.now


def test_a_job_whose_last_lease_runs_out(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=SECOND)
    queue.put("a", limit=1)
    fail(queue, queue.take()[0], delay=0)
    queue.take()
    queue.advance(SECOND)
    assert queue.sweep().discarded == 1
    (letter,) = letters(queue)
    assert (letter.reason, letter.error, letter.attempts) == (results.EXPIRED, BOOM, 2)


@pytest.mark.parametrize("limit", [-1, 0, 3, 999_999_999, 10**18, 2**63 - 1])
def test_a_rejected_job_is_dead_at_once_and_keeps_its_limit(
    queue: ExpiringQueue, limit: int
) -> None:
    queue.put("a", limit=limit)
    if limit:
        fail(queue, queue.take()[0], delay=0)
        fail(queue, queue.take()[0], delay=0)
    assert reject(queue, queue.take()[0]) == results.DEAD
    (letter,) = letters(queue)
    assert (letter.reason, letter.requeue_limit) == (results.REJECTED, limit)


def test_what_a_clear_or_a_purge_discards_is_no_dead_letter(queue: ExpiringQueue) -> None:
    for purge in (False, True):
        queue.put("a", limit=0)
        (taken,) = queue.take()
        queue.clear(purge=purge)
        outcome = fail(queue, taken)
        assert outcome == (results.NOT_ACTIVE if purge else results.DEAD)
    assert dead_keys(queue) == []
    assert queue.status("a").state == results.DEAD


def test_an_interval_of_the_api_stands_for_that_of_the_enqueue(queue: ExpiringQueue) -> None:
    put(queue, job("a", interval=5, burst=2))
    limit(queue, "queue", "q", interval=70.25, burst=9, group="api")
    reject(queue, queue.take()[0])
    (letter,) = letters(queue)
    assert (letter.interval, letter.burst, letter.group) == (70.25, 2, None)


# ---- status ----


def test_the_status_of_a_dead_job_tells_why_as_long_as_it_is_kept(queue: ExpiringQueue) -> None:
    queue.put("a", limit=0)
    fail(queue, queue.take()[0], worker="w")
    queue.advance(20 * DAY)
    status = queue.status("a")
    assert (status.state, status.reason, status.error) == (results.DEAD, results.EXHAUSTED, BOOM)
    assert (status.worker, status.attempt) == ("w", 1)
    assert status.died_at == status.first_failed_at == queue.now - 20 * DAY


def test_a_letter_that_is_gone_has_no_status(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    carry(queue, dead(queue).delete(TYPE, [("q", "a")]))
    assert queue.status("a").state == results.NOT_FOUND


def test_a_newer_job_of_the_name_counts(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    assert queue.put("a").outcome == results.QUEUED
    assert queue.status("a").state == results.QUEUED
    (taken,) = queue.take()
    assert queue.status("a").state == results.ACTIVE
    queue.finish(taken)
    assert queue.status("a").state == results.FINISHED
    queue.put("a")
    reject(queue, queue.take()[0])
    assert queue.status("a").state == results.DEAD
    assert queue.finish(taken) == results.NOT_ACTIVE


def test_a_newer_death_that_was_not_kept_counts(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    queue.put("a")
    (taken,) = queue.take()
    queue.clear()
    assert reject(queue, taken) == results.DEAD
    assert (queue.status("a").state, queue.status("a").reason) == (results.DEAD, None)
    assert names(queue) == ["a"]


# ---- bounds ----


def test_the_oldest_ones_fall_out_of_the_bound(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_max_jobs=3)
    kill(queue, *"abcde")
    assert names(queue) == ["e", "d", "c"]
    assert summary(queue).jobs == 3
    assert summary(queue).fallen_out == 2


def size_of(queue: ExpiringQueue) -> int:
    """The bytes of all dead letters, as they are in the store."""
    total = 0
    for kind in ("about", "jobs"):
        (key,) = [key for key in queue.key_names() if key.endswith(f":dead:{kind}")]
        fields = queue.store.command("HGETALL", key)
        total += sum(map(len, fields[1::2])) + (sum(map(len, fields[::2])) if kind == "jobs" else 0)
    return total


def test_the_bytes_of_all_are_bounded(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_max_bytes=100_000)
    for i in range(9):
        queue.put(str(i), payload=b'"%b"' % (b"x" * 30_000))
        reject(queue, queue.take()[0])
        assert summary(queue).bytes == size_of(queue) <= 100_000
    assert names(queue) == ["8", "7", "6"]
    assert summary(queue).fallen_out == 6


def test_one_that_is_larger_than_the_bound_is_dropped_and_removes_no_other(
    make_queue: MakeQueue,
) -> None:
    queue = make_queue(dead_max_bytes=10_000)
    kill(queue, "a", "b")
    queue.put("b", payload=b'"%b"' % (b"x" * 10_000))
    reject(queue, queue.take()[0])
    assert names(queue) == ["a"]
    assert (summary(queue).jobs, summary(queue).fallen_out, summary(queue).dropped) == (1, 1, 1)
    assert summary(queue).bytes == size_of(queue)
    assert queue.status("b").state == results.DEAD


def test_what_is_dropped_leaves_nothing_for_long(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_max_bytes=50)
    kill(queue, "a")
    assert summary(queue) == DeadSummary(0, 0, None, 0, 1)
    queue.advance(DAY)
    assert dead_keys(queue) == []


def test_old_ones_fall_out_without_any_new_death(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_retention=DAY)
    kill(queue, "a")
    queue.advance(DAY / 2)
    kill(queue, "b")
    queue.advance(DAY / 2 - 1)
    queue.sweep()
    assert names(queue) == ["b", "a"]
    queue.advance(1)
    queue.sweep()
    assert names(queue) == ["b"]


def test_a_lower_bound_is_reached_by_sweeps_of_a_hundred(make_queue: MakeQueue) -> None:
    queue = make_queue()
    for at in range(0, 250, 50):
        queue.put_many(new_job(f"{i:03}") for i in range(at, at + 50))
        for taken in queue.take(50):
            reject(queue, taken)
    smaller = make_queue(dead_max_jobs=20)
    smaller.move_to(queue.now_us)
    counts = []
    while smaller.sweep().more:
        counts.append(summary(smaller).jobs)
    assert counts == [150, 50]
    assert names(smaller) == [f"{i:03}" for i in range(249, 229, -1)]
    nothing = make_queue(dead_max_jobs=0)
    nothing.move_to(queue.now_us)
    nothing.sweep()
    assert names(nothing) == []


def test_a_newer_death_replaces_the_older(queue: ExpiringQueue) -> None:
    kill(queue, "a", "b")
    queue.put("a", payload=b'"new"')
    fail(queue, queue.take()[0], delay=0)
    reject(queue, queue.take()[0])
    assert names(queue) == ["a", "b"]
    assert letters(queue)[0].payload == b'"new"'
    assert (summary(queue).jobs, summary(queue).fallen_out) == (2, 1)
    assert summary(queue).bytes == size_of(queue)


def test_none_are_kept_with_a_bound_of_0(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_max_jobs=0)
    kill(queue, "a")
    assert dead_keys(queue) == []
    assert queue.status("a").state == results.DEAD
    assert queue.status("a").reason is None


def test_when_the_last_one_goes_nothing_is_left_for_long(queue: ExpiringQueue) -> None:
    kill(queue, "a", "b")
    assert sorted(dead_keys(queue)) == [
        "dead",
        "dead:about",
        "dead:jobs",
        "dead:limits",
        "dead:order",
    ]
    carry(queue, dead(queue).delete(TYPE, [("q", "a"), ("q", "b")]))
    assert dead_keys(queue) == ["dead"]
    queue.advance(DAY)
    assert dead_keys(queue) == []


def test_the_counts_stay_while_there_is_one(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    carry(queue, dead(queue).delete(TYPE, [("q", "a")]))
    queue.advance(DAY - 1)
    kill(queue, "b")
    queue.advance(2 * DAY)
    assert summary(queue).jobs == 1
    assert summary(queue).bytes == size_of(queue)


def test_deaths_keep_their_order_when_the_clock_steps_back(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    queue.advance(-5_000)
    kill(queue, "b", "c")
    assert names(queue) == ["c", "b", "a"]


def test_a_type_with_dead_letters_is_not_vacant(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    queue.advance(DAY)
    swept = queue.sweep()
    assert (swept.idle, swept.vacant, swept.more) == (True, False, False)
    carry(queue, dead(queue).delete(TYPE, [("q", "a")]))
    assert queue.sweep().vacant


@pytest.mark.parametrize("broken", ["dead", "dead:order", "dead:about", "dead:jobs", "dead:limits"])
def test_what_the_store_refuses_is_dropped_and_counted_and_its_lease_ends(
    queue: ExpiringQueue, broken: str
) -> None:
    kill(queue, "old")
    tag = next(key for key in queue.key_names() if key.endswith(":dead")).removesuffix("dead")
    queue.store.command("DEL", tag + broken)
    queue.store.command("SET", tag + broken, "of another kind")
    queue.put("a", limit=0)
    queue.put("b")
    a, b = queue.take(2)
    assert [fail(queue, a), fail(queue, b, delay=0)] == [results.DEAD, results.SUCCESS]
    assert queue.metrics().active_count == 0
    assert queue.take_ids() == ["b"]
    queue.sweep()
    if broken != "dead":
        assert queue.store.command("HGET", tag + "dead", "dropped") == b"1"


# ---- retry ----


def test_a_retry_is_a_new_job_at_the_tail(queue: ExpiringQueue) -> None:
    queue.put("a", limit=1, payload=b'{"x":  1}')
    fail(queue, queue.take()[0], delay=0)
    fail(queue, queue.take()[0])
    queue.put("b")
    assert retry(queue, "a", "nobody", "a") == ["success", "not_found", "not_found"]
    assert names(queue) == []
    b, a = queue.take(2)
    assert (b.job_id, a.job_id) == ("b", "a")
    assert (a.attempt, a.requeues_remaining, a.payload) == (1, 1, b'{"x":  1}')
    assert queue.status("a").error is None
    assert sum(queue.type_metrics().enqueue_counts.values()) == 3


def test_a_retry_keeps_cost_and_priority(queue: ExpiringQueue) -> None:
    put(queue, job("a", cost=3, priority=7, interval=10))
    reject(queue, queue.take()[0])
    queue.advance(100)
    put(queue, job("b", interval=10))
    assert retry(queue, "a") == ["success"]
    assert queue.take_ids() == ["a"]
    assert queue.batch().wait_us == 30_000


def test_a_retry_brings_back_the_limits_of_a_queue_that_is_gone(queue: ExpiringQueue) -> None:
    put(queue, *[job(str(i), interval=1_000, burst=2, concurrency=3, group="g") for i in range(5)])
    for _ in range(5):
        (taken,) = queue.take()
        reject(queue, taken)
        queue.advance(1_000)
    queue.advance(DAY)
    assert retry(queue, *"01234") == ["success"] * 5
    assert queue.metrics().interval == 1_000
    assert queue.take_ids(5) == ["0", "1"]
    assert queue.batch().wait_us == 1_000_000


def test_a_retry_brings_back_the_limits_of_the_last_death(queue: ExpiringQueue) -> None:
    put(queue, job("old"))
    reject(queue, queue.take()[0])
    for job_id in "ab":
        put(queue, job(job_id, interval=500, concurrency=1, group="g"))
        reject(queue, queue.take()[0])
        queue.advance(500)
    queue.advance(DAY)
    assert retry(queue, "old", "a") == ["success"] * 2
    assert queue.metrics().interval == 500
    assert queue.take_ids(5) == ["old"]
    assert letters(queue)[0].interval == 500


def test_a_retry_brings_back_the_limits_of_a_queue_that_is_only_paused(
    queue: ExpiringQueue,
) -> None:
    queue.put("a", interval=1_000)
    queue.put("b", interval=1_000)
    reject(queue, queue.take()[0])
    queue.advance(1_000)
    reject(queue, queue.take()[0])
    queue.advance(DAY)
    pause(queue, "queue", "q")
    retry(queue, "a", "b")
    resume(queue, "queue", "q")
    assert queue.take_ids(2) == ["a"]


def test_a_retry_never_changes_a_queue_that_lives(queue: ExpiringQueue) -> None:
    put(queue, job("a", interval=1_000, burst=5, concurrency=5, group="old"))
    reject(queue, queue.take()[0])
    queue.advance(DAY)
    put(queue, job("b", interval=20, group="new"))
    assert retry(queue, "a") == ["success"]
    shown = queue.metrics()
    assert shown.interval == 20
    assert queue.take_ids(5) == ["b"]
    assert queue.batch().wait_us == 20_000


def test_a_conflict_leaves_the_letter_and_says_so(queue: ExpiringQueue) -> None:
    kill(queue, "a", "b")
    queue.put("a", payload=b"2")
    queue.put("b")
    (leased,) = queue.take()
    assert leased.job_id == "a"
    assert retry(queue, "a", "b") == ["conflict", "conflict"]
    assert names(queue) == ["b", "a"]
    assert queue.length() == 1


def test_a_queue_that_is_damaged_is_a_conflict_and_stops_no_other(queue: ExpiringQueue) -> None:
    kill(queue, "a", queue_id="broken")
    kill(queue, "b")
    tag = next(key for key in queue.key_names() if key.endswith(":dead")).removesuffix("dead")
    queue.store.command("LPUSH", f"{tag}q:broken", "of another kind")
    assert retry(queue, "a", queue_id="broken") == ["conflict"]
    begin(queue, "retry")
    while step(queue):
        pass
    assert (progress(queue).moved, progress(queue).conflicts) == (1, 1)
    assert (queue.take_ids(5), names(queue)) == (["b"], ["a"])


def test_what_a_damaged_queue_does_not_take_stays(queue: ExpiringQueue) -> None:
    queue.put("a", payload=b'"%b"' % (b"x" * 300))
    reject(queue, queue.take()[0])
    tag = next(key for key in queue.key_names() if key.endswith(":dead")).removesuffix("dead")
    queue.store.command("SET", f"{tag}j:q", "of another kind")
    with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
        retry(queue, "a")
    assert names(queue) == ["a"]
    queue.store.command("DEL", f"{tag}j:q")
    queue.clear()
    assert retry(queue, "a") == ["success"]


def test_a_retry_of_large_payloads_is_made_in_parts(queue: ExpiringQueue) -> None:
    payload = b'"%b"' % (b"x" * 1_000_000)
    for i in range(10):
        queue.put(str(i), payload=payload)
        reject(queue, queue.take()[0])
    pairs = [("q", str(i)) for i in range(10)]
    assert len(queue.run(queue.operations.retry_dead(TYPE, pairs))) == 4
    assert retry(queue, *map(str, range(10))) == ["not_found"] * 4 + ["success"] * 6
    assert queue.length() == 10


# ---- pages ----


def test_a_page_has_what_a_filter_selects(make_queue: MakeQueue) -> None:
    queue = make_queue(job_expire_interval=SECOND)
    for job_id, told in (
        ("a", {"error": {"type": "Error"}}),
        ("b", {"error": {"type": "Error", "message": "x"}}),
        ("c", {"error": {"type": "ErrorOfC"}}),
        ("d", {"error": None}),
        ("e", {"error": {"message": '{"type":"Error"'}}),
    ):
        queue.put(job_id, "q2" if job_id in "ab" else "q", limit=0)
        (fail if job_id in "ac" else reject)(queue, queue.take()[0], **told)
        queue.advance(10)
    queue.put("f", limit=0)
    queue.take()
    queue.advance(SECOND)
    queue.sweep()
    assert names(queue) == list("fedcba")
    assert names(queue, error="Error") == ["b", "a"]
    assert names(queue, queue_id="q2") == ["b", "a"]
    assert names(queue, reason="exhausted") == ["c", "a"]
    assert names(queue, reason="rejected", error="Error") == ["b"]
    assert names(queue, reason="expired") == ["f"]
    died_at = letters(queue)[3].died_at
    assert names(queue, before=died_at) == ["b", "a"]
    assert names(queue, before=died_at + 1) == ["c", "b", "a"]


def test_pages_go_on_where_the_last_one_ended(queue: ExpiringQueue) -> None:
    kill(queue, *[f"{i:02}" for i in range(25)])
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        page = carry(queue, dead(queue).page(TYPE, cursor=cursor, count=10))
        sizes.append(len(page.letters))
        seen += [letter.job_id for letter in page.letters]
        cursor = page.cursor
        if cursor is None:
            break
        kill(queue, f"new-{len(seen)}")
    assert seen == [f"{i:02}" for i in range(24, -1, -1)]
    assert sizes == [10, 10, 5]


def test_a_page_may_be_empty_and_still_have_a_cursor(queue: ExpiringQueue) -> None:
    for at in range(0, 1_200, 100):
        queue.put_many(new_job(f"{i:04}", "q2" if i == 0 else "q") for i in range(at, at + 100))
        for taken in queue.take(100):
            reject(queue, taken)
    page = carry(queue, dead(queue).page(TYPE, queue_id="q2"))
    assert (page.letters, page.cursor is None) == ([], False)
    assert names(queue, queue_id="q2") == ["0000"]


def test_a_page_is_bounded_in_bytes(queue: ExpiringQueue) -> None:
    for i in range(4):
        queue.put(str(i), payload=b'"%b"' % (b"x" * 200_000))
        reject(queue, queue.take()[0])
    page = carry(queue, dead(queue).page(TYPE))
    assert len(page.letters) == 1
    assert names(queue) == ["3", "2", "1", "0"]


# ---- many ----


def begin(queue: ExpiringQueue, kind: str, **wanted: object) -> str:
    limit = wanted.pop("limit", None)
    begun = carry(queue, dead(queue).begin(TYPE, kind, wanted or None, limit))
    assert begun.begun
    return str(begun.id)


def step(queue: ExpiringQueue, server: str = "s1") -> bool:
    return bool(carry(queue, dead(queue).advance(TYPE, server)))


def progress(queue: ExpiringQueue) -> results.DeadBulk:
    bulk = carry(queue, dead(queue).progress(TYPE))
    assert isinstance(bulk, results.DeadBulk)
    return bulk


def bury(queue: ExpiringQueue, count: int, queue_id: str = "q") -> None:
    for at in range(0, count, 100):
        queue.put_many(new_job(f"{i:04}", queue_id) for i in range(at, min(at + 100, count)))
        for taken in queue.take(100):
            reject(queue, taken)


@pytest.mark.parametrize("kind", ["retry", "delete"])
def test_a_bulk_goes_on_in_steps_of_a_hundred(queue: ExpiringQueue, kind: str) -> None:
    bury(queue, 250)
    bulk_id = begin(queue, kind)
    seen = [(progress(queue).moved, progress(queue).left)]
    while step(queue):
        seen.append((progress(queue).moved, progress(queue).left))
    assert seen == [(0, 250), (100, 150), (200, 50), (250, 0)]
    done = progress(queue)
    assert (done.id, done.kind, done.state, done.moved) == (bulk_id, kind, "done", 250)
    assert names(queue) == []
    assert queue.length() == (250 if kind == "retry" else 0)
    if kind == "retry":
        assert queue.take_ids(100) == [f"{i:04}" for i in range(100)]


def test_a_bulk_takes_what_its_filter_selects_up_to_its_limit(queue: ExpiringQueue) -> None:
    bury(queue, 5, "q1")
    bury(queue, 5, "q2")
    begin(queue, "retry", queue_id="q2", limit=3)
    while step(queue):
        pass
    assert [letter.queue_id for letter in letters(queue)] == ["q2"] * 2 + ["q1"] * 5
    assert queue.take_ids(10) == ["0000", "0001", "0002"]
    assert (progress(queue).moved, progress(queue).limit) == (3, 3)


def test_a_bulk_takes_only_what_died_before_it_began(queue: ExpiringQueue) -> None:
    bury(queue, 3)
    begin(queue, "delete")
    kill(queue, "new", "0001")
    while step(queue):
        pass
    assert names(queue) == ["0001", "new"]
    assert progress(queue).moved == 2


def test_a_retry_of_what_dies_again_at_once_comes_to_an_end(queue: ExpiringQueue) -> None:
    bury(queue, 3)
    begin(queue, "retry")
    for _ in range(3):
        step(queue)
        for taken in queue.take(10):
            reject(queue, taken)
    assert progress(queue).state == "done"
    assert len(names(queue)) == 3


def test_a_bulk_passes_over_conflicts_and_counts_them(queue: ExpiringQueue) -> None:
    bury(queue, 3)
    queue.put("0001")
    begin(queue, "retry")
    while step(queue):
        pass
    assert (progress(queue).moved, progress(queue).conflicts) == (2, 1)
    assert names(queue) == ["0001"]


def test_one_bulk_runs_at_a_time(queue: ExpiringQueue) -> None:
    bury(queue, 1)
    bulk_id = begin(queue, "retry")
    other = carry(queue, dead(queue).begin(TYPE, "delete"))
    assert (other.id, other.begun) == (bulk_id, False)
    while step(queue):
        pass
    assert begin(queue, "delete") != bulk_id


def test_a_bulk_that_was_cancelled_stops_where_it_is(queue: ExpiringQueue) -> None:
    bury(queue, 150)
    begin(queue, "delete")
    step(queue)
    assert carry(queue, dead(queue).cancel(TYPE))
    assert not carry(queue, dead(queue).cancel(TYPE))
    assert not step(queue)
    assert (progress(queue).state, progress(queue).moved) == ("cancelled", 100)
    assert progress(queue).left == 50
    assert len(names(queue)) == 50


def test_a_bulk_is_advanced_by_one_server_until_its_claim_runs_out(queue: ExpiringQueue) -> None:
    bury(queue, 300)
    begin(queue, "delete")
    assert step(queue, "s1")
    assert not step(queue, "s2")
    assert progress(queue).moved == 100
    assert not queue.sweep().bulk
    queue.advance(9_999)
    assert not queue.sweep().bulk
    queue.advance(1)
    assert queue.sweep().bulk
    assert step(queue, "s2")
    assert not step(queue, "s1")


def test_a_bulk_that_nobody_advances_is_told_to_the_sweep(queue: ExpiringQueue) -> None:
    bury(queue, 300)
    begin(queue, "delete")
    swept = queue.sweep()
    assert (swept.bulk, swept.idle, swept.vacant) == (True, False, False)
    assert step(queue, "sweep")
    # Whichever server sweeps next goes on at once.
    assert queue.sweep().bulk


def test_a_bulk_that_ended_is_told_for_an_hour(queue: ExpiringQueue) -> None:
    bury(queue, 1)
    begin(queue, "delete")
    while step(queue):
        pass
    queue.advance(3_599_999)
    assert progress(queue).state == "done"
    queue.advance(1)
    assert carry(queue, dead(queue).progress(TYPE)) is None
    assert "dead:bulk" not in dead_keys(queue)


def test_a_bulk_tells_its_filter(queue: ExpiringQueue) -> None:
    kill(queue, "a")
    begin(queue, "delete", error='E "x"', reason="rejected", before=queue.now)
    assert progress(queue).filter == results.DeadFilter(None, "rejected", 'E "x"', queue.now)
    assert progress(queue).started == queue.now


def test_an_error_may_have_any_text(queue: ExpiringQueue) -> None:
    queue.put("a")
    error = JobError("T \x1f é \u2028", 'm "\\ ! , ; - \n\t\x00\ud800', "\U0001f600" * 3_000)
    reject(queue, queue.take()[0], error=error, worker="w %,! é")
    (letter,) = letters(queue)
    assert letter.error is not None
    assert letter.error.type == error.type
    assert letter.error.message == 'm "\\ ! , ; - \n\t\x00?'
    assert letter.error.trace == "\U0001f600" * 2_048
    assert letter.worker == "w %,! é"
    assert names(queue, error=error.type) == ["a"]
