"""One connection of a worker to a server, from the welcome on, and what is under way on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sharq.worker_frames import ServerClock, Welcome, encode
from sharq.worker_socket import Socket


class Connection:
    """What was sent on a websocket and is not answered, and what is known of its server.

    Frames are named by their ids, which no two of a worker share.
    """

    def __init__(self, socket: Socket, welcome: Welcome) -> None:
        self.socket = socket
        self.heartbeat = welcome.heartbeat / 1000
        self.heard_at = time.monotonic()
        self.pinged_at = self.heard_at
        self.clock = ServerClock()
        self.clock.one_way(welcome.server_time, self.heard_at)
        self.draining = False
        self.ends: set[int] = set()
        """Frames that end leases."""
        self.extensions: dict[int, Sequence[str]] = {}
        """The leases of frames that extend them, or carry them over from another connection."""
        self.wishes: dict[int, dict[str, Any]] = {}
        """Frames that say what is wanted: subscriptions and credit."""
        self._pings: dict[int, float] = {}

    def send(self, frame: bytes) -> None:
        """Send a frame; a connection that has ended is noticed where it is read."""
        self.socket.send(frame)

    def wish(self, frame_id: int, **frame: Any) -> None:
        """Say what is wanted."""
        self.wishes[frame_id] = frame
        if leases := frame.get("leases"):
            self.extensions[frame_id] = leases
        self.send(encode({"id": frame_id, **frame}))

    def ping(self, frame_id: int) -> None:
        """Ask for a sign of life, and for the server's time."""
        self.pinged_at = self._pings[frame_id] = time.monotonic()
        self.send(encode({"op": "ping", "id": frame_id}))

    def on_pong(self, frame_id: int | None, server_time: int) -> None:
        """Note the server's time, in ms, from its answer to a ping."""
        sent = self._pings.pop(frame_id or 0, None)
        if sent is not None:
            self.clock.there_and_back(server_time, sent, time.monotonic())

    @property
    def silent(self) -> bool:
        """Whether nothing was heard for two heartbeats."""
        return time.monotonic() - self.heard_at > 2 * self.heartbeat

    @property
    def settled(self) -> bool:
        """Whether all is answered that was sent, but for pings."""
        return not (self.ends or self.extensions or self.wishes)
