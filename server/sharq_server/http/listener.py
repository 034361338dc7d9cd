"""Tornado's HTTP server, taught to say what is wrong before it hangs up.

Tornado parses requests and keeps their order, sizes and time-outs. Where it finds bytes that are
no request it answers ``400`` without a body, and where one is too large or too slow it closes
without a word. The stream below sees these moments and sends the answer that every other error
gets. It uses what IOStream lets its subclasses override: reads, writes and `close`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError
from tornado.netutil import ssl_wrap_socket

from sharq_server.api.replies import Reply
from sharq_server.http import framing
from sharq_server.http._lane import MAX_HEAD_BYTES, MAX_URL
from sharq_server.http.accepting import Acceptor
from sharq_server.http.answers import last_answer
from sharq_server.http.patience import PatientStream
from sharq_server.security.admission import Connections
from sharq_server.security.certificates import Certificate
from sharq_server.security.descriptors import Room

IDLE_SECONDS: Final = 60.0
BODY_SECONDS: Final = 10.0

# What Tornado writes for a message that it cannot read.
_TORNADO_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"

# How a request never begins: a control character (TLS, say), or a CR that ends no line.
_NO_REQUEST = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]")
_END_OF_FIRST_LINE = re.compile(rb"HTTP/1\.[0-9]\r?")

LINGER_SECONDS: Final = 1.0
"""Seconds for which a connection is read from after its last answer."""

MOST_LINGERING: Final = 256
"""Connections that linger at a time; others are closed at once."""

_lingering: set[asyncio.Task[None]] = set()


async def stop_lingering() -> None:
    """Read no more from connections that are closed already."""
    loop = asyncio.get_running_loop()
    tasks = [task for task in _lingering if task.get_loop() is loop]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def refuse(stream: IOStream, reply: Reply) -> None:
    """Answer a request whose rest will not be read, and close its connection."""
    if stream.closed():
        return
    if isinstance(stream, HTTPStream):
        stream.settle()
    stream.write(last_answer(reply))
    if not stream.closed():
        _linger(stream.socket)
        stream.close()


class HTTPStream(PatientStream):
    """A connection that knows how far the request on it has come.

    `stopping` tells whether the server closes its connections because it ends, `late` whether it
    was about to when this one came. `accepted` counts the bytes that were given to it to send. With
    `lingers` it goes on reading for a moment after it was closed. `on_end` is called once, then.
    """

    def __init__(
        self, connection: socket.socket, stopping: Callable[[], bool], **limits: Any
    ) -> None:
        self._stopping = stopping
        self._stage = _FIRST_LINE
        self._first_line = b""
        self._begun = False
        self._ahead = b""
        self.late = False
        self.lingers = False
        self.on_end: Callable[[], None] | None = None
        self.accepted = 0
        super().__init__(connection, **limits)

    def settle(self) -> None:
        """Note that the request is complete, or refused: from now on, closing is no answer."""
        self._stage = _SETTLED

    def give_back(self, data: bytes) -> None:
        """Have `data`, which was read before, be what is read next."""
        self._ahead = data

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        # Only Tornado's reading of a request's head uses a regular expression.
        if self._stage is not _FIRST_LINE:
            self._stage = _HEAD
            self._begun = False
        return super().read_until_regex(regex, max_bytes)

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        self._enter_body()
        return super().read_until(delimiter, max_bytes)

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        self._enter_body()
        return super().read_bytes(num_bytes, partial)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count: int | None
        if self._ahead:
            count = min(len(buf), len(self._ahead))
            buf[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        count = super().read_from_fd(buf)
        if count:
            self._begun = True
            if self._stage is _FIRST_LINE:
                self._look_at_first_line(bytes(buf[:count]))
        elif count == 0:
            self._stage = _SETTLED
        return count

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        if data == _TORNADO_BAD_REQUEST:
            self._stage = _SETTLED
            self.lingers = True
            data = last_answer(framing.MALFORMED)
        self.accepted += len(data)
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        if not self.closed():
            reply = self._last_word(exc_info)
            if reply is not None and not self.writing():
                self._say(last_answer(reply))
            if self.lingers:
                _linger(self.socket)
        super().close(exc_info)
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    def _enter_body(self) -> None:
        if self._stage is not _SETTLED:
            self._stage = _BODY

    def _look_at_first_line(self, data: bytes) -> None:
        """See early, on a new connection, that it is not HTTP/1: such peers wait for an answer."""
        # An empty line before a request is allowed (RFC 9112, 2.2).
        line = (self._first_line + data).lstrip(b"\r\n")
        end = line.find(b"\n")
        first = line if end < 0 else line[:end]
        if _NO_REQUEST.search(first) or (end >= 0 and not _is_http_1(first)):
            self._stage = _SETTLED
            self.io_loop.add_callback(refuse, self, framing.MALFORMED)
        elif end < 0 or len(first) > MAX_URL:
            # The stage stays: should the head turn out too large, it was this line.
            self._first_line = first
        else:
            self._first_line = b""
            self._stage = _HEAD

    def _last_word(self, reason: Any) -> Reply | None:
        """What to answer when the server closes the connection for `reason`."""
        stage, self._stage = self._stage, _SETTLED
        if isinstance(reason, UnsatisfiableReadError):
            return _TOO_LONG.get(stage)
        if not reason and (stage is _BODY or (stage in (_FIRST_LINE, _HEAD) and self._begun)):
            return framing.STOPPING if self._stopping() else framing.TIMED_OUT
        return None

    def _say(self, data: bytes) -> None:
        try:
            self.write_to_fd(memoryview(data))
        except OSError:
            return
        self.lingers = True


class HTTPSStream(HTTPStream, SSLIOStream):
    """The same with TLS: what is read and written here is what TLS carries."""


_FIRST_LINE: Final = "first line"
_HEAD: Final = "head"
_BODY: Final = "body"
_SETTLED: Final = "settled"

_TOO_LONG: Final = {
    _FIRST_LINE: framing.URI_TOO_LONG,
    _HEAD: framing.HEADERS_TOO_LARGE,
    _BODY: framing.MALFORMED,
}


class Listener(HTTPServer):
    """An `HTTPServer` with SharQ's limits, whose connections are `HTTPStream`s.

    It counts them in `admission`. With a `certificate`, or `ssl_options`, it speaks TLS. A
    connection is closed, too, where its client takes nothing of an answer for
    `idle_connection_timeout` seconds.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_header_size", MAX_HEAD_BYTES)
        self._patience = kwargs.setdefault("idle_connection_timeout", IDLE_SECONDS)
        kwargs.setdefault("body_timeout", BODY_SECONDS)
        # The application knows the limit of each route, and keeps to it as the body comes in.
        kwargs.setdefault("max_body_size", 2**62)
        self._certificate: Certificate | None = kwargs.pop("certificate", None)
        admission = kwargs.pop("admission", None)
        self._admission: Connections = Connections() if admission is None else admission
        super().initialize(*args, **kwargs)
        self._acceptors: list[Acceptor] = []
        self._room = Room()
        self._drains = False
        self._stops = False

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        loop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined] # every IOLoop's is one
        self._acceptors += [Acceptor(loop, each, self._room, self._accept) for each in sockets]

    def addresses(self) -> list[Any]:
        """The addresses that the server listens on, as `socket.getsockname` gives them."""
        return [each.listening.getsockname() for each in self._acceptors]

    async def close_all_connections(self) -> None:
        await super().close_all_connections()
        await stop_lingering()

    def drain(self) -> None:
        """Accept connections only to tell them that the server stops."""
        self._drains = True

    def stop(self) -> None:
        super().stop()
        self._stops = True
        while self._acceptors:
            self._acceptors.pop().close()

    def _accept(self, connection: socket.socket, address: Any) -> None:
        limits = {
            "max_buffer_size": self.max_buffer_size,
            "read_chunk_size": self.read_chunk_size,
            "patience": self._patience,
        }
        tls = self.ssl_options if self._certificate is None else self._certificate.context
        if not self._room.has(connection.fileno()):
            _turn_away(connection, tells=tls is None)
            return
        admitted = self._admission.enter(address[0])
        if tls is None:
            stream = HTTPStream(connection, self._is_stopping, **limits)
            if not admitted:
                refuse(stream, framing.OVERLOADED)
                return
        elif not admitted:
            # It would have to be greeted first.
            connection.close()
            return
        else:
            try:
                wrapped = ssl_wrap_socket(
                    connection, tls, server_side=True, do_handshake_on_connect=False
                )
            except OSError:  # it is gone already
                connection.close()
                self._admission.leave(address[0])
                return
            stream = HTTPSStream(wrapped, self._is_stopping, **limits)
        stream.late = self._drains
        stream.on_end = partial(self._admission.leave, address[0])
        self.handle_stream(stream, address)

    def _is_stopping(self) -> bool:
        return self._stops


def _turn_away(connection: socket.socket, *, tells: bool) -> None:
    """Close a connection that there is no room for; `tells` where it can be told why."""
    with connection, suppress(OSError):
        if tells:
            connection.send(last_answer(framing.OVERLOADED))


def _is_http_1(line: bytes) -> bool:
    return _END_OF_FIRST_LINE.fullmatch(line.rpartition(b" ")[2]) is not None


def _linger(connection: socket.socket) -> None:
    """Keep reading from a connection for a moment after the last answer was sent on it.

    A socket that is closed with unread input resets the connection, and the answer may be lost
    on its way (RFC 9112, 9.6).
    """
    if len(_lingering) >= MOST_LINGERING:
        return
    try:
        # Not by its own method: below TLS it is bytes all the same.
        rest = socket.socket(fileno=socket.dup(connection.fileno()))
    except OSError:
        return
    rest.setblocking(False)
    task = asyncio.get_running_loop().create_task(_drain(rest))
    _lingering.add(task)
    task.add_done_callback(_lingering.discard)
    # Not in the task: one that is cancelled before its first step does nothing at all.
    task.add_done_callback(lambda _: rest.close())


async def _drain(rest: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        rest.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LINGER_SECONDS):
            while await loop.sock_recv(rest, 65536):
                pass
    except (OSError, TimeoutError):
        pass
