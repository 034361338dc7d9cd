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
from tests.support import http
from tests.support.http import Connection


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
        is_json = text and response.headers["Content-Type"].startswith("application/json")
        return Answer(response.code, json.loads(text) if is_json else None, response.headers, text)

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


class Raw:
    """Raw connections to the server."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self, limit: int = 2**20) -> Connection:
        """A connection that reads `limit` bytes ahead, roughly, and is the caller's to close."""
        return await Connection.open(self._port, limit=limit)

    @asynccontextmanager
    async def connect(self, limit: int = 2**20) -> AsyncIterator[Connection]:
        connection = await self.open(limit)
        try:
            yield connection
        finally:
            connection.close()

    async def send(self, data: bytes) -> http.Answer:
        """Send bytes on a connection of their own: one answer, and the end."""
        async with self.connect() as connection:
            await connection.send(data)
            answer = await connection.answer()
            assert await connection.ended()
            return answer
