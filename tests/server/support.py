"""Ways to talk to a server under test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httputil import HTTPHeaders

from sharq.settings.tokens import line_for


def write_tokens(path: Path, tokens: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """Write a token file: for each secret, which is its name too, the operations and the types."""
    path.write_text("".join(line_for(each, each, *tokens[each]) + "\n" for each in tokens))
    path.chmod(0o600)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds; the test's own time is the bound."""
    while not condition():
        await asyncio.sleep(0.005)


async def state_is(rest: Rest, state: str, job_id: str = "j") -> None:
    """Wait until a job of the queue t/q is in a state."""
    while (await rest.get(f"/status/t/q/{job_id}/")).body.get("state") != state:
        await asyncio.sleep(0.005)


class Answer(NamedTuple):
    status: int
    body: Any
    headers: HTTPHeaders
    text: bytes

    @property
    def outcome(self) -> tuple[int, Any]:
        return self.status, self.body

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an answer that has the form of every error."""
        assert {"status", "message", "code"} <= self.body.keys(), self.body
        assert self.body["status"] == "failure"
        assert self.headers["Content-Type"] == "application/json"
        return self.status, self.body["code"]


class Rest:
    """The REST API, called by Tornado's HTTP client."""

    def __init__(self, client: AsyncHTTPClient, port: int) -> None:
        self._client = client
        self._url = f"http://127.0.0.1:{port}"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """`body` is bytes as they are, or a value to send as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        response = await self._client.fetch(
            HTTPRequest(
                self._url + path,
                method=method,
                body=body,
                headers=headers,
                allow_nonstandard_methods=True,
                follow_redirects=False,
                decompress_response=False,
            ),
            raise_error=False,
        )
        text = response.body
        return Answer(response.code, json.loads(text) if text else None, response.headers, text)

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.call("POST", path, b"" if body is None else body)

    async def delete(self, path: str, body: Any = None) -> Answer:
        return await self.call("DELETE", path, body)

    async def enqueue(
        self, path: str = "t/q", job_id: str = "j", payload: Any = 1, interval: int = 0, **more: Any
    ) -> Answer:
        """Enqueue a job, by default without a rate limit."""
        body = {"job_id": job_id, "payload": payload, "interval": interval, **more}
        return await self.post(f"/enqueue/{path}/", body)


class RawAnswer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def error(self) -> tuple[int, str]:
        assert {"status", "message", "code"} <= self.body.keys(), self.body
        return self.status, self.body["code"]


class Connection:
    """A connection to the server: bytes out, answers in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def write_eof(self) -> None:
        """Send no more."""
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    async def until(self, end: bytes) -> bytes:
        """What comes up to `end`, and that."""
        return await self._reader.readuntil(end)

    async def answer(self, *, head: bool = False) -> RawAnswer:
        """The next answer; `head` where it has no body."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.title(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        text = b"" if head else await self._reader.readexactly(int(headers["Content-Length"]))
        return RawAnswer(int(lines[0].split()[1]), headers, json.loads(text) if text else None)

    async def ended(self) -> bool:
        """Wait until the server ends the connection; False where it sends something instead."""
        return await self._reader.read(1) == b""


class Raw:
    """Raw connections to the server."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self, limit: int = 2**20) -> Connection:
        """A connection that reads `limit` bytes ahead, roughly, and is the caller's to close."""
        return Connection(*await asyncio.open_connection("127.0.0.1", self._port, limit=limit))

    @asynccontextmanager
    async def connect(self, limit: int = 2**20) -> AsyncIterator[Connection]:
        connection = await self.open(limit)
        try:
            yield connection
        finally:
            connection.close()

    async def send(self, data: bytes) -> RawAnswer:
        """Send bytes on a connection of their own: one answer, and the end."""
        async with self.connect() as connection:
            await connection.send(data)
            answer = await connection.answer()
            assert await connection.ended()
            return answer
