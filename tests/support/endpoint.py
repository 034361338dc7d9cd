"""An HTTP endpoint that answers as a test says, byte for byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple


class Request(NamedTuple):
    """A request; names of headers are in small letters."""

    line: str
    headers: dict[str, str]
    body: bytes


class Caller:
    """The connection that a request came on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def has_left(self) -> None:
        """Wait until the caller closes the connection."""
        with suppress(ConnectionError):
            await self._reader.read()


Answering = Callable[[Request, Caller], Awaitable[None]]


def plain(status: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `status` has its reason with it."""
    named = {"Content-Length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def always(data: bytes) -> Answering:
    """What answers each request with these bytes, and closes."""

    async def answer(_request: Request, caller: Caller) -> None:
        await caller.send(data)

    return answer


class Endpoint:
    """A running endpoint; `requests` are those that have come, whole."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.left = 0
        """Callers whose answering has ended."""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = await _read(reader)
            self.requests.append(request)
            await self._answering(request, Caller(reader, writer))
            self.left += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left += 1
        except asyncio.CancelledError:
            # It ends with the test.
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def endpoint(
    answering: Answering, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Endpoint]:
    """An endpoint on a port of its own while the context lasts."""
    running = Endpoint(answering)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        await running.stop()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    line, *rest = head.rstrip("\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for each in rest:
        name, _, value = each.partition(":")
        assert name.lower() not in headers, name
        headers[name.lower()] = value.strip()
    return Request(line, headers, await reader.readexactly(int(headers["content-length"])))
