"""An HTTP client that tells apart what was not sent from what may have been carried out."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self

import msgspec

_LARGEST_HEAD: Final = 1 << 20
_CONNECT_TIMEOUT: Final = 2.0


class NotSent(Exception):
    """The request did not leave: no connection."""


class Lost(Exception):
    """The request was sent, and no answer came."""


class Job(msgspec.Struct):
    """A job as it was delivered; the payload is kept byte for byte."""

    queue_id: str
    job_id: str
    payload: msgspec.Raw
    requeues_remaining: int
    lease: str


class _Jobs(msgspec.Struct):
    jobs: list[Job]


_one_job = msgspec.json.Decoder(Job)
_jobs = msgspec.json.Decoder(_Jobs)


class Answer(msgspec.Struct):
    """The status and the body of an answer."""

    status: int
    data: bytes

    @property
    def body(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.data)

    def jobs(self, several: bool) -> list[Job]:
        """The jobs of a dequeue that asked for `several` or for one."""
        return _jobs.decode(self.data).jobs if several else [_one_job.decode(self.data)]


def may_have_happened(status: int, body: Any) -> bool:
    """Whether an operation that was answered so may have been carried out although it failed."""
    return status == 500 or body.get("outcome") == "unknown"


class Http:
    """A connection to a port of loopback, opened when needed and kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(
        self, method: str, path: str, body: Any = None, *, timeout: float = 4.0
    ) -> Answer:
        """One request. Raises `NotSent` or `Lost`; then the connection is a new one next time."""
        reader, writer = await self._connected()
        content = b"" if body is None else msgspec.json.encode(body)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(timeout):
                writer.write(head.encode() + content)
                answer, keep = await _read_answer(reader)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise Lost from error
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return answer

    def close(self) -> None:
        """Leave the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._writer is not None and self._reader is not None:
            if not self._writer.is_closing() and not self._reader.at_eof():
                return self._reader, self._writer
            self.close()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, limit=_LARGEST_HEAD
                )
        except (OSError, TimeoutError) as error:
            raise NotSent from error
        return self._reader, self._writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[Answer, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = head.partition("content-length:")[2].split("\r", 1)[0]
    body = await reader.readexactly(int(length))
    return Answer(status, body), "connection: close" not in head
