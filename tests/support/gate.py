"""A proxy on an event loop: passes bytes on between clients and a target, until told not to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any, Final, cast

Address = str | tuple[str, int]
"""A socket's path, or host and port."""

_RESET: Final = struct.pack("ii", 1, 0)
_BACKLOG: Final = 512
_MOST_HELD: Final = 1 << 20


class Gate:
    """Takes connections on a port of loopback, which stays the same, and leads them to `target`.

    `target` may be changed; connections that are open keep theirs. `delay` seconds pass before a
    reply goes on. With `drops_replies` requests pass and replies do not. With `loses_replies` the
    first reply to what is asked from then on does not pass either, and ends its connection; so
    does the reply to a request with one of the words in `losses`, each of which counts once.
    `accepted` counts connections, `requests` holds what came from clients where it is not None.
    """

    host = "127.0.0.1"

    def __init__(self, target: Address, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay = 0.0
        self.drops_replies = False
        self.loses_replies = False
        self.losses: list[bytes] = []
        self.stalled = False
        self.accepted = 0
        self.requests: bytearray | None = None
        self.port = 0
        self.connections: set[_Client] = set()
        self._tls = tls
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self) -> None:
        """Take connections (again)."""
        if self._listener is None:
            # Not by a server of the loop's: one that is closed loses what it is about to take.
            self._listener = socket.create_server((self.host, self.port), backlog=_BACKLOG)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._take, self._listener)

    async def refuse(self) -> None:
        """Take no connections, and cut those that are open."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self.cut()

    async def cut(self) -> None:
        """Reset all connections; what is on its way is lost."""
        open_now = tuple(self.connections)
        for client in open_now:
            client.reset()
        while not self.connections.isdisjoint(open_now):
            await asyncio.sleep(0)

    def stall(self) -> None:
        """Let nothing pass any more; the connections stay open and new ones are taken."""
        self.stalled = True

    def resume(self) -> None:
        """Let everything pass again, what was held up first."""
        self.stalled = False
        for client in tuple(self.connections):
            client.resume()

    def swallow(self) -> None:
        """Let the connections that are open carry nothing any more, and new ones all."""
        for client in self.connections:
            client.swallowed = True

    def inject(self, data: bytes) -> None:
        """Send `data` to all clients as if it came from the target."""
        for client in self.connections:
            client.write(data)

    async def end(self) -> None:
        """Refuse connections, and end what opens some still."""
        await self.refuse()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        await self.cut()

    def _take(self, listener: socket.socket) -> None:
        end, _ = listener.accept()
        end.setblocking(False)
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._serve(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before it began closes nothing.
        task.add_done_callback(lambda done: end.close() if done.cancelled() else None)

    async def _serve(self, end: socket.socket) -> None:
        loop, client = asyncio.get_running_loop(), _Client(self)
        try:
            await loop.connect_accepted_socket(lambda: client, end, ssl=self._tls)
            await client.open_way()
        except OSError:
            client.abort()
            end.close()


class _End(asyncio.Protocol):
    """One end of a connection through a gate."""

    _transport: asyncio.Transport | None = None
    _other: _End | None = None
    _full = False
    _ended = False

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._held = bytearray()

    def pass_on(self, data: bytes) -> None:
        """Send what has come to the other end, or do not."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.read_on()

    def data_received(self, data: bytes) -> None:
        if self._gate.stalled or self._held:
            self._held += data
            self.read_on()
        else:
            self.pass_on(data)

    def eof_received(self) -> bool:
        # In a stall nobody hears of an end either.
        self._ended = self._gate.stalled
        return self._ended

    def resume(self) -> None:
        """Pass on what was held up."""
        held = bytes(self._held)
        self._held.clear()
        if held:
            self.pass_on(held)
        self.read_on()
        if self._ended and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        self._full = True
        if self._other is not None:
            self._other.read_on()

    def resume_writing(self) -> None:
        self._full = False
        if self._other is not None:
            self._other.read_on()

    def read_on(self) -> None:
        """Read, or do not, by what the other end can take."""
        if self._transport is None or self._transport.is_closing():
            return
        other = self._other
        ready = other is not None and other._transport is not None and not other._full
        if ready and len(self._held) < _MOST_HELD:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None and self._other._transport is not None:
            self._other._transport.close()

    def abort(self) -> None:
        """Reset this end."""
        if self._transport is None:
            return
        end: Any = self._transport.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()


class _Client(_End):
    """The client's end, which opens the way to the target."""

    swallowed = False
    doomed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._gate.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._gate.requests is not None and not self.swallowed:
            self._gate.requests += data
        super().data_received(data)

    def pass_on(self, data: bytes) -> None:
        if self.swallowed or self._other is None:
            return
        gate = self._gate
        lost = next((word for word in gate.losses if word in data), None)
        if lost is not None:
            gate.losses.remove(lost)
        self.doomed = self.doomed or gate.loses_replies or lost is not None
        self._other.write(data)

    def resume(self) -> None:
        super().resume()
        if self._other is not None:
            self._other.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self._gate.connections.discard(self)
        super().connection_lost(error)

    def reset(self) -> None:
        """Reset both ends."""
        self.abort()
        if self._other is not None:
            self._other.abort()

    async def open_way(self) -> None:
        """Connect to the target. Raises OSError."""
        loop, address = asyncio.get_running_loop(), self._gate.target
        target = _Target(self._gate, self)
        if isinstance(address, str):
            await loop.create_unix_connection(lambda: target, address)
        else:
            await loop.create_connection(lambda: target, *address)
        self._other = target
        if self._transport is None or self._transport.is_closing():
            target.abort()
        else:
            self.read_on()
            target.read_on()


class _Target(_End):
    """The end of the target, which answers."""

    def __init__(self, gate: Gate, client: _Client) -> None:
        super().__init__(gate)
        self._other = self._client = client

    def pass_on(self, data: bytes) -> None:
        gate, client = self._gate, self._client
        if client.doomed:
            client.reset()
        elif gate.drops_replies or client.swallowed:
            return
        elif gate.delay:
            asyncio.get_running_loop().call_later(gate.delay, client.write, data)
        else:
            client.write(data)
