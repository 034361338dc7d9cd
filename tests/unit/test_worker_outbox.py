"""What is told of leases, and what an answer means: over, told again, or given up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sharq.results import JobError
from sharq.worker.outbox import Answered, End, Outbox, Refused

FINISH = End(finish=True)
RELEASE = End(finish=False)


def fails(name: str, message: str | None = None, delay: int | None = None) -> End:
    return End(finish=False, delay=delay, error=JobError(name, message))


class Teller:
    """An outbox, and what it has sent."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self._ids: Iterator[int] = itertools.count(1)

    def add(self, leases: str, end: End = FINISH) -> None:
        for lease in leases:
            self.outbox.add(lease, end)

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for _, frame in self.outbox.frames(self._ids)]

    def leases(self) -> list[str]:
        return ["".join(frame["leases"]) for frame in self.sent()]

    def probed(self) -> list[str]:
        frames = [json.loads(frame) for _, frame in self.outbox.probe(self._ids)]
        return ["".join(frame["leases"]) for frame in frames]


@pytest.fixture
def teller() -> Teller:
    return Teller()


def test_finishes_leave_in_one_frame_and_once(teller: Teller) -> None:
    teller.add("abc")
    assert teller.sent() == [{"op": "finish", "id": 1, "leases": ["a", "b", "c"]}]
    assert teller.sent() == []
    outcome = teller.outbox.answer(1, ["success", "already_finished", "stale_lease"])
    assert outcome.over == [
        Answered("a", FINISH, False),
        Answered("b", FINISH, False),
        Answered("c", FINISH, True),
    ]
    assert (outcome.refused, len(teller.outbox)) == ([], 0)


def test_an_answer_tells_which_jobs_died(teller: Teller) -> None:
    teller.add("ab", RELEASE)
    assert len(teller.sent()) == 1
    outcome = teller.outbox.answer(1, ["success", "success"], [1])
    assert [(each.lease, each.dead) for each in outcome.over] == [("a", False), ("b", True)]


def test_what_tells_more_leaves_in_a_frame_of_items(teller: Teller) -> None:
    teller.add("a")
    teller.add("b", End(finish=True, cost=3))
    teller.add("c", End(finish=False, count_requeue=False, pause=500, scope="type"))
    teller.add("d", End(finish=True, cost=7))
    teller.add("e", RELEASE)
    teller.add("f", End(finish=False, delay=9, cost=2))
    teller.add("g", End(finish=False, count_requeue=False, cost=4))
    teller.add("h")
    assert teller.sent() == [
        {"op": "finish", "id": 1, "leases": ["a", "h"]},
        {"op": "finish", "id": 2, "items": [{"lease": "b", "cost": 3}, {"lease": "d", "cost": 7}]},
        {
            "op": "release",
            "id": 3,
            "items": [
                {"lease": "c", "pause": 500, "pause_scope": "type"},
                {"lease": "f", "cost": 2, "delay": 9},
                {"lease": "g", "cost": 4, "count_requeue": False},
            ],
        },
        {"op": "release", "id": 4, "leases": ["e"], "delay": 0, "count_requeue": True},
    ]
    outcome = teller.outbox.answer(3, ["success", "forbidden", "success"])
    assert [each.lease for each in outcome.over] == ["c", "g"]
    assert outcome.refused == [Refused("release", "forbidden", ["f"], True)]


def test_failures_leave_in_frames_of_items_each_with_its_error(teller: Teller) -> None:
    teller.add("a", fails("E", "m"))
    teller.add("b", fails("E", "m", delay=0))
    teller.add("c", fails("F")._replace(retry=False, cost=3, delay=5))
    teller.add("d", RELEASE)
    teller.add("e", fails("E", "m"))
    error = {"type": "E", "message": "m"}
    assert teller.sent() == [
        {
            "op": "fail",
            "id": 1,
            "items": [
                {"lease": "a", "error": error},
                {"lease": "b", "error": error, "delay": 0},
                {"lease": "c", "cost": 3, "error": {"type": "F"}, "retry": False},
                {"lease": "e", "error": error},
            ],
        },
        {"op": "release", "id": 2, "leases": ["d"], "delay": 0, "count_requeue": True},
    ]
    outcome = teller.outbox.answer(1, ["success", "stale_lease", "not_active", "store_full"])
    assert [(each.lease, each.lost) for each in outcome.over] == [
        *(("a", False), ("b", True), ("c", True)),
    ]
    assert outcome.refused == [Refused("fail", "store_full", ["e"], False)]
    teller.outbox.open()
    assert [frame["items"][0]["lease"] for frame in teller.sent()] == ["e"]


def test_a_second_failure_that_finds_nothing_is_lost_only_if_the_first_was_not_carried_out(
    teller: Teller,
) -> None:
    teller.add("ab", fails("E"))
    teller.sent()
    teller.outbox.unanswered([1])
    teller.add("c", fails("E"))
    (frame,) = teller.sent()
    assert [item["lease"] for item in frame["items"]] == ["a", "b", "c"]
    over = teller.outbox.answer(2, ["not_active", "stale_lease", "not_active"]).over
    assert [(each.lease, each.lost) for each in over] == [("a", False), ("b", False), ("c", True)]


@pytest.mark.parametrize("character", ["x", "é", "\x01", '"'])
def test_no_frame_of_failures_is_larger_than_every_server_takes(
    teller: Teller, character: str
) -> None:
    sizes = (0, 10, 1000, 8192, 5000, 1, 8192, 8192)
    for at in range(400):
        error = JobError("T" * 100, character * 500, character * (sizes[at % len(sizes)] // 2))
        teller.outbox.add(f"{at:0300}", End(False, delay=None, error=error))
    frames = teller.outbox.frames(itertools.count(1))
    assert max(len(frame) for _, frame in frames) <= 64 * 1024
    told = [item["lease"] for _, frame in frames for item in json.loads(frame)["items"]]
    assert sorted(told) == [f"{at:0300}" for at in range(400)]
    assert len(frames) < 150, "many share one"


def test_one_probe_is_one_frame_of_failures(teller: Teller) -> None:
    error = JobError("T", "", "x" * 8192)
    for at in range(20):
        teller.outbox.add(f"l{at}", End(False, delay=None, error=error))
    frames = teller.sent()
    for frame in frames:
        teller.outbox.refuse(frame["id"], "store_unavailable", done=False)
    (probe,) = [json.loads(frame) for _, frame in teller.outbox.probe(itertools.count(100))]
    assert 0 < len(probe["items"]) < 20
    assert teller.outbox.answer(100, ["success"] * len(probe["items"])).well
    teller.outbox.open()
    assert len(probe["items"]) + sum(len(frame["items"]) for frame in teller.sent()) == 20


def test_a_frame_of_items_that_was_not_answered_is_told_again_as_it_was(teller: Teller) -> None:
    teller.add("a", End(finish=True, cost=3))
    (first,) = teller.sent()
    teller.outbox.unanswered([1])
    (second,) = teller.sent()
    assert second == first | {"id": 2}
    assert teller.outbox.answer(2, ["already_finished"]).over == [
        Answered("a", End(finish=True, cost=3), False)
    ]


def test_what_was_not_answered_is_told_again(teller: Teller) -> None:
    release = End(finish=False, delay=5, count_requeue=False)
    teller.add("a")
    teller.add("b", release)
    told = {"leases": ["b"], "delay": 5, "count_requeue": False}
    assert teller.sent()[1] == {"op": "release", "id": 2, **told}
    teller.outbox.unanswered([1, 2])
    assert teller.leases() == ["a", "b"]
    assert teller.outbox.answer(1, ["success"]).over == [], "an answer to what was given up"
    assert teller.outbox.answer(3, ["already_finished"]).over == [Answered("a", FINISH, False)]


def test_only_what_was_sent_on_a_lost_connection_is_told_again(teller: Teller) -> None:
    teller.add("a")
    assert teller.leases() == ["a"]
    teller.add("b")
    assert teller.leases() == ["b"]
    teller.outbox.unanswered([1])
    assert teller.leases() == ["a"]
    assert teller.outbox.answer(2, ["success"]).over == [Answered("b", FINISH, False)]


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
    teller: Teller, done: bool, result: str, lost: bool
) -> None:
    teller.add("a", RELEASE)
    assert teller.leases() == ["a"]
    teller.outbox.refuse(1, "store_unavailable", done=done)
    assert teller.probed() == ["a"]
    assert teller.outbox.answer(2, [result]).over == [Answered("a", RELEASE, lost)]


def test_an_answer_with_too_few_results_answers_nothing(teller: Teller) -> None:
    teller.add("ab")
    assert teller.leases() == ["ab"]
    over, refused, _ = teller.outbox.answer(1, ["success"])
    assert over == []
    assert refused == [Refused("finish", "incomplete_answer", ["a", "b"], False)]
    assert teller.leases() == [], "not at once: it would go on like that"
    assert teller.probed() == ["ab"]


def test_a_lost_lease_is_not_told_of(teller: Teller) -> None:
    teller.add("a")
    teller.outbox.drop("a")
    assert teller.sent() == []
    assert "a" not in teller.outbox


def test_while_frames_are_refused_one_is_sent_at_a_time(teller: Teller) -> None:
    for at in range(300):
        teller.outbox.add(f"t/q/l{at}/1", End(finish=False, delay=at))
    assert len(teller.sent()) == 300
    for frame_id in range(1, 301):
        teller.outbox.refuse(frame_id, "store_unavailable", done=False)
    teller.outbox.add("t/q/a/1", FINISH)
    assert teller.sent() == [], "what comes meanwhile waits, too"
    assert len(teller.probed()) == 1
    teller.outbox.refuse(301, "store_unavailable", done=False)
    assert len(teller.probed()) == 1
    assert teller.outbox.answer(302, ["success"]).well
    teller.outbox.open()
    assert len(teller.sent()) == 300


def test_a_refused_frame_of_one_type_keeps_those_of_others_not_back(teller: Teller) -> None:
    gone, healthy = "gone/q/a/1", "healthy/q/a/1"
    teller.outbox.add(gone, FINISH)
    assert teller.leases() == [gone]
    teller.outbox.refuse(1, "store_unavailable", done=False)
    teller.outbox.add("gone/q/b/1", FINISH)
    teller.outbox.add(healthy, FINISH)
    assert teller.leases() == [healthy]
    assert teller.probed() == [gone]
    teller.outbox.refuse(3, "store_unavailable", done=False)
    assert teller.leases() == []
    assert teller.probed() == [gone]
    assert teller.outbox.answer(4, ["success"]).well
    assert teller.leases() == ["gone/q/b/1"]


def test_types_that_are_away_wait_until_they_are_back(teller: Teller) -> None:
    gone, also, healthy = "gone/q/a/1", "also/q/a/1", "healthy/q/a/1"
    teller.outbox.close(["gone", "also"])
    for lease in (gone, also, healthy):
        teller.outbox.add(lease, FINISH)
    assert teller.leases() == [healthy]
    assert teller.outbox.waits
    assert teller.probed() == [gone + also]
    teller.outbox.refuse(2, "store_unavailable", done=False)
    teller.outbox.open(["gone"])
    assert teller.leases() == [gone]
    teller.outbox.close()
    teller.outbox.add("healthy/q/b/1", FINISH)
    assert teller.leases() == []
    teller.outbox.open()
    assert teller.leases() == ["healthy/q/b/1" + also]


def test_what_one_node_refuses_keeps_nothing_else_back(teller: Teller) -> None:
    teller.add("ab")
    assert teller.leases() == ["ab"]
    over, refused, well = teller.outbox.answer(1, ["success", "store_unavailable"])
    assert over == [Answered("a", FINISH, False)]
    assert refused == [Refused("finish", "store_unavailable", ["b"], False)]
    assert not well
    teller.add("c")
    assert teller.leases() == ["c"]
    assert teller.outbox.waits
    assert teller.probed() == ["b"]


@pytest.mark.parametrize("code", ["forbidden", "invalid_argument"])
def test_what_is_refused_for_good_is_given_up(teller: Teller, code: str) -> None:
    teller.add("a")
    teller.add("b", RELEASE)
    assert teller.leases() == ["a", "b"]
    assert teller.outbox.refuse(1, code, done=False) == Refused("finish", code, ["a"], True)
    assert (len(teller.outbox), teller.outbox.waits) == (1, False)
    teller.add("c")
    assert teller.leases() == ["c"]
    outcome = teller.outbox.answer(3, ["forbidden"])
    assert outcome.refused == [Refused("finish", "forbidden", ["c"], True)]
    assert "c" not in teller.outbox
