"""An HTTP client that tells apart what was not sent from what may have been carried out."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self

import msgspec

from tests.support.http import Answer, Connection

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


def jobs_in(answer: Answer, several: bool) -> list[Job]:
    """The jobs of a dequeue that asked for `several` or for one."""
    return _jobs.decode(answer.data).jobs if several else [_one_job.decode(answer.data)]


def may_have_happened(status: int, body: Any) -> bool:
    """Whether an operation that was answered so may have been carried out although it failed."""
    return status == 500 or body.get("outcome") == "unknown"


class Http:
    """A connection to a port of loopback, opened when needed and kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: Connection | None = None

    async def call(
        self, method: str, path: str, body: Any = None, *, timeout: float = 4.0
    ) -> Answer:
        """One request. Raises `NotSent` or `Lost`; then the connection is a new one next time."""
        connection = await self._connected()
        content = b"" if body is None else msgspec.json.encode(body)
        try:
            answer = await connection.ask(method, path, content, timeout=timeout)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise Lost from error
        except BaseException:
            self.close()
            raise
        if answer.headers.get("Connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Leave the connection."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.usable:
            return self._connection
        self.close()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                self._connection = await Connection.open(self.port)
        except (OSError, TimeoutError) as error:
            raise NotSent from error
        return self._connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
