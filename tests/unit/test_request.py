from __future__ import annotations

from typing import Any

import pytest
from hiredis import ReplyError

from sharq.errors import (
    StoreDenied,
    StoreError,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnexpectedReply,
)
from sharq.operations.call import Call
from sharq.store.errors import Misdirected, ScriptMissing
from sharq.store.request import Again, Request
from sharq.store.script_loading import ScriptLoading, pack


def request(parse: Any = lambda reply: reply, repeatable: bool = False) -> Request[Any]:
    return Request(Call(b"", b"", parse, repeatable))


def test_a_reply_is_read_by_the_call() -> None:
    assert request(lambda reply: reply * 2).read(21) == 42


def test_an_error_reply_is_read_as_what_it_stands_for() -> None:
    assert type(request().read(ReplyError("OOM no"))) is StoreFull


def test_a_reply_that_the_call_cannot_read_is_a_bug() -> None:
    error = request(lambda reply: reply["a"]).read(b"text")
    assert isinstance(error, UnexpectedReply)
    assert error.outcome_unknown, "it has been carried out"
    assert isinstance(error.__cause__, TypeError)


def test_an_error_that_the_call_reads_out_of_a_reply_is_kept() -> None:
    def parse(reply: Any) -> Any:
        raise StoreFull("by hand")

    error = request(parse).read(0)
    assert (type(error), str(error)) == (StoreFull, "by hand")


def test_a_missing_script_is_loaded_a_few_times_and_then_no_more() -> None:
    asked = request()
    steps = [asked.again(ScriptMissing()) for _ in range(7)]
    assert steps == [Again.LOAD] * 5 + [None] * 2


def test_another_node_is_looked_for_once() -> None:
    asked = request()
    assert [asked.again(Misdirected()) for _ in range(2)] == [Again.ELSEWHERE, None]


@pytest.mark.parametrize("error", [StoreUnavailable(), StoreFull(), UnexpectedReply()])
def test_other_refusals_are_final(error: StoreError) -> None:
    assert request().again(error) is None


@pytest.mark.parametrize("refusal", [ScriptMissing(), Misdirected()])
def test_a_refused_call_was_not_carried_out(refusal: StoreError) -> None:
    asked = request()
    asked.sent = True
    asked.again(refusal)
    assert type(asked.failure(StoreUnavailable())) is StoreUnavailable


def test_only_a_repeatable_call_is_repeated_and_only_once() -> None:
    assert request().repeat() is False
    asked = request(repeatable=True)
    assert [asked.repeat(), asked.repeat()] == [True, False]


def test_what_was_sent_has_an_unknown_outcome() -> None:
    asked = request()
    asked.sent = True
    trouble = StoreDenied("refused")
    error = asked.failure(trouble)
    assert type(error) is StoreOutcomeUnknown
    assert error.__cause__ is trouble


def test_what_was_not_sent_fails_with_the_trouble_in_an_error_of_its_own() -> None:
    trouble = StoreDenied("refused")
    error = request().failure(trouble)
    assert (type(error), str(error), error is trouble) == (StoreDenied, "refused", False)


DIGEST = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_a_command_is_packed() -> None:
    assert pack(b"SET", b"k\r\n", b"") == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n"


def test_the_script_of_a_call_is_known_by_its_digest() -> None:
    loading = ScriptLoading({DIGEST: "return 1"})
    call: Call[Any] = Call(pack(b"EVALSHA", DIGEST.encode(), b"0"), b"", lambda reply: reply)
    assert loading.missing(call) == DIGEST
    assert loading.load(DIGEST).packed == pack(b"SCRIPT", b"LOAD", b"return 1")


def test_a_connection_begins_with_the_shortest_script_and_those_of_its_first_calls() -> None:
    others = {"a" * 40: "return 'long'", "b" * 40: "return 'longer'"}
    loading = ScriptLoading(others | {DIGEST: "return 1"})
    call: Call[Any] = Call(pack(b"EVALSHA", b"b" * 40, b"0"), b"", lambda reply: reply)
    assert [load.packed for load in loading.opening(call)] == [
        pack(b"SCRIPT", b"LOAD", b"return 1"),
        pack(b"SCRIPT", b"LOAD", b"return 'longer'"),
    ]
    assert ScriptLoading({}).opening() == []


@pytest.mark.parametrize("packed", [pack(b"EVALSHA", b"f" * 40, b"0"), pack(b"PING"), b""])
def test_a_call_of_no_known_script_is_a_bug(packed: bytes) -> None:
    with pytest.raises(UnexpectedReply):
        ScriptLoading({DIGEST: "return 1"}).missing(Call(packed, b"", lambda reply: reply))


class TestARefusalOfWhatWasSentTwice:
    """The first time, whose answer was lost, it may have been carried out."""

    @pytest.fixture
    def asked(self) -> Request[Any]:
        asked = request(repeatable=True)
        asked.sent = True
        assert asked.repeat()
        return asked

    @pytest.mark.parametrize(
        "error", [StoreFull(), StoreDenied(), StoreUnavailable(), UnexpectedReply()]
    )
    def test_leaves_the_outcome_unknown(self, asked: Request[Any], error: StoreError) -> None:
        told = asked.refusal(error, leads_on=True)
        assert isinstance(told, StoreOutcomeUnknown)
        assert told.__cause__ is error

    def test_still_leads_to_another_node(self, asked: Request[Any]) -> None:
        error = Misdirected()
        assert asked.refusal(error, leads_on=True) is error
        assert error.late
        assert asked.refusal(error, leads_on=False).outcome_unknown

    def test_holds_when_it_waits_for_a_script_or_a_node(self, asked: Request[Any]) -> None:
        asked.again(ScriptMissing())
        assert asked.failure(StoreUnavailable()).outcome_unknown
        asked.again(Misdirected())
        assert asked.failure(StoreUnavailable()).outcome_unknown

    def test_is_final_where_it_was_sent_once(self) -> None:
        error = StoreFull()
        assert request().refusal(error, leads_on=False) is error
