"""Where queues of a type that is spread live, and what its shards are called."""

from __future__ import annotations

import random
from binascii import crc_hqx
from collections import Counter
from typing import Any

import pytest

from sharq._fastpath import Keyspace
from sharq.errors import BadArgumentException, UnexpectedReply
from sharq.observed import TypeMetrics, WatchedQueue, WatchedQueues
from sharq.operations import sums
from sharq.operations.dead_merge import ShardLetters, dead_cursor, merged
from sharq.operations.layouts import PATIENCE, Layout, read_layout
from sharq.operations.sharding import MAX_SHARDS, Shards, is_shard, layout, type_of
from sharq.results import DeadBulk, DeadFilter, DeadLetter, DeadSummary
from tests.support.cases import cases


def test_the_names_of_shards_never_change() -> None:
    assert layout("sharq", "sms", 1) == ("sms",)
    assert layout("sharq", "sms", 4) == ("sms:0.0:4", "sms:1.2:4", "sms:2.0:4", "sms:3.2:4")
    assert layout("sharq", "sms", 16)[3] == "sms:3.21:16"
    assert Keyspace("sharq").tag("sms:1.2:4") == b"{sharq:sms:1.2}:4"


def test_the_home_of_a_queue_never_changes() -> None:
    shards = Shards("sharq")
    shards.learn("sms", 16)
    homes = [shards.homes("sms").index(shards.home("sms", f"tenant-{at}")) for at in range(12)]
    assert homes == [9, 15, 5, 3, 0, 6, 12, 10, 11, 13, 5, 3]


@pytest.mark.parametrize("count", [2, 3, 12, 16, 100, MAX_SHARDS])
def test_equal_ranges_of_slots_hold_equally_many_shards(count: int) -> None:
    keys = Keyspace("p")
    for at, name in enumerate(layout("p", "t", count)):
        tag = keys.tag(name)
        slot = crc_hqx(tag[1 : tag.index(b"}")], 0) % 16384
        assert at <= slot * count / 16384 < at + 1


def test_queues_are_spread_evenly() -> None:
    shards = Shards("p")
    shards.learn("t", 16)
    counts = Counter(shards.home("t", f"q{at}") for at in range(16_000))
    assert len(counts) == 16
    assert max(counts.values()) < 1.15 * 1000


def test_a_type_is_not_spread_before_the_store_has_told_so() -> None:
    shards = Shards("p")
    assert shards.homes("t") == ("t",)
    assert shards.home("t", "q") == "t"
    assert shards.learn("t", 3)
    assert not shards.learn("t", 3)
    assert shards.is_spread("t")
    assert not shards.is_spread("u")
    assert len(shards.homes("t")) == 3
    assert shards.homes("u") == ("u",)
    assert shards.learn("t", 1)
    assert shards.homes("t") == ("t",)


def test_a_name_tells_its_type() -> None:
    (name, *_) = layout("p", "t", 2)
    assert is_shard(name)
    assert not is_shard("t")
    assert type_of(name) == type_of("t") == "t"


def test_a_shard_of_another_number_of_shards_has_other_keys() -> None:
    keys = Keyspace("p")
    names = [name for count in range(1, 33) for name in layout("p", "t", count)]
    assert len({keys.tag(name) for name in names}) == len(names)


def test_a_wakeup_names_the_shard() -> None:
    keys = Keyspace("p")
    for name in ("t", *layout("p", "t", 3)):
        assert keys.woken_type(keys.tag(name) + b":waiting") == name


# ---- what the store knows, as text ----


def test_a_layout_is_read_as_it_was_written() -> None:
    assert read_layout("") == Layout(1, 0)
    assert read_layout("16 3") == Layout(16, 3)
    change = read_layout(Layout(4, 2).beginning(8, "5eed") + " 1000")
    assert change == Layout(4, 3, 8, "5eed", 1000)
    assert (change.stable, change.changed, change.going_on) == ("4 3", "8 3", "4 3 8 5eed")
    assert not change.is_given_up(1000 + PATIENCE - 1)
    assert change.is_given_up(1000 + PATIENCE)


@cases("text", ["4", "a 1", "0 1", "257 1", "4 1 0 w 5", "4 1 257 w 5", "4 1 2 w", "4 1 2", " 4 1"])
def test_what_is_no_layout_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedReply, match="cannot be read"):
        read_layout(text)


# ---- one answer of many ----


def letter(name: str) -> DeadLetter:
    return DeadLetter(name, "j", b"", "expired", 1, 1, 1, None, None, 0, 1, -1, 0, None, None, None)


def listed(shards: list[list[int]], page: int, most: int, looks: int) -> list[int]:
    """The deaths in pages of `most`, where each shard looks at `looks` letters at a time."""
    found: list[int] = []
    cursor = None
    for _ in range(1000):
        at = dead_cursor(cursor)
        parts = []
        for shard, deaths in enumerate(shards):
            start = float("inf") if at is None else int(at.at(shard))
            left = [death for death in deaths if death < start]
            seen = left[:looks]
            # Of those that are looked at, odd ones are not selected.
            letters = [(death, letter(str(death))) for death in seen if death % 2 == 0][:page]
            parts.append(ShardLetters(seen[-1] if len(left) > looks else None, letters))
        answer = merged(parts, most)
        assert len(answer.letters) <= most
        found += [int(each.queue_id) for each in answer.letters]
        if (cursor := answer.cursor) is None:
            return found
    raise AssertionError("the pages do not come to an end")


@cases("seed", range(20))
@cases(("most", "looks"), [(1, 1), (3, 2), (2, 50), (100, 100)])
def test_dead_letters_of_shards_are_one_list(seed: int, most: int, looks: int) -> None:
    draw = random.Random(seed)
    shards = [sorted(draw.sample(range(60), draw.randint(0, 20)), reverse=True) for _ in range(4)]
    wanted = sorted((d for deaths in shards for d in deaths if d % 2 == 0), reverse=True)
    assert listed(shards, 100, most, looks) == wanted


@cases("text", ["", "x", "1.", ".1", "1.1000", "1" * 17, "1.-1", 5])
def test_what_is_no_cursor_of_dead_letters_is_refused(text: object) -> None:
    with pytest.raises(BadArgumentException):
        dead_cursor(text)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1], [5, 5]),
        (1, [1, 1, 1], [0, 0, 1]),
        (5, [0, 10, 0], [0, 5, 0]),
        (4, [0, 0], [2, 2]),
        (100, [3, 2, 5], [30, 20, 50]),
    ],
)
def test_a_number_is_shared(total: int, weights: list[int], parts: list[int]) -> None:
    assert sums.shares(total, weights) == parts
    assert sum(sums.shares(total, weights)) == total


def metrics(**more: Any) -> TypeMetrics:
    values: dict[str, Any] = {
        "has_jobs": False,
        "enqueue_counts": {60_000: 1, 0: 2},
        "dequeue_counts": {60_000: 0, 0: 0},
        "finish_counts": {60_000: 0, 0: 0},
        "held_by": None,
        "ready_in": None,
        "dead": DeadSummary(0, 0, None, 0, 0),
        **dict.fromkeys(("waiting", "delayed", "active", "ready", "held", "early"), 0),
        "oldest_ready": None,
    }
    return TypeMetrics(**(values | more))


def test_the_metrics_of_a_type_are_the_sums_of_its_shards() -> None:
    idle = metrics()
    held = metrics(has_jobs=True, held_by="interval", ready_in=500, waiting=3, held=1)
    ready = metrics(has_jobs=True, held_by="nothing", ready_in=0, waiting=2, oldest_ready=70)
    dead = metrics(dead=DeadSummary(3, 300, 1700, 1, 2), enqueue_counts={120_000: 4, 60_000: 1})
    told = sums.type_metrics([idle, held, ready, dead])
    assert (told.has_jobs, told.waiting, told.held, told.oldest_ready) == (True, 5, 1, 70)
    assert (told.held_by, told.ready_in) == ("nothing", 0)
    assert told.enqueue_counts == {120_000: 4, 60_000: 4, 0: 6}
    assert list(told.enqueue_counts) == [120_000, 60_000, 0]
    assert told.dead == DeadSummary(3, 300, 1700, 1, 2)
    assert sums.type_metrics([idle, held])[4:6] == ("interval", 500)
    paused = metrics(held_by="type_paused", ready_in=None, waiting=1)
    assert sums.type_metrics([paused, held, idle])[4:6] == ("interval", 500)
    assert sums.type_metrics([paused, idle])[4:6] == ("type_paused", None)
    assert sums.type_metrics([idle, idle])[4:6] == (None, None)


def bulk(bulk_id: str, state: str, started: int, moved: int, limit: int | None = None) -> DeadBulk:
    return DeadBulk(bulk_id, "retry", DeadFilter(), state, started, moved, 1, 2, limit)


def test_a_bulk_of_all_shards_is_one() -> None:
    assert sums.bulk([None, None]) is None
    old = bulk("old", "done", 5, 100)
    told = sums.bulk([bulk("new", "done", 11, 1, 3), bulk("new", "running", 10, 2, 4), old, None])
    assert told is not None
    assert (told.id, told.state, told.started, told.moved) == ("new", "running", 10, 3)
    assert (told.left, told.conflicts, told.limit) == (2, 4, 7)
    cancelled = sums.bulk([bulk("b", "done", 1, 1), bulk("b", "cancelled", 1, 1)])
    assert cancelled is not None
    assert cancelled.state == "cancelled"


def queue(name: str, turn_in: int | None) -> WatchedQueue:
    return WatchedQueue(name, 1, 0, None, turn_in, None, "nothing", 0)


def test_the_first_queues_of_shards_are_in_the_order_of_their_turns() -> None:
    parts = [
        WatchedQueues([queue("a", -50), queue("b", 700)], []),
        WatchedQueues([queue("c", -90), queue("d", None)], [queue("e", 5)]),
    ]
    told = sums.watched(2, ["e", "b", "a", "x"], parts)
    assert [each.queue_id for each in told.first] == ["c", "a"]
    assert [each.queue_id for each in told.named] == ["e", "b"]
