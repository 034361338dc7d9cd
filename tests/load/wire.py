"""A client of the server on one connection: requests and answers, or a websocket."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self

from sharq.codec import websocket_frames as ws

HOST = "127.0.0.1"

UPGRADE = (
    b"GET /ws/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c29hayBzb2FrIHNvYWshIQ==\r\n\r\n"
)

_PATIENCE = 60.0
_READ_AHEAD = 64 * 1024


class Place(NamedTuple):
    """Where a server is, and what its certificate is verified by, where it speaks TLS."""

    port: int
    context: ssl.SSLContext | None


class Peer:
    """One connection. Raises `OSError` or `EOFError` where the server has ended it, and
    `TimeoutError` where nothing comes.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, place: Place) -> Self:
        async with asyncio.timeout(_PATIENCE):
            return cls(
                *await asyncio.open_connection(
                    HOST, place.port, limit=_READ_AHEAD, ssl=place.context
                )
            )

    def close(self) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request: the status of its answer, and the body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        async with asyncio.timeout(_PATIENCE):
            lines = await self._reader.readuntil(b"\r\n\r\n")
            return status_of(lines), await self._reader.readexactly(length_of(lines))

    async def upgrade(self) -> None:
        """Make the connection a websocket."""
        self._writer.write(UPGRADE)
        async with asyncio.timeout(_PATIENCE):
            lines = await self._reader.readuntil(b"\r\n\r\n")
        if status_of(lines) != 101:
            raise ConnectionError(f"a websocket was refused with {status_of(lines)}")

    def send(self, **frame: Any) -> None:
        """Send a text frame."""
        text = json.dumps(frame).encode()
        self._writer.write(ws.frame(ws.TEXT, text, masked=True))

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """The frames that come, until the server closes; pings are answered."""
        reader = ws.Reader(masked=False, max_bytes=1 << 24)
        while True:
            async with asyncio.timeout(_PATIENCE):
                data = await self._reader.read(_READ_AHEAD)
            if not data:
                raise EOFError
            reader.feed(data)
            while (message := reader.next()) is not None:
                if message.opcode == ws.TEXT:
                    yield json.loads(message.data)
                elif message.opcode == ws.PING:
                    self._writer.write(ws.frame(ws.PONG, message.data, masked=True))
                elif message.opcode == ws.CLOSE:
                    raise ConnectionError(f"closed with {ws.closing(message.data).code}")


def status_of(answer: bytes) -> int:
    """The status of an answer that begins so."""
    return int(answer[9:12])


def length_of(lines: bytes) -> int:
    """The length of the body of an answer, by the lines of its head."""
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
