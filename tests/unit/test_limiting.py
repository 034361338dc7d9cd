"""The flows of limits and pauses: what they send, what they refuse, what they make of answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sharq.errors import BadArgumentException, StoreUnavailable
from sharq.identifiers import ascii_word
from sharq.operations import limit_words
from sharq.operations.call import Flow
from sharq.results import REMOVE, Estimate, Limits, Pause
from tests.support.cases import cases
from tests.unit.test_flows import Drive, Registry, make

SHOWN: list[Any] = [
    *(b"1.5", b"api", 3, b"enqueue", 0, b"", b"acct", b"api"),
    *(b"two%20words", b"1767225600000.125", 2, 7),
    *(b"inf", b"worker", b"%2D", b"group_paused", -1),
]
NOTHING: list[Any] = [
    *(b"", b"", 0, b"", 0, b"", b"", b""),
    *(b"", b"", 0, -1, b"", b"", b"", b"", 0),
]


def sent(flow: Flow[Any]) -> tuple[Any, list[Any]]:
    """The result of a flow whose type is registered already, and what it sent."""
    drive = Drive(lambda said: True if said.name == "register" else said)
    result = drive(flow)
    return result, [each for each in drive.requests if each != [["register", "mail"]]]


def words(text: str) -> list[str]:
    return ["" if word == "''" else word for word in text.split()]


FLOWS = make().limiting


@cases(
    ("flow", "expected"),
    [
        (
            FLOWS.set("mail", "bob", interval=2.5, burst=3, group="g"),
            "limits 3600000 queue bob 2.5 3 '' g ''",
        ),
        (
            FLOWS.set("mail", None, "g", interval=Decimal(5), concurrency=REMOVE, reason="a b"),
            "limits 3600000 group g 5 '' - '' a%20b",
        ),
        (FLOWS.set("mail", reason="-"), "limits 3600000 type '' '' '' '' '' %2D"),
        (FLOWS.set("mail", reason=""), "limits 3600000 type '' '' '' '' '' -"),
        (FLOWS.set("mail", reason="é/"), "limits 3600000 type '' '' '' '' '' %C3%A9%2F"),
        (FLOWS.reset("mail", "bob"), "limits 3600000 queue bob - - - - -"),
        (FLOWS.reset("mail", None, "g"), "limits 3600000 group g - - - '' -"),
        (FLOWS.reset("mail"), "limits 3600000 type '' - - - '' -"),
        (FLOWS.pause("mail"), "pause 3600000 type '' '' '' api ''"),
        (FLOWS.pause("mail", "bob", None, 500, "a b"), "pause 3600000 queue bob 500 a%20b api ''"),
        (FLOWS.resume("mail", None, "g"), "pause 3600000 group g - '' api ''"),
        (FLOWS.show("mail", "bob"), "show_limits queue bob"),
        (FLOWS.show("mail", None, "g"), "show_limits group g"),
        (FLOWS.show("mail"), "show_limits type ''"),
        (FLOWS.estimate("mail", "bob", burst=2), "dry_run queue bob '' 2 '' ''"),
    ],
)
def test_a_flow_sends(flow: Flow[Any], expected: str) -> None:
    _, requests = sent(flow)
    assert requests == [words(expected)]


def test_a_type_is_registered_before_something_is_set_for_it() -> None:
    for name, values in (("set", {"burst": 1}), ("pause", {})):
        drive = Drive(lambda said: True if said.name == "register" else said)
        drive(getattr(make().limiting, name)("mail", **values))
        assert [each[0] for each in drive.requests[:1]] == [["register", "mail"]]
    for name in ("reset", "resume", "show"):
        drive = Drive(lambda said: said)
        drive(getattr(make().limiting, name)("mail"))
        assert len(drive.requests) == 1


def test_what_could_not_be_registered_is_not_set() -> None:
    registry = Registry()
    registry.failing["mail"] = StoreUnavailable("away")
    for name, values in (("set", {"burst": 1}), ("pause", {})):
        drive = Drive(registry)
        with pytest.raises(StoreUnavailable):
            drive(getattr(make().limiting, name)("mail", **values))
        assert drive.names() == [["register"]]


ANY = {"burst": 1}
REFUSED: list[tuple[Flow[Any], str]] = [
    (FLOWS.set("no name", **ANY), "`queue_type` has an invalid value."),
    (FLOWS.set("mail", "no name", **ANY), "`queue_id` has an invalid value."),
    (FLOWS.set("mail", None, "no name", **ANY), "`group_id` has an invalid value."),
    (FLOWS.set("mail", None, "-", **ANY), "`group_id` has an invalid value."),
    (FLOWS.set("mail", "bob", "g", **ANY), "`queue_id` and `group_id` cannot be given together."),
    (FLOWS.set("mail", None, "g", group="h"), "`group` is a value of a queue, and not of a group."),
    (FLOWS.set("mail", group=REMOVE), "`group` is a value of a queue, and not of a type."),
    (
        FLOWS.set("mail", "bob"),
        "Nothing is given: name one or more of"
        " `interval`, `burst`, `concurrency`, `group`, `reason`.",
    ),
    (
        FLOWS.estimate("mail", None, "g"),
        "Nothing is given: name one or more of `interval`, `burst`, `concurrency`, `reason`.",
    ),
    (FLOWS.set("mail", "bob", interval=1.0005), "`interval` has an invalid value."),
    (FLOWS.set("mail", "bob", burst=0), "`burst` has an invalid value."),
    (FLOWS.set("mail", "bob", concurrency=1.0), "`concurrency` has an invalid value."),
    (FLOWS.set("mail", "bob", group=5), "`group` has an invalid value."),
    (FLOWS.set("mail", "bob", group="-"), "`group` has an invalid value."),
    (FLOWS.set("mail", "bob", reason=5), "`reason` has an invalid value."),
    (FLOWS.set("mail", "bob", reason="x" * 201), "`reason` has an invalid value."),
    (FLOWS.set("mail", "bob", reason="é" * 101), "`reason` has an invalid value."),
    (FLOWS.set("mail", "bob", reason="\ud800"), "`reason` has an invalid value."),
    (FLOWS.pause("mail", "bob", None, 0), "`duration` has an invalid value."),
    (FLOWS.pause("mail", "bob", None, 1.5), "`duration` has an invalid value."),
    (FLOWS.pause("mail", "bob", None, True), "`duration` has an invalid value."),
    (FLOWS.pause("mail", "bob", None, None, b"x"), "`reason` has an invalid value."),
]


@cases(("flow", "message"), REFUSED)
def test_a_bad_argument_is_named_before_anything_is_sent(flow: Flow[Any], message: str) -> None:
    drive = Drive(lambda said: said)
    with pytest.raises(BadArgumentException) as caught:
        drive(flow)
    assert str(caught.value) == message
    assert drive.requests == []


# ---- what the store tells ----


def test_limits_are_read() -> None:
    assert limit_words.limits(SHOWN) == Limits(
        interval=1.5,
        burst=3,
        concurrency=None,
        group="acct",
        set_by={"interval": "api", "burst": "enqueue", "concurrency": None, "group": "api"},
        reason="two words",
        tat=1767225600000.125,
        active=2,
        queue_length=7,
        pause=Pause(None, "-", "worker"),
        held_by="group_paused",
        ready_in=None,
    )


def test_a_level_without_limits_is_read() -> None:
    assert limit_words.limits(NOTHING) == Limits(
        interval=None,
        burst=None,
        concurrency=None,
        group=None,
        set_by=dict.fromkeys(("interval", "burst", "concurrency", "group")),
        reason=None,
        tat=None,
        active=0,
        queue_length=None,
        pause=None,
        held_by=None,
        ready_in=0,
    )


def test_whole_numbers_are_integers() -> None:
    told = limit_words.limits([b"0.000", *SHOWN[1:9], b"1767225600000", *SHOWN[10:]])
    assert (type(told.interval), told.interval) == (int, 0)
    assert (type(told.tat), told.tat) == (int, 1767225600000)
    for text in (b"1767225600500", b"1767225600500.000"):
        timed = limit_words.limits([*SHOWN[:12], text, *SHOWN[13:]])
        assert timed.pause is not None
        assert (type(timed.pause.until), timed.pause.until) == (int, 1767225600500)


def test_an_estimate_is_read() -> None:
    assert limit_words.estimate([1500, -1, 1]) == Estimate(1500, None, True)
    assert limit_words.estimate([-1, 0, 0]) == Estimate(None, 0, False)


@cases("reason", ["-", "--", "%", "a b", "a:b", "é", "\n", "", "x" * 200])
def test_a_reason_is_one_word_and_comes_back(reason: str) -> None:
    encoded = ascii_word(reason)
    assert encoded.isascii()
    assert encoded != "-"
    assert encoded.split() == ([encoded] if encoded else [])
    told = limit_words.limits([*SHOWN[:8], encoded.encode(), *SHOWN[9:]])
    assert told.reason == (reason or None)
