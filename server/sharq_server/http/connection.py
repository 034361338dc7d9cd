"""A client's connection: its bytes and its limits, for any reader.

It reads requests first (`Requests`), and frames after a websocket's handshake. This module has what
both share: TLS, admission, back-pressure, time-outs, and the end of a connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

from sharq_server.api.replies import Reply
from sharq_server.http import framing
from sharq_server.http.responses import last_answer
from sharq_server.http.tls import HANDSHAKE_SECONDS, TLS, is_plain_http
from sharq_server.security.admission import Connections
from sharq_server.security.proxies import UNIX

_log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 1.0
"""Seconds during which a connection is read after its last answer."""

MOST_LINGERING: Final = 256
"""Connections that linger at a time; others are closed at once."""

_DISCARD: Final = struct.pack("ii", 1, 0)


class Reader(Protocol):
    """What reads a connection."""

    def on_data(self, data: bytes) -> None:
        """Bytes have come."""

    def on_half_close(self) -> bool:
        """The client sends no more. Returns whether there is something left to send to it."""

    def on_close(self) -> None:
        """The connection has ended."""

    def on_stuck(self) -> None:
        """The client does not read: data written from now on stays here."""

    def on_writable(self) -> None:
        """The client reads again."""

    def look_at_time(self, now: float, idle: float, body: float) -> None:
        """Close what is idle or too slow; `idle` and `body` are in seconds."""

    def stop(self) -> None:
        """The server ends: incomplete requests are not started."""


class Owner(Protocol):
    """What a connection needs from its listener.

    `now` is the time for all time-outs: it moves in ticks. `lingering` counts the connections that
    are still read for a moment after their answer. `drains`: new connections are late.
    """

    connections: set[Connection]
    lingering: int

    @property
    def now(self) -> float: ...
    @property
    def drains(self) -> bool: ...

    def look_after(self, connection: Connection) -> None:
        """Check a connection's time-outs from now on."""

    def leave_alone(self, connection: Connection) -> None:
        """Stop checking a connection, until it asks for it again."""

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""


class _Nobody:
    """Reads a connection that has ended."""

    def on_data(self, data: bytes) -> None:
        pass

    def on_half_close(self) -> bool:
        return False

    def on_close(self) -> None:
        pass

    on_stuck = on_writable = stop = on_close

    def look_at_time(self, now: float, idle: float, body: float) -> None:
        pass


_NOBODY: Final = _Nobody()


class Connection(asyncio.Protocol):
    """With a `context` it uses TLS. `make_reader` makes the first reader.

    `ended`: nothing more is written; `gone`: nothing can be written; `half_closed`: the client
    sends no more; `stuck`: the client does not read; `holding`: the connection is not read. A
    connection is late if it came while the server was stopping.
    """

    def __init__(
        self,
        owner: Owner,
        admission: Connections,
        context: ssl.SSLContext | None,
        make_reader: Callable[[Connection], Reader],
    ) -> None:
        self.late = owner.drains
        self.ended = False
        self.gone = False
        self.half_closed = False
        self.stuck = False
        self.holding = False
        self.peer: object = None
        self._owner = owner
        self._admission = admission
        self._context = context
        self._tls: TLS | None = None
        self._came = owner.now
        self._reader = make_reader(self)
        self._counted_for: str | None = None
        self._unsent = -1
        self._moved_at = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None

    @property
    def remote_ip(self) -> str:
        """The peer's address; `UNIX` on a unix socket."""
        return str(self.peer[0]) if isinstance(self.peer, tuple) else UNIX

    @property
    def scheme(self) -> str:
        """The scheme before this server's address."""
        return "http" if self._tls is None else "https"

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but are not its subclasses.
        self._transport = cast(asyncio.Transport, transport)
        self.peer = transport.get_extra_info("peername")
        self._owner.connections.add(self)
        self._owner.look_after(self)
        if self._admission.enter(self.remote_ip):
            self._counted_for = self.remote_ip
            if self._context is not None:
                self._tls = TLS(self._context, self._transport)
                self._context = None
        elif self._context is None:
            self.refuse(framing.OVERLOADED)
        else:
            # TLS would need a handshake first.
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        if self._tls is None:
            self._reader.on_data(data)
        else:
            self._decrypt(self._tls, data)

    def _decrypt(self, tls: TLS, data: bytes) -> None:
        if not tls.begun and is_plain_http(data):
            self._tls = None
            self.refuse(framing.NO_TLS)
            return
        try:
            plain = tls.receive(data)
        except ssl.SSLError as error:
            _log.debug("TLS with %s failed: %s", self.remote_ip, error)
            self.linger()
            return
        if plain:
            self._reader.on_data(plain)
        if tls.ended and not (self.half_closed or self.ended):
            self.half_closed = True
            if not self._reader.on_half_close():
                self.close()

    def eof_received(self) -> bool:
        """The client sends no more: its requests are still answered, except for jobs."""
        # With TLS the client says so itself: an end without that may be a cut connection.
        cut_off = self._tls is not None and not self.half_closed
        self.half_closed = True
        if self.ended or cut_off or not self._reader.on_half_close():
            self.ended = True
            self._owner.look_after(self)
            return False
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = self.ended = True
        self._owner.forget(self)
        if self._lingering is not None:
            self._lingering.cancel()
            self._owner.lingering -= 1
        if self._counted_for is not None:
            self._admission.leave(self._counted_for)
        reader, self._reader = self._reader, _NOBODY
        reader.on_close()
        self._resolve_drained()

    def pause_writing(self) -> None:
        self.stuck = True
        self._unsent = -1
        self._reader.on_stuck()

    def resume_writing(self) -> None:
        self.stuck = False
        self._resolve_drained()
        self._reader.on_writable()

    # For the reader

    def read_by(self, reader: Reader) -> None:
        """Use another reader from now on."""
        self._reader = reader

    def hold(self, holds: bool) -> None:
        """Stop reading from the client, or start again."""
        if holds != self.holding and not self.gone:
            self.holding = holds
            if holds:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._tls is None:
            self._transport.write(data)
        else:
            self._tls.write(data)

    @property
    def unsent(self) -> int:
        """Written bytes that the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    @property
    def broken(self) -> bool:
        """Whether writes have no effect."""
        return self.ended or self._transport.is_closing()

    def drained(self) -> asyncio.Future[None] | None:
        """A future for when the client has read more; None if it reads well."""
        if not self.stuck or self.gone:
            return None
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        return self._drained

    def _resolve_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def keep_little(self, kernel_bytes: int) -> None:
        """Limit the kernel's buffer to about this size, and be stuck with anything unsent."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_bytes)
        self._transport.set_write_buffer_limits(0)

    def look_after(self, *, wanted: bool) -> None:
        """Whether the reader's time-outs are checked."""
        if wanted:
            self._owner.look_after(self)
        else:
            self._owner.leave_alone(self)

    @property
    def _socket(self) -> socket.socket:
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    # The end

    def refuse(self, reply: Reply) -> None:
        """Send a refusal, and end the connection."""
        if not self.ended:
            self.write(last_answer(reply))
            self.linger()

    def close(self) -> None:
        """End the connection when all written data is sent."""
        if not self.ended:
            self._say_end()
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.ended = True
        self._transport.abort()

    def discard(self) -> None:
        """End the connection at once, and let the kernel drop unsent data.

        For a client that reads nothing it would otherwise keep that, and try again, for minutes.
        """
        if not self.gone:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            self.abort()

    def linger(self) -> None:
        """Close, but keep reading for a moment.

        A socket that is closed with unread input resets the connection, and the answer may be lost
        (RFC 9112, 9.6).
        """
        if self.ended:
            return
        self._say_end()
        owner = self._owner
        if (
            self.half_closed
            or not self._transport.can_write_eof()
            or owner.lingering >= MOST_LINGERING
        ):
            self._transport.close()
            return
        self._transport.write_eof()
        self.hold(False)
        owner.lingering += 1
        loop = asyncio.get_running_loop()
        self._lingering = loop.call_later(LINGER_SECONDS, self._transport.abort)

    def _say_end(self) -> None:
        self.ended = True
        self._unsent = -1
        self._owner.look_after(self)
        if self._tls is not None:
            self._tls.close()

    # Time

    def look_at_time(self, now: float, idle: float, body: float) -> None:
        """Close what is idle or too slow; `idle` and `body` are in seconds."""
        if self.ended:
            if not self.moves(now, idle):
                self.discard()
        elif self._tls is not None and not self._tls.established:
            if now - self._came > min(idle, HANDSHAKE_SECONDS):
                self.abort()
        else:
            self._reader.look_at_time(now, idle, body)

    def moves(self, now: float, timeout: float) -> bool:
        """Whether the client has read something in the last `timeout` seconds."""
        unsent = self.unsent
        if unsent != self._unsent:
            self._unsent, self._moved_at = unsent, now
        return now - self._moved_at <= timeout

    def stop(self) -> None:
        """The server ends: incomplete requests are not started."""
        if self.ended:
            return
        if self._tls is not None and not self._tls.established:
            self.abort()
        else:
            self._reader.stop()
