"""A client of the push channel, on Tornado's websocket client."""

from __future__ import annotations

import asyncio
import itertools
import json
from types import TracebackType
from typing import Any, Self

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect


class Subscriber:
    """A connection; what came and was not asked for yet waits in `events`."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    @classmethod
    async def connect(cls, port: int, path: str = "/ws/", **headers: str) -> Self:
        request = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers=headers)
        subscriber = cls(await websocket_connect(request, max_message_size=1 << 26))
        await subscriber.event("welcome")
        return subscriber

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, **frame: Any) -> int:
        """Send a frame and return its id."""
        frame_id = frame.setdefault("id", next(self._ids))
        self.socket.write_message(json.dumps(frame))
        return int(frame_id)

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send a frame and return its answer."""
        frame_id = self.send(**frame)
        return await self.answer(frame_id)

    async def answer(self, frame_id: int, timeout: float = 15.0) -> dict[str, Any]:
        """The answer to a frame; other events wait."""
        return await self._next(lambda event: event.get("id") == frame_id, timeout)

    async def subscribe(self, queue_type: str = "t", credit: int = 10, **more: Any) -> None:
        answer = await self.ask(op="subscribe", queue_type=queue_type, credit=credit, **more)
        assert answer["event"] == "reply", answer

    async def event(self, kind: str, timeout: float = 15.0) -> dict[str, Any]:
        """The next event of a kind."""
        return await self._next(lambda event: event["event"] == kind, timeout)

    async def jobs(self, count: int, timeout: float = 15.0) -> list[dict[str, Any]]:
        """The next `count` jobs, in however many frames."""
        jobs: list[dict[str, Any]] = []
        while len(jobs) < count:
            jobs += (await self.event("jobs", timeout))["jobs"]
        assert len(jobs) == count, jobs
        return jobs

    async def finish(self, *jobs: dict[str, Any]) -> list[Any]:
        results: list[Any] = (await self.ask(op="finish", leases=[job["lease"] for job in jobs]))[
            "results"
        ]
        return results

    async def nothing_comes(self, kind: str = "jobs", seconds: float = 0.1) -> bool:
        """Whether no event of a kind comes while others are answered."""
        try:
            await self.event(kind, seconds)
        except TimeoutError:
            return True
        return False

    async def closed(self) -> int | None:
        """Wait for the end of the connection: its close code."""
        while (text := await self.socket.read_message()) is not None:
            self.events.append(json.loads(text))
        return self.socket.close_code

    async def _next(self, wanted: Any, timeout: float = 15.0) -> dict[str, Any]:
        for at, event in enumerate(self.events):
            if wanted(event):
                return self.events.pop(at)
        async with asyncio.timeout(timeout):
            while True:
                text = await self.socket.read_message()
                if text is None:
                    raise ConnectionError(f"closed with {self.socket.close_code}")
                event = json.loads(text)
                self.seen.append(event)
                if wanted(event):
                    return event
                self.events.append(event)
