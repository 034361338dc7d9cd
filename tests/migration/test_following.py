"""`--follow`: producers are switched while jobs move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sharq.migration.lock import LockLost
from sharq.migration.migration import InUse
from sharq.migration.names import SWEEP_LOCK
from tests.migration.new import New, each
from tests.migration.old import Old, now_ms
from tests.support.stores import wait_for


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[threading.Thread]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
    assert not thread.is_alive()
    assert errors == []


def test_producers_go_on_until_they_are_switched(old: Old, new: New) -> None:
    for at in range(300):
        old.enqueue("sms", f"q{at % 3}", f"early-{at:03}", at)
    late = 400

    def produce() -> None:
        for at in range(late):
            old.enqueue("sms", f"q{at % 3}", f"late-{at:03}", at)
            if at % 50 == 0:
                old.enqueue(f"type-{at}", "fresh", "j", at)
            time.sleep(0.001)

    with new.migration(old, follow=True, quiet=0.6) as migration, in_background(produce):
        report = migration.run()
    waiting = new.waiting()
    names = sorted(each(waiting))
    expected = [f"sms/q{at % 3}/early-{at:03}" for at in range(300)]
    expected += [f"sms/q{at % 3}/late-{at:03}" for at in range(late)]
    expected += [f"type-{at}/fresh/j" for at in range(0, late, 50)]
    assert names == sorted(expected)
    assert report.jobs == len(expected)
    assert report.rejected == 0
    assert old.keys() == {}
    for at in range(3):
        order = [name for name, _, _ in waiting["sms", f"q{at}"]]
        assert order == sorted(order)


def test_what_gets_stuck_meanwhile_is_found_at_the_end(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j", 1)

    def stick() -> None:
        wait_for("the first job has come", new.waiting)
        old.client.hset(old.key("payload"), "mail:stuck:s", b"\x01")
        old.client.rpush(old.key("mail", "stuck"), "s")

    with new.migration(old, follow=True, quiet=0.6) as migration, in_background(stick):
        migration.run()
    assert sorted(each(new.waiting())) == ["mail/stuck/s", "sms/bob/j"]


def test_it_ends_only_when_the_old_side_was_empty_for_long(old: Old, new: New) -> None:
    begun = time.monotonic()
    new.migrate(old, follow=True, quiet=0.7)
    assert time.monotonic() - begun > 0.7


def test_a_source_in_use_is_refused_and_nothing_changes(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j0", 0)
    before = old.keys()
    stop = threading.Event()

    def produce() -> None:
        while not stop.wait(0.01):
            old.client.incr(old.key("enqueue_counter", str(now_ms() // 60_000 * 60_000)))

    with in_background(produce):
        try:
            with pytest.raises(InUse):
                new.migrate(old, watch=0.2)
            assert new.migrate(old, watch=0.2, dry_run=True).in_use
            assert old.keys() == before
            assert new.client.dbsize() == 0
        finally:
            stop.set()
    assert not new.migrate(old, watch=0.1).in_use


def test_use_by_a_server_whose_clock_is_off_is_noticed(old: Old, new: New) -> None:
    old.ahead = 5 * 60_000
    with new.migration(old, watch=0.0) as migration:
        migration._sleep = lambda _: old.enqueue("sms", "bob", "j", 1)
        with pytest.raises(InUse):
            migration.run()


def test_a_new_minute_and_counts_that_end_are_no_use(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j", 1)
    with new.migration(old) as migration:
        source = migration._source
        now = source.time()

        def an_hour_later(_: float) -> None:
            for key in old.client.scan_iter(match="*_counter:*"):
                old.client.decr(key)
            source.time = lambda: now + 60_000  # type: ignore[method-assign]

        migration._sleep = an_hour_later
        report = migration.run()
    assert (report.jobs, report.in_use) == (1, False)


def test_a_copy_stops_where_the_lock_was_lost(old: Old, new: New) -> None:
    for at in range(250):
        old.enqueue("sms", "bob", f"j{at}", at)
    with new.migration(old, keep=True) as migration:
        clock = iter(range(0, 10_000, 6))
        migration._lock._clock = lambda: float(next(clock))
        migration._show = lambda _done, _total: old.client.set(SWEEP_LOCK, "a server's")
        with pytest.raises(LockLost):
            migration.run()


def test_use_that_begins_later_is_told(old: Old, new: New) -> None:
    for at in range(150):
        old.enqueue("sms", "bob", f"j{at}", at)
    with new.migration(old) as migration:
        migration._show = lambda _done, _total: old.enqueue("mail", "eve", "new", 1)
        assert migration.run().in_use


def test_the_lock_of_the_sweep_is_held_and_given_back(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j", 1)
    seen: list[int] = []
    with new.migration(old) as migration:
        migration._show = lambda _done, _total: seen.append(old.client.pttl(SWEEP_LOCK))
        migration.run()
    assert 10_000 < seen[0] <= 15_000
    with new.migration(old) as migration, migration._lock:
        assert not old.client.lock(SWEEP_LOCK.decode(), timeout=15).acquire(blocking=False)
    assert not old.client.exists(SWEEP_LOCK)


def test_it_waits_for_a_sweep_of_the_original(old: Old, new: New) -> None:
    old.client.set(SWEEP_LOCK, "a server's", px=400)
    old.enqueue("sms", "bob", "j", 1)
    assert new.migrate(old).jobs == 1


def test_it_gives_up_where_the_lock_stays_held(old: Old, new: New) -> None:
    old.client.set(SWEEP_LOCK, "a server's")
    before = old.keys()
    with new.migration(old) as migration:
        clock = iter(range(0, 10_000, 5))
        migration._lock._clock = lambda: float(next(clock))
        with pytest.raises(LockLost):
            migration.run()
    assert old.keys() == before


def test_it_stops_where_the_lock_was_lost(old: Old, new: New) -> None:
    for at in range(250):
        old.enqueue("sms", "bob", f"j{at}", at)
    with new.migration(old) as migration:
        migration._show = lambda _done, _total: old.client.set(SWEEP_LOCK, "a server's")
        with pytest.raises(LockLost):
            migration.run()
    assert old.client.get(SWEEP_LOCK) == b"a server's"
    assert len(new.waiting()["sms", "bob"]) == 100
    old.client.delete(SWEEP_LOCK)
    new.migrate(old)
    assert [name for name, _, _ in new.waiting()["sms", "bob"]] == [f"j{at}" for at in range(250)]
