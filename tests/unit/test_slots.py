from __future__ import annotations

from typing import Any

import pytest
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from sharq.errors import StoreDenied, UnexpectedReply
from sharq.settings.options import StoreSettings
from sharq.store.slots import Node, Range, Topology, View, parse_slots, read_view, seeds, slot_of
from tests.support.cases import cases

ASKED = Node("asked.example", 7000)
A, B, C = Node("10.0.0.1", 7001), Node("10.0.0.2", 7002), Node("10.0.0.3", 7003)


def entry(*primary: Any) -> Any:
    replica = [b"10.0.9.9", 7999, b"id-of-a-replica", []]
    return [0, 16383, list(primary), replica]


@cases(
    ("primary", "node"),
    [
        ((b"10.0.0.1", 7001, b"id"), A),
        ((b"10.0.0.1", 7001, b"id", []), A),
        ((b"10.0.0.1", 7001, b"id", [b"hostname", b"store.example"]), A),
        ((b"store.example", 7001, b"id", [b"ip", b"10.0.0.1"]), Node("store.example", 7001)),
        ((b"?", 7001, b"id", [b"ip", b"10.0.0.1"]), A),
        ((b"?", 7001, b"id", []), Node("asked.example", 7001)),
        ((None, 7001, b"id", [b"ip", b"10.0.0.1"]), Node("asked.example", 7001)),
        ((b"", 7001, b"id"), Node("asked.example", 7001)),
        ((b"::1", 7001, b"id"), Node("::1", 7001)),
    ],
)
def test_the_address_of_a_primary_is_read(primary: tuple[Any, ...], node: Node) -> None:
    assert parse_slots([entry(*primary)], ASKED) == [
        Range(0, 16383, node, (Node("10.0.9.9", 7999),))
    ]


@pytest.mark.parametrize(
    "reply", [b"OK", None, [1], [[0, 1]], [[0, 1, [b"h"]]], [[0, b"x", [b"h", 1]]]]
)
def test_another_answer_is_a_bug(reply: Any) -> None:
    with pytest.raises(UnexpectedReply, match="CLUSTER SLOTS"):
        parse_slots(reply, ASKED)


INFO = b"cluster_enabled:1\r\ncluster_state:%b\r\ncluster_current_epoch:7\r\ncluster_my_epoch:3\r\n"


@pytest.mark.parametrize(("state", "ok"), [(b"ok", True), (b"fail", False)])
def test_a_node_tells_its_map_whether_it_sees_the_cluster_and_its_epochs(
    state: bytes, ok: bool
) -> None:
    view = read_view([[entry(b"10.0.0.1", 7001, b"id")], INFO % state], ASKED)
    assert view == View([Range(0, 16383, A, (Node("10.0.9.9", 7999),))], ok, 7, 3)


def test_a_user_that_may_not_ask_for_the_epochs_gets_the_map() -> None:
    slots = [entry(b"10.0.0.1", 7001, b"id")]
    for refusal in (ReplyError("NOPERM no"), StoreDenied()):
        view = read_view([slots, refusal], ASKED)
        assert (view.ranges[0].primary, view.ok, view.epoch) == (A, True, 0)


def test_a_refused_map_is_an_error() -> None:
    with pytest.raises(StoreDenied):
        read_view([ReplyError("NOPERM no"), INFO % b"ok"], ASKED)


def test_epochs_that_are_no_numbers_are_a_bug() -> None:
    with pytest.raises(UnexpectedReply, match="CLUSTER INFO"):
        read_view([[], b"cluster_current_epoch:x\r\n"], ASKED)


def test_the_configured_nodes_are_known_before_the_map() -> None:
    settings = StoreSettings(
        conn_type="tcp_sock", host="a", port=1, cluster_nodes=("b:2", "[::1]:3", "a:1")
    )
    assert seeds(settings) == (Node("a", 1), Node("b", 2), Node("::1", 3))


@given(st.text("ab{}:", max_size=12).map(str.encode) | st.binary(max_size=40))
def test_a_slot_is_that_of_redis_py(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def test_a_key_belongs_to_the_primary_of_its_tag() -> None:
    topology = Topology(ASKED)
    topology.learn([Range(0, 8191, A), Range(8192, 16383, B)])
    for number in range(50):
        tag = b"{tag%d}" % number
        expected = A if key_slot(tag) < 8192 else B
        assert topology.node(tag + b":anything") == expected


def test_the_ends_of_a_range_are_included() -> None:
    topology = Topology(ASKED)
    slot = key_slot(b"key")
    topology.learn([Range(0, slot - 1, A), Range(slot, slot, B), Range(slot + 1, 16383, C)])
    assert topology.node(b"key") == B


def test_a_slot_that_nobody_serves_has_no_node() -> None:
    topology = Topology(ASKED)
    slot = key_slot(b"key")
    topology.learn([Range(0, slot - 1, A)])
    assert topology.node(b"key") is None


def test_before_the_first_map_nothing_is_known() -> None:
    topology = Topology(ASKED)
    assert (topology.version, topology.primaries, topology.node(b"key")) == (0, (), None)


def test_a_new_map_takes_the_place_of_the_old_one() -> None:
    topology = Topology(ASKED)
    topology.learn([Range(0, 8191, A), Range(8192, 16383, B)])
    topology.learn([Range(0, 16383, C)])
    assert (topology.version, topology.primaries, topology.node(b"key")) == (2, (C,), C)


def test_primaries_are_in_the_order_of_their_slots_each_one_once() -> None:
    topology = Topology(ASKED)
    topology.learn([Range(200, 299, B), Range(0, 99, C), Range(100, 199, A), Range(300, 399, C)])
    assert topology.primaries == (C, A, B)
