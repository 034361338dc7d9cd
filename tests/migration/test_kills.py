"""Killed at any step and begun again, a migration loses nothing and doubles nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharq.blocking_engine import SyncEngine
from sharq.migration.names import SWEEP_LOCK
from sharq.migration.transfer import OtherTarget
from sharq.results import Lease
from tests.migration.new import New, each, killed_at
from tests.migration.old import Old
from tests.support.stores import PrivateStore

LONG = 130
"""Jobs of a queue that takes more than one chunk."""


@pytest.fixture
def other_store() -> Iterator[PrivateStore]:
    with PrivateStore() as store:
        yield store


def fill(old: Old) -> tuple[set[str], Counter[str]]:
    """Put jobs into it: the names of those that can come, and the reasons of those that cannot."""
    old.client.flushall()
    with old.together():
        for at in range(LONG):
            old.enqueue("sms", "long", f"j{at:03}", at)
        for at in range(20):
            old.enqueue("sms", f"q{at}", "a", {"n": at}, requeues=at % 3 - 1)
            old.enqueue("mail", f"q{at % 4}", f"m{at:02}", [at], 0)
        old.enqueue("sms", "q7", "bad", raw=b"\xc1")
    old.client.rpush(old.key("sms", "long"), "j003")
    for _ in range(6):
        old.dequeue("mail")
        old.dequeue("sms")
    good = {f"sms/long/j{at:03}" for at in range(LONG)}
    good |= {f"sms/q{at}/a" for at in range(20)}
    good |= {f"mail/q{at % 4}/m{at:02}" for at in range(20)}
    return good, Counter(["not_msgpack", "second_copy"])


def work(engine: SyncEngine, kind: str, count: int) -> list[str]:
    """A worker of the new side takes jobs and finishes them."""
    batch = engine.run(engine.flows.take(kind, count, None))
    names = [f"{kind}/{job.queue_id}/{job.job_id}" for job in batch.jobs]
    leases = [Lease(*job.lease.split("/")) for job in batch.jobs]
    if leases:
        ended = engine.run(_one(engine.flows.operations.finish_many(kind, leases)))
        assert {end.outcome for end in ended} == {"success"}
    return names


def _one(call):  # type: ignore[no-untyped-def]
    return (yield call)


def finish_leases(engine: SyncEngine, new: New) -> list[str]:
    """The old workers finish what they hold, without a lease token."""
    held = list(new.leased())
    for name in held:
        kind, queue, job = name.split("/")
        ended = engine.run(_one(engine.flows.operations.finish(kind, queue, job, "")))
        assert ended.outcome == "success"
    return held


def check(old: Old, new: New, good: set[str], done: list[str], reasons: Counter[str]) -> None:
    waiting = new.waiting()
    came = Counter([*each(waiting), *new.leased(), *done])
    assert came == Counter(good)
    assert old.keys() == {}
    assert new.client.keys("*:moving*") == []
    # Lost sight of by a kill, a second copy may be called a job without a payload.
    lines = Counter(line["job_id"] for line in new.lines())
    assert set(lines) == {"bad", "j003"}
    assert lines.total() in (2, 3)
    order = [job for job, _, _ in waiting.get(("sms", "long"), [])]
    assert order == sorted(order)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("active", ["lease", "requeue"])
def test_killed_at_each_call_and_begun_again(old: Old, new: New, before: bool, active: str) -> None:
    number = 0
    while True:
        number += 1
        good, reasons = fill(old)
        new.client.flushall()
        new.rejects.unlink(missing_ok=True)
        ended = False
        with killed_at(number, before=before) as calls:
            new.migrate(old, active=active)
            ended = True
        if ended:
            break
        old.client.delete(SWEEP_LOCK)
        with new.engine() as engine:
            done = finish_leases(engine, new) + work(engine, "sms", 37) + work(engine, "mail", 5)
            new.migrate(old, active=active)
            done += finish_leases(engine, new) + work(engine, "sms", 10)
        check(old, new, good, done, reasons)
    assert len(calls) < number
    assert number > 30


def test_killed_again_and_again(old: Old, new: New) -> None:
    chance = random.Random(8)
    for _ in range(12):
        good, reasons = fill(old)
        new.client.flushall()
        new.rejects.unlink(missing_ok=True)
        done: list[str] = []
        with new.engine() as engine:
            ended = False
            while not ended:
                with killed_at(chance.randint(3, 25), before=chance.random() < 0.5):
                    new.migrate(old)
                    ended = True
                old.client.delete(SWEEP_LOCK)
                done += work(engine, "sms", chance.randint(1, 20)) + finish_leases(engine, new)
        check(old, new, good, done, reasons)


def test_copied_with_kills_each_job_is_there_once(old: Old, new: New) -> None:
    number = 0
    ended = False
    while not ended:
        number += 3
        good, _ = fill(old)
        before = old.keys()
        new.client.flushall()
        with killed_at(number, before=bool(number % 2)):
            new.migrate(old, keep=True)
            ended = True
        old.client.delete(SWEEP_LOCK)
        with new.engine() as engine:
            done = work(engine, "sms", 37) + finish_leases(engine, new)
            new.migrate(old, keep=True)
            done += work(engine, "mail", 5) + finish_leases(engine, new)
        assert Counter([*each(new.waiting()), *new.leased(), *done]) == Counter(good)
        assert old.keys() == before


def test_another_target_does_not_take_the_rest(
    old: Old, new: New, other_store: PrivateStore, tmp_path: Path
) -> None:
    good, reasons = fill(old)
    number = 0
    while not old.client.exists(old.key(".moved")):
        number += 1
        with killed_at(number, before=False):
            new.migrate(old)
        old.client.delete(SWEEP_LOCK)
    other = New(other_store, tmp_path)
    with pytest.raises(OtherTarget):
        other.migrate(old)
    assert other.client.dbsize() == 0
    new.migrate(old)
    check(old, new, good, [], reasons)


def test_old_workers_that_go_on_taking_jobs_get_none_twice(old: Old, new: New) -> None:
    """They take jobs between the reading of a chunk and its removal."""
    good, _ = fill(old)
    taken: list[str] = []
    with new.migration(old, follow=True) as migration:
        stage = migration._target.stage

        def take_meanwhile(kind: str, token: str, jobs: object) -> None:
            stage(kind, token, jobs)  # type: ignore[arg-type]
            for _ in range(7):
                if len(taken) < 60 and (got := old.dequeue("sms")):
                    taken.append("/".join(("sms", *got)))
                    assert old.finish("sms", *got)

        migration._target.stage = take_meanwhile  # type: ignore[method-assign]
        migration.run()
    with new.engine() as engine:
        done = finish_leases(engine, new)
    came = Counter([*each(new.waiting()), *done, *taken])
    assert {name: count for name, count in came.items() if count > 1} == {}
    assert set(came) - {"sms/q7/bad"} == good
    assert len(taken) > 15
