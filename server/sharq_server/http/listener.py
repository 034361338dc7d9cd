"""The listener: accepts connections as long as there is room, and checks their time-outs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from tornado.ioloop import IOLoop

from sharq_server.http import framing
from sharq_server.http.application import Application
from sharq_server.http.connection import Connection
from sharq_server.http.pace import BODY_SECONDS
from sharq_server.http.requests import Requests
from sharq_server.http.responses import last_answer
from sharq_server.security.certificates import Certificate
from sharq_server.security.descriptors import EXHAUSTED, Room

IDLE_SECONDS: Final = 60.0

BACKLOG: Final = 1024
"""Connections that may wait to be accepted, as far as the system allows."""

_SEND_BUFFER: Final = 256 * 1024
_AT_ONCE: Final = 128
_PAUSE: Final = 0.1
_SHORTEST_TICK: Final = 0.01
_LONGEST_TICK: Final = 1.0
_GOODBYE: Final = 2.0


class Listener:
    """Serves an application on sockets, with TLS if it has a `certificate`.

    Times are in seconds. A connection without a request, or with an incomplete head, is closed
    after `idle_connection_timeout`; so is one that reads nothing of its answers. A body has to
    bring 1 KiB in each `body_timeout`. `now` is the time for this: it moves in ticks. `lingering`
    counts the connections that are still read for a moment after their answer. `drains`: new
    connections are late.
    """

    def __init__(
        self,
        app: Application,
        *,
        idle_connection_timeout: float = IDLE_SECONDS,
        body_timeout: float = BODY_SECONDS,
        certificate: Certificate | None = None,
    ) -> None:
        self.connections: set[Connection] = set()
        self.lingering = 0
        self.now = 0.0
        self.drains = False
        self._app = app
        self._idle = idle_connection_timeout
        self._body = body_timeout
        self._certificate = certificate
        self._room = Room()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: dict[socket.socket, asyncio.TimerHandle | None] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._watched: set[Connection] = set()
        self._ticking: asyncio.TimerHandle | None = None
        self._last_is_gone: asyncio.Event | None = None

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on listening sockets, as soon as the event loop runs."""
        added = list(sockets)
        for each in added:
            # Connections inherit this from the listening socket: the kernel keeps about a quarter
            # of a MiB for a client that does not read. The default would be 4 MiB.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            each.setblocking(False)
            self._sockets[each] = None
        IOLoop.current().add_callback(self._begin, added)

    def addresses(self) -> list[Any]:
        """The addresses that the server listens on, as `socket.getsockname` gives them."""
        return [each.getsockname() for each in self._sockets]

    def drain(self) -> None:
        """From now on tell new connections that the server stops."""
        self.drains = True

    def accept_waiting(self) -> None:
        """Accept what has come by now, in the running event loop."""
        for each in tuple(self._sockets):
            self._on_connections(each)

    def stop(self) -> None:
        """Accept no more connections."""
        for each, pausing in self._sockets.items():
            if pausing is not None:
                pausing.cancel()
            if self._loop is not None:
                self._loop.remove_reader(each)
            each.close()
        self._sockets.clear()

    async def close_all_connections(self) -> None:
        """End all connections; one with an incomplete request gets an answer."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._starting:
            await asyncio.wait(tuple(self._starting))
        for connection in tuple(self.connections):
            connection.stop()
        if self.connections:
            self._last_is_gone = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._last_is_gone.wait()
        for connection in tuple(self.connections):
            connection.abort()

    # For its connections

    def look_after(self, connection: Connection) -> None:
        """Check a connection's time-outs from now on."""
        self._watched.add(connection)

    def leave_alone(self, connection: Connection) -> None:
        """Stop checking a connection, until it asks for it again."""
        self._watched.discard(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._watched.discard(connection)
        if not self.connections and self._last_is_gone is not None:
            self._last_is_gone.set()

    def connection(self) -> Connection:
        """A connection that was accepted, for its transport."""
        context = None if self._certificate is None else self._certificate.context
        return Connection(
            self,
            self._app.connections,
            context,
            lambda connection: Requests(self._app, connection, self._time),
        )

    def _time(self) -> float:
        return self.now

    # Accepting

    def _begin(self, sockets: Iterable[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        for each in sockets:
            if each in self._sockets:
                self._accept_on(each)
        if self._ticking is None:
            self._on_tick()

    def _accept_on(self, listening: socket.socket) -> None:
        self._sockets[listening] = None
        asyncio.get_running_loop().add_reader(listening, self._on_connections, listening)

    def _on_connections(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._pause(listening)
                return
            if self._room.has(connection.fileno()):
                self._take(connection)
            else:
                self._turn_away(connection)

    def _pause(self, listening: socket.socket) -> None:
        """Wait a moment before the next try: the system keeps the clients waiting."""
        self._room.warn()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._sockets[listening] = loop.call_later(_PAUSE, self._accept_on, listening)

    def _turn_away(self, connection: socket.socket) -> None:
        """Close a connection without room; with TLS it cannot get an answer."""
        with connection, suppress(OSError):
            connection.setblocking(False)
            if self._certificate is None:
                connection.send(last_answer(framing.OVERLOADED))

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        starting = asyncio.get_running_loop().create_task(self._start(connection))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)

    async def _start(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self.connection, connection)
        except OSError:  # it is gone already
            connection.close()

    # Time

    @property
    def _tick(self) -> float:
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, min(self._idle, self._body) / 4))

    def _on_tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._ticking = loop.call_later(self._tick, self._on_tick)
        for connection in tuple(self._watched):
            connection.look_at_time(self.now, self._idle, self._body)
