"""Websocket frames, RFC 6455: bytes into messages, and messages into bytes. Pure.

Both ends of the push channel read a connection through a `Reader`: bytes that arrive together are
split in one go. No extension is supported.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
from typing import Final, NamedTuple

from sharq._fastpath import mask

VERSION: Final = "13"

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_CODE: Final = 1005
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_MOST_IN_CONTROL: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """The other end has broken the protocol; `code` is the close code for the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Message(NamedTuple):
    """A whole message, its fragments joined, or a control frame. Text is valid UTF-8."""

    opcode: int
    data: bytes


class Closing(NamedTuple):
    """The content of a close frame; `NO_CODE` if it has no code."""

    code: int
    reason: str


class Reader:
    """Splits the bytes of a connection into messages.

    A server's reader (`masked`) expects masked frames, a client's unmasked ones. A message may have
    `max_bytes`.
    """

    def __init__(self, *, masked: bool, max_bytes: int) -> None:
        self._masked = masked
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._at = 0
        self._opcode: int | None = None
        self._fragments = bytearray()

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next(self) -> Message | None:
        """The next message or control frame that is complete. Raises `WebSocketError`."""
        while (frame := self._next_frame()) is not None:
            first, data = frame
            opcode = first & 0x0F
            if opcode >= CLOSE:
                return Message(opcode, data)
            if first & _FINAL and opcode:
                return _whole(opcode, data)
            self._fragments += data
            if opcode:
                self._opcode = opcode
            if first & _FINAL:
                assert self._opcode is not None
                whole = _whole(self._opcode, bytes(self._fragments))
                self._opcode = None
                self._fragments.clear()
                return whole
        return None

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The next frame that is complete: its first byte and its payload."""
        buffer, at = self._buffer, self._at
        left = len(buffer) - at
        if left < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        size = second & 0x7F
        self._check_head(first, second & _MASKED != 0, size)
        begin = at + 2
        if size == _TWO_BYTES:
            if left < 4:
                return None
            size = buffer[begin] << 8 | buffer[begin + 1]
            begin += 2
            shortest = size >= _TWO_BYTES
        elif size == _EIGHT_BYTES:
            if left < 10:
                return None
            size = int.from_bytes(buffer[begin : begin + 8], "big")
            begin += 8
            shortest = size > 0xFFFF
        else:
            shortest = True
        if not shortest:
            raise WebSocketError(PROTOCOL_ERROR, "a length is written longer than need be")
        if first & 0x0F < CLOSE and len(self._fragments) + size > self._max_bytes:
            raise WebSocketError(TOO_BIG, "the message is too big")
        if self._masked:
            begin += 4
        end = begin + size
        if len(buffer) < end:
            return None
        self._at = end
        data = bytes(buffer[begin:end])
        return first, mask(bytes(buffer[begin - 4 : begin]), data) if self._masked else data

    def _check_head(self, first: int, masked: bool, size: int) -> None:
        opcode = first & 0x0F
        wrong = None
        if first & _RESERVED:
            wrong = "a reserved bit is set"
        elif masked != self._masked:
            wrong = "a frame is not masked" if self._masked else "a frame is masked"
        elif opcode >= CLOSE:
            if opcode > PONG:
                wrong = "the opcode is not known"
            elif not first & _FINAL or size > _MOST_IN_CONTROL:
                wrong = "a control frame is too large"
        elif opcode > BINARY:
            wrong = "the opcode is not known"
        elif (opcode == CONTINUATION) != (self._opcode is not None):
            wrong = "the fragments of a message are out of order"
        if wrong is not None:
            raise WebSocketError(PROTOCOL_ERROR, wrong)


def _whole(opcode: int, data: bytes) -> Message:
    if opcode == TEXT and not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            raise WebSocketError(INVALID_DATA, "the text is not UTF-8") from None
    return Message(opcode, data)


def closing(data: bytes) -> Closing:
    """What the payload of a close frame says. Raises `WebSocketError`."""
    if not data:
        return Closing(NO_CODE, "")
    code = int.from_bytes(data[:2], "big")
    if len(data) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise WebSocketError(PROTOCOL_ERROR, "the close code is not valid")
    try:
        return Closing(code, data[2:].decode())
    except UnicodeDecodeError:
        raise WebSocketError(INVALID_DATA, "the close reason is not UTF-8") from None


def frame(opcode: int, data: bytes, *, masked: bool = False) -> bytes:
    """One whole frame; a client's has to be `masked`."""
    bit = _MASKED if masked else 0
    size = len(data)
    if size < _TWO_BYTES:
        head = bytes((_FINAL | opcode, bit | size))
    elif size <= 0xFFFF:
        head = struct.pack("!BBH", _FINAL | opcode, bit | _TWO_BYTES, size)
    else:
        head = struct.pack("!BBQ", _FINAL | opcode, bit | _EIGHT_BYTES, size)
    if not masked:
        return head + data
    key = secrets.token_bytes(4)
    return head + key + mask(key, data)


def close_frame(code: int, reason: str = "", *, masked: bool = False) -> bytes:
    """A close frame; a reason that is too long is cut off."""
    told = reason.encode()[: _MOST_IN_CONTROL - 2].decode(errors="ignore").encode()
    data = b"" if code == NO_CODE else code.to_bytes(2, "big") + told
    return frame(CLOSE, data, masked=masked)


def accept_value(key: str) -> str:
    """The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def new_key() -> str:
    """A `Sec-WebSocket-Key`."""
    return base64.b64encode(secrets.token_bytes(16)).decode()
