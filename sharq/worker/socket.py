"""A worker's websocket: the handshake, frames out, and frames in as they come."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from sharq.codec import websocket_frames as ws
from sharq.codec.websocket_frames import WebSocketError
from sharq.worker import forking

_LARGEST_MESSAGE: Final = 512 * 1024 * 1024
_GOODBYE: Final = 1.0
_LARGEST_HEAD: Final = 64 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
_SWITCHING: Final = b"HTTP/1.1 101"
_REST_OF_REFUSAL: Final = 1.0
_LOOK_AGAIN: Final = 0.01


class Refused(ConnectionError):
    """The server answers, and not with a websocket.

    `message` is its own, if it is a server of SharQ's (`ours`).
    """

    def __init__(self, status: int, reason: str, message: str | None) -> None:
        self.status = status
        self.ours = message is not None
        self.message = message or ""
        super().__init__(f"the server answers {status} {message or reason}".rstrip(" ."))


class Socket(asyncio.Protocol):
    """One connection, as a client.

    `closed` is done when it has ended, with the server's close code, if any.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[int | None] = loop.create_future()
        self._head: asyncio.Future[bytes] = loop.create_future()
        self._first: asyncio.Future[bytes] = loop.create_future()
        self._received = b""
        self._refused = False
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._reader = ws.Reader(masked=False, max_bytes=_LARGEST_MESSAGE)
        self._on_text: Callable[[bytes], None] = self._on_early_text
        self._code: int | None = None
        self._has_said_close = False

    @classmethod
    async def connect(
        cls, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None
    ) -> Socket:
        """Open a websocket at `url`; `headers` are sent besides those of the handshake.

        With wss, `tls` tells whose certificates are trusted; None: those of the system. Raises
        OSError if that fails, ConnectionError if the server refuses.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        loop = asyncio.get_running_loop()
        socket = cls()
        await loop.create_connection(
            lambda: socket,
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            ssl=(tls or ssl.create_default_context()) if secure else None,
        )
        try:
            await socket._shake_hands(url, headers)
        except BaseException:
            socket.abort()
            raise
        return socket

    async def first_text(self) -> bytes:
        """The first text message. Raises ConnectionError if none comes."""
        return await self._unless_closed(self._first)

    def listen(self, on_text: Callable[[bytes], None]) -> None:
        """Pass each text message after the first one to `on_text`."""
        self._on_text = on_text
        early, self._early = self._early, []
        for text in early:
            on_text(text)

    def send(self, text: bytes) -> None:
        """Send a text message; on a connection that has ended, do nothing."""
        self._write(ws.frame(ws.TEXT, text, masked=True))

    def close(self, code: int = ws.NORMAL) -> None:
        """Send a close frame; if the server does not close in a moment, cut the connection."""
        if not self._has_said_close:
            self._write(ws.close_frame(code, masked=True))
            self._has_said_close = True
            asyncio.get_running_loop().call_later(_GOODBYE, self.abort)

    def abort(self) -> None:
        """Close at once, without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def descriptor(self) -> int:
        """The number of the socket, -1 where it is closed."""
        if self._transport is None:
            return -1
        socket = self._transport.get_extra_info("socket")
        return -1 if socket is None else int(socket.fileno())

    # As the transport's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other loops have transports that are not subclasses of it.
        self._transport = cast(asyncio.Transport, transport)
        forking.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._head.done():
            if self._refused:
                self._received = (self._received + data)[:_LARGEST_HEAD]
            else:
                self._read(data)
            return
        head, end, rest = (self._received + data).partition(_END_OF_HEAD)
        if end:
            self._refused = not head.startswith(_SWITCHING)
            self._received = rest if self._refused else b""
            self._head.set_result(head)
            if not self._refused:
                self._read(rest)
        elif len(head) > _LARGEST_HEAD:
            self.abort()
        else:
            self._received = head

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(self._code)

    # Inside

    async def _shake_hands(self, url: str, headers: Mapping[str, str]) -> None:
        assert self._transport is not None
        parts = urlsplit(url)
        key = ws.new_key()
        host = parts.netloc.rpartition("@")[2]
        sent = {
            "Host": host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": ws.VERSION,
        }
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            sent["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (sent | dict(headers)).items()]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head = await self._unless_closed(self._head)
        status, *answered = head.decode("latin-1").split("\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in answered)
        }
        if not head.startswith(_SWITCHING):
            _, code, *reason = status.split(" ", 2)
            if not code.isdigit():
                raise ConnectionError("the server does not speak HTTP")
            raise Refused(int(code), "".join(reason), await self._refusal(fields))
        if fields.get("sec-websocket-accept") != ws.accept_value(key):
            raise ConnectionError("the server does not know websockets")

    async def _refusal(self, fields: Mapping[str, str]) -> str | None:
        """The message in the body of a refusal, if it comes soon and is SharQ's."""
        length = fields.get("content-length", "")
        size = min(int(length), _LARGEST_HEAD) if length.isdigit() else _LARGEST_HEAD
        deadline = time.monotonic() + _REST_OF_REFUSAL
        while len(self._received) < size and not self.closed.done():
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_LOOK_AGAIN)
        try:
            told = json.loads(self._received)
        except ValueError:
            return None
        message = told.get("message") if isinstance(told, dict) and "code" in told else None
        return message if isinstance(message, str) else None

    async def _unless_closed(self, awaited: asyncio.Future[bytes]) -> bytes:
        either: list[asyncio.Future[Any]] = [awaited, self.closed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            raise ConnectionError("the server closes the connection")
        return awaited.result()

    def _on_early_text(self, text: bytes) -> None:
        if self._first.done():
            self._early.append(text)
        else:
            self._first.set_result(text)

    def _read(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (message := reader.next()) is not None:
                if message.opcode == ws.TEXT:
                    self._on_text(message.data)
                elif message.opcode == ws.PING:
                    self._write(ws.frame(ws.PONG, message.data, masked=True))
                elif message.opcode == ws.CLOSE:
                    self._on_close(ws.closing(message.data).code)
                    return
                elif message.opcode == ws.BINARY:
                    raise WebSocketError(ws.UNSUPPORTED_DATA, "frames are text")
        except WebSocketError as error:
            self._on_close(error.code)

    def _on_close(self, code: int) -> None:
        if self._code is None:
            self._code = code
        self.close(code)
        assert self._transport is not None
        self._transport.close()

    def _write(self, frame: bytes) -> None:
        if self._transport is not None and not self._has_said_close:
            self._transport.write(frame)
