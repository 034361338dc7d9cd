"""One request and its answer, at Tornado's interface between server and application.

`HTTPMessageDelegate` gets the head, the body and the end of a request, and answers through an
`HTTPConnection`. The routes of the REST API are answered here; any other path goes to the handlers
of the `Application`, as in any Tornado program.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
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
from sharq.errors import StoreUnavailable
from sharq.results import Keeping
from sharq.settings.tokens import UNLIMITED
from sharq_server.api import answering
from sharq_server.api.compression import BrokenGzip, GzipDecoder, TooLarge
from sharq_server.api.doctor import Facts
from sharq_server.api.handing import Handing
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply
from sharq_server.api.routing import Match
from sharq_server.http import framing, responses
from sharq_server.http.application import Application
from sharq_server.http.pace import Watch
from sharq_server.http.tornado_connection import TornadoConnection
from sharq_server.security.cors import Fields
from sharq_server.security.proxies import UNIX, Client
from sharq_server.telemetry.fields import OTHER
from sharq_server.telemetry.formats import Form

# Operations that end or extend a lease may have no second chance, and start no further work on a
# server that stops.
_STILL_DONE: Final = frozenset(("finish", "release", "extend"))

_LOOK_TIMEOUT: Final = 5.0
"""Seconds for the store's answers to the doctor."""


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

    @property
    def client(self) -> Client:
        context = self._connection.context
        known = isinstance(context.address, tuple)
        return Client(context.remote_ip if known else UNIX, context.protocol)

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
        self._template = OTHER
        self._grant = UNLIMITED
        self._cors: Fields = ()
        self._preflight: Reply | None = None
        self._watch: Watch | None = None
        self._size = self._limit = 0
        self._decoder: GzipDecoder | None = None
        self._chunks: list[bytes] = []

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self._start_line: RequestStartLine = start_line
        self._headers = headers
        self._received = time.monotonic()
        target = framing.origin_form(start_line.path)
        self._target = framing.below(target, self._app.base_path)
        self._client = self._wire.client
        if self._app.proxies:
            self._find_client(headers)
        if "Origin" in headers:
            self._find_cors(headers)
        reply = framing.problem(start_line, headers)
        if reply is None:
            path, _, self._query = self._target.partition("?")
            admission = self._app.gate.judge(start_line.method, path, headers)
            if isinstance(admission, Reply):
                reply = admission
            else:
                match, self._grant, self._limit, self._preflight = admission
                if match is not None and self._preflight is not None:
                    self._begin(match)
                    return None
                if self._wire.late:
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
        self._begin(match)
        return None

    def _begin(self, match: Match) -> None:
        """The request is for a route, and is let in."""
        self._match: Match = match
        self._template = match.route.template
        self._app.under_way.add(self)
        if isinstance(self._wire, _TornadosWire):
            length = framing.content_length(self._headers) or 0
            if length or "Transfer-Encoding" in self._headers:
                self._watch = Watch(length, lambda: self._refuse(framing.TIMED_OUT))

    def _find_client(self, headers: HTTPHeaders) -> None:
        """Find out who has sent the request, if a trusted proxy tells."""
        self._client = self._app.proxies.client(
            self._client.address,
            self._client.scheme,
            headers.get("X-Forwarded-For"),
            headers.get("X-Forwarded-Proto"),
            headers.get("X-Forwarded-Prefix"),
        )
        if isinstance(self._wire, TornadoConnection):
            self._wire.context.came_from(self._client)

    def _find_cors(self, headers: HTTPHeaders) -> None:
        """Find out what a page may read that has sent the request."""
        self._cors = self._app.origins.allowed.fields(headers)
        if isinstance(self._wire, TornadoConnection):
            self._wire.more = self._cors

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._refused:
            return None
        self._size += len(chunk)
        if self._size > self._limit:
            # Only a chunked body gets here: its size is not known before.
            self._refuse(framing.too_large(self._limit))
            return None
        if self._watch is not None:
            self._watch.add(len(chunk))
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
        self._stop_watching()
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

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()

    def on_connection_close(self) -> None:
        self._stop_watching()
        self._app.under_way.discard(self)
        if self._other is not None:
            self._other.on_connection_close()

    # What a handler may use of the connection

    waits = True

    @property
    def warnings(self) -> Sequence[str]:
        return self._app.warnings.lines

    @property
    def facts(self) -> Facts:
        return self._app.facts

    async def look_at_store(self) -> list[Keeping]:
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT):
                return await self._app.engine.look_at_store()
        except TimeoutError:
            raise StoreUnavailable("No answer in time.") from None

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

    @property
    def handing(self) -> Mapping[str, Handing]:
        return self._app.push.handing

    def bring_back(self, queue_type: str, batch: Batch) -> None:
        self._app.push.bring_back(queue_type, batch)

    def advance_bulk(self, queue_type: str) -> None:
        self._app.advance_bulk(queue_type)

    async def scrape(self, form: Form) -> bytes:
        return await self._app.scrape(form)

    def _pass_on(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        start_line = start_line._replace(path=self._target)
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
        self._stop_watching()
        self._chunks.clear()
        self._app.under_way.discard(self)
        self._wire.refuse(self._for_page(reply))
        self._log(reply)

    def _for_page(self, reply: Reply) -> Reply:
        return reply._replace(more=(*reply.more, *self._cors)) if self._cors else reply

    async def _respond(self) -> None:
        try:
            reply = await self._answer()
            if self._wire.gone or (self._wire.half_closed and reply.unsent is not None):
                if reply.unsent is not None:
                    reply.unsent()
                self._connection.close()
            else:
                await self._send(self._for_page(reply))
            self._log(reply)
        finally:
            self._app.under_way.discard(self)

    async def _answer(self) -> Reply:
        if self._preflight is not None:
            return self._preflight
        if self._match.route.tells_of_stop and self._app.draining:
            return framing.STOPPING
        method, path = self._start_line.method, self._start_line.path
        handler = answering.handler_of(self._match, method)
        if isinstance(handler, Reply):
            return handler
        await self._app.begun()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        names, prefix = self._match.values, self._client.prefix + self._app.base_path
        accept = self._headers.get("Accept")
        request = Request(names, self._query, body, self, self._grant, prefix, accept)
        return await answering.answer(
            self._match, method, handler, self._app.engine, request, f"{method} {path}"
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
        seconds = time.monotonic() - self._received
        self._app.meter.on_request(self._template, reply.status, seconds)
        log = self._app.access_log
        if log is not None:
            log.write(
                remote=self._client.address,
                user=None if reply.status == 401 else self._user(),
                request=" ".join(self._start_line),
                status=reply.status,
                size=len(reply.body),
                referrer=self._headers.get("Referer"),
                agent=self._headers.get("User-Agent"),
                seconds=seconds,
            )

    def _user(self) -> str | None:
        """The name of the request's token."""
        authorization = self._headers.get("Authorization")
        if authorization is None:
            return None
        return self._app.credentials.name_of(authorization.encode("latin-1"))
