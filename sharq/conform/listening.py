"""The stage behind a port: a websocket at `/ws/`, and where handlers tell that they begin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from sharq.conform.frames import MAX_FRAME_BYTES
from sharq.conform.parties import Peer
from sharq.conform.stage import PROTOCOL, Stage

HOST: Final = "127.0.0.1"


@asynccontextmanager
async def listening(stage: Stage, port: int) -> AsyncIterator[int]:
    """Let clients in at a port of the loopback address, 0: a free one. Raises OSError."""
    (socket,) = bind_sockets(port, HOST)
    application = Application(
        [
            (r"/ws/?", _Socket, {"stage": stage}),
            (r"/ran/(\w+)", _Ran, {"stage": stage}),
            (r"/.*", _Elsewhere, {"stage": stage}),
        ],
        websocket_max_message_size=MAX_FRAME_BYTES,
        log_function=lambda handler: None,  # what the verdicts are about is no error of a server
    )
    server = HTTPServer(application)
    server.add_sockets([socket])
    bound: int = socket.getsockname()[1]
    stage.report_url = f"http://{HOST}:{bound}/ran/"
    heart = asyncio.create_task(_beat(stage))
    try:
        yield bound
    finally:
        heart.cancel()
        server.stop()
        for peer in stage.peers:
            if peer.open:
                peer.close(1012)
        await server.close_all_connections()


async def _beat(stage: Stage) -> None:
    """Ping as a server does."""
    while True:
        await asyncio.sleep(stage.heartbeat / 2)
        for peer in stage.peers:
            if peer.open and not peer.mute:
                peer.wire.ping(b"")


class _Ran(RequestHandler):
    """A handler begins with the job of a number."""

    def initialize(self, stage: Stage) -> None:
        self._stage = stage

    def get(self, number: str) -> None:
        self._stage.ran(number)

    post = get


class _Elsewhere(RequestHandler):
    """Somebody looks for the push channel in the wrong place."""

    def initialize(self, stage: Stage) -> None:
        self._stage = stage

    def get(self) -> None:
        self._stage.mistakes.append(f"GET {self.request.path}: the push channel is at /ws/")
        self.set_status(404)


class _Socket(WebSocketHandler):
    def initialize(self, stage: Stage) -> None:
        self._stage = stage
        self._peer: Peer | None = None

    async def get(self, *arguments: Any, **more: Any) -> None:
        if self._stage.refuses:
            self._stage.refused.append(asyncio.get_running_loop().time())
            self.set_status(503)
            self.set_header("Retry-After", "1")
            self.set_header("Content-Type", "application/json")
            message = "There are too many connections."
            self.finish(json.dumps({"status": "failure", "message": message, "code": "overloaded"}))
            return
        await super().get(*arguments, **more)
        if self.get_status() >= 400:
            status = self.get_status()
            self._stage.mistakes.append(f"GET /ws/ without a websocket's headers: {status}")

    def check_origin(self, origin: str) -> bool:
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return PROTOCOL if PROTOCOL in subprotocols else None

    def open(self, *arguments: str, **more: str) -> None:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        names = [name.strip() for name in offered.split(",") if name.strip()]
        self.set_nodelay(True)
        self._peer = self._stage.connected(_Wire(self), names)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        if self._peer is not None:
            self._stage.heard(self._peer, message)
        return None

    def on_ping(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.pings += 1

    def on_pong(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.pongs += 1
            self._stage.change()

    def on_close(self) -> None:
        if self._peer is not None:
            self._stage.closed(self._peer, self.close_code)


class _Wire:
    """A websocket of Tornado's as the stage uses it."""

    def __init__(self, handler: _Socket) -> None:
        self._handler = handler

    def send(self, text: str) -> None:
        with suppress(WebSocketClosedError):
            self._handler.write_message(text)

    def ping(self, data: bytes) -> None:
        with suppress(WebSocketClosedError):
            self._handler.ping(data)

    def close(self, code: int) -> None:
        self._handler.close(code)

    def cut(self) -> None:
        connection: Any = self._handler.ws_connection
        if connection is not None:
            connection.stream.close()
