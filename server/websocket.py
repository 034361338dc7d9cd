"""`/ws/`: a session's connection, on Tornado's `WebSocketHandler`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from http.client import responses
from typing import Any, Final
from urllib.parse import urlsplit

from tornado.iostream import IOStream
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from sharq_server import framing, push_frames, replies
from sharq_server.listener import HTTPStream
from sharq_server.push import Push
from sharq_server.replies import Reply
from sharq_server.session import POLICY_VIOLATION, UNSUPPORTED_DATA, Session

_log = logging.getLogger(__name__)

PATH: Final = "/ws/?"

_SEND_BUFFER: Final = 64 * 1024
_NO_PROGRESS: Final = 60.0
_LOOK_AT_PROGRESS: Final = 5.0
_MOST_SILENT_BEATS: Final = 2


class _Socket:
    """Where a session writes: the websocket, and how much of it the kernel has taken."""

    def __init__(self, handler: PushHandler, stream: IOStream) -> None:
        self._handler = handler
        self._stream = stream
        self._counts = isinstance(stream, HTTPStream)
        self._written = 0

    def write(self, frame: bytes) -> Awaitable[None] | None:
        try:
            pending = self._handler.write_message(frame)
        except WebSocketClosedError as error:
            raise ConnectionError("the websocket is closed") from error
        self._written += len(frame)
        if self._stream.closed():
            raise ConnectionError("the connection is closed")
        return pending if self._stream.writing() else None

    @property
    def position(self) -> int:
        stream = self._stream
        return stream.accepted if isinstance(stream, HTTPStream) else self._written

    @property
    def taken(self) -> int:
        stream = self._stream
        if isinstance(stream, HTTPStream):
            return stream.taken
        # A stream of Tornado's own, as with TLS, does not tell.
        return 0 if stream.writing() else self._written

    def close(self, code: int, reason: str) -> None:
        self._handler.close(code, reason)

    def abort(self) -> None:
        if isinstance(self._stream, HTTPStream):
            self._stream.lingers = False
        self._stream.close()


class PushHandler(WebSocketHandler):
    """One client. `push` is the service that its session belongs to; `begun` waits for it."""

    def initialize(self, push: Push, begun: Callable[[], Awaitable[None]]) -> None:
        self._push = push
        self._begun = begun
        self._session: Session | None = None

    # The handshake

    async def get(self, *args: Any, **kwargs: Any) -> None:
        await self._begun()
        reply = self._problem()
        if reply is not None:
            self._answer(reply)
            return
        await super().get(*args, **kwargs)

    def _problem(self) -> Reply | None:
        """Why the handshake is refused, if it is (RFC 6455, 4.2.1)."""
        headers = self.request.headers
        if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in {
            word.strip().lower() for word in headers.get("Connection", "").split(",")
        }:
            return replies.failure("bad_request", "This route takes a websocket upgrade.")
        if headers.get("Sec-WebSocket-Version") != "13":
            self.set_header("Sec-WebSocket-Version", "13")
            return replies.failure("upgrade_required", "The websocket version has to be 13.")
        if not _is_key(headers.get("Sec-WebSocket-Key", "")):
            return replies.failure("bad_request", "The Sec-WebSocket-Key is not valid.")
        if self._is_foreign():
            return replies.failure("forbidden", "The page is of another origin.")
        if self._push.draining or not self._push.started:
            return framing.STOPPING
        return None

    def _is_foreign(self) -> bool:
        """Whether a page of another origin wants to connect."""
        headers = self.request.headers
        site = headers.get("Sec-Fetch-Site")
        if site is not None:
            return site not in ("same-origin", "none")
        origin = headers.get("Origin")
        return origin is not None and urlsplit(origin).netloc.lower() != self.request.host.lower()

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
        if reply.allow is not None:
            self.set_header("Allow", reply.allow)
        if reply.retry_after is not None:
            self.set_header("Retry-After", str(reply.retry_after))
        self.finish(reply.body)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return push_frames.PROTOCOL if push_frames.PROTOCOL in subprotocols else None

    @property
    def max_message_size(self) -> int:
        return self._push.max_frame_bytes

    # The connection

    def open(self, *args: str, **kwargs: str) -> None:
        assert self.ws_connection is not None
        stream = self.ws_connection.stream
        assert stream is not None
        self._stream: IOStream = stream
        self.set_nodelay(True)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if isinstance(stream, HTTPStream):
            # A client that is still sending has to see why the connection is closed.
            stream.lingers = True
        self._loop = asyncio.get_running_loop()
        self._heard = True
        self._silent_beats = 0
        self._taken = 0
        self._moved_at = time.monotonic()
        self._beating: asyncio.TimerHandle | None = None
        self._progress: asyncio.TimerHandle | None = None
        self._socket = _Socket(self, stream)
        self._session = Session(self._push, self._socket)
        self._push.open(self._session)
        self._beat()
        self._look_at_progress()

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        self._heard = True
        assert self._session is not None
        if isinstance(message, bytes):
            self._session.close(UNSUPPORTED_DATA, "frames are text")
            return None
        return self._session.on_frame(message)

    def on_ping(self, data: bytes) -> None:
        self._heard = True

    def on_pong(self, data: bytes) -> None:
        self._heard = True

    def on_close(self) -> None:
        for timer in (self._beating, self._progress):
            if timer is not None:
                timer.cancel()
        if self._session is not None:
            self._push.leave(self._session)

    # Signs of life

    def _beat(self) -> None:
        """Ping the client; one that was silent for two beats has gone."""
        assert self._session is not None
        self._silent_beats += 1
        if self._heard or not self._session.reading:
            self._silent_beats = 0
        self._heard = False
        if self._silent_beats == _MOST_SILENT_BEATS:
            _log.info("A subscriber at %s is not heard of any more", self.request.remote_ip)
            self._stream.close()
            return
        try:
            self.ping()
        except WebSocketClosedError:
            return
        self._beating = self._loop.call_later(self._push.heartbeat, self._beat)

    def _look_at_progress(self) -> None:
        """Close a connection whose client takes nothing of what was sent."""
        assert self._session is not None
        now = time.monotonic()
        taken = self._socket.taken
        if taken != self._taken or not self._session.unread:
            self._taken, self._moved_at = taken, now
        elif now - self._moved_at >= _NO_PROGRESS:
            self._session.close(POLICY_VIOLATION, "nothing is read")
            return
        self._progress = self._loop.call_later(_LOOK_AT_PROGRESS, self._look_at_progress)


def _is_key(value: str) -> bool:
    """Whether `value` is 16 bytes in base64."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
