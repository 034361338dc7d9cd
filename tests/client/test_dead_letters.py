"""Failing and dead letters by the library, through both faces, by the clock in the test's hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from sharq import JobError
from sharq.errors import BadArgumentException
from sharq.results import (
    ACTIVE,
    CONFLICT,
    DEAD,
    FINISHED,
    INVALID,
    NOT_ACTIVE,
    NOT_FOUND,
    QUEUED,
    SUCCESS,
    DeadBegun,
    DeadBulk,
    DeadFilter,
    DeadLetter,
    DeadPage,
    Ended,
    JobStatus,
)
from tests.support.direct import CLOCKED_SCRIPTS
from tests.support.faces import (
    FACES,
    Face,
    HandClock,
    Opener,
    opener,
    settings_for,
)
from tests.support.stores import PrivateStore

JOB = ("mail", "bob", "j")


@pytest.fixture(params=FACES)
def open_face(request: pytest.FixtureRequest) -> Iterator[Opener]:
    with opener(FACES[request.param]) as open_one:
        yield open_one


@pytest.fixture
def clock(clean_store: PrivateStore) -> HandClock:
    return HandClock(clean_store)


@pytest.fixture
def queue(clock: HandClock, clean_store: PrivateStore, open_face: Opener) -> Face:
    """A face on the clean store, by the clock in the test's hand."""
    return open_face(settings_for(clean_store), scripts=CLOCKED_SCRIPTS)


def lease(queue: Face, job_id: str = "j", payload: bytes = b"1", **more: Any) -> str:
    """Enqueue a job, and take it."""
    queue.submit(queue.new_job(payload, 0, job_id, "bob", "mail", **more))
    (taken,) = queue.take("mail").jobs
    assert taken.job_id == job_id
    return str(taken.lease)


def kill(queue: Face, *job_ids: str, error: Any = None, **more: Any) -> None:
    for job_id in job_ids:
        token = lease(queue, job_id, **more)
        assert queue.fail_job("mail", "bob", job_id, token, error=error, retry=False) == Ended(DEAD)


def names(page: DeadPage) -> list[str]:
    return [letter.job_id for letter in page.letters]


def outcomes(ended: list[Ended]) -> list[str]:
    return [each.outcome for each in ended]


def raised() -> Exception:
    try:
        raise LookupError("no « bob »")
    except LookupError as error:
        return error


# ---- failing ----


def test_a_failed_job_comes_back_after_the_backoff(queue: Face, clock: HandClock) -> None:
    token = lease(queue)
    begun = clock.now
    assert queue.fail_job(*JOB, token, error=raised(), worker="w") == Ended(SUCCESS)
    status = queue.job_status(*JOB)
    assert (status.state, status.attempt, status.worker) == (QUEUED, 2, "w")
    assert status.first_failed_at == begun
    assert (status.reason, status.died_at) == (None, None)
    assert status.error[:2] == ("LookupError", "no « bob »")
    assert status.error.trace.endswith("LookupError: no « bob »\n")
    assert 800 <= status.ready_in <= 1200
    clock.advance(799)
    assert not queue.take("mail")
    clock.advance(401)
    (again,) = queue.take("mail").jobs
    assert again.attempt == 2
    assert queue.job_status(*JOB).state == ACTIVE
    assert queue.job_status(*JOB).attempt == 2
    assert queue.finish_job(*JOB, again.lease) == Ended(SUCCESS)
    assert queue.job_status(*JOB) == JobStatus(FINISHED)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (None, None),
        ({}, None),
        (JobError(), None),
        (JobError("E", None, "t"), JobError("E", None, "t")),
        ({"message": "m"}, JobError(message="m")),
        ({"type": None, "trace": "t"}, JobError(trace="t")),
        (SystemExit(3), JobError("SystemExit", "3", "SystemExit: 3\n")),
    ],
)
def test_an_error_may_be_told_in_several_forms(queue: Face, told: Any, kept: Any) -> None:
    token = lease(queue)
    queue.fail_job(*JOB, token, error=told)
    assert queue.job_status(*JOB).error == kept


@pytest.mark.parametrize(
    "told",
    [
        {"error": "E"},
        {"error": ["E"]},
        {"error": {"kind": "E"}},
        {"error": {"type": 5}},
        {"error": JobError(5)},  # type: ignore[arg-type]
        {"retry": 1},
        {"delay": -1},
        {"delay": 1.5},
        {"cost": 0},
        {"pause": 0},
        {"worker": ""},
        {"worker": "w\n"},
        {"retry": False, "delay": 5},
    ],
)
def test_what_is_not_valid_is_refused_before_anything_is_sent(queue: Face, told: Any) -> None:
    token = lease(queue)
    with pytest.raises(BadArgumentException):
        queue.fail_job(*JOB, token, **told)
    with pytest.raises(BadArgumentException):
        queue.fail_many([token], **told)
    assert queue.job_status(*JOB).state == ACTIVE


def test_many_fail_alike(queue: Face) -> None:
    tokens = [lease(queue, each, requeue_limit=limit) for each, limit in (("a", 0), ("b", 1))]
    ended = queue.fail_many([*tokens, "x", tokens[0]], error={"type": "E"}, delay=0, worker="w")
    assert outcomes(ended) == [DEAD, SUCCESS, INVALID, NOT_ACTIVE]
    assert queue.job_status("mail", "bob", "b").error == JobError("E")
    assert queue.dead_letter("mail", "bob", "a").worker == "w"


# ---- dead letters ----


def test_a_dead_letter_has_all_that_a_retry_needs(queue: Face, clock: HandClock) -> None:
    more = {"burst": 3, "concurrency": 2, "group": "g", "cost": 4, "priority": 5}
    token = lease(queue, payload=b'{"a":  1.50}', requeue_limit=1, **more)
    first = clock.now
    queue.fail_job(*JOB, token, error={"type": "A"}, worker="w", delay=0)
    clock.advance(1000)
    (again,) = queue.take("mail").jobs
    clock.advance(50)
    assert queue.release_job(*JOB, again.lease) == Ended(DEAD)
    letter = DeadLetter(
        queue_id="bob",
        job_id="j",
        payload=b'{"a":  1.50}',
        reason="exhausted",
        attempts=2,
        first_failed_at=first,
        died_at=first + 1050,
        error=JobError("A"),
        worker="w",
        priority=5,
        cost=4,
        requeue_limit=1,
        interval=0,
        burst=3,
        concurrency=2,
        group="g",
    )
    assert queue.dead_letter(*JOB) == letter
    assert queue.dead_page("mail") == DeadPage([letter], None)
    assert queue.job_status(*JOB) == JobStatus(
        DEAD,
        attempt=2,
        error=JobError("A"),
        worker="w",
        first_failed_at=first,
        reason="exhausted",
        died_at=first + 1050,
    )
    assert queue.dead_letter("mail", "bob", "other") is None


def test_a_lease_that_runs_out_is_a_failure(queue: Face, clock: HandClock) -> None:
    lease(queue, requeue_limit=1)
    clock.advance(61_000)
    queue.sweep()
    assert queue.job_status(*JOB).attempt == 2
    assert queue.job_status(*JOB).error is None
    assert len(queue.take("mail")) == 1, "at once"
    clock.advance(61_000)
    queue.sweep()
    assert queue.dead_letter(*JOB).reason == "expired"


def test_pages_and_filters(queue: Face, clock: HandClock) -> None:
    kill(queue, "a", "b", error={"type": "A"})
    clock.advance(1000)
    then = clock.now
    kill(queue, "c", error={"type": "B"})
    token = lease(queue, "d", requeue_limit=0)
    queue.fail_job("mail", "bob", "d", token)
    assert names(queue.dead_page("mail")) == [*"dcba"]
    page = queue.dead_page("mail", count=3)
    assert names(page) == [*"dcb"]
    page = queue.dead_page("mail", cursor=page.cursor, count=3)
    assert (names(page), page.cursor) == (["a"], None)
    assert names(queue.dead_page("mail", error="A")) == [*"ba"]
    assert names(queue.dead_page("mail", before=then)) == [*"ba"]
    assert names(queue.dead_page("mail", reason="exhausted", queue_id="bob")) == ["d"]
    assert queue.dead_page("mail", queue_id="eve") == DeadPage([], None)
    for wrong in ({"count": 0}, {"count": 101}, {"reason": "dead"}, {"before": -1},
                  {"cursor": "x"}, {"queue_id": ""}, {"error": 5}):  # fmt: skip
        with pytest.raises(BadArgumentException):
            queue.dead_page("mail", **wrong)


def test_some_are_tried_again_and_some_removed(queue: Face) -> None:
    kill(queue, "a", "b", "c", requeue_limit=3)
    lease(queue, "b")
    assert outcomes(queue.retry_dead("mail", [("bob", "a"), ("bob", "b"), ("bob", "x")])) == [
        *(SUCCESS, CONFLICT, NOT_FOUND),
    ]
    (again,) = queue.take("mail").jobs
    assert (again.job_id, again.attempt, again.requeues_remaining) == ("a", 1, 3)
    assert outcomes(queue.delete_dead("mail", [("bob", "a"), ("bob", "c")])) == [
        *(NOT_FOUND, SUCCESS),
    ]
    assert names(queue.dead_page("mail")) == ["b"]
    for wrong in ([], "bob", [("bob",)], [("bob", "j", "k")], ["bj"], [("b b", "j")], None, 5,
                  [("bob", "j")] * 1001):  # fmt: skip
        for method in (queue.retry_dead, queue.delete_dead):
            with pytest.raises(BadArgumentException):
                method("mail", wrong)


def test_a_bulk_is_carried_out_step_by_step(queue: Face, clock: HandClock) -> None:
    jobs = [f"j{n}" for n in range(250)]
    kill(queue, *jobs)
    clock.advance(1)
    started = clock.now
    begun = queue.begin_dead("mail", "retry", {"queue_id": "bob", "error": None})
    assert begun == DeadBegun(begun.id, True)
    assert queue.begin_dead("mail", "delete") == DeadBegun(begun.id, False)
    clock.advance(5)
    kill(queue, "late")
    seen: list[tuple[str, int]] = []
    for _ in range(20):
        bulk = queue.dead_bulk("mail")
        seen.append((bulk.state, bulk.moved))
        if not queue.advance_dead("mail"):
            break
    assert len(seen) >= 3
    assert [moved for _, moved in seen] == sorted(moved for _, moved in seen)
    assert all(later - sooner <= 100 for (_, sooner), (_, later) in itertools.pairwise(seen))
    assert queue.dead_bulk("mail") == DeadBulk(
        id=begun.id,
        kind="retry",
        filter=DeadFilter(queue_id="bob"),
        state="done",
        started=started,
        moved=250,
        left=0,
        conflicts=0,
        limit=None,
    )
    assert names(queue.dead_page("mail")) == ["late"]
    assert queue.queue_length("mail", "bob") == 250
    assert queue.advance_dead("mail") is False
    clock.advance(3_600_000)
    queue.sweep()


def test_a_bulk_can_be_cancelled(queue: Face) -> None:
    assert queue.cancel_dead("mail") is False
    assert queue.dead_bulk("mail") is None
    kill(queue, *(f"j{n}" for n in range(150)))
    queue.begin_dead("mail", "delete", limit=140)
    assert queue.advance_dead("mail") is True
    assert queue.cancel_dead("mail") is True
    assert queue.advance_dead("mail") is False
    bulk = queue.dead_bulk("mail")
    assert (bulk.state, bulk.kind, bulk.moved, bulk.limit) == ("cancelled", "delete", 100, 140)
    assert len(queue.dead_page("mail").letters) == 50
    assert queue.begin_dead("mail", "delete").begun


@pytest.mark.parametrize(
    ("kind", "wanted", "limit"),
    [
        ("try", None, None),
        (None, None, None),
        ("retry", {}, None),
        ("retry", {"queue_id": None}, None),
        ("retry", {"type": "A"}, None),
        ("retry", "bob", None),
        ("retry", {"reason": "dead"}, None),
        ("retry", None, 0),
        ("retry", None, True),
    ],
)
def test_a_bulk_that_is_not_valid_is_refused(
    queue: Face, kind: Any, wanted: Any, limit: Any
) -> None:
    with pytest.raises(BadArgumentException):
        queue.begin_dead("mail", kind, wanted, limit)
    assert queue.dead_bulk("mail") is None


def test_a_filter_may_be_a_named_tuple(queue: Face) -> None:
    kill(queue, "a", error={"type": "A"})
    queue.begin_dead("mail", "delete", DeadFilter(error="A"))
    while queue.advance_dead("mail"):
        pass
    assert queue.dead_bulk("mail").moved == 1


def test_a_full_bound_lets_the_oldest_fall_out(
    clean_store: PrivateStore, open_face: Opener
) -> None:
    queue = open_face(settings_for(clean_store, dead_max_jobs=2))
    kill(queue, *"abc")
    assert names(queue.dead_page("mail")) == [*"cb"]
    assert queue.job_status("mail", "bob", "a").state == NOT_FOUND
