"""The checker on a type that is spread: clients name the type, the audit its shards."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec
import pytest

from tests.faults.history import Delivered, Event
from tests.faults.states import split_key
from tests.faults.story import START, WALL, Story

SHARDS = ("t:0.4:2", "t:1.7:2")
QUEUES = ("even", "odd")
"""A queue of each shard."""


class Spread(Story):
    """Jobs j1, j2, … of the two queues of `QUEUES` in turn."""

    def put_in(self, *numbers: int, now: int = 0) -> None:
        for number in numbers:
            queue = QUEUES[number % 2]
            asked: dict[str, Any] = {"queue": queue, "job": f"j{number}"}
            self.say("enqueue", "ok", **asked, payload=msgspec.Raw(b"1"))
            self.put(**asked, now=now, type=SHARDS[number % 2])

    def take(self, number: int, n: int, now: int = 0, **fields: Any) -> None:
        """A dispatch, of the first job of its queue."""
        asked = {"queue": QUEUES[number % 2], "type": SHARDS[number % 2], "place": 1}
        self.go(f"j{number}", n, now, **{**asked, **fields})

    def told(self, number: int, n: int) -> Delivered:
        queue, payload = QUEUES[number % 2], msgspec.Raw(b"1")
        return Delivered(queue=queue, job=f"j{number}", n=n, left=-1, payload=payload)

    def pause_at(self, now: int, *shards: str) -> None:
        for name in shards:
            self.enter("pause", now, type=name, queue="=", script="pause", till=-1)

    def timed(self, op: str, begin: int, end: int, outcome: str = "ok", **fields: Any) -> None:
        """An operation on the type, with times in ms."""
        self._operations += 1
        head: dict[str, Any] = {"p": "c", "op": op, "i": self._operations}
        times = [START * 1000 - WALL + ms * 1000 for ms in (begin, end)]
        code = "nothing_ready" if outcome == "fail" else ""
        self.history.append(Event(t=times[0], e="invoke", type="t", **head, **fields))
        self.history.append(Event(t=times[1], e=outcome, code=code, **head))


@pytest.fixture
def story() -> Spread:
    return Spread()


def test_queues_of_both_shards_are_there() -> None:
    assert [crc32(queue.encode()) % 2 for queue in QUEUES] == [0, 1]


def test_two_shards_may_give_the_same_number(story: Spread) -> None:
    story.put_in(1, 2)
    story.take(1, 7)
    story.take(2, 7)
    story.say("dequeue", "ok", count=2, answer={"jobs": [story.told(1, 7), story.told(2, 7)]})
    for number in (1, 2):
        queue, name = QUEUES[number % 2], SHARDS[number % 2]
        story.enter("finish", 5, type=name, queue=queue, job=f"j{number}", n=7)
        story.say("finish", "ok", queue=queue, job=f"j{number}", n=7)
    assert story.violated == set()


def test_a_lease_is_one_of_its_own_shard(story: Spread) -> None:
    story.put_in(1)
    story.take(1, 7)
    story.say("dequeue", "ok", answer={"jobs": [story.told(2, 7)]})
    assert "I2" in story.violated


def test_what_was_accepted_is_in_a_shard(story: Spread) -> None:
    story.put_in(1, 2)
    story.audit.pop()
    assert story.violated == {"I1"}


def test_a_queue_is_in_no_shard_but_its_home(story: Spread) -> None:
    story.say("enqueue", "ok", queue=QUEUES[0], job="j1", payload=msgspec.Raw(b"1"))
    story.put("j1", queue=QUEUES[0], type=SHARDS[1])
    assert story.violated == {"I11"}


@pytest.mark.parametrize(
    ("reached", "late", "violated"),
    [(SHARDS, (), set()), (SHARDS[:1], SHARDS[1:], {"I15"}), (SHARDS[:1], (), {"I15"})],
)
def test_a_pause_holds_in_all_shards_from_the_answer_on(
    story: Spread, reached: tuple[str, ...], late: tuple[str, ...], violated: set[str]
) -> None:
    story.timed("pause", 100, 110, queue="=")
    story.pause_at(105, *reached)
    story.pause_at(150, *late)
    assert story.violated == violated


def test_a_pause_of_no_answer_may_have_reached_some(story: Spread) -> None:
    story.timed("pause", 100, 110, "unknown", queue="=")
    story.pause_at(105, SHARDS[0])
    assert story.violated == set()


def test_nobody_pauses_but_who_was_asked(story: Spread) -> None:
    story.pause_at(105, *SHARDS)
    assert story.violated == {"I12"}


@pytest.mark.parametrize(("credit", "violated"), [(1, {"I13"}), (2, set())])
def test_leases_of_all_shards_count_for_the_credit(
    story: Spread, credit: int, violated: set[str]
) -> None:
    story.put_in(1, 2)
    story.note("subscribe", type="t", credit=credit)
    for number in (1, 2):
        story.take(number, 7)
        told = msgspec.structs.asdict(story.told(number, 7))
        story.note("deliver", type="t", **told)
    assert story.violated == violated


@pytest.mark.parametrize(("waited", "violated"), [(330, set()), (380, {"I16"})])
def test_a_job_of_a_shard_goes_soon(story: Spread, waited: int, violated: set[str]) -> None:
    story.note("subscribe", type="t", credit=1, ms=-100)
    story.put_in(1)
    story.take(1, 7, now=waited)
    told = msgspec.structs.asdict(story.told(1, 7))
    story.note("deliver", type="t", ms=waited, **told)
    assert story.violated == violated


@pytest.mark.parametrize(("since", "violated"), [(20, {"I16"}), (70, set())])
def test_nothing_is_ready_where_no_shard_has_a_job(
    story: Spread, since: int, violated: set[str]
) -> None:
    story.put_in(1, now=since)
    story.timed("dequeue", 300, 310, "fail", count=1)
    story.take(1, 7, now=400)
    assert story.violated == violated


@pytest.mark.parametrize(("most", "violated"), [(2, set()), (4, {"I1"})])
def test_a_shard_keeps_its_part_of_the_dead_letters(
    story: Spread, most: int, violated: set[str]
) -> None:
    story.settings = {"dead_max_jobs": most}
    place = {"queue": QUEUES[1], "type": SHARDS[1]}
    for n, number in enumerate((1, 3), 1):
        story.put_in(number)
        story.take(number, n, now=n, place=n)
        died: dict[str, Any] = {"how": "reject", "reason": "rejected", "kept": True}
        story.enter("dead", n, **place, **died, script="fail", job=f"j{number}", n=n, left=-1)
    story.enter("fallen", 2, **place, script="fail", job="j1", why="jobs")
    assert story.violated == violated


def test_the_keys_of_a_shard_are_those_of_its_name() -> None:
    assert split_key("{p:t:0.4}:2:dead:order") == ("t:0.4:2", "dead:order")
    assert split_key("{p:t}:shards") == ("t", "shards")
    assert split_key("{p}:types") == ("", "types")
