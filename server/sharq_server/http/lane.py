"""The fast lane: listens, and looks after its connections.

HTTP/1.1 without TLS, parsed by httptools on the event loop. What `LaneConnection` does not answer
itself goes to the Tornado application, websocket upgrades included.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tornado.ioloop import IOLoop

from sharq_server.http.accepting import BACKLOG, bound_buffers
from sharq_server.http.lane_connection import LaneConnection
from sharq_server.http.listener import BODY_SECONDS, IDLE_SECONDS
from sharq_server.security.descriptors import Room

if TYPE_CHECKING:
    from sharq_server.app import SharQApplication

_SHORTEST_TICK: Final = 0.01
_LONGEST_TICK: Final = 1.0
_GOODBYE: Final = 2.0


class LaneListener:
    """Serves an application on sockets.

    Times are in seconds. A connection without a request, or with a head that does not come to
    its end, is closed after `idle_connection_timeout`; so is one that reads nothing of its answers.
    A body may take `body_timeout`. `now` is the time by which that is judged: it moves in ticks.
    `room` tells whether there is one for another connection, `lingering` how many are read from
    for a moment, answered as they are, `drains` that those who come are late, `stops` that the
    server ends.
    """

    def __init__(
        self,
        app: SharQApplication,
        *,
        idle_connection_timeout: float = IDLE_SECONDS,
        body_timeout: float = BODY_SECONDS,
    ) -> None:
        self.connections: set[LaneConnection] = set()
        self.room = Room()
        self.lingering = 0
        self.now = 0.0
        self.drains = False
        self.stops = False
        self._app = app
        self._idle = idle_connection_timeout
        self._body = body_timeout
        self._sockets: list[socket.socket] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.TimerHandle | None = None
        self._last_is_gone: asyncio.Event | None = None

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on sockets that are bound, as soon as the event loop runs."""
        added = list(sockets)
        for each in added:
            bound_buffers(each)
        self._sockets += added
        IOLoop.current().add_callback(self._begin, added)

    def addresses(self) -> list[Any]:
        """The addresses that the server listens on, as `socket.getsockname` gives them."""
        return [each.getsockname() for each in self._sockets]

    def drain(self) -> None:
        """Accept connections only to tell them that the server stops."""
        self.drains = True

    def stop(self) -> None:
        """Accept no more connections."""
        self.stops = True
        for starting in self._starting:
            starting.cancel()
        for server in self._servers:
            server.close()
        for each in self._sockets:
            each.close()
        self._servers.clear()
        self._sockets.clear()

    async def close_all_connections(self) -> None:
        """End all connections; one whose request is still coming in is told."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        for connection in tuple(self.connections):
            connection.stop()
        if self.connections:
            self._last_is_gone = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._last_is_gone.wait()
        for connection in tuple(self.connections):
            connection.abort()

    def forget(self, connection: LaneConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if not self.connections and self._last_is_gone is not None:
            self._last_is_gone.set()

    @property
    def _tick(self) -> float:
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, min(self._idle, self._body) / 4))

    def _begin(self, sockets: Iterable[socket.socket]) -> None:
        if self.stops:
            return
        loop = asyncio.get_running_loop()
        for each in sockets:
            starting = loop.create_task(self._accept_on(each))
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)
        if self._ticking is None:
            self._on_tick()

    async def _accept_on(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: LaneConnection(self._app, self), sock=listening, backlog=BACKLOG
        )
        self._servers.append(server)

    def _on_tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._ticking = loop.call_later(self._tick, self._on_tick)
        for connection in tuple(self.connections):
            connection.look_at_time(self.now, self._idle, self._body)
