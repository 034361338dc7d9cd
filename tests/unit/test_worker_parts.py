"""The worker's pure parts: clocks, weights, delays, and what is still to be told."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from sharq import Worker
from sharq.errors import BadArgumentException
from sharq.worker_frames import ServerClock, chunks, credits_of, decode
from sharq.worker_job import FIRST_RETRY, LONGEST_RETRY, retry_delay
from sharq.worker_outbox import Answered, End, Outbox

FINISH = End(finish=True)


def test_weights_share_the_capacity() -> None:
    assert credits_of({"a": 3, "b": 1, "c": 1000}, 40) == {"a": 1, "b": 1, "c": 40}
    assert credits_of({"a": 2, "b": 1}, 40) == {"a": 40, "b": 20}


def test_retries_double_up_to_a_bound() -> None:
    delays = [retry_delay(attempt, lambda: 1.0) for attempt in (1, 2, 3, 100, 10**6)]
    assert delays == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY, LONGEST_RETRY, LONGEST_RETRY]
    assert retry_delay(1, lambda: 0.0) == FIRST_RETRY / 2


def test_the_servers_clock_is_that_of_the_quickest_answer() -> None:
    clock = ServerClock()
    assert clock.local(5_000, 100.0) == 100.0
    clock.one_way(1_000_000, 100.0)
    assert clock.local(1_000_500, 101.0) == pytest.approx(100.5)
    clock.there_and_back(1_001_000, 101.0, 101.2)
    assert clock.local(1_001_000, 200.0) == pytest.approx(101.1)
    clock.there_and_back(1_005_000, 102.0, 104.0)
    assert clock.local(1_001_000, 200.0) == pytest.approx(101.1), "a slow answer tells less"
    assert clock.local(9_999_999_999, 105.0) == 105.0, "nothing was sent later than now"


def sent(outbox: Outbox, ids: Any) -> list[dict[str, Any]]:
    return [json.loads(frame) for _, frame in outbox.frames(ids)]


def test_finishes_leave_in_one_frame_and_once() -> None:
    outbox, ids = Outbox(), itertools.count(1)
    for lease in "abc":
        outbox.add(lease, FINISH)
    assert sent(outbox, ids) == [{"op": "finish", "id": 1, "leases": ["a", "b", "c"]}]
    assert sent(outbox, ids) == []
    over, failed = outbox.answer(1, ["success", "already_finished", "stale_lease"])
    assert over == [
        Answered("a", FINISH, False),
        Answered("b", FINISH, False),
        Answered("c", FINISH, True),
    ]
    assert (failed, len(outbox)) == (0, 0)


def test_what_was_not_answered_is_sent_again() -> None:
    outbox, ids = Outbox(), itertools.count(1)
    release = End(finish=False, delay=5, count_requeue=False)
    outbox.add("a", FINISH)
    outbox.add("b", release)
    first = sent(outbox, ids)
    assert first[1] == {
        "op": "release",
        "id": 2,
        "leases": ["b"],
        "delay": 5,
        "count_requeue": False,
    }
    outbox.again([1, 2])
    assert [frame["leases"] for frame in sent(outbox, ids)] == [["a"], ["b"]]
    assert outbox.answer(1, ["success"]) == ([], 0), "an answer to what was given up"
    assert outbox.answer(3, ["store_unavailable"]) == ([], 1)
    assert [frame["leases"] for frame in sent(outbox, ids)] == [["a"]]
    assert outbox.answer(5, ["already_finished"])[0] == [Answered("a", FINISH, False)]


def test_only_what_was_sent_on_a_lost_connection_is_sent_again() -> None:
    outbox, ids = Outbox(), itertools.count(1)
    outbox.add("a", FINISH)
    assert len(sent(outbox, ids)) == 1
    outbox.add("b", FINISH)
    assert len(sent(outbox, ids)) == 1
    outbox.again([1])
    assert [frame["leases"] for frame in sent(outbox, ids)] == [["a"]]
    assert outbox.answer(2, ["success"])[0] == [Answered("b", FINISH, False)]


@pytest.mark.parametrize(
    ("done", "result", "lost"),
    [
        (True, "not_active", False),
        (True, "stale_lease", False),
        (False, "not_active", True),
        (False, "success", False),
    ],
)
def test_a_second_release_that_finds_nothing_is_lost_only_if_the_first_was_not_carried_out(
    done: bool, result: str, lost: bool
) -> None:
    outbox, ids = Outbox(), itertools.count(1)
    release = End(finish=False)
    outbox.add("a", release)
    assert len(sent(outbox, ids)) == 1
    outbox.again([1], done=done)
    assert len(sent(outbox, ids)) == 1
    assert outbox.answer(2, [result])[0] == [Answered("a", release, lost)]


def test_an_answer_with_too_few_results_answers_nothing() -> None:
    outbox, ids = Outbox(), itertools.count(1)
    for lease in "ab":
        outbox.add(lease, FINISH)
    assert len(sent(outbox, ids)) == 1
    assert outbox.answer(1, ["success"]) == ([], 2)
    assert [frame["leases"] for frame in sent(outbox, ids)] == [["a", "b"]]


def test_a_lost_lease_is_not_told_of() -> None:
    outbox, ids = Outbox(), itertools.count(1)
    outbox.add("a", FINISH)
    outbox.drop("a")
    assert sent(outbox, ids) == []
    assert "a" not in outbox


def test_frames_name_a_thousand_leases_at_most() -> None:
    assert [len(part) for part in chunks(["x"] * 2001)] == [1000, 1000, 1]
    assert chunks([]) == []


@pytest.mark.parametrize("text", ["", "x", "[]", '{"event":"new"}', '{"event":"jobs"}', '{"a":1}'])
def test_frames_that_are_not_known_are_passed_over(text: str) -> None:
    assert decode(text) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://x/"},
        {"url": "ws:///"},
        {"types": []},
        {"types": "a b"},
        {"types": {"a": 0}},
        {"types": {"a": True}},
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": 10_001},
        {"prefetch": -1},
        {"concurrency": 9_000, "prefetch": 2_000},
        {"timeout": 0},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgumentException):
        Worker(**{"url": "ws://x/ws/", "types": "t"} | arguments)
