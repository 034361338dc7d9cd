"""A client of the server on one connection: requests and answers, or a websocket."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self

from sharq.codec import websocket_frames as ws
from tests.support.http import Answer, Connection

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


class Peer(Connection):
    """A connection that has patience, and can become a websocket.

    Raises `OSError` or `EOFError` where the server has ended it, and `TimeoutError` where nothing
    comes.
    """

    @classmethod
    async def connect(cls, place: Place) -> Self:
        async with asyncio.timeout(_PATIENCE):
            return await cls.open(place.port, limit=_READ_AHEAD, tls=place.context)

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, timeout: float | None = _PATIENCE
    ) -> Answer:
        return await super().ask(method, path, body, timeout=timeout)

    async def upgrade(self) -> None:
        """Make the connection a websocket."""
        self.write(UPGRADE)
        async with asyncio.timeout(_PATIENCE):
            answer = await self.answer(head=True)
        if answer.status != 101:
            raise ConnectionError(f"a websocket was refused with {answer.status}")

    def send(self, **frame: Any) -> None:
        """Send a text frame."""
        text = json.dumps(frame).encode()
        self.write(ws.frame(ws.TEXT, text, masked=True))

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """The frames that come, until the server closes; pings are answered."""
        reader = ws.Reader(masked=False, max_bytes=1 << 24)
        while True:
            async with asyncio.timeout(_PATIENCE):
                data = await self.read(_READ_AHEAD)
            if not data:
                raise EOFError
            reader.feed(data)
            while (message := reader.next()) is not None:
                if message.opcode == ws.TEXT:
                    yield json.loads(message.data)
                elif message.opcode == ws.PING:
                    self.write(ws.frame(ws.PONG, message.data, masked=True))
                elif message.opcode == ws.CLOSE:
                    raise ConnectionError(f"closed with {ws.closing(message.data).code}")
