"""The lane's reader by itself: what it refuses, however that comes in pieces."""

from __future__ import annotations

import pytest
from httptools import HttpParserError

from sharq_server.http._lane import Reader


class Deaf(Reader):
    def on_head(self) -> None:
        pass

    def on_end(self) -> None:
        pass


def read(*pieces: bytes) -> None:
    reader = Deaf()
    for piece in pieces:
        reader.feed(piece)


REST = b"/ HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET  " + REST,),
        (b"GET ", b" " + REST),
        (b"GET", b"  " + REST),
        (b"GET", b" ", b" ", REST),
        (b"GE", b"T  " + REST),
        (b"\r\nGET ", b" " + REST),
        (b"GET " + REST + b"GET ", b" " + REST),
    ],
)
def test_two_spaces_before_a_target_are_refused(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(HttpParserError):
        read(*pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET /\r\n",),
        (b"GET /\r", b"\n"),
        (b"GET /", b"\r\n"),
        (b"GET /", b"\r", b"\n"),
        (b"GE", b"T /", b"\n"),
        (b"\r\nGET /", b"\r\n"),
    ],
)
def test_a_line_without_a_version_is_refused(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(HttpParserError):
        read(*pieces)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET ", REST),
        (b"GET", b" ", REST),
        (b"GE", b"", b"T " + REST),
        (b"", b"GET " + REST),
        (b"\r\n", b"GET / H", REST[3:]),
        (b"GET / HTTP/1.1\r\nHost: ", b"a\r\n\r\nGET", b" " + REST),
        (b"GET / HTTP/1.1\r\nHost: ", b"a\r\n\r\n", b"GET", b" " + REST),
    ],
)
def test_one_space_before_a_target_is_read(pieces: tuple[bytes, ...]) -> None:
    read(*pieces)


def test_a_head_without_a_target_is_refused() -> None:
    """What the parser tells comes by public methods, which anybody may call."""
    reader = Deaf()
    reader.on_message_begin()
    with pytest.raises(HttpParserError, match="without a target"):
        reader.on_headers_complete()
