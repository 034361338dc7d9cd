"""`/ws/`: the handshake of a websocket, on Tornado's `RequestHandler`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from http.client import responses
from typing import Any, Final

from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream
from tornado.web import RequestHandler

from sharq.codec import websocket_frames as ws
from sharq_server.api import replies
from sharq_server.api.replies import Reply
from sharq_server.http import framing
from sharq_server.push import frames
from sharq_server.push.connection import Connection
from sharq_server.push.push import Push
from sharq_server.push.session import Session
from sharq_server.security.credentials import UNAUTHORIZED, Credentials
from sharq_server.security.origins import FOREIGN_ORIGIN, Origins

PATH: Final = "/ws/?"

_BEARER: Final = "sharq.bearer."
"""Begins the subprotocol that brings a token in base64url."""


class PushHandler(RequestHandler):
    """One client. `push` is the service that its session belongs to; `begun` waits for it.
    `origins` and `credentials` tell whether it may connect, and what it may do then.
    """

    def initialize(
        self,
        push: Push,
        begun: Callable[[], Awaitable[None]],
        origins: Origins,
        credentials: Credentials,
    ) -> None:
        self._push = push
        self._credentials = credentials
        self._origins = origins
        self._begun = begun

    async def get(self, *args: Any, **kwargs: Any) -> None:
        await self._begun()
        reply = self._problem()
        if reply is not None:
            self._answer(reply)
            return
        self._accept()
        stream = self.detach()
        if not stream.closed():
            await self._serve(stream)

    def _accept(self) -> None:
        """Finish the handshake (RFC 6455, 4.2.2)."""
        headers = self.request.headers
        self.set_status(101)
        self.set_header("Server", "SharQ")
        self.clear_header("Content-Type")
        self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "Upgrade")
        self.set_header("Sec-WebSocket-Accept", ws.accept_value(headers["Sec-WebSocket-Key"]))
        offered = headers.get("Sec-WebSocket-Protocol", "").split(",")
        if frames.PROTOCOL in [name.strip() for name in offered]:
            self.set_header("Sec-WebSocket-Protocol", frames.PROTOCOL)
        self.finish()

    async def _serve(self, stream: IOStream) -> None:
        push = self._push
        connection = Connection(
            stream, str(self.request.remote_ip), push.max_frame_bytes, push.heartbeat
        )
        session = Session(push, connection, self._grant, self._credentials.is_valid)
        push.open(session)
        try:
            await connection.serve(session)
        finally:
            push.leave(session)

    def _problem(self) -> Reply | None:
        """Why the handshake is refused, if it is (RFC 6455, 4.2.1)."""
        headers = self.request.headers
        upgrades = "upgrade" in _words(headers, "Connection")
        # HTTP/1.0 knows none (RFC 9110, 7.8).
        if self.request.version == "HTTP/1.0" or not (
            upgrades and "websocket" in _words(headers, "Upgrade")
        ):
            return replies.failure("bad_request", "This route takes a websocket upgrade.")
        if self.request.body:
            return replies.failure("bad_request", "A websocket upgrade has no body.")
        if headers.get("Sec-WebSocket-Version") != "13":
            self.set_header("Sec-WebSocket-Version", "13")
            return replies.failure("upgrade_required", "The websocket version has to be 13.")
        if not _is_key(headers.get("Sec-WebSocket-Key", "")):
            return replies.failure("bad_request", "The Sec-WebSocket-Key is not valid.")
        if self._origins.is_foreign(headers):
            return replies.refused(FOREIGN_ORIGIN)
        grant = self._credentials.grant_of(_authorization(headers))
        if grant is None:
            return replies.refused(UNAUTHORIZED)
        self._grant = grant
        if self._push.draining or not self._push.started:
            return framing.STOPPING
        return None

    def check_xsrf_cookie(self) -> None:
        """There are no cookies."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self._answer(replies.method_not_allowed("GET"))
        else:
            self._answer(replies.failure("internal", "Something went wrong inside the server."))

    def _answer(self, reply: Reply) -> None:
        self.set_status(reply.status, responses[reply.status])
        self.set_header("Server", "SharQ")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        for name, value in reply.fields:
            self.set_header(name, value)
        self.finish(reply.body)


def _words(headers: HTTPHeaders, name: str) -> set[str]:
    """The words of a header that is a list, in lower case."""
    return {word.strip().lower() for word in headers.get(name, "").split(",")}


def _authorization(headers: HTTPHeaders) -> bytes | None:
    """The value of the Authorization header, or what stands for it among the subprotocols."""
    for name in headers.get("Sec-WebSocket-Protocol", "").split(","):
        encoded = name.strip().removeprefix(_BEARER)
        if encoded != name.strip():
            try:
                return b"Bearer " + base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            except ValueError:
                return b""
    value = headers.get("Authorization")
    return None if value is None else value.encode("latin-1")


def _is_key(value: str) -> bool:
    """Whether `value` is 16 bytes in base64."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
