"""How leases end: what holders may tell, and which calls that makes."""

from __future__ import annotations

from typing import Any

import pytest

from sharq.endings import (
    FINISH,
    Ending,
    EndingLease,
    Failure,
    fail_with,
    finish_with,
    release_with,
)
from sharq.errors import BadArgumentException
from sharq.operations.call import Flow
from sharq.results import SUCCESS, Ended, JobError, Lease, Told
from tests.support.cases import cases
from tests.unit.test_flows import Drive, make

HOUR = 3_600_000
LEASE = "mail/bob/j1/7"
MEANT = Lease("mail", "bob", "j1", "7")


# ---- what may be told ----


@cases(
    ("ending", "expected"),
    [
        (finish_with(None), Ending(True)),
        (finish_with(1), Ending(True, cost=1)),
        (finish_with(1_000_000), Ending(True, cost=1_000_000)),
        (release_with(0, None), Ending(False)),
        (release_with(5, True), Ending(False, 5)),
        (release_with(5, False, 2), Ending(False, 5, False, 2)),
        (release_with(0, None, None, 1), Ending(False, 0, False, None, 1)),
        (release_with(0, False, None, HOUR, "type"), Ending(False, 0, False, None, HOUR, "type")),
        (release_with(0, True, None, None, "queue"), Ending(False)),
    ],
)
def test_an_ending_has_what_was_told(ending: Ending, expected: Ending) -> None:
    assert ending == expected


@pytest.mark.parametrize("cost", [0, -1, 1_000_001, 1.0, "1", True, []])
def test_a_cost_is_checked(cost: Any) -> None:
    for tell in (finish_with, lambda it: release_with(0, None, it)):
        with pytest.raises(BadArgumentException, match="`cost` has an invalid value"):
            tell(cost)


@cases(
    ("values", "complaint"),
    [
        ((0, None, None, 0), "`pause` has"),
        ((0, None, None, HOUR + 1), "`pause` has"),
        ((0, None, None, 1.0), "`pause` has"),
        ((0, None, None, True), "`pause` has"),
        ((0, None, None, 1, "all"), "`pause_scope` has"),
        ((0, None, None, 1, ["type"]), "`pause_scope` has"),
        ((0, None, None, None, "group"), "there is none"),
        ((0, True, None, 1), "does not count"),
        ((0, 1, None, 1), "`count_requeue` has"),
        ((-1, None), "`delay` has"),
        ((None, None), "`delay` has"),
    ],
)
def test_a_release_is_checked(values: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(BadArgumentException, match=complaint):
        release_with(*values)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, Ending(False, failure=Failure(backs_off=True))),
        ({"delay": 0, "retry": True}, Ending(False, failure=Failure())),
        ({"retry": False}, Ending(False, failure=Failure(retry=False, backs_off=True))),
        (
            {"error": {"type": "E"}, "delay": 5, "cost": 2, "pause": 3, "worker": "w"},
            Ending(False, 5, True, 2, 3, "queue", Failure(JobError("E"), "w")),
        ),
    ],
)
def test_a_failure_has_what_was_told(told: dict[str, Any], expected: Ending) -> None:
    assert fail_with(**told) == expected
    assert not expected.is_plain
    assert not expected.pauses_others


@cases(
    "told",
    [
        {"error": "text"},
        {"retry": 1},
        {"retry": "false"},
        {"retry": False, "delay": 0},
        {"delay": -1},
        {"delay": 1.5},
        {"cost": 0},
        {"pause": 0},
        {"pause": HOUR + 1},
        {"worker": ""},
        {"worker": 7},
    ],
)
def test_a_failure_is_checked(told: dict[str, Any]) -> None:
    with pytest.raises(BadArgumentException):
        fail_with(**told)


@pytest.mark.parametrize(
    ("ending", "pauses_others"),
    [
        (FINISH, False),
        (release_with(0, None, None, 1, "queue"), False),
        (release_with(0, None, None, 1, "group"), True),
        (release_with(0, None, None, 1, "type"), True),
        (Ending(False, scope="type"), False),
    ],
)
def test_only_a_pause_beyond_the_queue_needs_a_right_of_its_own(
    ending: Ending, pauses_others: bool
) -> None:
    assert ending.pauses_others is pauses_others


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (finish_with(7), Told("bob", "j1", "7", "finish", "7", "0", "", "")),
        (release_with(5, None, 7), Told("bob", "j1", "7", "release", "7", "5", "", "")),
        (release_with(0, False, 7), Told("bob", "j1", "7", "return", "7", "0", "", "")),
        (
            release_with(0, None, None, 30, "group"),
            Told("bob", "j1", "7", "return", "", "0", "30", "group"),
        ),
    ],
)
def test_the_store_is_told_texts(ending: Ending, told: Told) -> None:
    assert ending.of(MEANT) == told
    assert EndingLease.of(LEASE, ending) == EndingLease(MEANT, ending)


# ---- the calls ----


def sent(flow: Flow[Any]) -> tuple[Any, list[Any]]:
    """The result of a flow, and the calls that it sent."""
    drive = Drive(answer)
    result = drive(flow)
    return result, [call for request in drive.requests for call in calls_in(request)]


def calls_in(request: list[Any]) -> list[list[str]]:
    return request if isinstance(request[0], list) else [request]


def answer(said: Any) -> Any:
    if said.name == "finish":
        return Ended(SUCCESS)
    # Of a settle the values stand in tens behind three others, else in threes.
    width = {"settle": 10, "finish_many": 3, "release": 3}[said.name]
    return [Ended(SUCCESS)] * (len(said) // width)


def test_what_tells_nothing_more_is_the_call_that_it_was() -> None:
    flows = make()
    job = MEANT[:3]
    names = [
        call[0]
        for flow in (
            flows.finish_job(*job, LEASE),
            flows.finish_many([LEASE]),
            flows.release_job(*job, LEASE, 0, None),
            flows.release_many([LEASE], 0, None),
        )
        for call in sent(flow)[1]
    ]
    assert names == ["finish", "finish_many", "release", "release"]


@cases(
    ("flow", "words"),
    [
        (
            lambda flows: flows.finish_job(*MEANT[:3], LEASE, 9),
            "bob j1 7 finish 9 0 '' '' '' ''",
        ),
        (
            lambda flows: flows.finish_job(*MEANT[:3], None, 9),
            "bob j1 '' finish 9 0 '' '' '' ''",
        ),
        (
            lambda flows: flows.finish_many([LEASE, "x", LEASE], 9),
            "bob j1 7 finish 9 0 '' '' '' '' bob j1 7 finish 9 0 '' '' '' ''",
        ),
        (
            lambda flows: flows.release_job(*MEANT[:3], LEASE, 5, None, pause=30),
            "bob j1 7 return '' 5 30 queue '' ''",
        ),
        (
            lambda flows: flows.release_many([LEASE], 5, None, cost=2),
            "bob j1 7 release 2 5 '' '' '' ''",
        ),
        (
            lambda flows: flows.fail_job(*MEANT[:3], LEASE),
            "bob j1 7 fail '' '' '' '' '' ''",
        ),
        (
            lambda flows: flows.fail_job(
                *MEANT[:3], LEASE, error={"type": "E"}, delay=5, cost=2, pause=30, worker="w é"
            ),
            'bob j1 7 fail 2 5 30 queue w%20%C3%A9 {"type":"E"}',
        ),
        (
            lambda flows: flows.fail_job(*MEANT[:3], LEASE, retry=False, error={"message": "a b"}),
            "bob j1 7 reject '' '' '' '' '' {\"message\":\"a\x1fb\"}",
        ),
        (
            lambda flows: flows.settle_many(
                [(LEASE, finish_with(2)), (LEASE, None), ("x", FINISH), (LEASE, FINISH)]
            ),
            "bob j1 7 finish 2 0 '' '' '' '' bob j1 7 finish '' 0 '' '' '' ''",
        ),
    ],
)
def test_what_tells_more_goes_in_one_call(flow: Any, words: str) -> None:
    _, (call,) = sent(flow(make()))
    assert call[0] == "settle"
    assert " ".join(word or "''" for word in call).endswith(words)
