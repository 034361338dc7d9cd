"""Websocket frames by the letter of RFC 6455."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharq.codec import websocket_frames as ws
from sharq.codec.websocket_frames import Closing, Message, Reader, WebSocketError
from tests.support.cases import cases

MOST = 1000


def read(data: bytes, *, masked: bool = False) -> list[Message]:
    reader = Reader(masked=masked, max_bytes=MOST)
    reader.feed(data)
    return list(iter(reader.next, None))


def masked_frame(first: int, data: bytes) -> bytes:
    """A short frame of a client, with a mask that changes nothing."""
    return bytes((first, 0x80 | len(data))) + bytes(4) + data


# The examples of section 5.7.
@pytest.mark.parametrize(
    ("text", "masked", "expected"),
    [
        ("810548656c6c6f", False, [Message(ws.TEXT, b"Hello")]),
        ("818537fa213d7f9f4d5158", True, [Message(ws.TEXT, b"Hello")]),
        ("010348656c 80026c6f", False, [Message(ws.TEXT, b"Hello")]),
        ("890548656c6c6f", False, [Message(ws.PING, b"Hello")]),
        ("8a8537fa213d7f9f4d5158", True, [Message(ws.PONG, b"Hello")]),
        ("827e0100" + "ab" * 256, False, [Message(ws.BINARY, b"\xab" * 256)]),
    ],
)
def test_the_examples_of_the_rfc(text: str, masked: bool, expected: list[Message]) -> None:
    assert read(bytes.fromhex(text), masked=masked) == expected


def test_a_control_frame_may_come_between_fragments() -> None:
    data = b"\x01\x01a" + b"\x89\x01p" + b"\x00\x00" + b"\x80\x01b" + b"\x81\x01c"
    assert read(data) == [
        Message(ws.PING, b"p"),
        Message(ws.TEXT, b"ab"),
        Message(ws.TEXT, b"c"),
    ]


def test_a_character_may_be_torn_apart() -> None:
    assert read(b"\x01\x01\xc3" + b"\x80\x01\xa9") == [Message(ws.TEXT, "é".encode())]


@given(
    messages=st.lists(st.binary(max_size=300)),
    cuts=st.lists(st.integers(1, 40)),
    masked=st.booleans(),
)
def test_messages_come_as_they_were_sent_however_they_are_cut(
    messages: list[bytes], cuts: list[int], masked: bool
) -> None:
    data = b"".join(ws.frame(ws.BINARY, each, masked=masked) for each in messages)
    reader = Reader(masked=masked, max_bytes=MOST)
    read: list[Message] = []
    for cut in [*cuts, len(data)]:
        reader.feed(data[:cut])
        data = data[cut:]
        read += iter(reader.next, None)
    assert read == [Message(ws.BINARY, each) for each in messages]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_length(size: int) -> None:
    data = b"x" * size
    for masked in (False, True):
        reader = Reader(masked=masked, max_bytes=size)
        reader.feed(ws.frame(ws.TEXT, data, masked=masked))
        assert reader.next() == Message(ws.TEXT, data)


@cases(
    ("data", "code"),
    {
        "a reserved bit": (masked_frame(0xC1, b""), 1002),
        "no mask": (b"\x81\x01a", 1002),
        "a reserved opcode": (masked_frame(0x83, b""), 1002),
        "a reserved control opcode": (masked_frame(0x8B, b""), 1002),
        "a continuation of nothing": (masked_frame(0x80, b""), 1002),
        "a message inside another": (masked_frame(0x01, b"") + masked_frame(0x81, b""), 1002),
        "a ping in fragments": (masked_frame(0x09, b""), 1002),
        "a ping that is too long": (b"\x89\xfe\x00\x7e" + bytes(130), 1002),
        "a length of 125 in three bytes": (b"\x81\xfe\x00\x7d", 1002),
        "a length of 65,535 in nine bytes": (b"\x81\xff" + (65_535).to_bytes(8, "big"), 1002),
        "a length with the highest bit": (b"\x81\xff\x80" + bytes(7), 1009),
        "a message that is too big": (b"\x81\xfe\x03\xe9", 1009),
        "fragments that are too big together": (
            b"\x01\xfe\x03\xe8" + bytes(1004) + b"\x80\x81",
            1009,
        ),
        "text that is not UTF-8": (masked_frame(0x81, b"\xff"), 1007),
        "text that ends inside a character": (masked_frame(0x81, b"\xc3"), 1007),
        "a surrogate": (masked_frame(0x81, b"\xed\xa0\x80"), 1007),
    }.values(),
)
def test_what_breaks_the_protocol(data: bytes, code: int) -> None:
    reader = Reader(masked=True, max_bytes=MOST)
    reader.feed(masked_frame(0x81, b"before") + data)
    assert reader.next() == Message(ws.TEXT, b"before")
    with pytest.raises(WebSocketError) as raised:
        reader.next()
    assert raised.value.code == code


def test_a_server_may_not_mask() -> None:
    with pytest.raises(WebSocketError):
        read(ws.frame(ws.TEXT, b"a", masked=True))


def test_a_message_that_is_too_big_is_refused_by_its_head() -> None:
    reader = Reader(masked=True, max_bytes=MOST)
    reader.feed(b"\x81\xff" + (1 << 40).to_bytes(8, "big"))
    with pytest.raises(WebSocketError, match="too big"):
        reader.next()


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_do_harm(data: bytes, masked: bool) -> None:
    try:
        read(data, masked=masked)
    except WebSocketError:
        return


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", Closing(ws.NO_CODE, "")),
        (b"\x03\xe8", Closing(1000, "")),
        (b"\x03\xe8bye \xc3\xa9", Closing(1000, "bye é")),
        (b"\x0f\xa0", Closing(4000, "")),
    ],
)
def test_a_close_frame_says(data: bytes, expected: Closing) -> None:
    assert ws.closing(data) == expected


@cases(
    ("data", "code"),
    [
        (b"\x03", 1002),
        (b"\x03\xe7", 1002),
        *((code.to_bytes(2, "big"), 1002) for code in (1004, 1005, 1006, 1015, 2999, 5000)),
        (b"\x03\xe8\xff", 1007),
    ],
)
def test_a_close_frame_that_breaks_the_protocol(data: bytes, code: int) -> None:
    with pytest.raises(WebSocketError) as raised:
        ws.closing(data)
    assert raised.value.code == code


def test_a_reason_is_cut_where_it_does_not_fit() -> None:
    (message,) = read(ws.close_frame(1008, "é" * 100))
    assert message == Message(ws.CLOSE, b"\x03\xf0" + "é".encode() * 61)
    assert ws.close_frame(ws.NO_CODE) == b"\x88\x00"


def test_the_answer_to_a_key() -> None:
    # section 1.3
    assert ws.accept_value("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert ws.new_key() != ws.new_key()
