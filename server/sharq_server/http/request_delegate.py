"""One request and its answer, at Tornado's interface between server and application.

`HTTPMessageDelegate` gets the head, the body and the end of a request, and answers through an
`HTTPConnection`. The routes of the REST API are answered here; any other path goes to the handlers
of the `Application`, as in any Tornado program.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
)
from tornado.iostream import StreamClosedError

from sharq import Batch
from sharq.identifiers import invalid, is_identifier
from sharq.settings.tokens import UNLIMITED, Grant
from sharq_server.api import error_reporting, replies
from sharq_server.api.compression import BrokenGzip, GzipDecoder, TooLarge
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply
from sharq_server.api.routing import OPEN, Match
from sharq_server.http import framing, responses
from sharq_server.http.application import Application
from sharq_server.http.tornado_connection import TornadoConnection
from sharq_server.security.refusal import Refusal

# Operations that end or extend a lease may have no second chance, and start no further work on a
# server that stops.
_STILL_DONE: Final = frozenset(("finish", "release", "extend"))


def _told_late(match: Match | None) -> Reply | None:
    """The answer to a new client of a stopping server, unless the request is still carried out."""
    if match is not None and match.route.operation in _STILL_DONE:
        return None
    return framing.STOPPING


class _TornadosWire:
    """The methods of a `TornadoConnection`, on a connection of Tornado's own server."""

    late = half_closed = False

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def gone(self) -> bool:
        stream = self._connection.stream
        return stream is None or stream.closed()

    def refuse(self, reply: Reply) -> None:
        responses.write(self._connection, reply, last=True)
        self._connection.finish()


class RequestDelegate(HTTPMessageDelegate):
    """Made for each possible request of a connection, so it must be cheap to make."""

    def __init__(self, app: Application, server_connection: object, connection: Any) -> None:
        self._app = app
        self._server_connection = server_connection
        self._connection = connection
        self._wire = (
            connection if isinstance(connection, TornadoConnection) else _TornadosWire(connection)
        )
        self._other: HTTPMessageDelegate | None = None
        self._refused = False
        self._grant = UNLIMITED
        self._size = 0
        self._decoder: GzipDecoder | None = None
        self._chunks: list[bytes] = []

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self._start_line: RequestStartLine = start_line
        self._headers = headers
        self._received = time.monotonic()
        reply = framing.problem(start_line, headers)
        if reply is None:
            path, _, self._query = framing.origin_form(start_line.path).partition("?")
            match = self._app.router.find(path)
            has_effects = match is not None and match.route.has_effects(start_line.method)
            refusal = self._app.origins.problem(headers, has_effects=has_effects)
            self._limit = self._app.body_limit(match)
            if refusal is None and match is not None:
                refusal = self._authorize(match, headers)
            if refusal is not None:
                reply = replies.refused(refusal)
            elif self._wire.late:
                reply = _told_late(match)
            if reply is None and (framing.content_length(headers) or 0) > self._limit:
                reply = framing.too_large(self._limit)
        if reply is not None:
            self._refuse(reply)
            return None
        if "Expect" in headers:
            # Tornado knows it by this spelling only.
            headers["Expect"] = "100-continue"
        if framing.is_gzip(headers):
            self._decoder = GzipDecoder(self._limit)
        if match is None:
            return self._pass_on(start_line, headers)
        self._match: Match = match
        self._app.under_way.add(self)
        return None

    def _authorize(self, match: Match, headers: HTTPHeaders) -> Refusal | None:
        """Find the client's rights; returns a refusal if they do not allow the request."""
        credentials, route = self._app.credentials, match.route
        if not credentials.needed or route.operation == OPEN:
            return None
        judged = credentials.judge(
            headers.get("Authorization"),
            route.operation,
            route.queue_type(match.values),
            mixed=route.bulk,
        )
        if isinstance(judged, Grant):
            self._grant = judged
            return None
        return judged

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._refused:
            return None
        self._size += len(chunk)
        if self._size > self._limit:
            # Only a chunked body gets here: its size is not known before.
            self._refuse(framing.too_large(self._limit))
            return None
        if self._decoder is not None:
            try:
                chunk = self._decoder.feed(chunk)
            except TooLarge:
                self._refuse(framing.too_large(self._limit))
                return None
            except BrokenGzip as error:
                self._refuse(framing.broken(str(error)))
                return None
            if not chunk:
                return None
        if self._other is not None:
            return self._other.data_received(chunk)
        self._chunks.append(chunk)
        return None

    def finish(self) -> None:
        if self._refused:
            return
        if self._decoder is not None:
            try:
                self._decoder.end()
            except BrokenGzip as error:
                self._refuse(framing.broken(str(error)))
                return
        if self._other is not None:
            self._other.finish()
            return
        self._app.run(self._respond())

    def on_connection_close(self) -> None:
        self._app.under_way.discard(self)
        if self._other is not None:
            self._other.on_connection_close()

    # What a handler may use of the connection

    @property
    def gone(self) -> bool:
        return self._wire.gone or self._wire.half_closed

    async def wait_for(
        self, queue_type: str, count: int, request_id: str | None, seconds: float
    ) -> Batch | None:
        if self.gone:
            return None
        set_stop = self._connection.set_close_callback
        return await self._app.push.wait_for(queue_type, count, request_id, seconds, set_stop)

    def bring_back(self, queue_type: str, batch: Batch) -> None:
        self._app.push.bring_back(queue_type, batch)

    def _pass_on(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        start_line = start_line._replace(path=framing.origin_form(start_line.path))
        if self._decoder is not None:
            # As Tornado does where it decodes a body itself.
            headers["X-Consumed-Content-Encoding"] = headers.pop("Content-Encoding")
        self._other = self._app.start_other_request(self._server_connection, self._connection)
        try:
            return self._other.headers_received(start_line, headers)
        except HTTPInputError:
            self._refuse(framing.MALFORMED)
            return None

    def _refuse(self, reply: Reply) -> None:
        self._refused = True
        self._chunks.clear()
        self._app.under_way.discard(self)
        self._wire.refuse(reply)
        self._log(reply)

    async def _respond(self) -> None:
        try:
            reply = await self._answer()
            if self._wire.gone or (self._wire.half_closed and reply.unsent is not None):
                if reply.unsent is not None:
                    reply.unsent()
                self._connection.close()
            else:
                await self._send(reply)
            self._log(reply)
        finally:
            self._app.under_way.discard(self)

    async def _answer(self) -> Reply:
        route, values = self._match
        handler = route.methods.get(self._start_line.method)
        if handler is None:
            return route.not_allowed
        for name, value in zip(route.names, values, strict=True):
            if not is_identifier(value):
                return replies.of_error(invalid(name))
        await self._app.begun()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        try:
            return await handler(
                self._app.engine, Request(values, self._query, body, self, self._grant)
            )
        except Exception as error:
            return error_reporting.reply_to(
                error, f"{self._start_line.method} {self._start_line.path}"
            )

    async def _send(self, reply: Reply) -> None:
        last = self._app.draining
        bodiless = self._start_line.method == "HEAD"
        written = responses.write(self._connection, reply, bodiless=bodiless, last=last)
        if not last:
            self._connection.finish()
            return
        # Closed and not finished: requests after this one are not started.
        with suppress(StreamClosedError):
            await written
        self._connection.close()

    def _log(self, reply: Reply) -> None:
        log = self._app.access_log
        if log is not None:
            log.write(
                remote=self._connection.context.remote_ip,
                request=" ".join(self._start_line),
                status=reply.status,
                size=len(reply.body),
                referrer=self._headers.get("Referer"),
                agent=self._headers.get("User-Agent"),
                seconds=time.monotonic() - self._received,
            )
