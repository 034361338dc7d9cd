"""The audit: what the scripts tell, and how it gets into a file once and whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

from sharq.operations.operations import Told
from sharq.results import DEAD, SUCCESS
from sharq.settings.options import QueueSettings
from tests.faults.audit import LATE_EXPIRY_MS, Drain, audited_scripts, offset_key, read_audit
from tests.support.hands import PREFIX, Hands, PipelinedStore, new_job
from tests.support.limited import job as limited_job
from tests.support.limited import limit, pause, put, resume
from tests.support.stores import PrivateStore


@pytest.fixture
def hands(clean_store: PrivateStore) -> Iterator[Hands]:
    store = PipelinedStore(clean_store.socket_path)
    yield Hands(store, audited_scripts(), QueueSettings(job_expire_interval=1000))
    store.close()


def drain(hands: Hands, path: Path) -> int:
    with Drain(path) as drain:
        return drain_with(hands, drain)


def drain_with(hands: Hands, drain: Drain) -> int:
    async def command(*words: str | bytes | int) -> Any:
        return hands.store.command(*words)

    return asyncio.run(drain.drain(command, PREFIX))


def whats(path: Path) -> list[str]:
    return [entry.what for entry in read_audit(path)]


def move_clock(hands: Hands, ms: int) -> None:
    hands.store.command("SET", offset_key(f"{PREFIX}:t"), ms * 1000)


def test_the_audit_tells_what_happened_in_its_order(hands: Hands, tmp_path: Path) -> None:
    hands.put("a", limit=0)
    hands.put("a", limit=0)
    hands.put_many([new_job("b"), new_job("c"), new_job("c")])
    first, second, third = hands.take(3, "r")
    hands.take(3, "r")
    assert hands.extend(second, 5000).outcome == SUCCESS
    assert hands.extend(second, 10).outcome == SUCCESS
    assert hands.finish(third) == SUCCESS
    assert hands.release(second, 100, counted=False) == SUCCESS
    hands.set_interval(10)
    hands.reset_interval()
    move_clock(hands, 1001)
    assert hands.sweep_all() == 1
    assert hands.finish(first) != SUCCESS
    hands.clear()
    hands.clear()

    path = tmp_path / "audit.jsonl"
    assert drain(hands, path) == 13
    entries = list(read_audit(path))
    assert [(entry.what, entry.job) for entry in entries] == [
        *(("enqueue", job) for job in "abc"),
        *(("dispatch", job) for job in "abc"),
        ("extend", "b"),
        ("finish", "c"),
        ("return", "b"),
        ("interval", ""),
        ("reset", ""),
        ("dead", "a"),
        ("clear", ""),
    ]
    a, b, c, d1, _, d3, extended, finished, returned, interval, reset, dead, cleared = entries
    assert {entry.type for entry in entries} == {"t"}
    assert {entry.queue for entry in entries} == {"q"}
    assert (a.left, b.left, a.sha == b.sha, [a.place, b.place, c.place]) == (0, -1, True, [1, 2, 3])
    assert str(d1.n) == first.lease.rpartition("/")[2]
    assert (d1.place, d1.attempt, d1.ends - d1.now, d1.request) == (1, 1, 1000, "r")
    assert extended.ends - extended.now == 5000
    assert finished.n == d3.n
    assert (returned.counted, returned.due - returned.now, returned.place) == (False, 100, 2)
    assert (interval.interval, reset.script) == (10, "interval_reset")
    assert (dead.script, dead.now - dead.at, dead.left, dead.cleared) == ("requeue", 1001, 0, False)
    assert (cleared.removed, cleared.ended) == (1, 0)


def test_the_short_way_and_the_long_one_tell_the_same(hands: Hands, tmp_path: Path) -> None:
    for queue in ("short", "long"):
        hands.put("j", queue, interval=5)
    hands.set_interval(5, "long")  # with an interval of the API a queue goes the long way
    hands.put("k", "short", interval=5)
    hands.put("k", "long", interval=5)
    for seconds in (1, 2):
        move_clock(hands, seconds * 1000)
        for job in hands.take() + hands.take():
            hands.finish(job)
    drain(hands, path := tmp_path / "audit.jsonl")
    told = [
        (entry.queue, entry.what, entry.job, entry.place, entry.left, entry.attempt, entry.interval)
        for entry in read_audit(path)
        if entry.what in ("enqueue", "dispatch", "finish")
    ]
    short = [entry[1:] for entry in told if entry[0] == "short"]
    assert len(short) == 6
    assert short == [entry[1:] for entry in told if entry[0] == "long"]


def test_the_audit_tells_of_limits(hands: Hands, tmp_path: Path) -> None:
    limit(hands, "group", "g", interval=10, burst=2)
    limit(hands, "type", concurrency=3)
    limit(hands, "queue", "q", burst=4, group="h")
    put(hands, limited_job("a", cost=3, priority=2, delay=50, group="g", concurrency=7, interval=5))
    move_clock(hands, 100)
    (taken,) = hands.take()
    told = Told("q", "a", taken.lease.rpartition("/")[2], "return", "2", pause="9", scope="queue")
    hands.run(hands.operations.settle("t", [told]))
    pause(hands, "group", "g", 300)
    resume(hands, "group", "g")
    pause(hands, "type")
    hands.clear(purge=True)

    drain(hands, path := tmp_path / "audit.jsonl")
    entries = list(read_audit(path))
    assert [(entry.what, entry.queue, entry.job) for entry in entries] == [
        ("limits", "=g", ""),
        ("limits", "=", ""),
        ("limits", "q", ""),
        ("enqueue", "q", "a"),
        ("dispatch", "q", "a"),
        ("cost", "q", "a"),
        ("return", "q", "a"),
        ("pause", "q", ""),
        *(("pause", name, "") for name in ("=g", "=g", "=")),
        ("clear", "q", ""),
    ]
    of_g, of_type, of_q, a, dispatch, cost, returned, held, stopped, resumed, shut, purged = entries
    assert (of_g.interval, of_g.burst, of_g.concurrency) == (10, 2, 0)
    assert (of_type.interval, of_type.burst, of_type.concurrency) == (0, 1, 3)
    assert (of_q.burst, of_q.group, of_q.api) == (4, "h", False)
    assert (a.cost, a.priority, a.due - a.now) == (3, 2, 50)
    assert (a.burst, a.concurrency, a.group, a.interval) == (4, 7, "h", 5)
    at = dispatch.now
    assert dispatch.charged == f"3;{at + 15}.000,5.000;0.000,0.000,h;0.000,0.000"
    assert dispatch.place == returned.place == a.place == 1 - 2 * 10**14
    assert (cost.n, cost.cost, cost.real) == (dispatch.n, 3, 2)
    assert (held.till - held.now, held.script) == (9, "settle")
    assert (stopped.till - stopped.now, resumed.till, shut.till) == (300, 0, -1)
    assert (purged.burst, purged.concurrency, purged.group) == (1, 7, "g")


def test_what_is_in_the_file_is_not_written_again(hands: Hands, tmp_path: Path) -> None:
    """The store dies after the file has been written, and what was read is still there."""
    path = tmp_path / "audit.jsonl"
    hands.put("a")
    stream = f"{{{PREFIX}:t}}:audit"
    kept = hands.store.command("DUMP", stream)
    with Drain(path) as first:
        assert drain_with(hands, first) == 1
        assert hands.store.command("XLEN", stream) == 0
        hands.store.command("RESTORE", stream, 0, kept, "REPLACE")
        assert drain_with(hands, first) == 0
    hands.store.command("RESTORE", stream, 0, kept, "REPLACE")
    assert drain(hands, path) == 0
    hands.put("b")
    assert drain(hands, path) == 1
    assert [entry.job for entry in read_audit(path)] == ["a", "b"]


def test_a_line_that_was_cut_off_is_written_again(hands: Hands, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    hands.put("a")
    hands.put("b")
    stream = f"{{{PREFIX}:t}}:audit"
    kept = hands.store.command("DUMP", stream)
    drain(hands, path)
    path.write_bytes(path.read_bytes()[:-20])
    hands.store.command("RESTORE", stream, 0, kept, "REPLACE")
    assert drain(hands, path) == 1
    assert [entry.job for entry in read_audit(path)] == ["a", "b"]


def test_a_full_store_can_be_emptied_with_an_audit(tmp_path: Path) -> None:
    with PrivateStore(maxmemory_policy="noeviction") as own:
        store = PipelinedStore(own.socket_path)
        hands = Hands(store, audited_scripts(), QueueSettings(job_expire_interval=1000))
        hands.put_many(new_job(f"j{at}", f"q{at % 2}") for at in range(8))
        store.command("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(hiredis.ReplyError, match="OOM"):
            hands.put("more")
        first, second, third, *_ = hands.take(3) + hands.take(1)
        assert hands.finish(first) == SUCCESS
        assert hands.release(second) == SUCCESS
        assert hands.extend(third, 2000).outcome == SUCCESS
        assert hands.clear("q0").waiting > 0
        store.close()


def test_keys_outlive_a_clock_that_is_moved_back(hands: Hands) -> None:
    hands.put("a", interval=5000)
    hands.finish(*hands.take())
    assert hands.store.command("PTTL", f"{{{PREFIX}:t}}:q:q") > LATE_EXPIRY_MS


def test_a_job_of_a_spent_limit_is_told_to_be_dead(hands: Hands, tmp_path: Path) -> None:
    hands.put("a", limit=0)
    (job,) = hands.take()
    assert hands.release(job) == DEAD
    drain(hands, path := tmp_path / "audit.jsonl")
    assert whats(path) == ["enqueue", "dispatch", "dead"]
