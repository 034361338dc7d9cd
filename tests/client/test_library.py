"""The library on a real store: the original's interface, and what is newer, through both faces."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import sharq.exceptions
from sharq import REMOVE, AsyncSharQ, Batch, Settings, SharQ
from sharq.errors import (
    BadArgumentException,
    ConfigError,
    EmbeddedStoreError,
    JobConflict,
    PayloadTooLarge,
    StoreDenied,
    StoreUnavailable,
)
from sharq.results import (
    ACTIVE,
    ALREADY_FINISHED,
    CONFLICT,
    DEAD,
    DUPLICATE,
    FINISHED,
    FULL,
    INVALID,
    JOB_ACTIVE,
    NOT_ACTIVE,
    NOT_FOUND,
    QUEUED,
    STALE_LEASE,
    SUCCESS,
    Cleared,
    Ended,
    Enqueued,
    Extended,
    JobOptions,
    JobStatus,
    NewJob,
    Overview,
    Pause,
    QueueMetrics,
    QueuePage,
)
from tests.support.cases import cases
from tests.support.direct import CLOCKED_SCRIPTS
from tests.support.faces import (
    FACES,
    Face,
    HandClock,
    Opener,
    embedded,
    kill_process,
    opener,
    process_runs,
    run,
    settings_for,
)
from tests.support.stores import PrivateStore, free_port, wait_for

MINUTE = 60_000
QUEUE = {"queue_id": "bob", "queue_type": "mail"}
SUCCEEDED = {"status": "success"}
FAILED = {"status": "failure"}


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


def enqueue(queue: Face, job_id: str, payload: Any = None, interval: int = 0, **named: Any) -> Any:
    return queue.enqueue(payload, interval, job_id, **(QUEUE | named))


# ---- the original's methods, whole ----


def test_an_enqueued_job_is_dequeued_and_finished(queue: Face) -> None:
    payload = {"message": "hello, world", "to": [1, 2.5, None, True, "é😀"]}
    assert queue.enqueue(
        payload=payload, interval=1000, job_id="j1", queue_id="user001", queue_type="sms"
    ) == {"status": "queued"}
    assert queue.dequeue(queue_type="sms") == {
        "status": "success",
        "queue_id": "user001",
        "job_id": "j1",
        "payload": payload,
        "requeues_remaining": -1,
    }
    assert queue.finish(job_id="j1", queue_id="user001", queue_type="sms") == SUCCEEDED
    assert queue.finish(job_id="j1", queue_id="user001", queue_type="sms") == FAILED


def test_the_arguments_have_the_original_order_and_defaults(queue: Face) -> None:
    assert queue.enqueue("p", 0, "j1", "q1", "default", 3) == {"status": "queued"}
    assert queue.enqueue("p", 0, "j2", "q1") == {"status": "queued"}
    assert queue.dequeue() == {
        "status": "success",
        "queue_id": "q1",
        "job_id": "j1",
        "payload": "p",
        "requeues_remaining": 3,
    }
    assert queue.finish("j1", "q1") == SUCCEEDED
    assert queue.interval(5, "q1") == SUCCEEDED
    assert queue.metrics("default", "q1")["queue_length"] == 1
    assert queue.get_queue_length("default", "q1") == 1
    assert queue.clear_queue("default", "q1", True)["status"] == "Success"


def test_nothing_ready_is_a_failure(queue: Face) -> None:
    assert queue.dequeue() == FAILED
    assert queue.dequeue("unheard-of") == FAILED


def test_what_is_not_active_cannot_be_finished(queue: Face) -> None:
    assert queue.finish("j1", **QUEUE) == FAILED
    enqueue(queue, "j1")
    assert queue.finish("j1", **QUEUE) == FAILED
    assert queue.get_queue_length("mail", "bob") == 1


def test_two_dispatches_are_an_interval_apart(queue: Face, clock: HandClock) -> None:
    for job_id in ("j1", "j2"):
        enqueue(queue, job_id, interval=100)
    assert queue.dequeue("mail")["job_id"] == "j1"
    clock.advance(99)
    assert queue.dequeue("mail") == FAILED
    clock.advance(1)
    assert queue.dequeue("mail")["job_id"] == "j2"


def test_an_interval_is_changed_at_once(queue: Face, clock: HandClock) -> None:
    assert queue.interval(10, **QUEUE) == FAILED
    for job_id in ("j1", "j2"):
        enqueue(queue, job_id, interval=3_600_000)
    queue.dequeue("mail")
    assert queue.interval(interval=10, **QUEUE) == SUCCEEDED
    clock.advance(10)
    assert queue.dequeue("mail")["job_id"] == "j2"


@pytest.mark.parametrize(
    ("limit", "remaining"), [(0, [0]), (2, [2, 1, 0]), (-1, [-1, -1, -1, -1, -1])]
)
def test_expired_jobs_are_requeued(
    queue: Face, clock: HandClock, limit: int, remaining: list[int]
) -> None:
    enqueue(queue, "j1", requeue_limit=limit)
    seen = []
    for expiries in range(5):
        answer = queue.dequeue("mail")
        if expiries >= 3:
            # It may be the job that ends its workers: it waits for the backoff.
            assert answer == FAILED
            clock.advance(30_000)
            answer = queue.dequeue("mail")
        if answer == FAILED:
            break
        seen.append(answer["requeues_remaining"])
        clock.advance(59_999)
        assert queue.requeue() is None
        assert queue.dequeue("mail") == FAILED
        clock.advance(1)
        assert queue.requeue() is None
    assert seen == remaining


def minutes_until(now: int) -> list[str]:
    return [str(now // MINUTE * MINUTE - ago * MINUTE) for ago in range(10)]


def test_the_metrics_of_all(queue: Face, clock: HandClock) -> None:
    zeros = dict.fromkeys(minutes_until(clock.now), 0)
    assert queue.metrics() == {
        "status": "success",
        "queue_types": [],
        "enqueue_counts": zeros,
        "dequeue_counts": zeros,
    }
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id)
    enqueue(queue, "j1", queue_type="post")
    clock.advance(MINUTE)
    queue.dequeue("mail")
    zeros = dict.fromkeys(minutes_until(clock.now), 0)
    metrics = queue.metrics()
    assert sorted(metrics.pop("queue_types")) == ["mail", "post"]
    assert metrics == {
        "status": "success",
        "enqueue_counts": zeros | {str(clock.now - MINUTE): 4},
        "dequeue_counts": zeros | {str(clock.now): 1},
    }


def test_the_metrics_of_a_type(queue: Face) -> None:
    assert queue.metrics("mail") == {"status": "success", "queue_ids": []}
    enqueue(queue, "j1")
    enqueue(queue, "j2", queue_id="eve")
    enqueue(queue, "j3", queue_id="eve")
    queue.dequeue("mail")
    metrics = queue.metrics(queue_type="mail")
    assert sorted(metrics.pop("queue_ids")) == ["bob", "eve"]
    assert metrics == SUCCEEDED


def test_the_metrics_of_a_queue(queue: Face, clock: HandClock) -> None:
    zeros = dict.fromkeys(minutes_until(clock.now), 0)
    unknown = {"status": "success", "queue_length": 0}
    unknown |= {"enqueue_counts": zeros, "dequeue_counts": zeros}
    assert queue.metrics(**QUEUE) == unknown
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id)
    queue.dequeue("mail")
    assert queue.metrics(queue_id="bob", queue_type="mail") == {
        "status": "success",
        "queue_length": 2,
        "enqueue_counts": zeros | {str(clock.now): 3},
        "dequeue_counts": zeros | {str(clock.now): 1},
    }


NOTHING_CLEARED = {"status": "Failure", "message": "No queued calls found"}
CLEARED = {"status": "Success", "message": "Successfully removed all queued calls"}
PURGED = {
    "status": "Success",
    "message": "Successfully removed all queued calls and purged related resources",
}


@pytest.mark.parametrize(
    ("purge", "cleared"),
    [({}, CLEARED), ({"purge_all": False}, CLEARED), ({"purge_all": True}, PURGED)],
)
def test_a_queue_is_cleared(queue: Face, purge: dict[str, bool], cleared: dict[str, str]) -> None:
    assert queue.clear_queue(**QUEUE, **purge) == NOTHING_CLEARED
    for job_id in ("j1", "j2"):
        enqueue(queue, job_id)
    assert queue.clear_queue(**QUEUE, **purge) == cleared
    assert queue.clear_queue(**QUEUE, **purge) == NOTHING_CLEARED
    assert queue.dequeue("mail") == FAILED


def test_a_purge_ends_the_leases(queue: Face) -> None:
    enqueue(queue, "j1")
    queue.dequeue("mail")
    assert queue.clear_queue(**QUEUE) == NOTHING_CLEARED
    assert queue.clear_queue(**QUEUE, purge_all=1) == PURGED
    assert queue.finish("j1", **QUEUE) == FAILED


def test_the_length_counts_waiting_jobs(queue: Face) -> None:
    assert queue.get_queue_length("mail", "bob") == 0
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id)
    queue.dequeue("mail")
    assert queue.get_queue_length(queue_type="mail", queue_id="bob") == 2


def test_a_deep_status_is_true(queue: Face) -> None:
    assert queue.deep_status() is True


def test_a_duplicate_changes_nothing(queue: Face, clock: HandClock) -> None:
    enqueue(queue, "j1", {"a": 1}, interval=5)
    assert enqueue(queue, "j1", {"a": 1}, interval=50) == {"status": "queued"}
    queue.dequeue("mail")
    assert enqueue(queue, "j1", {"a": 1}) == {"status": "queued"}
    assert queue.get_queue_length("mail", "bob") == 0
    assert sum(queue.metrics()["enqueue_counts"].values()) == 1
    assert queue.queue_metrics("mail", "bob").interval == 5


def test_another_payload_under_the_same_id_is_a_conflict(queue: Face) -> None:
    enqueue(queue, "j1", {"a": 1})
    for _ in range(2):
        with pytest.raises(JobConflict) as caught:
            enqueue(queue, "j1", {"a": 2})
        assert isinstance(caught.value, sharq.exceptions.SharqException)
        queue.dequeue("mail")
    assert queue.finish("j1", **QUEUE) == SUCCEEDED
    assert enqueue(queue, "j1", {"a": 2}) == {"status": "queued"}


# ---- payloads ----


@pytest.mark.parametrize(
    "payload",
    [
        *(None, True, 0, -1.5, 10**40, 2**64, 1e300, "", 'x\x00\n"\\/é😀', [], {}),
        *({"b": [{"a": {}}], "a": 1}, {"": ""}),
    ],
    ids=repr,
)
def test_a_payload_comes_back(queue: Face, payload: Any) -> None:
    enqueue(queue, "j1", payload)
    returned = queue.dequeue("mail")["payload"]
    assert json.dumps(returned) == json.dumps(payload)


def test_a_tuple_comes_back_as_a_list(queue: Face) -> None:
    enqueue(queue, "j1", (1, (2, {"a": (3,)})))
    assert queue.dequeue("mail")["payload"] == [1, [2, {"a": [3]}]]


@pytest.mark.parametrize(
    "payload",
    [b"x", date(2014, 1, 1), {1}, {1: 2}, math.nan, math.inf, object(), [{"a": b""}]],
    ids=lambda payload: repr(payload).partition(" at 0x")[0],
)
def test_what_json_cannot_hold_is_refused(queue: Face, payload: Any) -> None:
    with pytest.raises(
        BadArgumentException, match=r"^`payload` (has an invalid value: |is not valid JSON: )"
    ):
        enqueue(queue, "j1", payload)
    assert queue.get_queue_length("mail", "bob") == 0


def test_a_payload_may_be_as_large_as_the_settings_say(queue: Face) -> None:
    largest = "x" * (1_048_576 - 2)
    enqueue(queue, "j1", largest)
    assert queue.dequeue("mail")["payload"] == largest
    with pytest.raises(PayloadTooLarge, match="larger than 1048576 bytes"):
        enqueue(queue, "j2", largest + "x")


# ---- bad arguments ----

BAD_NAMES = ["s!ms_queue", "s ms", "", "a" * 101, "a\n", "a:b", "{a}", "é", None, 5, b"a"]
INTERVALS = ["100", "$#", "", -1, 1.0005, None, True, 31_536_000_001]
LIMITS = ["100", "", -2, 1.5, True, 2**63]


def bad_arguments() -> Iterator[tuple[str, dict[str, Any], str]]:
    """A method, its arguments and the one that is complained of."""
    job = {"job_id": "j1", **QUEUE}
    new = {"payload": {}, "interval": 5000, **job}
    of_type = {"queue_type": "mail"}
    methods: dict[str, dict[str, Any]] = {
        "enqueue": new,
        "dequeue": of_type,
        "finish": job,
        "interval": {"interval": 5, **QUEUE},
        "clear_queue": QUEUE,
        "get_queue_length": QUEUE,
    }
    for method, arguments in methods.items():
        for field in arguments.keys() & {"job_id", "queue_id", "queue_type"}:
            for name in BAD_NAMES:
                yield method, arguments | {field: name}, field
    for name in [name for name in BAD_NAMES if name is not None]:
        yield "metrics", {"queue_type": name}, "queue_type"
        yield "metrics", {"queue_type": "mail", "queue_id": name}, "queue_id"
    for interval in INTERVALS:
        yield "enqueue", new | {"interval": interval}, "interval"
        yield "interval", QUEUE | {"interval": interval}, "interval"
    for limit in LIMITS:
        yield "enqueue", new | {"requeue_limit": limit}, "requeue_limit"


def test_a_bad_argument_is_named(queue: Face) -> None:
    for method, arguments, field in bad_arguments():
        with pytest.raises(BadArgumentException) as caught:
            getattr(queue, method)(**arguments)
        assert str(caught.value) == f"`{field}` has an invalid value.", (method, arguments)
        assert type(caught.value) is sharq.exceptions.BadArgumentException


@pytest.mark.parametrize(
    ("method", "order"),
    [
        ("enqueue", ["interval", "job_id", "queue_id", "queue_type", "requeue_limit", "payload"]),
        ("finish", ["job_id", "queue_id", "queue_type"]),
        ("interval", ["interval", "queue_id", "queue_type"]),
        ("metrics", ["queue_id", "queue_type"]),
        ("clear_queue", ["queue_id", "queue_type"]),
        ("get_queue_length", ["queue_type", "queue_id"]),
    ],
)
def test_of_several_bad_arguments_the_original_first_is_named(
    queue: Face, method: str, order: list[str]
) -> None:
    bad: dict[str, Any] = dict.fromkeys(order, "no name")
    good: dict[str, Any] = {"interval": 5, "requeue_limit": 1, "job_id": "j1", **QUEUE}
    for field in order:
        arguments = bad | ({"payload": {1: 2}} if "payload" in order else {})
        with pytest.raises(BadArgumentException, match=f"^`{field}` has an invalid value"):
            getattr(queue, method)(**arguments)
        bad[field] = good.get(field)


def test_a_queue_id_needs_its_type(queue: Face) -> None:
    with pytest.raises(BadArgumentException) as caught:
        queue.metrics(queue_id="bob")
    assert str(caught.value) == "`queue_id` should be accompanied by `queue_type`."


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("enqueue", {"payload": {}, "interval": 1, "job_id": "j1"}),
        ("enqueue", {"payload": {}, "interval": 1, "queue_id": "bob"}),
        ("enqueue", {"payload": {}, "job_id": "j1", "queue_id": "bob"}),
        ("finish", {"job_id": "j1"}),
        ("finish", {"queue_id": "bob"}),
        ("interval", {"interval": 5}),
        ("interval", {"queue_id": "bob"}),
    ],
)
def test_a_missing_argument_is_an_error_of_type(
    queue: Face, method: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        getattr(queue, method)(**arguments)


def test_names_that_sound_like_keys_are_names(queue: Face) -> None:
    for name in ("active", "payload", "interval", "ready", "time", "void", "q", "types"):
        names = {"queue_id": name, "queue_type": name}
        queue.enqueue(name, 0, name, **names)
        answer = queue.dequeue(name)
        assert (answer["queue_id"], answer["job_id"], answer["payload"]) == (name, name, name)
        assert queue.finish(name, **names) == SUCCEEDED


# ---- what is newer ----


def submit(queue: Face, job_id: str, payload: bytes = b"1", **named: Any) -> Any:
    return queue.submit(queue.new_job(payload, 0, job_id, "bob", "mail", **named))


def test_a_job_is_submitted_with_what_became_of_it(queue: Face) -> None:
    assert submit(queue, "j1", b' {"a": 1} ') == Enqueued(QUEUED, 0)
    assert submit(queue, "j2") == Enqueued(QUEUED, 1)
    assert submit(queue, "j1", b'{"a": 1}') == Enqueued(DUPLICATE, 2)
    assert submit(queue, "j1", b'{"a":1}') == Enqueued(CONFLICT, 2)
    assert submit(queue, "j3", max_queued_length=2) == Enqueued(FULL, 2)
    assert submit(queue, "j3", max_queued_length=3) == Enqueued(QUEUED, 2)


def test_a_job_has_options_by_name(queue: Face) -> None:
    job = queue.new_job(b"1", Decimal("2.50"), "j1", "bob", "mail", cost=3, group=REMOVE)
    assert (job.interval, job.options) == (2.5, JobOptions(group=REMOVE, cost=3))
    job = queue.new_job(b"1", 5.0, "j1", "bob", "mail")
    assert (type(job.interval), job.interval, job.options) == (int, 5, None)
    full = {"burst": 2, "concurrency": 3, "group": "g", "cost": 4, "priority": 5, "delay": 0}
    assert queue.submit(queue.new_job(b"1", 0, "j1", "bob", "mail", **full)) == Enqueued(QUEUED, 0)
    with pytest.raises(BadArgumentException, match="`priority`"):
        queue.new_job(b"1", 0, "j1", "bob", "mail", priority=10)
    with pytest.raises(TypeError):
        queue.new_job(b"1", 0, "j1", "bob", "mail", None, None, 2)


def test_many_jobs_are_submitted_in_order(queue: Face) -> None:
    jobs = [queue.new_job(b"%d" % at, 0, f"j{at}", "bob", "mail") for at in range(250)]
    jobs.insert(100, queue.new_job(b"0", 0, "j0", "bob", "mail"))
    jobs.insert(200, queue.new_job(b"0", 0, "j0", "eve", "post", max_queued_length=0))
    answers = queue.submit_many(jobs)
    assert answers[100].outcome == DUPLICATE
    assert answers[200] == Enqueued(FULL, 0)
    del answers[200], answers[100]
    assert answers == [Enqueued(QUEUED, at) for at in range(250)]
    batches = [queue.take("mail", 100) for _ in range(3)]
    assert [job.payload for batch in batches for job in batch.jobs] == [
        b"%d" % at for at in range(250)
    ]


def test_a_batch_has_leases(queue: Face, clock: HandClock) -> None:
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id, {"id": job_id}, requeue_limit=1)
    batch = queue.take("mail", count=2)
    assert isinstance(batch, Batch)
    assert [(job.queue_type, job.queue_id, job.job_id) for job in batch.jobs] == [
        ("mail", "bob", "j1"),
        ("mail", "bob", "j2"),
    ]
    first = batch.jobs[0]
    assert (first.requeues_remaining, first.attempt, first.current_queue_length) == (1, 1, 2)
    assert first.lease.startswith("mail/bob/j1/")
    assert json.loads(first.payload) == {"id": "j1"}
    assert len(queue.take("mail", 2)) == 1
    assert len(queue.take("mail")) == 0
    assert queue.take("mail").wait_us is None
    enqueue(queue, "j4", interval=50)
    enqueue(queue, "j5", interval=50)
    assert queue.take("mail", 2).wait_us == 50_000


def test_a_request_is_answered_with_the_same_jobs(queue: Face) -> None:
    for job_id in ("j1", "j2"):
        enqueue(queue, job_id)
    leases = [job.lease for job in queue.take("mail", request_id="r1").jobs]
    assert [job.lease for job in queue.take("mail", request_id="r1").jobs] == leases
    assert queue.take("mail", request_id="r2").jobs[0].job_id == "j2"


def test_a_stale_lease_ends_nothing(queue: Face, clock: HandClock) -> None:
    enqueue(queue, "j1")
    stale = queue.take("mail").jobs[0].lease
    clock.advance(60_000)
    assert queue.sweep() == 1
    lease = queue.take("mail").jobs[0].lease
    job = ("mail", "bob", "j1")
    assert queue.finish_job(*job, stale) == Ended(STALE_LEASE)
    assert queue.extend_job(*job, 5, stale) == Extended(STALE_LEASE, 0)
    assert queue.release_job(*job, stale) == Ended(STALE_LEASE)
    assert queue.finish_job(*job, lease=lease) == Ended(SUCCESS)
    assert queue.finish_job(*job, lease) == Ended(ALREADY_FINISHED)
    assert queue.finish_job("mail", "bob", "j2") == Ended(NOT_ACTIVE)


def test_a_job_is_released(queue: Face, clock: HandClock) -> None:
    job = ("mail", "bob", "j1")
    enqueue(queue, "j1", requeue_limit=1)
    queue.take("mail")
    assert queue.release_job(*job, delay=500, count_requeue=False) == Ended(SUCCESS)
    assert queue.dequeue("mail") == FAILED
    clock.advance(500)
    assert queue.dequeue("mail")["requeues_remaining"] == 1
    assert queue.release_job(*job) == Ended(SUCCESS)
    lease = queue.take("mail").jobs[0].lease
    assert queue.release_job(*job, lease) == Ended(DEAD)
    assert queue.job_status(*job).state == DEAD


LEVELS: list[dict[str, Any]] = [{"queue_id": "bob"}, {"group_id": "g"}, {}]


def test_the_real_cost_is_told_with_the_end_of_a_lease(queue: Face) -> None:
    for at in range(4):
        queue.submit(queue.new_job(b"1", 1000, f"j{at}", "bob", "mail", burst=9))
    leases = [job.lease for job in queue.take("mail", 4).jobs]
    owed = queue.limits("mail", "bob").tat
    assert queue.finish_job("mail", "bob", "j0", leases[0], cost=3) == Ended(SUCCESS)
    assert queue.finish_many([leases[1], "x"], cost=4) == [Ended(SUCCESS), Ended(INVALID)]
    assert queue.release_job("mail", "bob", "j2", leases[2], cost=5) == Ended(SUCCESS)
    assert queue.release_many([leases[3]], 500, False, cost=6) == [Ended(SUCCESS)]
    assert queue.limits("mail", "bob").tat - owed == 1000 * (2 + 3 + 4 + 5)


@pytest.mark.parametrize("level", LEVELS)
def test_a_release_may_pause(queue: Face, clock: HandClock, level: dict[str, Any]) -> None:
    scope = {"queue_id": "queue", "group_id": "group"}[next(iter(level))] if level else "type"
    for at in range(2):
        queue.submit(queue.new_job(b"1", 0, f"j{at}", "bob", "mail", 0, group="g"))
    first, second = queue.take("mail", 2).jobs
    now = clock.now
    released = queue.release_job("mail", "bob", "j0", first.lease, pause=500, pause_scope=scope)
    assert released == Ended(SUCCESS), "no requeue is left, but it does not count"
    assert queue.limits("mail", **level).pause == Pause(now + 500, None, "worker")
    released = queue.release_many([second.lease], pause=800, pause_scope=scope)
    assert released == [Ended(SUCCESS)]
    assert queue.limits("mail", **level).pause == Pause(now + 800, None, "worker")
    clock.advance(799)
    assert not queue.take("mail")


def test_a_lease_is_extended(queue: Face, clock: HandClock) -> None:
    job = ("mail", "bob", "j1")
    enqueue(queue, "j1")
    lease = queue.take("mail").jobs[0].lease
    assert queue.extend_job(*job, 1000) == Extended(SUCCESS, 60_000)
    assert queue.extend_job(*job, by=90_000, lease=lease) == Extended(SUCCESS, 90_000)
    clock.advance(89_999)
    assert queue.sweep() == 0
    clock.advance(1)
    assert queue.sweep() == 1


@pytest.mark.parametrize("level", LEVELS)
def test_limits_are_set_shown_and_given_back(queue: Face, level: dict[str, Any]) -> None:
    queue.set_limits("mail", **level, interval=Decimal("2.5"), burst=3, reason="a b")
    queue.set_limits("mail", **level, concurrency=2, burst=REMOVE)
    limits = queue.limits("mail", **level)
    assert (limits.interval, limits.burst, limits.concurrency) == (2.5, None, 2)
    assert (limits.set_by["interval"], limits.set_by["burst"], limits.reason) == (
        "api",
        None,
        "a b",
    )
    assert (limits.queue_length is None) == ("queue_id" not in level)
    queue.reset_limits("mail", **level)
    limits = queue.limits("mail", **level)
    assert (limits.interval, limits.concurrency, limits.reason) == (None, None, None)


@pytest.mark.parametrize("level", LEVELS)
def test_a_pause_holds_until_it_is_resumed(queue: Face, level: dict[str, Any]) -> None:
    queue.submit(queue.new_job(b"1", 0, "j1", "bob", "mail", group="g"))
    queue.pause("mail", **level, reason="not now")
    assert queue.limits("mail", **level).pause == Pause(None, "not now", "api")
    assert not queue.take("mail")
    queue.resume("mail", **level)
    assert queue.limits("mail", **level).pause is None
    assert len(queue.take("mail")) == 1


def test_a_pause_ends_by_the_stores_clock(queue: Face, clock: HandClock) -> None:
    enqueue(queue, "j1")
    queue.pause("mail", "bob", duration=500)
    pause = queue.limits("mail", "bob").pause
    assert pause is not None
    assert pause.until == clock.now + 500
    clock.advance(499)
    assert not queue.take("mail")
    clock.advance(1)
    assert len(queue.take("mail")) == 1


def test_an_estimate_changes_nothing(queue: Face) -> None:
    for at in range(3):
        enqueue(queue, f"j{at}", interval=1000)
    estimate = queue.estimate("mail", "bob", interval=10)
    assert estimate.drains_in < estimate.drained_in_before
    assert queue.limits("mail", "bob").interval == 1000


def test_a_level_is_a_queue_or_a_group(queue: Face) -> None:
    with pytest.raises(BadArgumentException, match="cannot be given together"):
        queue.pause("mail", "bob", group_id="g")
    with pytest.raises(BadArgumentException, match="`group` is a value of a queue"):
        queue.set_limits("mail", group="g", burst=2)


def test_a_job_tells_where_it_stands(queue: Face, clock: HandClock) -> None:
    job = ("mail", "bob", "j2")
    assert queue.job_status(*job) == JobStatus(NOT_FOUND)
    for job_id in ("j1", "j2"):
        enqueue(queue, job_id, interval=100)
    assert queue.job_status(*job) == JobStatus(
        QUEUED, position=1, ready_in=100, eta=100, held_by="nothing"
    )
    queue.dequeue("mail")
    clock.advance(100)
    queue.dequeue("mail")
    clock.advance(1)
    assert queue.job_status(*job) == JobStatus(ACTIVE, lease_expires_in=59_999)
    queue.finish("j2", **QUEUE)
    assert queue.job_status(*job) == JobStatus(FINISHED)


def test_an_interval_stands_until_it_is_given_back(queue: Face) -> None:
    assert queue.set_interval("mail", "bob", 7) is False
    assert queue.reset_interval("mail", "bob") is False
    enqueue(queue, "j1", interval=5)
    assert queue.set_interval("mail", "bob", 7) is True
    enqueue(queue, "j2", interval=5)
    assert queue.queue_metrics("mail", "bob").interval == 7
    assert queue.reset_interval("mail", "bob") is True
    enqueue(queue, "j3", interval=5)
    assert queue.queue_metrics("mail", "bob").interval == 5


def test_a_clear_tells_what_it_removed(queue: Face) -> None:
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id)
    queue.dequeue("mail")
    assert queue.clear("mail", "bob") == Cleared(2, 0)
    assert queue.clear("mail", "bob", purge_all=True) == Cleared(0, 1)
    assert queue.clear("mail", "bob") == Cleared(0, 0)


def test_a_job_is_cancelled(queue: Face) -> None:
    for job_id in ("j1", "j2"):
        enqueue(queue, job_id)
    lease = queue.take("mail").jobs[0].lease
    assert queue.cancel_job("mail", "bob", "j1") == Ended(JOB_ACTIVE)
    assert queue.cancel_job("mail", "bob", "j2") == Ended(SUCCESS)
    assert queue.cancel_job("mail", "bob", "j2") == Ended(NOT_FOUND)
    assert queue.cancel_job("mail", "bob", "j1", lease=lease) == Ended(SUCCESS)
    assert queue.finish_job("mail", "bob", "j1", lease) == Ended(NOT_ACTIVE)
    assert queue.queue_length("mail", "bob") == 0


def test_waiting_jobs_and_queues_come_in_pages(queue: Face) -> None:
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id)
    first = queue.job_page("mail", "bob", count=2)
    assert [job.job_id for job in first.jobs] == ["j1", "j2"]
    rest = queue.job_page("mail", "bob", first.cursor)
    assert [(job.job_id, job.position) for job in rest.jobs] == [("j3", 2)]
    assert rest.cursor is None
    queues = queue.queue_page("mail")
    assert queues.queue_ids == ["bob"]
    assert queue.queue_page("mail", queues.cursor, 5) == QueuePage([], None)


def test_the_numbers_of_a_queue(queue: Face, clock: HandClock) -> None:
    zeros = {int(minute): 0 for minute in minutes_until(clock.now)}
    assert queue.queue_metrics("mail", "bob") == QueueMetrics(0, 0, None, None, None, zeros, zeros)
    for job_id in ("j1", "j2", "j3"):
        enqueue(queue, job_id, interval=100)
    queue.dequeue("mail")
    clock.advance(30)
    assert queue.queue_metrics("mail", "bob") == QueueMetrics(
        queue_length=2,
        active_count=1,
        interval=100,
        interval_set_by="enqueue",
        next_ready_in=70,
        enqueue_counts=zeros | {clock.now - 30: 3},
        dequeue_counts=zeros | {clock.now - 30: 1},
        held_by="interval",
        ready_in=70,
    )
    assert queue.overview() == Overview(
        ["mail"], zeros | {clock.now - 30: 3}, zeros | {clock.now - 30: 1}
    )
    assert queue.queue_ids("mail") == ["bob"]
    assert queue.queue_length("mail", "bob") == 2


def test_a_ping_has_nothing_to_say(queue: Face) -> None:
    assert queue.ping() is None


# ---- the store, beside the queue ----


def test_the_redis_client_reaches_the_same_store(queue: Face) -> None:
    client = queue.redis_client()
    assert queue.redis_client() is client
    enqueue(queue, "j1")
    keys = run(queue, client.keys("{library:mail}*"))
    assert b"{library:mail}:q:bob" in keys
    assert run(queue, client.ping()) is True


def test_the_queue_goes_on_after_the_scripts_were_flushed(
    queue: Face, clean_store: PrivateStore
) -> None:
    enqueue(queue, "j1")
    clean_store.client.script_flush()
    assert queue.dequeue("mail")["job_id"] == "j1"


def test_the_scripts_are_read_again(
    open_face: Opener, clean_store: PrivateStore, clock: HandClock
) -> None:
    queue = open_face(settings_for(clean_store), scripts=CLOCKED_SCRIPTS)
    enqueue(queue, "j1")
    clean_store.client.script_flush()
    queue.reload_lua_scripts()
    # What it was made with is left behind for what is on the disk: the store's own clock.
    latest = max(int(minute) for minute in queue.metrics()["enqueue_counts"])
    assert latest // MINUTE == pytest.approx(time.time() // 60, abs=1)
    assert queue.get_queue_length("mail", "bob") == 1


# ---- configuration ----

ORIGINAL = """
[sharq]
job_expire_interval       : {lease} ; in milliseconds
job_requeue_interval      : 1000 ; in milliseconds
default_job_requeue_limit : {limit} ; -1 is for ever

[sharq-server]
host                      : 127.0.0.1
port                      : 8080
workers                   : 1 ; optional
accesslog                 : /tmp/sharq.log ; optional

[redis]
db                        : 3
key_prefix                : sharq_server
conn_type                 : {conn_type} ; or unix_sock
;; unix connection settings
unix_socket_path          : {socket}
;; tcp connection settings
port                      : {port}
host                      : 127.0.0.1
password                  :
clustered                 : false
"""


def write_config(path: Path, store: PrivateStore, **values: Any) -> Path:
    values = {"lease": 1000, "limit": -1, "conn_type": "tcp_sock"} | values
    path.write_text(ORIGINAL.format(socket=store.socket_path, port=store.port, **values))
    return path


@pytest.mark.parametrize("conn_type", ["tcp_sock", "unix_sock"])
@pytest.mark.parametrize("kind", [str, Path, Settings.load])
def test_a_file_of_the_original_is_enough(
    open_face: Opener,
    clean_store: PrivateStore,
    tmp_path: Path,
    conn_type: str,
    kind: Callable[[Path], Any],
) -> None:
    path = write_config(tmp_path / "sharq.conf", clean_store, conn_type=conn_type, limit=7)
    queue = open_face(kind(path))
    assert queue.deep_status() is True
    enqueue(queue, "j1")
    assert queue.dequeue("mail")["requeues_remaining"] == 7
    assert queue.settings.sharq.job_expire_interval == 1000
    assert clean_store.connect(db=3).keys("{sharq_server:mail}:held") != []


def test_without_a_file_the_environment_tells(
    open_face: Opener, clean_store: PrivateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARQ_REDIS_UNIX_SOCKET_PATH", clean_store.socket_path)
    monkeypatch.setenv("SHARQ_REDIS_KEY_PREFIX", "elsewhere")
    queue = open_face()
    enqueue(queue, "j1")
    assert clean_store.client.exists("{elsewhere:mail}:q:bob")


@pytest.mark.parametrize("text", ["", "[sharq]\njob_expire_interval = soon\n", "no section"])
def test_a_bad_file_is_refused(open_face: Opener, tmp_path: Path, text: str) -> None:
    path = tmp_path / "sharq.conf"
    if text:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"sharq\.conf"):
        open_face(path)


def test_a_reload_changes_the_lease(
    open_face: Opener, clean_store: PrivateStore, clock: HandClock, tmp_path: Path
) -> None:
    path = write_config(tmp_path / "sharq.conf", clean_store)
    other = write_config(tmp_path / "other.conf", clean_store, lease=9000)
    queue = open_face(path, scripts=CLOCKED_SCRIPTS)
    clean_store.connect(db=3).set("{clock}us", clock.now * 1000)

    def lease_of(job_id: str) -> int:
        enqueue(queue, job_id)
        queue.dequeue("mail")
        left: int = queue.job_status("mail", "bob", job_id).lease_expires_in
        return left

    assert lease_of("j1") == 1000
    write_config(path, clean_store, lease=5000)
    assert lease_of("j2") == 1000
    queue.reload_config()
    assert lease_of("j3") == 5000
    queue.reload_config(str(other))
    assert lease_of("j4") == 9000
    write_config(other, clean_store, lease=2000)
    queue.reload_config()
    assert lease_of("j5") == 2000


def test_a_reload_of_a_bad_file_changes_nothing(
    open_face: Opener, clean_store: PrivateStore, tmp_path: Path
) -> None:
    path = write_config(tmp_path / "sharq.conf", clean_store)
    bad = write_config(tmp_path / "bad.conf", clean_store, lease="soon")
    queue = open_face(path)
    settings = queue.settings
    with pytest.raises(ConfigError, match="job_expire_interval"):
        queue.reload_config(bad)
    assert queue.settings is settings
    enqueue(queue, "j1")
    queue.reload_config()
    assert queue.settings == settings
    assert queue.get_queue_length("mail", "bob") == 1


def test_a_reload_can_go_over_to_another_store(
    open_face: Opener, clean_store: PrivateStore
) -> None:
    queue = open_face(settings_for(clean_store))
    enqueue(queue, "j1")
    client = queue.redis_client()
    with PrivateStore() as other:
        queue.reload_config(settings_for(other))
        assert queue.get_queue_length("mail", "bob") == 0
        assert queue.redis_client() is not client
        queue.reload_config(settings_for(clean_store))
        assert queue.get_queue_length("mail", "bob") == 1


# ---- a store that is away ----


def test_a_store_that_is_away_is_said_to_be_and_found_when_it_is_back(open_face: Opener) -> None:
    with PrivateStore(appendonly=True, appendfsync="always") as store:
        store.stop()
        queue = open_face(settings_for(store))
        acts: list[Callable[[], Any]] = [
            lambda: enqueue(queue, "j1"),
            lambda: queue.dequeue("mail"),
            queue.metrics,
            queue.requeue,
            queue.deep_status,
        ]
        for act in acts:
            with pytest.raises(StoreUnavailable):
                act()
        answers = queue.submit_many([NewJob("mail", "bob", "j1", b"1", 0, -1)])
        assert [type(answer) for answer in answers] == [StoreUnavailable]
        store.start()

        def is_back() -> bool:
            try:
                return bool(queue.deep_status())
            except StoreUnavailable:
                return False

        wait_for("the store is found", is_back)
        assert enqueue(queue, "j1") == {"status": "queued"}
        store.kill()
        store.start()
        wait_for("the store is found", is_back)
        assert queue.get_queue_length("mail", "bob") == 1


def test_a_port_where_nobody_listens_is_a_store_that_is_away(open_face: Opener) -> None:
    queue = open_face(Settings.from_mapping({"redis": {"port": free_port()}}))
    with pytest.raises(StoreUnavailable):
        queue.deep_status()


def test_a_wrong_password_is_told_from_a_store_that_is_away(open_face: Opener) -> None:
    with PrivateStore(requirepass="sesame") as store:
        redis_options = {"unix_socket_path": store.socket_path, "password": "sesame"}
        assert open_face(Settings.from_mapping({"redis": redis_options})).deep_status() is True
        redis_options["password"] = "open"
        with pytest.raises(StoreDenied):
            open_face(Settings.from_mapping({"redis": redis_options})).deep_status()


# ---- the end ----


@pytest.mark.parametrize("face", [SharQ, AsyncSharQ])
def test_what_is_closed_says_so(clean_store: PrivateStore, face: type) -> None:
    async def closed() -> AsyncSharQ:
        async with AsyncSharQ(settings_for(clean_store)) as queue:
            await queue.ping()
            queue.redis_client()
        await queue.aclose()
        return queue

    if face is SharQ:
        with SharQ(settings_for(clean_store)) as queue:
            queue.ping()
            queue.redis_client()
        queue.close()
        acts: list[Callable[[], Any]] = [queue.ping, queue.dequeue, queue.redis_client]
    else:
        late = asyncio.run(closed())
        acts = [
            lambda: asyncio.run(late.ping()),
            lambda: asyncio.run(late.dequeue()),
            late.redis_client,
        ]
    for act in acts:
        with pytest.raises(StoreUnavailable, match="closed"):
            act()


def test_it_leaves_no_connection(open_face: Opener, clean_store: PrivateStore) -> None:
    def clients() -> set[str]:
        return {client["id"] for client in clean_store.client.client_list()}

    before = clients()
    queue = open_face(settings_for(clean_store))
    queue.ping()
    # Held, so that nobody but the queue's end closes it.
    client = queue.redis_client()
    run(queue, client.ping())
    ours = clients() - before
    assert len(ours) == 2
    queue.close()
    wait_for("the connections are closed", lambda: ours.isdisjoint(clients()))
    del client


# ---- one queue, several threads and processes ----


def test_threads_share_a_queue(clean_store: PrivateStore) -> None:
    each, threads = 50, 8
    with SharQ(settings_for(clean_store)) as queue, ThreadPoolExecutor(threads) as pool:
        start = threading.Barrier(threads)

        def produce(name: str) -> None:
            start.wait()
            for at in range(each):
                enqueue(queue, f"{name}-{at}", {"name": name, "at": at}, queue_id=name)

        list(pool.map(produce, [f"p{at}" for at in range(threads)]))
        assert sum(queue.metrics()["enqueue_counts"].values()) == each * threads

        def consume(_: int) -> list[tuple[str, int]]:
            start.wait()
            seen = []
            while (answer := queue.dequeue("mail")) != FAILED:
                payload = answer["payload"]
                assert answer["job_id"] == f"{payload['name']}-{payload['at']}"
                assert queue.finish(answer["job_id"], answer["queue_id"], "mail") == SUCCEEDED
                seen.append((payload["name"], payload["at"]))
            return seen

        seen = [job for jobs in pool.map(consume, range(threads)) for job in jobs]
        assert sorted(seen) == sorted(
            (f"p{name}", at) for name in range(threads) for at in range(each)
        )


def in_a_child(act: Callable[[], Any]) -> int:
    """Run `act` in a forked child; its exit code, 0 where all went well."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_may_go_on_with_the_queue(clean_store: PrivateStore) -> None:
    with SharQ(settings_for(clean_store)) as queue:
        enqueue(queue, "j1")

        def child() -> None:
            assert queue.dequeue("mail")["job_id"] == "j1"
            assert queue.finish("j1", **QUEUE) == SUCCEEDED
            enqueue(queue, "j2")
            queue.close()

        assert in_a_child(child) == 0
        assert queue.dequeue("mail")["job_id"] == "j2"


# ---- the embedded store ----


def pid_of(queue: Face) -> int:
    info = run(queue, queue.redis_client().info("server"))
    return int(info["process_id"])


def test_two_queues_of_a_folder_share_its_store(open_face: Opener, tmp_path: Path) -> None:
    one, other = open_face(embedded(tmp_path / "data")), open_face(embedded(tmp_path / "data"))
    enqueue(one, "j1", {"a": 1})
    assert other.dequeue("mail")["payload"] == {"a": 1}
    pid = pid_of(one)
    assert pid_of(other) == pid
    one.close()
    assert other.finish("j1", **QUEUE) == SUCCEEDED
    assert process_runs(pid)
    other.close()
    wait_for("the store ends with its last user", lambda: not process_runs(pid))


def test_the_data_outlives_the_queue(open_face: Opener, tmp_path: Path) -> None:
    first = open_face(embedded(tmp_path))
    enqueue(first, "j1")
    first.close()
    assert open_face(embedded(tmp_path)).dequeue("mail")["job_id"] == "j1"


@pytest.mark.parametrize(
    "act",
    [
        lambda queue: queue.dequeue("mail")["job_id"] == "j1",
        lambda queue: queue.enqueue(1, 0, "j2", "bob", "a-new-type"),
        lambda queue: queue.deep_status(),
    ],
    ids=["one call", "a list of calls", "a call on every node"],
)
def test_a_store_that_has_died_is_started_again(
    open_face: Opener, tmp_path: Path, act: Callable[[Face], Any]
) -> None:
    queue = open_face(embedded(tmp_path))
    enqueue(queue, "j1")
    pid = pid_of(queue)
    kill_process(pid)
    assert act(queue)
    assert process_runs(pid_of(queue))


def test_a_call_under_way_when_the_store_dies_is_answered_by_the_next(tmp_path: Path) -> None:
    with SharQ(embedded(tmp_path)) as queue, ThreadPoolExecutor(1) as pool:
        enqueue(queue, "j1")
        pid = pid_of(queue)
        os.kill(pid, signal.SIGSTOP)
        length = pool.submit(queue.get_queue_length, "mail", "bob")
        wait_for("the call is under way", lambda: "_receive" in functions_that_run())
        kill_process(pid)
        assert length.result(10) == 1


def functions_that_run() -> set[str]:
    """The functions that the threads of this process are in."""
    return {frame.f_code.co_name for frame in sys._current_frames().values()}


def test_threads_at_the_same_time_start_a_dead_store_once(tmp_path: Path) -> None:
    threads = 8
    with SharQ(embedded(tmp_path)) as queue, ThreadPoolExecutor(threads) as pool:
        enqueue(queue, "j1")
        kill_process(pid_of(queue))
        start = threading.Barrier(threads)

        def ask(_: int) -> int:
            start.wait()
            return queue.get_queue_length("mail", "bob")

        assert list(pool.map(ask, range(threads))) == [1] * threads


def test_a_store_that_cannot_be_started_again_is_away(open_face: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    queue = open_face(embedded(folder))
    enqueue(queue, "j1")
    pid = pid_of(queue)
    kill_process(pid)
    folder.rename(tmp_path / "moved")
    folder.write_text("in the way")
    with pytest.raises(StoreUnavailable) as caught:
        queue.dequeue("mail")
    assert isinstance(caught.value.__cause__, EmbeddedStoreError)
    folder.unlink()
    (tmp_path / "moved").rename(folder)
    assert queue.dequeue("mail")["job_id"] == "j1"


def test_an_embedded_store_that_cannot_be_started_fails_the_start(
    open_face: Opener, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(EmbeddedStoreError, match="is not a folder"):
        open_face(embedded(tmp_path / "data"))


def test_a_reload_that_fails_keeps_the_store(open_face: Opener, tmp_path: Path) -> None:
    queue = open_face(embedded(tmp_path / "data"))
    enqueue(queue, "j1")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedStoreError, match="is not a folder"):
        queue.reload_config(embedded(tmp_path / "file"))
    assert queue.get_queue_length("mail", "bob") == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_take_the_store_with_it(tmp_path: Path) -> None:
    with SharQ(embedded(tmp_path)) as queue:
        pid = pid_of(queue)

        def child() -> None:
            enqueue(queue, "j1")
            queue.close()

        assert in_a_child(child) == 0
        assert queue.dequeue("mail")["job_id"] == "j1"
        assert pid_of(queue) == pid
    wait_for("the store ends with its last user", lambda: not process_runs(pid))


# ---- two faces, one interface ----

ONLY_BLOCKING = {"close"}
ONLY_ASYNC = {"start", "aclose"}
NO_COROUTINES = {"new_job", "redis_client"}


def members(face: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in vars(face).items()
        if not name.startswith("_") and callable(member)
    }


def public(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_")}


def test_what_a_face_has_is_in_the_reference() -> None:
    named = set(re.findall(r"`(?:sq\.|await )?(\w+)\(", REFERENCE.read_text()))
    assert public(SharQ) - named == {"over", "settings"}
    assert public(AsyncSharQ) - named - ONLY_ASYNC == {"over", "settings"}


def test_both_faces_have_the_same_methods() -> None:
    assert set(members(SharQ)) - set(members(AsyncSharQ)) == ONLY_BLOCKING
    assert set(members(AsyncSharQ)) - set(members(SharQ)) == ONLY_ASYNC


@cases("name", ["__init__", *sorted(members(SharQ).keys() - ONLY_BLOCKING)])
def test_a_method_is_the_same_on_both_faces(name: str) -> None:
    blocking, other = getattr(SharQ, name), getattr(AsyncSharQ, name)
    signature, of_other = inspect.signature(blocking), inspect.signature(other)
    assert list(signature.parameters.values()) == list(of_other.parameters.values())
    if name != "redis_client":
        assert signature.return_annotation == of_other.return_annotation
    assert inspect.getdoc(blocking) == inspect.getdoc(other)
    if name != "__init__":
        assert inspect.getdoc(blocking)
        assert inspect.iscoroutinefunction(other) is (name not in NO_COROUTINES)
        assert not inspect.iscoroutinefunction(blocking)


def test_the_client_is_of_the_kind_of_its_face() -> None:
    hints = [inspect.signature(face.redis_client).return_annotation for face in (SharQ, AsyncSharQ)]
    assert hints == [
        "redis.Redis | redis.RedisCluster",
        "redis.asyncio.Redis | redis.asyncio.RedisCluster",
    ]


# ---- the reference ----

REFERENCE = Path(sharq.__file__).parent.parent / "docs" / "library.md"


def test_the_examples_of_the_reference_are_right(
    clean_store: PrivateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "sharq.conf", clean_store)
    names: dict[str, Any] = {}
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    complaints: list[str] = []
    for at, block in enumerate(re.findall(r"```python\n(.*?)```", REFERENCE.read_text(), re.S)):
        if block.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block, names, f"example {at}", None, None)
            runner.run(test, out=complaints.append, clear_globs=False)
            names |= test.globs
        else:
            exec(compile(block, f"example {at}", "exec"), names)
    assert "".join(complaints) == ""
    assert runner.tries > 20


@cases("name", sorted(members(SharQ)))
def test_the_reference_knows_a_method(name: str) -> None:
    assert f"`{name}(" in REFERENCE.read_text()
