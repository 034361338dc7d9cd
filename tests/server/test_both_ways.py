"""The same bytes to both ways of HTTP, the lane and Tornado's server: the answers are the same."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sharq.settings.options import LANE, TORNADO
from tests.fuzz.http_streams import STREAMS, Answer, parse
from tests.server.both import Pair
from tests.support.stores import PrivateStore

LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LIMITS: dict[str, Any] = {"idle_connection_timeout": 0.4, "body_timeout": 0.4}


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
    return list(parse(received))


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
