"""A request and its answer on a lane, as Tornado's applications need them.

`Message` is the received part of a request. `TornadoConnection` is the `HTTPConnection` through
which it is answered: the public interface between Tornado's server and its applications, here with
our own server.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from sharq_server.api.replies import Reply, failure
from sharq_server.http.connection import Connection
from sharq_server.security.cors import Fields
from sharq_server.security.proxies import UNIX, Client

_LINE_END: Final = re.compile(r"[\r\n]")
_MOST_BUFFERED: Final = 64 * 1024
_NO_STREAM: Final = failure("internal", "This route needs another server.")


class Message:
    """A request: its head, and the pieces of its body that were not taken yet.

    `complete`: all of it has come; `refusal`: why it never will.
    """

    def __init__(
        self,
        start_line: RequestStartLine,
        headers: list[tuple[bytes, bytes]],
        keeps_alive: bool,
    ) -> None:
        self.start_line = start_line
        self.keeps_alive = keeps_alive
        self.complete = False
        self.refusal: Reply | None = None
        self._fields = headers
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._news: asyncio.Future[None] | None = None

    @property
    def headers(self) -> HTTPHeaders:
        """The fields of the head, as Tornado has them. Raises HTTPInputError."""
        headers = HTTPHeaders()
        for name, value in self._fields:
            headers.add(name.decode("latin-1"), value.decode("latin-1").strip(" \t"))
        return headers

    @property
    def full(self) -> bool:
        """Whether too much of the body waits here to read more."""
        return self._size >= _MOST_BUFFERED

    def add(self, chunk: bytes) -> None:
        """A piece of the body has come."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._tell()

    def end(self) -> None:
        """All of the body has come."""
        self.complete = True
        self._tell()

    def refuse(self, reply: Reply) -> None:
        """The rest will not be read."""
        self.refusal = reply
        self._tell()

    async def next_chunk(self) -> bytes | None:
        """The next piece of the body, when it has come; None after the last one."""
        while not self._chunks:
            if self.complete or self.refusal is not None:
                return None
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        return chunk

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Lane(Protocol):
    """What a connection of Tornado's kind needs from the lane's requests."""

    @property
    def connection(self) -> Connection:
        """What the requests come on."""

    @property
    def closing_down(self) -> bool:
        """Whether each answer now ends its connection."""

    def refuse_now(self, reply: Reply) -> None:
        """Refuse the current request, and end the connection."""

    def end(self) -> None:
        """End the connection when all written data is sent."""

    def give_up(self) -> bytes:
        """Read no more requests; returns the bytes after the last one."""


class Context:
    """Where a request came from, for Tornado. `client` is its sender, as far as it is known."""

    def __init__(self, connection: Connection) -> None:
        self.address = connection.peer
        self.came_from(Client(connection.remote_ip, connection.scheme))

    def came_from(self, client: Client) -> None:
        """Set the sender; Tornado has no address for one on a unix socket either."""
        self.client = client
        self.protocol = client.scheme
        self.remote_ip = "0.0.0.0" if client.address == UNIX else client.address


class TornadoConnection(HTTPConnection):
    """Answers a message. `answered` is done when it is answered, or no longer can be.

    `more` are header fields of any answer, unless a handler has set them itself.
    """

    def __init__(self, lane: Lane, message: Message, context: Context) -> None:
        self.context = context
        self.more: Fields = ()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lane = lane
        self._message = message
        self._on_close: Callable[[], None] | None = None
        self._begun = False
        self._chunked = False
        self._remaining: int | None = None
        self._closes = not message.keeps_alive

    # As Tornado's HTTP1Connection

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        request, status = self._message.start_line, start_line.code
        if status == 101:
            # A handler of another protocol would need the stream next, and there is none.
            self.refuse(_NO_STREAM)
            return self._done()
        self._begun = True
        bodiless = status in (204, 304) or 100 <= status < 200
        self._chunked = (
            request.version == "HTTP/1.1"
            and request.method != "HEAD"
            and not bodiless
            and "Content-Length" not in headers
        )
        for name, value in self.more:
            if name not in headers or (name == "Vary" and value not in headers.get_list(name)):
                headers.add(name, value)
        self._closes = self._closes or self._lane.closing_down
        if headers.get("Connection", "").lower() == "close":
            self._closes = True
        elif request.version == "HTTP/1.1" and self._closes:
            headers["Connection"] = "close"
        elif request.version == "HTTP/1.0" and not self._closes:
            if "Content-Length" in headers or bodiless:
                headers["Connection"] = "Keep-Alive"
            else:
                self._closes = True
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        if request.method == "HEAD" or status == 304:
            self._remaining = 0
        elif "Content-Length" in headers:
            self._remaining = int(headers["Content-Length"])
        lines = [f"HTTP/1.1 {status} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        if any(_LINE_END.search(line) for line in lines):
            raise ValueError("a header has a line end in it")
        data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return self._write(data + self._body(chunk) if chunk else data)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._write(self._body(chunk))

    def finish(self) -> None:
        connection = self._lane.connection
        if self._remaining and not connection.ended:
            connection.abort()
            raise HTTPOutputError(f"{self._remaining} bytes of the body were not written")
        if self._chunked:
            self._write(b"0\r\n\r\n")
        self._end(self._closes or not self._message.complete)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the client is gone."""
        self._on_close = callback

    def detach(self) -> IOStream:
        """There is no stream. Raises RuntimeError."""
        raise RuntimeError(
            "A handler wants its connection as a stream (detach), as WebSocketHandler does: "
            "serve the application by Tornado's HTTPServer(app), not by app.listen"
        )

    def close(self) -> None:
        """End the connection when all written data is sent."""
        self._end(True)

    # Further methods

    @property
    def gone(self) -> bool:
        """Whether the client can no longer be answered."""
        return self._lane.connection.ended

    @property
    def begun(self) -> bool:
        """Whether an answer was started or sent."""
        return self._begun or self.answered.done()

    @property
    def client(self) -> Client:
        """Who sent the request."""
        return self.context.client

    @property
    def target(self) -> str:
        """The target of the request as it came."""
        return self._message.start_line.path

    @property
    def late(self) -> bool:
        """Whether the client came while the server was stopping."""
        return self._lane.connection.late

    @property
    def half_closed(self) -> bool:
        """Whether the client sends no more, and may have gone."""
        return self._lane.connection.half_closed

    def switch(self) -> tuple[Connection, bytes]:
        """End this for another protocol; returns the connection and the bytes received for it."""
        self._on_close = None
        rest = self._lane.give_up()
        self._resolve()
        return self._lane.connection, rest

    def refuse(self, reply: Reply) -> None:
        """Answer a message without reading its rest, and end the connection."""
        if self._begun:
            self._lane.connection.abort()
        else:
            if self.more and not reply.more:
                reply = reply._replace(more=self.more)
            self._lane.refuse_now(reply)
        self._begun = True
        self._resolve()

    def say_continue(self) -> None:
        """Tell the client to send the body, if it waits for that."""
        if not self.begun and not self._message.complete:
            self._lane.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_half_close(self) -> None:
        """The client sends no more."""
        callback, self._on_close = self._on_close, None
        if callback is not None:
            callback()

    def on_close(self) -> None:
        """The client is gone."""
        self.on_half_close()
        self._resolve()

    def _body(self, chunk: bytes) -> bytes:
        if self._remaining is not None:
            self._remaining -= len(chunk)
            if self._remaining < 0:
                self._lane.connection.abort()
                raise HTTPOutputError("more was written than Content-Length has")
        if self._chunked and chunk:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk)
        return chunk

    def _write(self, data: bytes) -> asyncio.Future[None]:
        connection = self._lane.connection
        if connection.ended:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(StreamClosedError())
            failed.exception()
            return failed
        connection.write(data)
        return connection.drained() or self._done()

    def _done(self) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def _end(self, closes: bool) -> None:
        self._on_close = None
        if not self.answered.done():
            self._resolve()
            if closes:
                self._lane.end()

    def _resolve(self) -> None:
        if not self.answered.done():
            self.answered.set_result(None)
