"""A client of the push channel that needs no event loop: a browser has the thread's."""

from __future__ import annotations

import itertools
import json
import socket
from collections import deque
from typing import Any, Final

from sharq.codec import websocket_frames as ws

_MOST: Final = 1 << 24
_PATIENCE: Final = 10.0
"""Seconds that it waits for what is expected."""


class Subscriber:
    """A connection to the server at a port of loopback; `token` is its bearer token."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._reader = ws.Reader(masked=False, max_bytes=_MOST)
        self._events: deque[dict[str, Any]] = deque()
        self._ids = itertools.count(1)
        bearer = "" if token is None else f"Authorization: Bearer {token}\r\n"
        self._socket.sendall(
            f"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: {ws.VERSION}\r\n{bearer}"
            f"Sec-WebSocket-Key: {ws.new_key()}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._received()
        head, _, frames = answer.partition(b"\r\n\r\n")
        assert b" 101 " in head, head
        self._reader.feed(frames)

    def subscribe(self, queue_type: str, credit: int, **more: Any) -> None:
        """Take jobs of a type."""
        self._ask(op="subscribe", queue_type=queue_type, credit=credit, **more)

    def jobs(self, count: int) -> list[dict[str, Any]]:
        """The next so many jobs."""
        jobs: list[dict[str, Any]] = []
        while len(jobs) < count:
            jobs += self._next("event", "jobs")["jobs"]
        assert len(jobs) == count, jobs
        return jobs

    def close(self) -> None:
        self._socket.close()

    def _ask(self, **frame: Any) -> None:
        frame_id = next(self._ids)
        text = json.dumps({"id": frame_id, **frame}).encode()
        self._socket.sendall(ws.frame(ws.TEXT, text, masked=True))
        answer = self._next("id", frame_id)
        assert answer["event"] == "reply", answer

    def _next(self, name: str, value: Any) -> dict[str, Any]:
        """The next event with this field; others wait."""
        for event in self._events:
            if event.get(name) == value:
                self._events.remove(event)
                return event
        while True:
            event = self._event()
            if event.get(name) == value:
                return event
            self._events.append(event)

    def _event(self) -> dict[str, Any]:
        while True:
            while (message := self._reader.next()) is None:
                self._reader.feed(self._received())
            if message.opcode == ws.TEXT:
                event: dict[str, Any] = json.loads(message.data)
                return event

    def _received(self) -> bytes:
        data = self._socket.recv(65536)
        assert data, "the server has closed the connection"
        return data
