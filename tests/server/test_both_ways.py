"""The same bytes to both ways of HTTP, the lane and Tornado's server: the answers are the same."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sharq.config import LANE, TORNADO
from tests.server.both import Pair
from tests.support.stores import PrivateStore

LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LIMITS: dict[str, Any] = {"idle_connection_timeout": 0.4, "body_timeout": 0.4}

PATHS = [
    "/",
    "/enqueue/t/q/",
    "/enqueue/t/q",
    "/enqueue/t/q/?a=b",
    "/enqueue/t/%71/",
    "/enqueue/t/q%2F/",
    "/enqueue/t//q/",
    "/enqueue/",
    "/dequeue/",
    "/dequeue/t/",
    "/dequeue/t?count=2",
    "/dequeue/t/?count=0",
    "/dequeue/t/?request_id=r1",
    "/dequeue/t/?count=2&count=3",
    "/dequeue/t/x/",
    "/finish/t/q/j1/",
    "/finish/t/q/j2",
    "/finish/t/q/" + "j" * 101 + "/",
    "/finish/t/q/",
    "/interval/t/q/",
    "/metrics/t/",
    "/status/t/q/j1/",
    "/live/",
    "/ws/",
    "/nowhere",
    "http://a/metrics/t/",
    "*",
]
METHODS = ["GET", "POST", "POST", "POST", "HEAD", "DELETE", "PUT", "OPTIONS", "FOO", "get"]
BODIES = [
    b"",
    b"{}",
    b'{"job_id":"j1","interval":0,"payload":1}',
    b'{"job_id":"j2","interval":0,"payload":{"a":[1,2,{"max_queued_length":1}]}}',
    b'{"job_id":"j2","interval":0,"payload":"\\ud800"}',
    b'{"job_id":"j3","interval":0,"payload":"\xff"}',
    b'{"job_id":"j3","interval":true,"payload":null}',
    b'{"job_id":"j3","interval":0,"payload":1e999,"requeue_limit":3}',
    b'{"job_id":"j3","job_id":"j4","interval":00,"payload":1}',
    b'{"job_id":"j3","interval":0,"payload":1,"queue_id":"q"}',
    b'{"job_id":"j3","interval":0,"payload":1,"queue_id":"other"}',
    b'{"job_id":"j3","interval":0,"payload":1,"max_queued_length":1}',
    b'{"job_id":"j3","interval":0,"payload":1,"more":1}',
    b'{"lease":"t/q/j1/1"}',
    b'{"lease":null}',
    b'{"lease":7}',
    b"[1]",
    b"{",
]
FIELDS = [
    b"Content-Type: application/json",
    b"Content-Type: text/plain",
    b"Origin: http://evil.example",
    b"Origin: http://a",
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: same-origin",
    b"Expect: 100-continue",
    b"Expect: more",
    b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Accept: */*",
    b"User-Agent: \xff\xfe",
    b"X-Long: " + b"x" * 3000,
    b"Host: b",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Upgrade: h2c",
    b"X :y",
    b"\x00: a",
]


class Answer(NamedTuple):
    head: str
    fields: dict[str, str]
    body: bytes


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right in most of its parts."""
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS))
    body = draw(st.sampled_from(BODIES)) if method != "GET" or draw(st.booleans()) else b""
    version = draw(st.sampled_from(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0"]))
    fields = [b"Host: a", *draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique=True))]
    # Of HTTP/1.0 Tornado keeps what has a length, and the lane what wants to be kept.
    if version != "HTTP/1.0" and draw(st.booleans()):
        fields.append(draw(st.sampled_from([b"Connection: keep-alive", b"Connection: close"])))
    if body and draw(st.integers(0, 9)) == 0:
        fields.append(b"Transfer-Encoding: chunked")
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif body or method == "POST":
        fields.append(b"Content-Length: %d" % len(body))
    line = f"{method} {path} {version}".encode()
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request with a byte or two changed."""
    data = draw(requests())
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(data) - 1))
        byte = bytes([draw(st.sampled_from(b'\x00\t \r\n:/%0aZ{"\x7f\xff'))])
        data = (
            data[:at]
            + draw(st.sampled_from([b"", byte, byte + data[at : at + 1]]))
            + data[at + 1 :]
        )
    return data


STREAMS = st.lists(requests() | mutated(), min_size=1, max_size=4).map(b"".join)


def answers(pair: Pair, way: str, data: bytes) -> list[Answer]:
    """What comes back for `data`, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", pair.ports[way]), timeout=5) as connection:
        received = b""
        try:
            connection.sendall(data)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return list(_parse(received))


def _parse(data: bytes) -> Iterator[Answer]:
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }
        # The length of a HEAD's answer is that of a body which does not come.
        size = int(fields.pop("content-length", 0))
        body = b"" if data.startswith(b"HTTP/1.1 ") else data[:size]
        data = data[len(body) :]
        if line.startswith("HTTP/1.1 100"):
            # Whether a body is waited for depends on how much of it has come.
            continue
        yield Answer(line, {k: fields[k] for k in sorted(fields) if k in _COMPARED}, _plain(body))


_COMPARED = {"connection", "content-type", "allow", "retry-after", "cache-control"}


def _plain(body: bytes) -> bytes:
    """A body without what is another one with each server, or said in other words."""
    if body.endswith(b'"code":"bad_request"}'):
        return b"bad_request"
    body = re.sub(rb'("lease":"[^"]*/)[0-9]+"', rb'\1n"', body)
    return re.sub(rb'"[0-9]{13}":', b'"minute":', body)


def _is_looser(data: bytes) -> bool:
    """Whether Tornado takes what the lane does not: an LF alone, or a CR before a request."""
    return re.search(rb"(?<!\r)\n|\r(?!\n)", data) is not None


def assert_same(data: bytes, lane: list[Answer], tornado: list[Answer]) -> None:
    """Compare answers, up to where the lane refuses what Tornado's server takes.

    That is a line that ends otherwise than by CR LF, and, behind other requests, a method that is
    none of HTTP's.
    """
    if lane and lane[-1].body == b"bad_request" and len(lane) <= len(tornado):
        other = tornado[len(lane) - 1].head
        if _is_looser(data) or (len(lane) > 1 and (" 404 " in other or " 405 " in other)):
            lane = lane[:-1]
            tornado = tornado[: len(lane)]
    assert lane == tornado


@pytest.fixture(scope="module")
def pair(store: PrivateStore) -> Iterator[Pair]:
    with Pair(store, "both", LIMITS) as pair:
        yield pair


@pytest.fixture(autouse=True)
def expect_log() -> None:
    """What the servers log is looked at elsewhere."""


# The same examples each time, so that a failure is one of the change under test.
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STREAMS)
def test_both_ways_answer_the_same(pair: Pair, data: bytes) -> None:
    lane, tornado = (answers(pair, way, data + LAST) for way in (LANE, TORNADO))
    event(f"{len(lane)} answers, the last one {lane[-1].head if lane else None}")
    assert_same(data, lane, tornado)
    assert not any(answer.head.startswith("HTTP/1.1 5") for answer in lane)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=200))
def test_bytes_without_any_sense_are_answered_the_same(pair: Pair, data: bytes) -> None:
    lane, tornado = (answers(pair, way, data + LAST) for way in (LANE, TORNADO))
    assert_same(data, lane, tornado)
