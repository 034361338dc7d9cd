"""The frames of push, byte for byte: what is read, what is refused and why, what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import example, given

from sharq import results
from sharq.endings import FINISH, Ending, Failure
from sharq.errors import (
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreOverloaded,
    StoreUnavailable,
    UnexpectedReply,
)
from sharq.identifiers import EXPECTED
from sharq.results import Ended, Extended, JobError, Lease
from sharq_server.push import frames as push_frames
from sharq_server.push.frames import BadFrame, decode
from sharq_server.watch import frames as watch_frames
from tests.support.cases import cases

REFERENCE = Path(__file__).parents[2] / "docs" / "push-protocol.md"

LEASE = "sms/q1/j1/1"
YEAR = 31_536_000_000
NAME = "n" * 100

WITH_LEASES: list[tuple[str, dict[str, Any]]] = [
    ("finish", {}),
    ("release", {}),
    ("fail", {}),
    ("extend", {"by": 1}),
]


def plain(frame: push_frames.Frame) -> dict[str, Any]:
    """The fields of a frame, jobs as their text."""
    fields = msgspec.structs.asdict(frame)
    del fields["op"], fields["raw_id"]
    if "jobs" in fields:
        fields["jobs"] = [bytes(j) if isinstance(j, msgspec.Raw) else j for j in fields["jobs"]]
    return fields


def refusal(text: str | bytes) -> tuple[str, str, bytes | None]:
    with pytest.raises(BadFrame) as caught:
        decode(text)
    assert str(caught.value) == caught.value.message
    return caught.value.code, caught.value.message, caught.value.id


def text_of(op: str, **fields: Any) -> str:
    return json.dumps({"op": op, **fields})


# ---- what a client says ----

SUBSCRIBED = {
    "queue_type": "sms",
    "mode": "deliver",
    "credit": 32,
    "leases": [],
    "on_disconnect": "keep",
    "worker": None,
}
NO_VALUES = dict.fromkeys(("delay", "count_requeue", "cost", "pause", "pause_scope"))
RELEASED = NO_VALUES | {"leases": [LEASE], "items": Ending(False)}
FINISHED = {"leases": [LEASE], "items": FINISH, "cost": None}
THROTTLED = Ending(False, counted=False, pause=500)
NO_REASONS = dict.fromkeys(("error", "retry", "delay", "cost", "pause", "worker"))
FAILED = Ending(False, failure=Failure(backs_off=True))
DEQUEUED = {"queue_type": "sms", "count": 1, "request_id": None}

FRAMES: list[tuple[str, type[Any], dict[str, Any]]] = [
    ('{"op":"subscribe","queue_type":"sms","credit":32}', push_frames.Subscribe, SUBSCRIBED),
    (
        '{"op":"subscribe","queue_type":"sms","credit":0,"mode":"notify",'
        '"on_disconnect":"release","leases":["sms/q1/j1/1"]}',
        push_frames.Subscribe,
        {
            "queue_type": "sms",
            "mode": "notify",
            "credit": 0,
            "leases": [LEASE],
            "on_disconnect": "release",
            "worker": None,
        },
    ),
    (
        '{"op":"subscribe","queue_type":"sms","credit":32,"mode":"deliver","leases":[],'
        '"on_disconnect":"keep"}',
        push_frames.Subscribe,
        SUBSCRIBED,
    ),
    (
        '{"op":"subscribe","queue_type":"sms","credit":32,"mode":null,"leases":null,'
        '"on_disconnect":null,"worker":null}',
        push_frames.Subscribe,
        SUBSCRIBED,
    ),
    (
        '{"op":"subscribe","queue_type":"sms","credit":32,"worker":"w\\u00e9b 1:4711"}',
        push_frames.Subscribe,
        SUBSCRIBED | {"worker": "w\u00e9b 1:4711"},
    ),
    (
        '{"op":"credit","queue_type":"sms","credit":10000}',
        push_frames.Credit,
        {"queue_type": "sms", "credit": 10_000},
    ),
    ('{"op":"credit","credit":0}', push_frames.Credit, {"queue_type": None, "credit": 0}),
    (
        '{"op":"credit","credit":1,"queue_type":null}',
        push_frames.Credit,
        {"queue_type": None, "credit": 1},
    ),
    (
        '{"op":"unsubscribe","queue_type":"sms"}',
        push_frames.Unsubscribe,
        {"queue_type": "sms"},
    ),
    ('{"op":"finish","leases":["sms/q1/j1/1"]}', push_frames.Finish, FINISHED),
    (
        '{"op":"finish","leases":["sms/q1/j1/1"],"cost":1000000}',
        push_frames.Finish,
        {"leases": [LEASE], "items": Ending(True, cost=1_000_000), "cost": 1_000_000},
    ),
    (
        '{"op":"finish","items":[{"lease":"sms/q1/j1/1","cost":7},{"lease":"sms/q1/j1/1"},'
        '{"lease":"sms/q1/j1/1","cost":0},{"lease":"sms/q1/j1/1","delay":1},{"lease":5},7]}',
        push_frames.Finish,
        {
            "leases": [LEASE, LEASE, LEASE, LEASE, "", ""],
            "items": [Ending(True, cost=7), FINISH, None, None, FINISH, None],
            "cost": None,
        },
    ),
    (
        '{"op":"release","leases":["sms/q1/j1/1"],"pause":500}',
        push_frames.Release,
        NO_VALUES | {"leases": [LEASE], "items": THROTTLED, "pause": 500},
    ),
    (
        '{"op":"release","leases":["sms/q1/j1/1"],"pause":3600000,"pause_scope":"type","cost":9,'
        '"delay":5,"count_requeue":false}',
        push_frames.Release,
        {
            "leases": [LEASE],
            "items": Ending(False, 5, False, 9, 3_600_000, "type"),
            "delay": 5,
            "count_requeue": False,
            "cost": 9,
            "pause": 3_600_000,
            "pause_scope": "type",
        },
    ),
    (
        '{"op":"release","items":[{"lease":"sms/q1/j1/1","pause":500,"pause_scope":"queue"},'
        '{"lease":"sms/q1/j1/1","delay":5,"cost":2},{"lease":"sms/q1/j1/1","count_requeue":false},'
        '{"lease":"sms/q1/j1/1","pause":1,"count_requeue":true},'
        '{"lease":"sms/q1/j1/1","pause_scope":"queue"},{"lease":"sms/q1/j1/1","pause":3600001}]}',
        push_frames.Release,
        NO_VALUES
        | {
            "leases": [LEASE] * 6,
            "items": [
                THROTTLED,
                Ending(False, 5, cost=2),
                Ending(False, counted=False),
                *(None, None, None),
            ],
        },
    ),
    (
        '{"op":"fail","leases":["sms/q1/j1/1"]}',
        push_frames.Fail,
        NO_REASONS | {"leases": [LEASE], "items": FAILED},
    ),
    (
        '{"op":"fail","leases":["sms/q1/j1/1"],"error":{"type":"E","message":null},"retry":true,'
        '"delay":0,"cost":9,"pause":3600000,"worker":"w"}',
        push_frames.Fail,
        {
            "leases": [LEASE],
            "items": Ending(
                False,
                cost=9,
                pause=3_600_000,
                failure=Failure(JobError("E"), "w"),
            ),
            "error": {"type": "E", "message": None},
            "retry": True,
            "delay": 0,
            "cost": 9,
            "pause": 3_600_000,
            "worker": "w",
        },
    ),
    (
        '{"op":"fail","items":[{"lease":"sms/q1/j1/1","retry":false},'
        '{"lease":"sms/q1/j1/1","delay":5,"error":{"trace":"t \\ud800"},"worker":"v"},'
        '{"lease":"sms/q1/j1/1","error":"E"},{"lease":"sms/q1/j1/1","error":{"kind":"E"}},'
        '{"lease":"sms/q1/j1/1","error":{"type":5}},{"lease":"sms/q1/j1/1","worker":""},'
        '{"lease":"sms/q1/j1/1","retry":0},{"lease":"sms/q1/j1/1","pause_scope":"queue"}]}',
        push_frames.Fail,
        NO_REASONS
        | {
            "leases": [LEASE] * 8,
            "items": [
                Ending(False, failure=Failure(retry=False, backs_off=True)),
                Ending(False, 5, failure=Failure(JobError(trace="t ?"), "v")),
                *[None] * 6,
            ],
        },
    ),
    (
        '{"op":"finish","leases":["sms/q1/j1/1","nonsense",5,null,["sms/q1/j1/1"],"sms/q1/j1/1"]}',
        push_frames.Finish,
        FINISHED | {"leases": [LEASE, "nonsense", "", "", "", LEASE]},
    ),
    ('{"op":"release","leases":["sms/q1/j1/1"]}', push_frames.Release, RELEASED),
    (
        '{"op":"release","leases":["sms/q1/j1/1"],"delay":null,"count_requeue":null}',
        push_frames.Release,
        RELEASED,
    ),
    (
        '{"op":"release","leases":["sms/q1/j1/1"],"delay":31536000000,"count_requeue":false}',
        push_frames.Release,
        NO_VALUES
        | {
            "leases": [LEASE],
            "items": Ending(False, YEAR, False),
            "delay": YEAR,
            "count_requeue": False,
        },
    ),
    (
        '{"op":"cancel","jobs":[{"queue_type":"sms","queue_id":"q1","job_id":"j1"},'
        '{"queue_type":"sms","queue_id":"q1","job_id":"j1","lease":"sms/q1/j1/1"},'
        '{"queue_type":"sms","queue_id":"q1","job_id":"j1","lease":null},'
        '{"queue_type":"sms","queue_id":"q1","job_id":"j1","lease":"sms/q1/j2/1"},'
        '{"queue_type":"sms","queue_id":"q1"},{"queue_type":"s s","queue_id":"q","job_id":"j"},'
        '{"queue_type":"sms","queue_id":"q1","job_id":"j1","x":1},null,"sms/q1/j1/1"]}',
        push_frames.Cancel,
        {
            "jobs": [
                Lease("sms", "q1", "j1", ""),
                Lease("sms", "q1", "j1", "1"),
                Lease("sms", "q1", "j1", ""),
                *[None] * 6,
            ]
        },
    ),
    (
        '{"op":"extend","leases":["sms/q1/j1/1"],"by":1}',
        push_frames.Extend,
        {"leases": [LEASE], "by": 1},
    ),
    (
        '{"op":"extend","leases":["sms/q1/j1/1"],"by":31536000000}',
        push_frames.Extend,
        {"leases": [LEASE], "by": YEAR},
    ),
    (
        '{"op":"enqueue","jobs":[{"payload": 123456789012345678901234567890}, 5 ]}',
        push_frames.Enqueue,
        {"jobs": [b'{"payload": 123456789012345678901234567890}', b"5"]},
    ),
    ('{"op":"dequeue","queue_type":"sms"}', push_frames.Dequeue, DEQUEUED),
    (
        '{"op":"dequeue","queue_type":"sms","count":null,"request_id":null}',
        push_frames.Dequeue,
        DEQUEUED,
    ),
    (
        '{"op":"dequeue","queue_type":"sms","count":100,"request_id":"r-1"}',
        push_frames.Dequeue,
        {"queue_type": "sms", "count": 100, "request_id": "r-1"},
    ),
    ('{"op":"ping"}', push_frames.Ping, {}),
    (' {"op" : "p\\u0069ng"}\r\n', push_frames.Ping, {}),
]


@cases(("text", "form", "fields"), FRAMES)
def test_a_frame_is_read(text: str, form: type[Any], fields: dict[str, Any]) -> None:
    for frame in (decode(text), decode(text.encode())):
        assert type(frame) is form
        assert plain(frame) == fields
        assert frame.id is None


def test_a_name_of_the_connection_is_that_of_failures_without_one() -> None:
    told = Ending(False, failure=Failure(None, "mine", backs_off=True))
    one: Any = decode(text_of("fail", leases=[LEASE]))
    one.by(None)
    assert one.items == FAILED
    one.by("w")
    assert one.items == Ending(False, failure=Failure(None, "w", backs_off=True))
    many: Any = decode(
        text_of("fail", items=[{"lease": LEASE}, {"lease": LEASE, "worker": "mine"}, 5])
    )
    many.by("w")
    assert many.items == [one.items, told, None]


@cases(
    "frame_id",
    [
        "7",
        "-0",
        "1.50",
        "1E999",
        "9" * 128,
        "null",
        "true",
        "false",
        '""',
        '"Seven"',
        '"\\u00e9\\/\\ud83d\\ude00"',
        '"é"',
        '"' + "x" * 126 + '"',
    ],
)
def test_an_id_is_kept_as_it_came(frame_id: str) -> None:
    assert decode(f'{{"op":"ping","id": {frame_id} }}').id == frame_id.encode()
    assert refusal(f'{{"id":{frame_id},"op":"none"}}')[2] == frame_id.encode()


@pytest.mark.parametrize("count", [1, 1000])
def test_so_many_leases_and_jobs_fit_into_a_frame(count: int) -> None:
    for op, more in WITH_LEASES:
        frame: Any = decode(text_of(op, leases=[LEASE] * count, **more))
        assert len(frame.leases) == count
    enqueue: Any = decode(text_of("enqueue", jobs=[1] * count))
    assert len(enqueue.jobs) == count


def test_the_last_of_repeated_fields_counts() -> None:
    frame: Any = decode(
        '{"op":"x","op":5,"id":[],"op":"credit","credit":"1","id":1,"credit":2,"credit":3,"id":2}'
    )
    assert (type(frame), frame.credit, frame.id) == (push_frames.Credit, 3, b"2")
    assert refusal('{"op":"credit","credit":3,"credit":"1"}')[1] == "`credit` has an invalid value."


def test_the_last_of_repeated_lists_of_jobs_counts() -> None:
    assert plain(decode('{"op":"enqueue","jobs":5,"jobs":[1e2]}')) == {"jobs": [b"1e2"]}
    assert refusal('{"op":"enqueue","jobs":[1e2],"jobs":5}')[1] == "`jobs` has an invalid value."


def test_names_may_have_a_hundred_characters() -> None:
    frame: Any = decode(text_of("dequeue", queue_type=NAME, request_id=NAME))
    assert (frame.queue_type, frame.request_id) == (NAME, NAME)


def test_limits_are_those_that_are_kept_to() -> None:
    assert push_frames.LIMITS == {
        "max_jobs": 1000,
        "max_leases": 1000,
        "max_subscriptions": 1000,
        "max_credit": 10_000,
    }


# ---- what is refused ----


def mandatory(field: str) -> str:
    return f"`{field}` is a mandatory parameter"


def invalid(field: str) -> str:
    return f"`{field}` has an invalid value."


def unknown(field: str) -> str:
    return f"`{field}` is not a known parameter."


NO_JOBS = "`jobs` is a mandatory parameter, with one job or more"
TOO_MANY = [LEASE] * 1001
NOT_NAMES: list[Any] = ["", "a b", "a/b", "é", "n" * 101, "sms\n", 1, True, None, ["sms"], {}]
NOT_CREDIT: list[Any] = [-1, 10_001, 2**70, 1.0, 1.5, "1", True, None, [], {}]
NOT_COUNTS: list[Any] = [0, -1, 101, 1.0, "1", True, []]
NOT_MODES: list[Any] = ["", "Deliver", "keep", 1, True, ["deliver"], {}]
NOT_DISCONNECTS: list[Any] = ["", "deliver", 1, ["keep"]]
NOT_DELAYS: list[Any] = [-1, YEAR + 1, 1.0, "1", True, []]
NOT_EXTENSIONS: list[Any] = [0, -1, YEAR + 1, 1.0, "1", True, None, []]
NOT_FLAGS: list[Any] = [0, 1, "true", []]
NOT_COSTS: list[Any] = [0, -1, 1_000_001, 1.0, "1", True, []]
NOT_PAUSES: list[Any] = [0, -1, 3_600_001, 1.0, "1", True, []]
NOT_ERRORS: list[Any] = ["E", 1, True, [], ["E"], {"type": 1}, {"message": ["m"]}, {"trace": {}}]
NOT_WORKERS: list[Any] = ["", "w" * 101, "w\n", "\x00", 1, True, [], {}]
BOTH = "`leases` and `items` cannot be given together."
SCOPE_ALONE = "`pause_scope` is the scope of a `pause`, and there is none."
COUNTED_PAUSE = "A release with a `pause` does not count: no `count_requeue`."
NOT_LISTS: list[Any] = [None, 1, "", {}, True]
NOT_LEASES: list[Any] = ["sms/q1/j1/1", 1, True, {}]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("subscribe", {}, mandatory("queue_type")),
    ("subscribe", {"credit": 1}, mandatory("queue_type")),
    ("subscribe", {"queue_type": "sms"}, mandatory("credit")),
    ("subscribe", {"queue_type": "sms", "credit": 1, "count": 1}, unknown("count")),
    *(("subscribe", {"queue_type": it, "credit": 1}, invalid("queue_type")) for it in NOT_NAMES),
    *(("subscribe", {"queue_type": "sms", "credit": it}, invalid("credit")) for it in NOT_CREDIT),
    *(
        ("subscribe", {"queue_type": "sms", "credit": 1, "mode": it}, invalid("mode"))
        for it in NOT_MODES
    ),
    *(
        ("subscribe", {"queue_type": "sms", "credit": 1, field: it}, invalid(field))
        for field, its in (("on_disconnect", NOT_DISCONNECTS), ("leases", NOT_LEASES))
        for it in its
    ),
    (
        "subscribe",
        {"queue_type": "sms", "credit": 1, "leases": TOO_MANY},
        "`leases` has more than 1000 entries.",
    ),
    ("credit", {}, mandatory("credit")),
    ("credit", {"queue_type": "sms"}, mandatory("credit")),
    ("credit", {"credit": 1, "mode": "notify"}, unknown("mode")),
    *(("credit", {"credit": it}, invalid("credit")) for it in NOT_CREDIT),
    *(
        ("credit", {"credit": 1, "queue_type": it}, invalid("queue_type"))
        for it in NOT_NAMES
        if it is not None
    ),
    ("unsubscribe", {}, mandatory("queue_type")),
    ("unsubscribe", {"queue_type": "sms", "credit": 0}, unknown("credit")),
    *(("unsubscribe", {"queue_type": it}, invalid("queue_type")) for it in NOT_NAMES),
    *(
        refused
        for op, more in WITH_LEASES
        for refused in (
            (op, more, mandatory("leases")),
            (op, {**more, "lease": LEASE}, unknown("lease")),
            (op, {**more, "leases": []}, invalid("leases")),
            (op, {**more, "leases": None}, invalid("leases")),
            *((op, {**more, "leases": it}, invalid("leases")) for it in NOT_LEASES),
            (op, {**more, "leases": TOO_MANY}, "`leases` has more than 1000 entries."),
        )
    ),
    *(("release", {"leases": [LEASE], "delay": it}, invalid("delay")) for it in NOT_DELAYS),
    *(
        ("release", {"leases": [LEASE], "count_requeue": it}, invalid("count_requeue"))
        for it in NOT_FLAGS
    ),
    *(
        (op, {"leases": [LEASE], "cost": it}, invalid("cost"))
        for op in ("finish", "release", "fail")
        for it in NOT_COSTS
    ),
    *(
        (op, {"leases": [LEASE], "pause": it}, invalid("pause"))
        for op in ("release", "fail")
        for it in NOT_PAUSES
    ),
    *(("fail", {"leases": [LEASE], "delay": it}, invalid("delay")) for it in NOT_DELAYS),
    *(("fail", {"leases": [LEASE], "retry": it}, invalid("retry")) for it in NOT_FLAGS),
    *(("fail", {"leases": [LEASE], "error": it}, invalid("error")) for it in NOT_ERRORS),
    *(
        refused
        for it in NOT_WORKERS
        for refused in (
            ("fail", {"leases": [LEASE], "worker": it}, invalid("worker")),
            ("subscribe", {"queue_type": "sms", "credit": 1, "worker": it}, invalid("worker")),
        )
    ),
    ("fail", {"leases": [LEASE], "count_requeue": True}, unknown("count_requeue")),
    ("fail", {"leases": [LEASE], "pause": 1, "pause_scope": "queue"}, unknown("pause_scope")),
    *(
        ("release", {"leases": [LEASE], "pause": 1, "pause_scope": it}, invalid("pause_scope"))
        for it in ("", "all", 5, ["queue"], {"queue": 1}, True)
    ),
    ("release", {"leases": [LEASE], "pause_scope": "queue"}, SCOPE_ALONE),
    ("release", {"leases": [LEASE], "pause": 1, "count_requeue": True}, COUNTED_PAUSE),
    ("finish", {"leases": [LEASE], "pause": 1}, unknown("pause")),
    *(
        refused
        for op in ("finish", "release", "fail")
        for refused in (
            (op, {"leases": [LEASE], "items": [{"lease": LEASE}]}, BOTH),
            (
                op,
                {"items": [{"lease": LEASE}], "cost": 5},
                "`cost` is a field of each of the `items`.",
            ),
            (op, {"items": [{"lease": LEASE}] * 1001}, "`items` has more than 1000 entries."),
            *((op, {"items": it}, invalid("items")) for it in (None, [], {}, "x", 5, True)),
        )
    ),
    ("extend", {"items": [{"lease": LEASE}], "by": 1}, unknown("items")),
    ("extend", {"leases": [LEASE]}, mandatory("by")),
    *(("extend", {"leases": [LEASE], "by": it}, invalid("by")) for it in NOT_EXTENSIONS),
    ("cancel", {}, mandatory("jobs")),
    *(("cancel", {"jobs": it}, invalid("jobs")) for it in (None, [], {}, "x", 5, True)),
    ("cancel", {"jobs": [1] * 1001}, "`jobs` has more than 1000 entries."),
    ("enqueue", {}, NO_JOBS),
    ("enqueue", {"jobs": []}, NO_JOBS),
    ("enqueue", {"jobs": [1], "queue_type": "sms"}, unknown("queue_type")),
    *(("enqueue", {"jobs": it}, invalid("jobs")) for it in NOT_LISTS),
    ("enqueue", {"jobs": [1] * 1001}, "`jobs` has more than 1000 entries."),
    ("dequeue", {}, mandatory("queue_type")),
    ("dequeue", {"queue_type": "sms", "wait": 1}, unknown("wait")),
    *(("dequeue", {"queue_type": it}, invalid("queue_type")) for it in NOT_NAMES),
    *(("dequeue", {"queue_type": "sms", "count": it}, invalid("count")) for it in NOT_COUNTS),
    *(
        ("dequeue", {"queue_type": "sms", "request_id": it}, invalid("request_id"))
        for it in NOT_NAMES
        if it is not None
    ),
    ("ping", {"queue_type": "sms"}, unknown("queue_type")),
    ("ping", {"raw_id": 1}, unknown("raw_id")),
    ("ping", {"n" * 101: 1}, unknown("n" * 100 + "…")),
    ("ping", {"": 1}, unknown("")),
    *((op, {}, invalid("op")) for op in ("nonsense", "", "Ping", "frame", "_op", "welcome", "é")),
]


@cases(
    ("op", "fields", "message"),
    REFUSED,
    ids=lambda value: str(value)[:40],
)
def test_a_field_is_refused_by_name(op: str, fields: dict[str, Any], message: str) -> None:
    assert refusal(text_of(op, **fields)) == ("invalid_argument", message, None)
    named = text_of(op, **fields, id="a")
    assert refusal(named.encode()) == ("invalid_argument", message, b'"a"')


@cases(
    ("text", "message", "frame_id"),
    [
        ("{}", mandatory("op"), None),
        ('{"id":7}', mandatory("op"), b"7"),
        ('{"id":7,"x":1}', mandatory("op"), b"7"),
        ('{"op":1,"id":7}', invalid("op"), b"7"),
        ('{"op":null}', invalid("op"), None),
        ('{"op":["ping"],"id":null}', invalid("op"), b"null"),
        ('{"op":"ping","id":[7]}', invalid("id"), None),
        ('{"op":"ping","id":{}}', invalid("id"), None),
        ('{"op":"nonsense","id":{}}', invalid("id"), None),
        ('{"op":"ping","id":' + "9" * 129 + "}", invalid("id"), None),
        ('{"op":"ping","id":"' + "x" * 127 + '"}', invalid("id"), None),
        ('{"op":"ping","id":"' + "é" * 64 + '"}', invalid("id"), None),
        # It would come back, to readers that may be stricter than its sender.
        ('{"op":"ping","id":"\\ud800"}', invalid("id"), None),
        ('{"op":"ping","\\ud800":1}', "`\\ud800` is not a known parameter.", None),
        ("[]", "The frame has to be a JSON object.", None),
        ("null", "The frame has to be a JSON object.", None),
        ("7", "The frame has to be a JSON object.", None),
        ('"ping"', "The frame has to be a JSON object.", None),
        ("true", "The frame has to be a JSON object.", None),
        ('{"op":"ping","x":' + "[" * 100_000, "The frame nests too deep.", None),
        ('{"op":"enqueue","jobs":' + '{"a":' * 100_000, "The frame nests too deep.", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_frame_is_refused(text: str, message: str, frame_id: bytes | None) -> None:
    assert refusal(text) == ("invalid_argument", message, frame_id)


@cases(
    "text",
    [
        "",
        " ",
        "{",
        '{"op":"ping"',
        '{"op":"ping"} {"op":"ping"}',
        '{"op":"ping"}x',
        '{"op":"ping",}',
        "{'op':'ping'}",
        '{"op":"ping","id":NaN}',
        '{"op":"ping","id":01}',
        '{"op":"ping","id":-}',
        '{"op":"ping","id":"\\q"}',
        '{"op":"ping","id":"\x01"}',
        '{"op":"credit","credit":NaN}',
        '{"op":"credit","credit":Infinity}',
        "\ufeff" + '{"op":"ping"}',
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    for form in (text, text.encode()):
        code, message, frame_id = refusal(form)
        assert (code, frame_id) == ("not_json", None)
        assert message.startswith("The frame is not valid JSON: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"op":"ping","id":"\xff"}', "The frame is not UTF-8: byte 19."),
        (b'{"op":"ping","id":"\xed\xa0\x80"}', "The frame is not UTF-8: byte 19."),
        (b'{"op":"enqueue","jobs":["\xc3"]}', "The frame is not UTF-8: byte 25."),
        ('{"op":"ping"}'.encode("utf-16"), "The frame is not UTF-8: byte 0."),
        ('{"op":"ping","id":"\ud800"}', "The frame is not UTF-8."),
    ],
)
def test_what_is_no_utf8_is_refused(text: str | bytes, message: str) -> None:
    assert refusal(text) == ("not_json", message, None)


# ---- whatever comes ----

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(LEASE)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
OPS = ("subscribe", "credit", "unsubscribe", "finish", "release", "fail", "extend", "cancel",
       "enqueue", "dequeue", "watch")  # fmt: skip
FIELDS = (
    *("id", "queue_type", "mode", "credit", "leases", "on_disconnect", "delay", "count_requeue"),
    *("by", "jobs", "count", "request_id", "items", "cost", "pause", "pause_scope"),
    *("error", "retry", "worker", "topics"),
)
LIKELY = st.one_of(
    VALUES,
    st.sampled_from(["sms", "deliver", "notify", "keep", "release", 0, 1, 100]),
    st.lists(st.one_of(st.just(LEASE), SCALARS), max_size=3),
)
OBJECTS = st.fixed_dictionaries(
    {"op": st.sampled_from((*OPS, "ping"))}, optional=dict.fromkeys(FIELDS, LIKELY)
)


def test_one_odd_job_refuses_no_frame() -> None:
    odd = [b"NaN", b'{"payload":NaN}', b'{"job_id":"\\ud83d"}', b'"a\tb"', b"[" * 600 + b"]" * 600]
    frame = decode(b'{"id":7,"jobs":[1,%b, {}],"op":"enqueue"}' % b",".join(odd))
    assert isinstance(frame, push_frames.Enqueue)
    assert frame.id == b"7"
    assert [bytes(job) for job in frame.jobs] == [b"1", *odd, b"{}"]


def test_half_a_surrogate_pair_is_no_lease_and_refuses_none_beside_it() -> None:
    frame = decode('{"op":"finish","leases":["t/q/j/1","\\ud83d"]}')
    assert isinstance(frame, push_frames.Finish)
    assert frame.leases == ["t/q/j/1", "\ud83d"]


def taken_or_refused(text: str | bytes) -> push_frames.Frame | None:
    """The frame, None where it is refused; anything else that is raised is a defect."""
    try:
        return decode(text)
    except BadFrame as bad:
        refused = bad
    assert refused.code in {"not_json", "invalid_argument"}
    assert len(refused.id or b"") <= 128
    answer = json.loads(push_frames.error(refused.id, refused.code, refused.message))
    assert answer["code"] == refused.code
    assert answer["message"]
    return None


@given(st.binary())
@example(b'{"op":"ping","id":"\xed\xa0\x80"}')
def test_bytes_are_a_frame_or_refused(text: bytes) -> None:
    taken_or_refused(text)


@given(st.text(st.characters(codec=None)))
@example("\ud800")
def test_text_is_a_frame_or_refused(text: str) -> None:
    taken_or_refused(text)


@given(VALUES)
def test_json_is_a_frame_or_refused(value: Any) -> None:
    taken_or_refused(json.dumps(value))


@given(OBJECTS)
def test_what_looks_like_a_frame_is_one_or_refused(value: dict[str, Any]) -> None:
    frame = taken_or_refused(json.dumps(value))
    if frame is None:
        return
    assert set(value) <= {"op", "id", *plain(frame)}
    for field, kept in plain(frame).items():
        if field == "leases":
            asked = value.get(field) or [None for _ in value.get("items") or []]
            assert kept == [each if isinstance(each, str) else "" for each in asked]
        elif field == "jobs":
            assert [json.loads(each) for each in kept] == value[field]
        elif value.get(field) is not None:
            assert (type(kept), kept) == (type(value[field]), value[field])


@given(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)
    ).filter(lambda value: value not in (float("inf"), float("-inf"))),
    st.booleans(),
)
def test_any_scalar_is_an_id_and_comes_back_as_it_was(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    frame = taken_or_refused(f'{{"op":"unsubscribe","queue_type":"t","id":{text}}}')
    if "\\ud" in text or len(text.encode("utf-8", "surrogatepass")) > 128:
        return
    if isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value):
        return
    assert frame is not None
    assert frame.id == text.encode()
    answer = push_frames.reply(frame.id)
    assert answer == b'{"event":"reply","id":%b,"status":"success"}' % text.encode()
    assert json.loads(answer)["id"] == value


# ---- what the server says ----


def test_the_events() -> None:
    limits = {"max_frame_bytes": 1_114_112, "max_credit": 10_000}
    assert push_frames.welcome(1_767_225_600_000, 20_000, limits, {"finish", "dequeue"}) == (
        b'{"event":"welcome","protocol":"sharq.v1.json","server_time":1767225600000,'
        b'"heartbeat":20000,"limits":{"max_frame_bytes":1114112,"max_credit":10000},'
        b'"operations":["dequeue","finish"]}'
    )
    assert push_frames.jobs("sms", 5, b'[{"payload":1e2}]') == (
        b'{"event":"jobs","queue_type":"sms","server_time":5,"jobs":[{"payload":1e2}]}'
    )
    assert push_frames.ready("sms", 3, 250) == (
        b'{"event":"ready","queue_type":"sms","ready":3,"offer_ms":250}'
    )
    assert push_frames.expired([LEASE, "sms/q1/j2/2"]) == (
        b'{"event":"expired","leases":["sms/q1/j1/1","sms/q1/j2/2"]}'
    )
    assert push_frames.expired((LEASE,)) == b'{"event":"expired","leases":["sms/q1/j1/1"]}'
    assert push_frames.paused("store_unavailable") == (
        b'{"event":"paused","code":"store_unavailable"}'
    )
    assert push_frames.resumed() == b'{"event":"resumed"}'
    assert push_frames.types_away("store_full", ["sms", "email"]) == (
        b'{"event":"types_away","code":"store_full","queue_types":["sms","email"]}'
    )
    assert push_frames.types_back(["sms"]) == b'{"event":"types_back","queue_types":["sms"]}'
    assert push_frames.draining(5000) == b'{"event":"draining","after_ms":5000}'


def test_a_pong() -> None:
    assert push_frames.pong(5) == b'{"event":"pong","server_time":5}'
    assert push_frames.pong(5, b'"a"') == b'{"event":"pong","id":"a","server_time":5}'


def test_a_reply() -> None:
    assert push_frames.reply(None) == b'{"event":"reply","status":"success"}'
    assert push_frames.reply(b"null") == b'{"event":"reply","id":null,"status":"success"}'
    assert push_frames.reply(b"7", b'["success"]') == (
        b'{"event":"reply","id":7,"status":"success","results":["success"]}'
    )
    assert push_frames.reply(b"7", b'["success"]', dead=[0]) == (
        b'{"event":"reply","id":7,"status":"success","results":["success"],"dead":[0]}'
    )
    assert push_frames.reply(None, b"[]") == b'{"event":"reply","status":"success","results":[]}'
    assert push_frames.nothing_ready(b"7", 5) == (
        b'{"event":"reply","id":7,"status":"success","jobs":[],"ready_in":5}'
    )
    assert push_frames.nothing_ready(None, None) == (
        b'{"event":"reply","status":"success","jobs":[],"ready_in":null}'
    )
    assert push_frames.reply(b"7", jobs=b"[]") == (
        b'{"event":"reply","id":7,"status":"success","jobs":[]}'
    )


def test_an_error() -> None:
    assert push_frames.error(None, "not_json", 'A "word".\n') == (
        b'{"event":"error","code":"not_json","message":"A \\"word\\".\\n"}'
    )
    assert push_frames.error(b"7.0", "store_unavailable", "Away.", outcome="unknown") == (
        b'{"event":"error","id":7.0,"code":"store_unavailable","message":"Away.",'
        b'"outcome":"unknown"}'
    )


STORE_CODES = [
    (StoreUnavailable(), b'"store_unavailable"'),
    (StoreOutcomeUnknown(), b'"store_unavailable"'),
    (StoreFull(), b'"store_full"'),
    (StoreOverloaded(), b'"overloaded"'),
    (UnexpectedReply(), b'"internal"'),
]


@cases(
    ("outcomes", "text"),
    [
        ([], b"[]"),
        ([Ended(results.SUCCESS)], b'["success"]'),
        (
            [
                Ended(results.SUCCESS),
                Ended(results.DEAD),
                Ended(results.NOT_ACTIVE),
                Ended(results.STALE_LEASE),
                Ended(results.ALREADY_FINISHED),
                Ended(results.NOT_FOUND),
                Ended(results.JOB_ACTIVE),
                Ended(results.INVALID),
                StoreFull(),
            ],
            b'["success","success","not_active","stale_lease","already_finished","not_found",'
            b'"job_active","invalid_argument","store_full"]',
        ),
        *(([failure, Ended("success")], b'[%b,"success"]' % code) for failure, code in STORE_CODES),
    ],
)
def test_the_results_of_a_finish_or_a_release(
    outcomes: list[Ended | StoreError], text: bytes
) -> None:
    assert push_frames.ended(outcomes) == text
    assert push_frames.ended(tuple(outcomes)) == text


@cases(
    ("outcomes", "text"),
    [
        ([], b"[]"),
        ([Extended(results.SUCCESS, 60_000)], b'[{"status":"success","lease_ms":60000}]'),
        (
            [
                Extended(results.SUCCESS, 0),
                Extended(results.NOT_ACTIVE, 0),
                Extended(results.STALE_LEASE, 0),
                Extended(results.ALREADY_FINISHED, 0),
                Extended(results.INVALID, 0),
            ],
            b'[{"status":"success","lease_ms":0},{"status":"not_active"},'
            b'{"status":"stale_lease"},{"status":"already_finished"},'
            b'{"status":"invalid_argument"}]',
        ),
        *(
            (
                [Extended(results.SUCCESS, 7), failure],
                b'[{"status":"success","lease_ms":7},{"status":%b}]' % code,
            )
            for failure, code in STORE_CODES
        ),
    ],
)
def test_the_results_of_an_extension(outcomes: list[Extended | StoreError], text: bytes) -> None:
    assert push_frames.extended(outcomes) == text


# ---- what the reference shows ----

EXAMPLES = [
    json.loads(text)
    for pattern in (r"^```json\n(.*?)^```", r"^[<>] (\{[^\n]*\})$")
    for text in re.findall(pattern, REFERENCE.read_text(), re.M | re.S)
]


def test_the_frames_of_the_reference_are_frames() -> None:
    ops = {decode(json.dumps(frame)).op for frame in EXAMPLES if "op" in frame}
    assert ops == {*OPS, "ping"}


def test_the_reference_shows_every_event_as_it_is() -> None:
    limits = {"max_frame_bytes": 1_114_112, "max_payload_bytes": 1_048_576, **push_frames.LIMITS}
    written = {
        event["event"]: event
        for event in map(
            json.loads,
            (
                push_frames.welcome(1, 20_000, limits, ()),
                push_frames.jobs("sms", 1, b"[]"),
                push_frames.ready("sms", 1, 250),
                push_frames.reply(b"1", b"[]", b"[]", [0]),
                push_frames.error(b"1", "invalid_argument", "No.", expected="a name"),
                push_frames.expired([LEASE]),
                push_frames.paused("store_unavailable"),
                push_frames.resumed(),
                push_frames.types_away("store_unavailable", ["sms"]),
                push_frames.types_back(["sms"]),
                push_frames.draining(5000),
                push_frames.pong(1, b"1"),
            ),
        )
    }
    written["watch"] = json.loads(watch_frames.whole("types", {}))
    written["watch"] |= json.loads(watch_frames.problem("types", "store_full", "No."))
    written["reply"] |= json.loads(push_frames.nothing_ready(b"1", 1))
    shown = [frame for frame in EXAMPLES if "event" in frame]
    assert {frame["event"] for frame in shown} == written.keys()
    for frame in shown:
        assert frame.keys() <= written[frame["event"]].keys()
        if "limits" in frame:
            assert frame["limits"] == limits


def test_every_op_is_expected() -> None:
    words = re.split(", | or ", EXPECTED["op"])
    assert sorted(words) == sorted((*OPS, "ping"))
