"""The rate of a queue goes on: its next job is due when it would have been due in the original."""

from __future__ import annotations

import time

import pytest

from tests.migration.new import New
from tests.migration.old import Old, now_ms
from tests.support.stores import wait_for

INTERVAL = 5000


def due_in(new: New, queue: str = "bob") -> int:
    """In how many ms the queue's next job may go."""
    score = new.client.zscore(new.key("sms", "ready"), queue)
    return round(score) - now_ms()


@pytest.mark.parametrize("ahead", [0, 61_000, 3_600_000])
def test_the_next_job_is_due_after_its_interval_at_most(old: Old, new: New, ahead: int) -> None:
    old.ahead = ahead
    for at in range(3):
        old.enqueue("sms", "bob", f"j{at}", at, INTERVAL)
    old.dequeue("sms")
    new.migrate(old)
    assert INTERVAL - 1000 < due_in(new) <= INTERVAL
    state = new.client.get(new.key("sms", "q:bob")).split(b":")
    assert int(state[1]) - now_ms() <= INTERVAL


def test_a_clock_that_is_behind_lets_nothing_wait(old: Old, new: New) -> None:
    old.ahead = -61_000
    for at in range(3):
        old.enqueue("sms", "bob", f"j{at}", at, INTERVAL)
    old.dequeue("sms")
    new.migrate(old)
    assert due_in(new) <= 0


def test_the_last_dispatch_counts_where_the_schedule_forgot_it(old: Old, new: New) -> None:
    for at in range(2):
        old.enqueue("sms", "bob", f"j{at}", at, INTERVAL)
    old.dequeue("sms")
    old.client.zadd(old.key("sms"), {"bob": now_ms() - 9000})
    new.migrate(old)
    assert INTERVAL - 1000 < due_in(new) <= INTERVAL


def test_the_schedule_counts_where_the_last_dispatch_is_forgotten(old: Old, new: New) -> None:
    for at in range(2):
        old.enqueue("sms", "bob", f"j{at}", at, INTERVAL)
    old.dequeue("sms")
    old.client.delete(old.key("sms", "bob", "time"))
    new.migrate(old)
    assert INTERVAL - 1000 < due_in(new) <= INTERVAL


def test_a_queue_with_leased_jobs_alone_keeps_its_rate(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j", 1, INTERVAL)
    old.dequeue("sms")
    new.migrate(old)
    assert new.client.zscore(new.key("sms", "ready"), "bob") is None
    tat = int(new.client.get(new.key("sms", "q:bob")).split(b":")[1])
    assert INTERVAL - 1000 < tat - now_ms() <= INTERVAL


def test_the_interval_of_the_api_stands_and_the_last_dispatch_counts(old: Old, new: New) -> None:
    with new.engine() as engine:
        job = engine.flows.new_job(b"1", 0, "here", "bob", "sms", None, None)
        engine.run(engine.flows.submit(job))
        engine.run(engine.flows.set_interval("sms", "bob", 2 * INTERVAL))
    for at in range(2):
        old.enqueue("sms", "bob", f"j{at}", at, INTERVAL)
    old.dequeue("sms")
    new.migrate(old)
    assert 2 * INTERVAL - 1000 < due_in(new) <= 2 * INTERVAL
    assert [name for name, _, _ in new.waiting()["sms", "bob"]] == ["here", "j1"]


def test_the_first_dispatch_of_the_new_side_comes_no_sooner(old: Old, new: New) -> None:
    interval = 300
    old.enqueue("sms", "bob", "first", 1, interval)
    old.enqueue("sms", "bob", "second", 2, interval)
    before = time.monotonic()
    old.dequeue("sms")
    new.migrate(old)
    with new.engine() as engine:
        wait_for("the second job", lambda: engine.run(engine.flows.take("sms", 1, None)).jobs)
    assert (time.monotonic() - before) * 1000 > interval - 1


def test_a_chunk_of_a_later_migration_does_not_bring_the_next_job_forward(
    old: Old, new: New
) -> None:
    for at in range(2):
        old.enqueue("sms", "bob", f"j{at}", at, 60_000)
    new.migrate(old)
    with new.engine() as engine:
        assert len(engine.run(engine.flows.take("sms", 5, None)).jobs) == 1
    old.enqueue("sms", "bob", "late", 3, 60_000)
    new.migrate(old)
    assert due_in(new) > 50_000
