"""What sentinels say, and which of them is believed."""

from __future__ import annotations

from socket import gaierror
from typing import Any

import pytest
from hiredis import ReplyError

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.results import Watch
from sharq.settings.options import StoreSettings
from sharq.store.sentinel import (
    IS_PRIMARY,
    Opinion,
    Told,
    at_node,
    at_sentinel,
    candidate,
    named,
    questions,
    survey,
    told,
    unanswered,
)
from sharq.store.slots import Node
from tests.support.cases import cases

A, B, C = (Node(f"10.0.0.{number}", 6379) for number in (1, 2, 3))
SETTINGS = StoreSettings(
    conn_type="sentinel",
    sentinels=("s:1",),
    sentinel_service="main",
    sentinel_username="watch",
    sentinel_password="w",
    username="sharq",
    password="p",
    db=3,
    tls=True,
)


# ---- where ----


def test_a_sentinel_is_reached_with_its_own_user_and_a_node_with_the_stores() -> None:
    sentinel, node = at_sentinel(SETTINGS, "[::1]:26379"), at_node(SETTINGS, A)
    assert (sentinel.host, sentinel.port, sentinel.username, sentinel.password, sentinel.db) == (
        *("::1", 26379, "watch", "w", 0),
    )
    assert (node.host, node.port, node.username, node.password, node.db) == (
        *(*A, "sharq", "p", 3),
    )
    assert sentinel.tls
    assert node.tls
    assert {sentinel.conn_type, node.conn_type} == {"tcp_sock"}


# ---- answers ----


def state(epoch: int) -> list[bytes]:
    # The address here is the old one until the failover is over.
    return [b"name", b"main", b"ip", b"10.0.0.9", b"port", b"1", b"config-epoch", b"%d" % epoch]


def test_the_questions_name_the_service() -> None:
    assert [call.packed for call in questions(SETTINGS)] == [
        b"*3\r\n$8\r\nSENTINEL\r\n$6\r\nMASTER\r\n$4\r\nmain\r\n",
        b"*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$4\r\nmain\r\n",
    ]


def test_the_epoch_is_of_the_state_and_the_address_of_the_other_answer() -> None:
    assert told([state(7), [b"10.0.0.1", b"6379"]], "main") == Told(7, A)


@cases(
    ("replies", "kind", "text"),
    [
        (
            [ReplyError("ERR No such master with that name"), None],
            StoreUnavailable,
            "it monitors no `main` (sentinel_service)",
        ),
        ([ReplyError("ERR unknown command 'SENTINEL', …")], StoreUnavailable, "it is no sentinel"),
        ([ReplyError("NOAUTH Authentication required.")], StoreDenied, "refused"),
        ([state(1), None], UnexpectedReply, "does not answer as a sentinel"),
        ([state(1), [b"h", b"x"]], UnexpectedReply, "does not answer as a sentinel"),
        ([[b"name"], [b"h", b"1"]], UnexpectedReply, "does not answer as a sentinel"),
        ([[], [b"h", b"1"]], UnexpectedReply, "does not answer as a sentinel"),
        ([7, 7], UnexpectedReply, "does not answer as a sentinel"),
    ],
)
def test_a_useless_answer_says_why(replies: list[Any], kind: type[StoreError], text: str) -> None:
    with pytest.raises(StoreError) as caught:
        told(replies, "main")
    assert type(caught.value) is kind
    assert text in str(caught.value)


def test_an_error_says_what_each_sentinel_says() -> None:
    lost = StoreUnavailable()
    lost.__cause__ = ConnectionRefusedError(111, "Connection refused")
    trouble = unanswered({"a:1": lost, "b:2": StoreUnavailable("no answer")})
    assert type(trouble) is StoreUnavailable
    assert str(trouble.__cause__) == (
        "no sentinel names a primary (a:1: Connection refused; b:2: no answer)"
    )
    assert type(unanswered({"a:1": lost, "b:2": StoreDenied()})) is StoreDenied


def test_a_name_that_is_unknown_is_no_number_of_an_error() -> None:
    trouble = StoreUnavailable()
    trouble.__cause__ = gaierror(-2, "Name or service not known")
    assert "(s:1: Name or service not known)" in str(unanswered({"s:1": trouble}).__cause__)


def test_a_survey_counts_who_names_the_primary_and_quotes_the_others() -> None:
    said: dict[str, Told | StoreError] = {
        "a:1": Told(1, A),
        "b:2": Told(1, B),
        "c:3": StoreUnavailable("no answer"),
    }
    assert survey("main", said, at_node(SETTINGS, A)) == Watch(
        "main", 3, 1, ("b:2: it names 10.0.0.2:6379", "c:3: no answer")
    )
    assert survey("main", said, None).naming == 0
    assert named(said) == [Told(1, A), Told(1, B)]


@pytest.mark.parametrize("reply", [[b"slave", b"h", 1, b"connected", 0], [b"sentinel", []], [], 1])
def test_only_a_primary_may_be_written_to(reply: Any) -> None:
    with pytest.raises(StoreUnavailable):
        IS_PRIMARY.parse(reply)
    IS_PRIMARY.parse([b"master", 0, []])


# ---- events ----


@cases(
    ("message", "node"),
    [
        ("slave 10.0.0.2:6379 10.0.0.2 6379 @ main 10.0.0.1 6379", B),
        ("slave [::1]:6379 ::1 6379 @ main ::2 6379", Node("::1", 6379)),
        ("slave 10.0.0.2:6379 10.0.0.2 6379 @ other 10.0.0.1 6379", None),
        ("main 10.0.0.1 6379 10.0.0.2 6379", None),
        ("slave 10.0.0.2:6379 10.0.0.2 x @ main 10.0.0.1 6379", None),
        ("slave", None),
        ("", None),
        ("\udcff", None),
    ],
)
def test_only_a_promotion_names_who_is_promoted(message: str, node: Node | None) -> None:
    assert candidate(message.encode(errors="surrogateescape"), "main") == node


# ---- who is believed ----


def believed(*rounds: tuple[float, list[Told]], count: int = 3) -> Node | None:
    opinion = Opinion(count)
    for now, answers in rounds:
        opinion.hear(answers, now)
    return opinion.node


def test_the_newest_configuration_is_believed() -> None:
    assert believed() is None
    assert believed((0, [Told(1, A), Told(2, B), Told(1, A)])) == B
    assert believed((0, [Told(1, A)]), (1, [Told(2, B)]), (2, [])) == B


def test_who_was_cut_off_and_knows_less_than_before_is_not_believed() -> None:
    newest = (0.0, [Told(2, B), Told(1, A)])
    assert believed(newest, (1.0, [Told(1, A), Told(1, A)])) == B
    # Not even later, if it stands alone.
    assert believed(newest, (60.0, [Told(1, A)])) == B


def test_sentinels_that_were_set_up_anew_are_believed_in_the_end() -> None:
    newest = (0.0, [Told(5, B)])
    anew = [Told(0, C), Told(0, C)]
    assert believed(newest, (9.9, anew)) == B
    assert believed(newest, (10.0, anew)) == C
    assert believed(newest, (10.0, [Told(0, C)]), count=1) == C


def test_of_answers_that_are_equally_new_the_known_one_stays() -> None:
    assert believed((0, [Told(1, A)]), (1, [Told(1, B), Told(1, A), Told(1, C)])) == A


def test_a_promoted_replica_is_believed_in_until_a_newer_answer() -> None:
    opinion = Opinion(3)
    opinion.hear([Told(3, A)] * 3, 0.0)
    opinion.promoted(B, 1.0)
    opinion.hear([Told(3, A)] * 3, 1.1)
    assert opinion.node == B
    # The epoch of an election may be more than one higher; the same node stays.
    opinion.hear([Told(7, B), Told(3, A)], 2.0)
    opinion.hear([Told(3, A), Told(3, A)], 3.0)
    assert opinion.node == B
    opinion.hear([Told(8, C)], 4.0)
    assert opinion.node == C


def test_a_promotion_that_was_given_up_is_forgotten() -> None:
    opinion = Opinion(3)
    opinion.hear([Told(3, A)] * 3, 0.0)
    opinion.promoted(B, 1.0)
    opinion.hear([Told(3, A)] * 2, 11.0)
    assert opinion.node == A
