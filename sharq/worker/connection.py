"""One connection of a worker to a server, from the welcome on, and its unanswered frames."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sharq.settings import tokens
from sharq.worker import frames as frames
from sharq.worker.address import Token
from sharq.worker.frames import ServerClock, Welcome, encode
from sharq.worker.socket import Socket

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for making a connection, including the welcome."""


class Settings:
    """The arguments of a worker; times are in seconds."""

    def __init__(
        self,
        url: str,
        weights: Mapping[str, int],
        concurrency: int,
        prefetch: int,
        timeout: float | None,
        token: Token,
        tls: ssl.SSLContext | None,
        name: str | None = None,
    ) -> None:
        self.url = url
        self.weights = dict(weights)
        self.concurrency = concurrency
        self.prefetch = prefetch
        self.timeout = timeout
        self.token = token
        self.tls = tls
        self.name = name


class Connection:
    """The unanswered frames of a websocket, and what is known of its server.

    Frames are named by their ids, which no two of a worker share.
    """

    def __init__(self, socket: Socket, welcome: Welcome) -> None:
        self.socket = socket
        self.heartbeat = welcome.heartbeat / 1000
        self.heard_at = time.monotonic()
        self.pinged_at = self.heard_at
        self.clock = ServerClock()
        self.clock.one_way(welcome.server_time, self.heard_at)
        self.draining: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the server has said that it is about to stop."""
        self.credit: int | None = None
        """The credit of the connection that was requested last; None if no jobs are wanted."""
        self.ends: set[int] = set()
        """Frames that end leases."""
        self.extensions: dict[int, Sequence[str]] = {}
        """The leases of frames that extend them, or carry them over from another connection."""
        self.wishes: dict[int, dict[str, Any]] = {}
        """Frames about subscriptions and credit."""
        self.refused: deque[dict[str, Any]] = deque()
        """Such frames that were refused, and have to be sent again."""
        self._operations = welcome.operations
        self._pings: dict[int, float] = {}

    @classmethod
    async def open(cls, settings: Settings) -> Connection:
        """Connect. Raises OSError, TimeoutError, or whatever a function for the token raises."""
        headers = {"Sec-WebSocket-Protocol": frames.PROTOCOL}
        token = settings.token
        if token is not None:
            secret = token if isinstance(token, str) else tokens.clean(token())
            headers["Authorization"] = f"Bearer {secret}"
        async with asyncio.timeout(CONNECT_TIMEOUT):
            socket = await Socket.connect(settings.url, headers, settings.tls)
            try:
                welcome = frames.decode(await socket.first_text())
                if not isinstance(welcome, Welcome):
                    raise ConnectionError("the server does not speak sharq.v1.json")
            except BaseException:
                socket.abort()
                raise
        return cls(socket, welcome)

    def may(self, operation: str) -> bool:
        """Whether the token of the connection allows an operation, as far as that is known."""
        return self._operations is None or operation in self._operations

    def may_not(self, operation: str) -> None:
        """The server has said that the token does not allow an operation."""
        known = frames.OPERATIONS if self._operations is None else self._operations
        self._operations = [each for each in known if each != operation]

    def send(self, frame: bytes) -> None:
        """Send a frame; the reader notices when a connection has ended."""
        self.socket.send(frame)

    def wish(self, frame_id: int, frame: dict[str, Any]) -> None:
        """Send a frame about subscriptions or credit."""
        self.wishes[frame_id] = frame
        if leases := frame.get("leases"):
            self.extensions[frame_id] = leases
        self.send(encode({"id": frame_id, **frame}))

    def drain(self) -> None:
        """The server is about to stop."""
        if not self.draining.done():
            self.draining.set_result(None)

    def ping(self, frame_id: int) -> None:
        """Ping, and ask for the server's time."""
        self.pinged_at = self._pings[frame_id] = time.monotonic()
        self.send(encode({"op": "ping", "id": frame_id}))

    def on_pong(self, frame_id: int | None, server_time: int) -> None:
        """Note the server's time, in ms, from its answer to a ping."""
        sent = self._pings.pop(frame_id or 0, None)
        if sent is not None:
            self.clock.there_and_back(server_time, sent, time.monotonic())

    @property
    def silent(self) -> bool:
        """Whether nothing has come for two heartbeats."""
        return time.monotonic() - self.heard_at > 2 * self.heartbeat

    @property
    def settled(self) -> bool:
        """Whether all frames are answered, except pings."""
        return not (self.ends or self.extensions or self.wishes)
