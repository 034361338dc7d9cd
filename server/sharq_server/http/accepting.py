"""Accepting connections for Tornado's HTTP server, patiently where there is no room for one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from sharq_server.security.descriptors import EXHAUSTED, Room

BACKLOG: Final = 1024
"""Connections that wait to be accepted, as far as the system allows."""

_SEND_BUFFER: Final = 256 * 1024
_AT_ONCE: Final = 128
_PAUSE: Final = 0.1


def bound_buffers(listening: socket.socket) -> None:
    """Have the kernel keep a quarter of a MiB, about, for a client that does not read.

    Connections have this from the socket that they are accepted on. By itself it would keep 4 MiB.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


class Acceptor:
    """Hands the connections of a listening socket, and their addresses, to `take`.

    Where descriptors or memory are used up it waits a moment, instead of trying again and again:
    the connections wait with the system.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        room: Room,
        take: Callable[[socket.socket, Any], None],
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._room = room
        self._take = take
        self._pausing: asyncio.TimerHandle | None = None
        bound_buffers(listening)
        self._go_on()

    @property
    def listening(self) -> socket.socket:
        """The socket that it accepts on."""
        return self._listening

    def close(self) -> None:
        """Accept no more, and close the socket."""
        if self._pausing is not None:
            self._pausing.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _go_on(self) -> None:
        self._pausing = None
        self._loop.add_reader(self._listening, self._on_connections)

    def _on_connections(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._room.warn()
                self._loop.remove_reader(self._listening)
                self._pausing = self._loop.call_later(_PAUSE, self._go_on)
                return
            connection.setblocking(False)
            self._take(connection, address)
            if self._listening.fileno() < 0:
                return
