from __future__ import annotations

from typing import Any

import pytest
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from sharq.store.reply_queue import NOTHING, ReplyProtocolError, ReplyQueue


def encoded(reply: Any) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n%b" % (len(reply), b"".join(encoded(each) for each in reply))


replies = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(st.data(), st.lists(replies, max_size=20))
def test_each_reply_meets_its_request_wherever_the_bytes_are_cut(
    data: st.DataObject, sent: list[Any]
) -> None:
    stream = b"".join(encoded(reply) for reply in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    queue: ReplyQueue[int] = ReplyQueue()
    queue.expect(range(len(sent)))
    answered: list[tuple[int, Any]] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        answered += queue.feed(stream[start:end])
    assert answered == list(enumerate(sent))
    assert not queue.pending


def test_an_error_is_a_reply_like_others() -> None:
    queue: ReplyQueue[str] = ReplyQueue()
    queue.expect(["a", "b"])
    (_, error), (second, _) = queue.feed(b"-OOM no\r\n+OK\r\n")
    assert isinstance(error, ReplyError)
    assert (str(error), second) == ("OOM no", "b")


def test_a_reply_without_a_request_breaks_the_connection_after_those_that_fit() -> None:
    queue: ReplyQueue[str] = ReplyQueue()
    queue.expect(["a"])
    answers = queue.feed(b"+1\r\n+2\r\n")
    assert next(answers) == ("a", b"1")
    with pytest.raises(ReplyProtocolError, match="without a request: b'2'"):
        next(answers)


def test_bytes_that_are_no_reply_break_the_connection() -> None:
    queue: ReplyQueue[str] = ReplyQueue()
    queue.expect(["a"])
    with pytest.raises(ReplyProtocolError, match="no valid reply"):
        list(queue.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


def test_a_single_reply_is_had_when_it_is_whole() -> None:
    queue: ReplyQueue[str] = ReplyQueue()
    assert queue.next_reply(b"*2\r\n+O") is NOTHING
    assert queue.has_data()
    assert queue.next_reply(b"K\r\n:7\r\n") == [b"OK", 7]
    assert not queue.has_data()
    with pytest.raises(ReplyProtocolError, match="no valid reply"):
        queue.next_reply(b"HTTP/1.1 400 Bad Request\r\n\r\n")
