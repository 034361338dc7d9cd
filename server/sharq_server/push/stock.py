"""`/ws/` under Tornado's own HTTP server, in another program.

The session is the same; here Tornado handles frames, sizes and heartbeats in its own way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http.client import responses
from typing import Any

from tornado.iostream import IOStream
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from sharq.codec import websocket_frames as ws
from sharq_server.api import replies
from sharq_server.api.replies import Reply
from sharq_server.push import frames
from sharq_server.push.handshake import Handshakes, offered
from sharq_server.push.session import Session


class PushHandler(WebSocketHandler):
    """One client. `begun` waits for the start."""

    def initialize(self, handshakes: Handshakes, begun: Callable[[], Awaitable[None]]) -> None:
        self._handshakes = handshakes
        self._begun = begun
        self._session: Session | None = None
        self._beating: asyncio.TimerHandle | None = None

    async def prepare(self) -> None:
        if self.request.method != "GET":
            self._answer(replies.method_not_allowed("GET"))
            return
        await self._begun()
        request = self.request
        judged = self._handshakes.judge(
            request.version, request.headers, has_body=bool(request.body)
        )
        if isinstance(judged, Reply):
            self._answer(judged)
            return
        self._grant = judged
        connection: Any = request.connection
        self._stream: IOStream = connection.stream

    def check_origin(self, origin: str) -> bool:
        return True  # `prepare` has checked it

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return frames.PROTOCOL if frames.PROTOCOL in offered(self.request.headers) else None

    @property
    def max_message_size(self) -> int:
        return self._handshakes.push.max_frame_bytes

    @property
    def ping_interval(self) -> float:
        return self._handshakes.push.heartbeat

    def open(self, *args: str, **kwargs: str) -> None:
        push = self._handshakes.push
        self.set_nodelay(True)
        transport = _Transport(self, self._stream)
        self._session = Session(push, transport, self._grant, self._handshakes.credentials.is_valid)
        push.open(self._session)
        self._beat(self._session)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        session = self._session
        if session is None:
            return None
        if isinstance(message, str):
            return session.on_frame(message.encode())
        session.close(ws.UNSUPPORTED_DATA, "frames are text")
        return None

    def on_written(self) -> None:
        if self._session is not None:
            self._session.on_written()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        session, self._session = self._session, None
        if self._beating is not None:
            self._beating.cancel()
        if session is not None:
            self._handshakes.push.leave(session)

    def _beat(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        self._beating = loop.call_later(self._handshakes.push.heartbeat, self._beat, session)
        session.on_beat()

    def check_xsrf_cookie(self) -> None:
        """There are no cookies."""

    def _answer(self, reply: Reply) -> None:
        self.set_status(reply.status, responses[reply.status])
        self.set_header("Server", "SharQ")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        for name, value in reply.fields:
            self.set_header(name, value)
        self.finish(reply.body)


class _Transport:
    """The transport of a handler's session: *written* is what its stream no longer holds."""

    def __init__(self, handler: PushHandler, stream: IOStream) -> None:
        self.position = 0
        self.taken = 0
        self._handler = handler
        self._stream = stream

    def write(self, text: bytes, *, at_once: bool) -> None:
        try:
            written = self._handler.write_message(text)
        except WebSocketClosedError as error:
            raise ConnectionError("the connection is closed") from error
        self.position += len(text)
        if self._stream.writing():
            written.add_done_callback(partial(self._on_written, self.position))
        else:
            self.taken = self.position
            written.add_done_callback(_look_at)

    def _on_written(self, position: int, written: asyncio.Future[None]) -> None:
        if _look_at(written):
            self.taken = position
            self._handler.on_written()

    def close(self, code: int, reason: str) -> None:
        self._handler.close(code, reason)

    def abort(self) -> None:
        self._stream.close()


def _look_at(written: asyncio.Future[None]) -> bool:
    """Whether a frame was written, and not dropped."""
    return not written.cancelled() and written.exception() is None
