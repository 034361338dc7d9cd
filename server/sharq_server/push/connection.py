"""A websocket on a Tornado stream, from its handshake on: where a session reads and writes."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Final

from tornado.iostream import IOStream, StreamClosedError

from sharq.codec import websocket_frames as ws
from sharq.codec.websocket_frames import WebSocketError
from sharq_server.http.listener import HTTPStream
from sharq_server.http.patience import PatientStream, discard_unsent
from sharq_server.push.session import Session

_log = logging.getLogger(__name__)

_CHUNK: Final = 64 * 1024
_SEND_BUFFER: Final = 64 * 1024
_NO_PROGRESS: Final = 60.0
_LOOK_AT_PROGRESS: Final = 5.0
_MOST_SILENT_BEATS: Final = 2
_GOODBYE: Final = 5.0


class Connection:
    """The `Transport` of one session. `peer` is the client's address, for the log.

    A message may have `max_bytes`; the client is pinged every `heartbeat` seconds. Frames that can
    wait leave together at the end of the loop's turn.
    """

    def __init__(self, stream: IOStream, peer: str, max_bytes: int, heartbeat: float) -> None:
        self._stream = stream
        self._peer = peer
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._reader = ws.Reader(masked=True, max_bytes=max_bytes)
        self._out: list[bytes] = []
        self._waiting = 0
        self._written = 0
        self._pending: asyncio.Future[None] | None = None
        self._flushing: asyncio.Handle | None = None
        self._ping: bytes | None = None
        self._has_said_close = False
        self._heard = True
        self._silent_beats = 0
        self._moved_to = 0
        self._moved_at = time.monotonic()
        self._beating: asyncio.TimerHandle | None = None
        self._progress: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        stream.set_nodelay(True)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if isinstance(stream, PatientStream):
            # Progress is looked at here, where the reason can be told.
            stream.patience = None
        if isinstance(stream, HTTPStream):
            stream.settle()
            # A client that is still sending has to see why the connection is closed.
            stream.lingers = True

    async def serve(self, session: Session) -> None:
        """Hand what comes in to `session`, which writes here, until the connection has ended."""
        self._session = session
        self._beat(session)
        self._look_at_progress(session)
        try:
            await self._read(session)
        except StreamClosedError:
            pass
        except WebSocketError as error:
            session.close(error.code, error.reason)
            if self._pending is not None:
                await asyncio.wait({self._pending}, timeout=_GOODBYE)
        finally:
            for timer in (self._beating, self._progress, self._leaving):
                if timer is not None:
                    timer.cancel()
            self._stream.close()
            # It knows this connection: what has ended is not left to the garbage collector.
            self._session = None

    # Coming in

    async def _read(self, session: Session) -> None:
        """Read until the client closes. Raises `StreamClosedError` and `WebSocketError`."""
        reader = self._reader
        while True:
            reader.feed(await self._stream.read_bytes(_CHUNK, partial=True))
            self._heard = True
            while (message := reader.next()) is not None:
                if message.opcode == ws.TEXT:
                    readable = session.on_frame(message.data)
                    if readable is not None:
                        await readable
                elif message.opcode == ws.BINARY:
                    session.close(ws.UNSUPPORTED_DATA, "frames are text")
                elif message.opcode == ws.PING:
                    self._ping = message.data
                    self._answer_ping()
                elif message.opcode == ws.CLOSE:
                    self._say_close(ws.closing(message.data).code, "")
                    return

    def _answer_ping(self) -> None:
        """Answer the last ping; the others are forgotten where the client does not read."""
        if self._ping is not None and not self._stream.writing():
            ping, self._ping = self._ping, None
            self._put(ws.frame(ws.PONG, ping))

    # Going out

    def write(self, text: bytes, *, at_once: bool) -> None:
        if self._has_said_close or self._stream.closed():
            raise ConnectionError("the connection is closed")
        self._put(ws.frame(ws.TEXT, text))
        if at_once:
            self._flush()
            if self._stream.closed():
                raise ConnectionError("the connection is closed")

    @property
    def position(self) -> int:
        stream = self._stream
        accepted = stream.accepted if isinstance(stream, HTTPStream) else self._written
        return accepted + self._waiting

    @property
    def taken(self) -> int:
        stream = self._stream
        if isinstance(stream, HTTPStream):
            return stream.taken
        # A stream of Tornado's own, as with TLS, does not tell.
        return 0 if stream.writing() else self._written

    def close(self, code: int, reason: str) -> None:
        self._say_close(code, reason)
        # The client is to close, too; what it has sent before is still taken.
        self._leaving = self._loop.call_later(_GOODBYE, self._give_up)

    def _give_up(self) -> None:
        """Close without the client, which has had its time."""
        if self._stream.writing():
            discard_unsent(self._stream.socket)
        self._stream.close()

    def abort(self) -> None:
        if isinstance(self._stream, HTTPStream):
            self._stream.lingers = False
        self._stream.close()

    def _say_close(self, code: int, reason: str) -> None:
        self._put(ws.close_frame(code, reason))
        self._has_said_close = True
        self._flush()

    def _put(self, frame: bytes) -> None:
        if self._has_said_close:
            return
        self._out.append(frame)
        self._waiting += len(frame)
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self._out or self._stream.closed():
            return
        data = b"".join(self._out)
        self._out.clear()
        self._waiting = 0
        self._written += len(data)
        written = self._stream.write(data)
        if self._stream.writing():
            self._pending = written
            written.add_done_callback(self._on_written)

    def _on_written(self, written: asyncio.Future[None]) -> None:
        if written is self._pending:
            self._pending = None
        if not written.cancelled() and written.exception() is None:
            self._answer_ping()
            if self._session is not None:
                self._session.on_written()

    # Signs of life

    def _beat(self, session: Session) -> None:
        """Ping the client; one that was silent for two beats has gone."""
        self._silent_beats += 1
        if self._heard or not session.reading:
            self._silent_beats = 0
        self._heard = False
        if self._silent_beats == _MOST_SILENT_BEATS:
            _log.info("A subscriber at %s is not heard of any more", self._peer)
            self._give_up()
            return
        session.on_beat()
        self._put(ws.frame(ws.PING, b""))
        self._beating = self._loop.call_later(self._heartbeat, self._beat, session)

    def _look_at_progress(self, session: Session) -> None:
        """Close a connection whose client takes nothing of what was sent."""
        now = time.monotonic()
        taken = self.taken
        if taken != self._moved_to or not session.unread:
            self._moved_to, self._moved_at = taken, now
        elif now - self._moved_at >= _NO_PROGRESS:
            session.close(ws.POLICY_VIOLATION, "nothing is read")
            return
        self._progress = self._loop.call_later(_LOOK_AT_PROGRESS, self._look_at_progress, session)
