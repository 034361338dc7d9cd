"""An HTTP client on one connection: bytes out, answers in, and nothing that nobody asked for."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any, NamedTuple, Self

HOST = "127.0.0.1"


class Answer(NamedTuple):
    """The names of the `headers` are in the usual spelling, as in ``Content-Length``."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        """What the data say as JSON; None where there are none."""
        return json.loads(self.data) if self.data else None

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an answer that has the form of every error."""
        assert {"status", "message", "code"} <= self.body.keys(), self.body
        return self.status, self.body["code"]


class Connection:
    """Raises `OSError` or `EOFError` where the server has ended it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(
        cls, port: int, *, limit: int = 1 << 20, tls: ssl.SSLContext | None = None
    ) -> Self:
        """A connection that reads `limit` bytes ahead, roughly."""
        return cls(*await asyncio.open_connection(HOST, port, limit=limit, ssl=tls))

    @property
    def usable(self) -> bool:
        """Whether neither end has closed, as far as is known."""
        return not (self._writer.is_closing() or self._reader.at_eof())

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def send(self, data: bytes) -> None:
        """Write, and wait until the server reads."""
        self._writer.write(data)
        await self._writer.drain()

    def write_eof(self) -> None:
        """Send no more."""
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Close, and send nothing of what waits."""
        self._writer.transport.abort()

    async def read(self, size: int) -> bytes:
        """What comes next, up to `size` bytes; nothing at the end."""
        return await self._reader.read(size)

    async def until(self, end: bytes) -> bytes:
        """What comes up to `end`, and that."""
        return await self._reader.readuntil(end)

    async def answer(self, *, head: bool = False) -> Answer:
        """The next answer; `head` where it has no body. Raises ValueError for what is none."""
        status, headers = head_of(await self.until(b"\r\n\r\n"))
        size = 0 if head else int(headers.get("Content-Length", ""))
        return Answer(status, headers, await self._reader.readexactly(size))

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, timeout: float | None = None
    ) -> Answer:
        """Send a request: its answer. Raises TimeoutError after `timeout` seconds."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        async with asyncio.timeout(timeout):
            self.write(head.encode() + body)
            return await self.answer()

    async def ended(self) -> bool:
        """Wait until the server ends the connection; False where it sends something instead."""
        return await self.read(1) == b""


def head_of(lines: bytes) -> tuple[int, dict[str, str]]:
    """The status and the headers in the head of an answer."""
    status, *fields = lines.decode("latin-1").split("\r\n")
    parts = (field.partition(":") for field in fields if field)
    return int(status.split()[1]), {name.title(): value.strip() for name, _, value in parts}
