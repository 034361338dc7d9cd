"""A client's socket that does not block, plain or with TLS: slow, or read when one wants to."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

_CHUNK = 65536


class PlainSocket:
    """The client's end of a connection, `wire`."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self._loop = asyncio.get_running_loop()

    async def shake_hands(self) -> None:
        """There is nothing to agree on."""

    async def sendall(self, data: bytes) -> None:
        """Raises OSError."""
        await self._loop.sock_sendall(self.wire, data)

    async def recv(self, size: int) -> bytes:
        """What has come, when there is something; nothing at the end. Raises OSError."""
        return await self._loop.sock_recv(self.wire, size)

    def recv_now(self) -> bytes:
        """All that has come by now."""
        data = b""
        with suppress(BlockingIOError):
            while chunk := self.wire.recv(_CHUNK):
                data += chunk
        return data


class TLSSocket:
    """The same with TLS on the wire."""

    def __init__(self, wire: socket.socket, context: ssl.SSLContext) -> None:
        self.wire = wire
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def shake_hands(self) -> None:
        """Raises OSError."""
        while True:
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take_more()
            else:
                await self._flush()
                return

    async def sendall(self, data: bytes) -> None:
        """Raises OSError."""
        self._engine.write(data)
        await self._flush()

    async def recv(self, size: int) -> bytes:
        """What has come, when there is something; nothing at the end. Raises OSError."""
        while True:
            try:
                return self._engine.read(size)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                if not await self._take_more():
                    return b""

    def recv_now(self) -> bytes:
        """All that has come by now."""
        with suppress(BlockingIOError):
            while data := self.wire.recv(_CHUNK):
                self._incoming.write(data)
        plain = b""
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self._engine.read(_CHUNK):
                plain += part
        return plain

    async def send_no_more(self) -> None:
        """Tell the server that nothing more comes. Raises OSError."""
        with suppress(ssl.SSLWantReadError):
            self._engine.unwrap()
        await self._flush()

    async def _take_more(self) -> bool:
        data = await self._loop.sock_recv(self.wire, _CHUNK)
        self._incoming.write(data)
        if not data:
            self._incoming.write_eof()
        return bool(data)

    async def _flush(self) -> None:
        await self._loop.sock_sendall(self.wire, self._outgoing.read())


Socket = PlainSocket | TLSSocket
