"""Push frames, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sharq import results
from sharq.errors import StoreOutcomeUnknown, StoreUnavailable
from sharq.results import Ended, Extended
from sharq_server import push_frames
from sharq_server.push_frames import BadFrame, decode


def refused(text: str | bytes) -> tuple[str, str, bytes | None]:
    with pytest.raises(BadFrame) as caught:
        decode(text)
    return caught.value.code, caught.value.message, caught.value.id


def code_of(text: str | bytes) -> str | None:
    try:
        decode(text)
    except BadFrame as bad:
        return bad.code
    return None


def test_a_subscription_has_defaults() -> None:
    frame = decode('{"op":"subscribe","queue_type":"t","credit":3}')
    assert isinstance(frame, push_frames.Subscribe)
    assert (frame.mode, frame.on_disconnect, frame.leases, frame.id) == (
        "deliver",
        "keep",
        [],
        None,
    )


@pytest.mark.parametrize("frame_id", ["1", "1.50", '"a\\u0020b"', "null", "true", "-0", '""'])
def test_an_id_is_kept_as_it_came(frame_id: str) -> None:
    assert decode(f'{{"op":"ping","id": {frame_id} }}').id == frame_id.encode()
    assert refused(f'{{"op":"ping","x":1,"id":{frame_id}}}')[2] == frame_id.encode()


@pytest.mark.parametrize("frame_id", ["[1]", "{}", '"' + "x" * 127 + '"', "1" * 129])
def test_an_id_that_cannot_come_back_is_refused(frame_id: str) -> None:
    assert refused(f'{{"op":"ping","id":{frame_id}}}') == (
        "invalid_argument",
        "`id` has an invalid value.",
        None,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"credit":1}', "`op` is a mandatory parameter"),
        ('{"op":null}', "`op` has an invalid value."),
        ('{"op":"Ping"}', "`op` has an invalid value."),
        ('{"op":"ping","extra":1}', "`extra` is not a known parameter."),
        ('{"op":"subscribe","credit":1}', "`queue_type` is a mandatory parameter"),
        ('{"op":"subscribe","queue_type":"t"}', "`credit` is a mandatory parameter"),
        ('{"op":"credit","credit":1.0}', "`credit` has an invalid value."),
        ('{"op":"credit","credit":true}', "`credit` has an invalid value."),
        ('{"op":"credit","queue_type":"é","credit":1}', "`queue_type` has an invalid value."),
        ('{"op":"unsubscribe"}', "`queue_type` is a mandatory parameter"),
        ('{"op":"finish"}', "`leases` is a mandatory parameter"),
        ('{"op":"finish","leases":{}}', "`leases` has an invalid value."),
        ('{"op":"finish","leases":[' + "1," * 1000 + "1]}", "`leases` has more than 1000 entries."),
        ('{"op":"release","leases":["a"],"delay":-1}', "`delay` has an invalid value."),
        (
            '{"op":"release","leases":["a"],"count_requeue":1}',
            "`count_requeue` has an invalid value.",
        ),
        ('{"op":"extend","leases":["a"]}', "`by` is a mandatory parameter"),
        ('{"op":"extend","leases":["a"],"by":0}', "`by` has an invalid value."),
        ('{"op":"dequeue","queue_type":"t","count":0}', "`count` has an invalid value."),
        ('{"op":"dequeue","queue_type":"t","request_id":""}', "`request_id` has an invalid value."),
        ('{"op":"enqueue"}', "`jobs` is a mandatory parameter, with one job or more"),
        ('{"op":"enqueue","jobs":[' + "1," * 1000 + "1]}", "`jobs` has more than 1000 entries."),
        ("[1]", "The frame has to be a JSON object."),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    assert refused(text)[:2] == ("invalid_argument", message)


@pytest.mark.parametrize(
    "text", ["", "{", '{"op":"ping"} x', '{"op":NaN}', b'{"op":"\xff"}', '{"op":"\\ud800"}', "nul"]
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    assert refused(text)[0] == "not_json"


def test_the_last_of_two_fields_counts() -> None:
    frame = decode('{"op":"credit","credit":1,"credit":2}')
    assert isinstance(frame, push_frames.Credit)
    assert frame.credit == 2


def test_what_is_no_token_is_for_its_result_to_tell() -> None:
    frame = decode('{"op":"finish","leases":["t/q/j/1",5,null,"?"]}')
    assert isinstance(frame, push_frames.Finish)
    assert frame.leases == ["t/q/j/1", "", "", "?"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = ("op", "queue_type", "credit", "leases", "jobs", "id", "by", "delay", "mode", "count")
ops = st.sampled_from(["subscribe", "credit", "finish", "release", "extend", "enqueue", "dequeue"])


@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_nothing_but_a_refusal_comes_of_anything(text: str | bytes) -> None:
    assert code_of(text) in (None, "not_json", "invalid_argument")


@given(ops, st.dictionaries(st.sampled_from(names), json_values))
def test_nothing_but_a_refusal_comes_of_any_frame(op: str, fields: dict[str, Any]) -> None:
    assert code_of(json.dumps(fields | {"op": op})) in (None, "not_json", "invalid_argument")


def test_the_frames_of_the_server() -> None:
    assert push_frames.jobs("t", 5, b"[{}]") == (
        b'{"event":"jobs","queue_type":"t","server_time":5,"jobs":[{}]}'
    )
    assert push_frames.ready("t", 3, 250) == (
        b'{"event":"ready","queue_type":"t","ready":3,"offer_ms":250}'
    )
    assert push_frames.reply(None) == b'{"event":"reply","status":"success"}'
    assert push_frames.reply(b'"a"', b"[1]") == (
        b'{"event":"reply","id":"a","status":"success","results":[1]}'
    )
    assert push_frames.reply(b"7", jobs=b"[]") == (
        b'{"event":"reply","id":7,"status":"success","jobs":[]}'
    )
    assert push_frames.error(b"7", "code", "text", outcome="unknown") == (
        b'{"event":"error","id":7,"code":"code","message":"text","outcome":"unknown"}'
    )
    assert push_frames.error(None, "code", "text") == (
        b'{"event":"error","code":"code","message":"text"}'
    )
    assert push_frames.expired(["a", "b"]) == b'{"event":"expired","leases":["a","b"]}'
    assert push_frames.paused("x") == b'{"event":"paused","code":"x"}'
    assert push_frames.resumed() == b'{"event":"resumed"}'
    assert push_frames.draining(5) == b'{"event":"draining","after_ms":5}'
    assert push_frames.pong(5) == b'{"event":"pong","server_time":5}'
    assert push_frames.pong(5, b"1") == b'{"event":"pong","id":1,"server_time":5}'
    assert json.loads(push_frames.welcome(1, 2, {"max_jobs": 3})) == {
        "event": "welcome",
        "protocol": "sharq.v1.json",
        "server_time": 1,
        "heartbeat": 2,
        "limits": {"max_jobs": 3},
    }


def test_results_in_words() -> None:
    outcomes = [
        Ended(results.SUCCESS),
        Ended(results.DEAD),
        Ended(results.STALE_LEASE),
        Ended(results.INVALID),
        StoreUnavailable(),
        StoreOutcomeUnknown(),
    ]
    assert json.loads(push_frames.ended(outcomes)) == [
        *("success", "success", "stale_lease", "invalid_argument"),
        *("store_unavailable", "store_unavailable"),
    ]
    extended = [Extended(results.SUCCESS, 5), Extended(results.NOT_ACTIVE, 0), StoreUnavailable()]
    assert json.loads(push_frames.extended(extended)) == [
        {"status": "success", "lease_ms": 5},
        {"status": "not_active"},
        {"status": "store_unavailable"},
    ]
