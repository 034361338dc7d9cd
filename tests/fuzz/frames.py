"""The reader of websocket frames against RFC 6455 written down once more, the plain way."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from sharq.codec import websocket_frames as ws
from tests.fuzz.targets import SIZES, Target, cut

MOST = 300
Outcome = tuple[list[tuple[int, bytes]], int | None]


def _reference(data: bytes, masked: bool) -> Outcome:
    """The messages in `data`, and the code of the close for what ends them."""
    messages: list[tuple[int, bytes]] = []
    fragments: list[bytes] = []
    opcode_of_message = None
    while len(data) >= 2:
        final, reserved, opcode = data[0] & 0x80, data[0] & 0x70, data[0] & 0x0F
        has_mask, size = bool(data[1] & 0x80), data[1] & 0x7F
        control = opcode in (8, 9, 10)
        if reserved or has_mask != masked or opcode not in (0, 1, 2, 8, 9, 10):
            return messages, 1002
        if control and (not final or size > 125):
            return messages, 1002
        if not control and (opcode == 0) == (opcode_of_message is None):
            return messages, 1002
        form, least = {126: ("!H", 126), 127: ("!Q", 65536)}.get(size, ("", 0))
        at = 2 + struct.calcsize(form)
        if len(data) < at:
            break
        if form:
            (size,) = struct.unpack(form, data[2:at])
            if size < least:
                return messages, 1002
        if not control and sum(map(len, fragments)) + size > MOST:
            return messages, 1009
        key = data[at : at + 4] if masked else bytes(4)
        at += 4 if masked else 0
        if len(data) < at + size:
            break
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(data[at : at + size]))
        data = data[at + size :]
        if control:
            messages.append((opcode, payload))
            continue
        fragments.append(payload)
        opcode_of_message = opcode or opcode_of_message
        if final:
            whole = b"".join(fragments)
            assert opcode_of_message is not None
            if opcode_of_message == 1:
                try:
                    whole.decode()
                except UnicodeDecodeError:
                    return messages, 1007
            messages.append((opcode_of_message, whole))
            fragments, opcode_of_message = [], None
    return messages, None


def check_frames(parts: tuple[bytes, list[int], bool]) -> None:
    data, sizes, masked = parts
    reader = ws.Reader(masked=masked, max_bytes=MOST)
    messages: list[tuple[int, bytes]] = []
    code = None
    for piece in cut(data, sizes):
        reader.feed(piece)
        try:
            messages += map(tuple, iter(reader.next, None))
        except ws.WebSocketError as error:
            code = error.code
            break
    assert (messages, code) == _reference(data, masked)


def check_close(data: bytes) -> None:
    """A close frame says a code that may be sent, and a reason in UTF-8."""
    try:
        closing = ws.closing(data)
    except ws.WebSocketError:
        return
    if not data:
        assert closing.code == ws.NO_CODE
        return
    again = ws.Reader(masked=False, max_bytes=MOST)
    again.feed(ws.close_frame(*closing))
    message = again.next()
    assert message is not None
    assert ws.closing(message.data) == closing


@st.composite
def _frame(draw: st.DrawFn) -> bytes:
    """A frame with a length of any form, right in most of its parts."""
    opcode = draw(st.sampled_from([1, 1, 2, 0, 0, 8, 9, 10, 3, 11]))
    first = opcode | draw(st.sampled_from([0x80, 0x80, 0, 0xC0, 0x10]))
    data = draw(st.binary(max_size=20) | st.text(max_size=8).map(str.encode))
    data *= draw(st.sampled_from([1, 1, 1, 7, 20]))
    size = len(data) + draw(st.sampled_from([0] * 8 + [1, 1 << 40, 1 << 63]))
    least = 0 if size < 126 else 1 if size < 1 << 16 else 2
    form = max(least, draw(st.sampled_from([0, 0, 0, 0, 1, 2])))
    length = [bytes([size & 0x7F]), b"\x7e" + (size & 0xFFFF).to_bytes(2, "big")]
    length.append(b"\x7f" + size.to_bytes(8, "big"))
    masked = draw(st.sampled_from([True, True, True, False]))
    head = bytes([first, length[form][0] | (0x80 if masked else 0)]) + length[form][1:]
    return head + (draw(st.binary(min_size=4, max_size=4)) if masked else b"") + data


_STREAMS = st.lists(_frame(), max_size=6).map(b"".join) | st.binary(max_size=60)

TARGETS = [
    Target("frames", st.tuples(_STREAMS, SIZES, st.booleans()), check_frames),
    Target(
        "close",
        st.builds(
            bytes.__add__,
            st.integers(900, 5200).map(lambda n: n.to_bytes(2, "big")),
            st.binary(max_size=123),
        )
        | st.binary(max_size=4),
        check_close,
        examples=100,
    ),
]
