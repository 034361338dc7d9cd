"""What is said first on a connection, and what is made of the answers."""

from __future__ import annotations

import pytest

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.settings.options import StoreSettings
from sharq.store.handshake import Handshake
from tests.support.cases import cases

LOGIN = StoreSettings(username="bob", password="sécret", db=12)


@pytest.mark.parametrize(
    ("settings", "request_"),
    [
        (StoreSettings(), b""),
        (StoreSettings(password=""), b""),
        (StoreSettings(password="p"), b"*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n"),
        (StoreSettings(username="bob"), b"*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$0\r\n\r\n"),
        (StoreSettings(db=12), b"*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"),
        (
            LOGIN,
            b"*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$7\r\ns\xc3\xa9cret\r\n"
            b"*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n",
        ),
    ],
)
def test_what_is_said(settings: StoreSettings, request_: bytes) -> None:
    handshake = Handshake(settings)
    assert handshake.request == request_
    assert handshake.over is (request_ == b"")


def test_it_is_over_with_the_last_answer() -> None:
    handshake = Handshake(LOGIN)
    for piece in (b"+O", b"K\r\n+OK\r"):
        handshake.feed(piece)
        assert not handshake.over
    handshake.feed(b"\n")
    assert handshake.over


@cases(
    ("answer", "error", "message"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", StoreDenied, "WRONGPASS"),
        (
            b"-ERR AUTH <password> called without any password\r\n",
            StoreDenied,
            "without any password",
        ),
        (b"+OK\r\n-NOPERM no permissions to run 'select'\r\n", StoreDenied, "NOPERM"),
        (b"+OK\r\n-ERR DB index is out of range\r\n", UnexpectedReply, "DB index is out of range"),
        (b"-ERR max number of clients reached\r\n", StoreUnavailable, "clients"),
        (b"HTTP/1.1 400 Bad Request\r\n", StoreUnavailable, "store"),
        (b"+QUEUED\r\n", UnexpectedReply, "QUEUED"),
        (b"+OK\r\n+OK\r\n+", UnexpectedReply, "without a request"),
        (b"+OK\r\n+OK\r\n+OK\r\n", UnexpectedReply, "without a request"),
    ],
)
def test_a_refusal_is_the_error_that_it_stands_for(
    answer: bytes, error: type[StoreError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        Handshake(LOGIN).feed(answer)
    assert type(raised.value) is error
