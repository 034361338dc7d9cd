"""Two versions on one store: without limits both write the same, and read what the other wrote."""

from __future__ import annotations

import re

import pytest

from sharq.results import Lease, NewJob
from tests.support.expiring import ExpiringQueue
from tests.support.hands import PREFIX, TYPE, new_job

TAG = f"{{{PREFIX}:{TYPE}}}"
NOW = 1_800_000_000_000

# What the version before, which knew no limits but intervals, reads.
STATE = re.compile(rb"\d+:\d+:\d+:\d+:\d+(:\d+:\d+:\d+:[01]:\d+(:\d+)?)? (\S+ \d+:-?\d+:\d+ .*)?")
WAITING = re.compile(rb"\d+:-?\d+:\d+ .*")
LEASED = re.compile(rb"\d+:[^:]*:\d+:-?\d+:\d+ .*")
GAP_OR_NAME = re.compile(rb"/\d+|[\w-]+")


def check_all_that_is_written(queue: ExpiringQueue) -> None:
    command = queue.store.command
    for key in queue.key_names():
        kind = key.removeprefix(TAG)
        if kind.startswith(":q:"):
            assert STATE.fullmatch(command("GET", key)), command("GET", key)
        elif kind.startswith(":j:"):
            fields = command("HGETALL", key)
            for name, value in zip(fields[::2], fields[1::2], strict=True):
                form = GAP_OR_NAME if name.startswith(b":") else WAITING
                assert form.fullmatch(value), (name, value)
        elif kind == ":held":
            assert all(LEASED.fullmatch(record) for record in command("HVALS", key))
        elif kind.startswith(":d:"):
            assert all(re.fullmatch(rb"\d+/[\w-]+", name) for name in command("ZRANGE", key, 0, -1))
        assert not kind.startswith(":limit")


def test_without_limits_everything_is_written_as_before(queue: ExpiringQueue) -> None:
    for interval in (0, 10, 1_000):
        queue.put_many(new_job(f"j{n}", f"q{interval}", interval=interval) for n in range(9))
    queue.set_interval(20, "q10")
    check_all_that_is_written(queue)
    for step in range(12):
        jobs = queue.take(2)
        check_all_that_is_written(queue)
        for job in jobs:
            (queue.finish if step % 3 else queue.release)(job)
        queue.advance(500)
        check_all_that_is_written(queue)
    (job,) = queue.take(1)
    queue.release(job, delay=700)
    waiting = next(n for n in range(9) if queue.status(f"j{n}", "q1000").state == "queued")
    queue.run(queue.operations.cancel(TYPE, [Lease(TYPE, "q1000", f"j{waiting}", "")]))
    check_all_that_is_written(queue)


@pytest.fixture
def old(queue: ExpiringQueue) -> ExpiringQueue:
    """A queue as the version before left it: a leased job, one given back, one delayed, a gap."""
    command = queue.store.command
    command("SET", f"{TAG}:q:q", f"10:{NOW + 10}:4:9:1:1:1:0:1:0:2 ")
    command(
        "HSET", f"{TAG}:j:q", "back", "1:-1:1 1", "late", "2:3:1 2", ":4", "new", "new", "4:5:0 4"
    )
    command("HSET", f"{TAG}:j:q", ":5", "/6", ":6", "/5", ":7", "j7", "j7", "7:-1:0 7")
    command("HSET", f"{TAG}:j:q", ":8", "j8", "j8", "8:-1:0 8")
    command("ZADD", f"{TAG}:r:q", 1, "back")
    command("ZADD", f"{TAG}:d:q", NOW + 25, "2/late")
    command("HSET", f"{TAG}:held", "q/held", "17::3:-1:0 3")
    command("ZADD", f"{TAG}:leases", NOW + 60_000, "q/held")
    command("ZADD", f"{TAG}:ready", NOW + 10, "q")
    return queue


def test_what_the_version_before_has_left_is_read(old: ExpiringQueue) -> None:
    assert old.metrics().queue_length == 5
    assert (old.metrics().interval, old.metrics().interval_set_by) == (10, "api")
    taken = []
    for _ in range(5):
        old.advance(10)
        taken += old.take_ids(5)
    assert taken == ["back", "new", "late", "j7", "j8"]


def test_limits_are_added_to_what_the_version_before_has_left(old: ExpiringQueue) -> None:
    options = NewJob(TYPE, "q", "first", b"1", 1.5, -1)
    old.run(old.operations.enqueue(TYPE, [options]))
    assert old.metrics().queue_length == 6
    old.advance(100)
    assert old.take_ids(1) == ["back"]
    old.run(old.operations.finish(TYPE, "q", "held", "17"))
    assert old.metrics().active_count == 1
