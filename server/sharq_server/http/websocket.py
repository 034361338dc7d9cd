"""The frames of a connection after a websocket's handshake: a session reads and writes here."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from sharq.codec import websocket_frames as ws
from sharq.codec.websocket_frames import WebSocketError
from sharq_server.http.connection import Connection

_log = logging.getLogger(__name__)

_SEND_BUFFER: Final = 64 * 1024
_NO_PROGRESS: Final = 60.0
_MOST_SILENT_BEATS: Final = 2
_GOODBYE: Final = 5.0


class Session(Protocol):
    """Gets the frames."""

    @property
    def reading(self) -> bool:
        """Whether frames are read; they are not while too much is under way."""

    @property
    def unread(self) -> int:
        """Written bytes that the kernel has not taken."""

    def on_frame(self, text: bytes) -> asyncio.Future[None] | None:
        """Take a frame; returns None, or a future to wait for before reading more."""

    def on_written(self) -> None:
        """The kernel has taken all written data."""

    def on_beat(self) -> None:
        """Called regularly to check what may have changed."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection from this side."""

    def abort(self) -> None:
        """End the connection from this side, at once."""


class Frames:
    """Reads frames from `connection` for a session, and writes its frames.

    A message may have `max_bytes`; the client is pinged every `heartbeat` seconds. `remote` is its
    address.

    Frames that can wait leave together at the end of the loop's turn. A frame that is sent at once
    ends such a batch, and the transport gets one batch at a time. So it is known whether the kernel
    has taken all of it, even if the connection then breaks.
    """

    def __init__(
        self, connection: Connection, max_bytes: int, heartbeat: float, remote: str
    ) -> None:
        self._connection = connection
        self._remote = remote
        self._heartbeat = heartbeat
        self._session: Session | None = None
        self._input = ws.Reader(masked=True, max_bytes=max_bytes)
        self._turn: list[bytes] = []
        self._batches: deque[bytes] = deque()
        self._position = 0
        self._taken = 0
        self._under_way = 0
        self._flushing: asyncio.Handle | None = None
        self._ping: bytes | None = None
        self._said_close = False
        self._over = False
        self._heard = True
        self._silent_beats = 0
        self._beating: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None

    def begin(self, session: Session, leave: Callable[[Any], None], first: bytes) -> None:
        """Serve `session` until the connection has ended; then call `leave`.

        `first` is sent before all frames.
        """
        self._session = session
        self._leave = leave
        connection = self._connection
        connection.read_by(self)
        connection.keep_little(_SEND_BUFFER)
        connection.look_after(wanted=connection.stuck)
        self._position += len(first)
        self._send(first)
        self._beat(session)
        connection.hold(False)

    # Coming in

    def on_data(self, data: bytes) -> None:
        self._heard = True
        self._input.feed(data)
        if not self._connection.holding:
            self._read()

    def _read(self) -> None:
        """Pass on frames, as far as the session takes them."""
        session = self._session
        assert session is not None
        try:
            while not self._over and (message := self._input.next()) is not None:
                if message.opcode == ws.TEXT:
                    readable = session.on_frame(message.data)
                    if readable is not None:
                        self._connection.hold(True)
                        readable.add_done_callback(self._read_on)
                        return
                elif message.opcode == ws.BINARY:
                    session.close(ws.UNSUPPORTED_DATA, "frames are text")
                elif message.opcode == ws.PING:
                    self._ping = message.data
                    self._answer_ping()
                elif message.opcode == ws.CLOSE:
                    self._say_close(ws.closing(message.data).code, "")
                    self._end()
        except WebSocketError as error:
            session.close(error.code, error.reason)
            self._end()

    def _read_on(self, _readable: asyncio.Future[None]) -> None:
        if not self._connection.ended:
            self._connection.hold(False)
            self._read()

    def _answer_ping(self) -> None:
        """Answer the last ping; earlier ones are dropped if the client does not read."""
        if self._ping is not None and not self._connection.stuck:
            ping, self._ping = self._ping, None
            self._put(ws.frame(ws.PONG, ping))

    # Going out: the transport of the session

    def write(self, text: bytes, *, at_once: bool) -> None:
        connection = self._connection
        if self._said_close or connection.broken:
            raise ConnectionError("the connection is closed")
        self._put(ws.frame(ws.TEXT, text))
        if at_once:
            self._flush()
            if connection.broken:
                raise ConnectionError("the connection is closed")

    @property
    def position(self) -> int:
        return self._position

    @property
    def taken(self) -> int:
        return self._taken

    def close(self, code: int, reason: str) -> None:
        # The client has to close, too; frames that it sent before are still taken.
        self._say_close(code, reason)

    def abort(self) -> None:
        self._connection.abort()

    def _say_close(self, code: int, reason: str) -> None:
        if self._said_close:
            return
        self._put(ws.close_frame(code, reason))
        self._said_close = True
        self._flush()
        loop = asyncio.get_running_loop()
        self._leaving = loop.call_later(_GOODBYE, self._give_up)

    def _put(self, frame: bytes) -> None:
        if self._said_close:
            return
        self._turn.append(frame)
        self._position += len(frame)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._turn:
            turn, self._turn = self._turn, []
            self._send(turn[0] if len(turn) == 1 else b"".join(turn))

    def _send(self, batch: bytes) -> None:
        connection = self._connection
        if connection.stuck:
            self._batches.append(batch)
        elif not connection.broken:
            connection.write(batch)
            if connection.stuck or connection.broken:
                self._under_way = len(batch)
            else:
                self._taken += len(batch)

    def on_stuck(self) -> None:
        self._connection.look_after(wanted=True)

    def on_writable(self) -> None:
        connection = self._connection
        connection.look_after(wanted=False)
        self._taken += self._under_way
        self._under_way = 0
        while self._batches and not connection.stuck:
            self._send(self._batches.popleft())
        if self._over and not connection.stuck:
            connection.linger()
        elif self._session is not None:
            self._answer_ping()
            self._session.on_written()

    # The end

    def _end(self) -> None:
        """Read no more, and end the connection when everything is sent."""
        self._over = True
        if not self._connection.stuck:
            # A client that is still sending has to learn why the connection is closed.
            self._connection.linger()

    def _give_up(self) -> None:
        """Close without the client, whose time is over."""
        if self._connection.stuck:
            self._connection.discard()
        else:
            self._connection.linger()

    def on_half_close(self) -> bool:
        # It has not sent a close frame: nobody would read.
        self._connection.abort()
        return False

    def on_close(self) -> None:
        for timer in (self._beating, self._flushing, self._leaving):
            if timer is not None:
                timer.cancel()
        # They refer to each other: freed here, not by the garbage collector.
        session, self._session = self._session, None
        if session is not None:
            self._leave(session)

    def stop(self) -> None:
        if self._session is not None:
            self._session.abort()

    # Heartbeat

    def _beat(self, session: Session) -> None:
        """Ping the client; one that was silent for two heartbeats is gone."""
        self._silent_beats += 1
        if self._heard or not session.reading:
            self._silent_beats = 0
        self._heard = False
        if self._silent_beats == _MOST_SILENT_BEATS:
            _log.info("Subscriber at %s timed out (missed two heartbeats)", self._remote)
            self._give_up()
            return
        session.on_beat()
        self._put(ws.frame(ws.PING, b""))
        loop = asyncio.get_running_loop()
        self._beating = loop.call_later(self._heartbeat, self._beat, session)

    def look_at_time(self, now: float, idle: float, body: float) -> None:
        """Close a connection whose client reads nothing."""
        session = self._session
        if session is not None and not self._connection.moves(now, _NO_PROGRESS):
            session.close(ws.POLICY_VIOLATION, "nothing is read")
