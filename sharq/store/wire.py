"""One asyncio connection to the store: bytes out, replies in order, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from sharq.errors import StoreError
from sharq.operations.call import Call
from sharq.store.reply_queue import ReplyProtocolError, ReplyQueue
from sharq.store.request import Request

T = TypeVar("T")


class Entry(Request[T]):
    """A request with its waiting caller, and the tick of the link's clock in which it came.

    `sent_at` is set where calls are timed, by a `CallTimer`.
    """

    __slots__ = ("future", "sent_at", "tick")

    sent_at: float

    def __init__(self, call: Call[T], future: asyncio.Future[T], tick: int = 0) -> None:
        super().__init__(call)
        self.future = future
        self.tick = tick


class Wire(asyncio.Protocol):
    """Carries requests until it is lost; a lost one never comes back.

    When it is connected it sends the `first` ones. Bytes that arrive before are read as an answer
    to them: a store with too many clients says so before any request. `on_reply(entry, reply)` is
    called for each reply, `on_lost(wire, reason, unanswered)` once at the end, and `on_writable()`
    when the transport takes data again. `lost` is done after the end. `finishing` tells that no
    more requests are taken. `heard` is set whenever something arrives; the code that watches the
    connection clears it.
    """

    def __init__(
        self,
        on_reply: Callable[[Entry[Any], Any], None],
        on_lost: Callable[[Wire, Exception, list[Entry[Any]]], None],
        on_writable: Callable[[], None],
        first: Sequence[Entry[Any]],
    ) -> None:
        self.on_reply = on_reply
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.finishing = False
        self.heard = False
        self._on_lost = on_lost
        self._on_writable = on_writable
        self._first = first
        self._replies: ReplyQueue[Entry[Any]] = ReplyQueue()
        self.pending = self._replies.pending
        self._paused = False
        self._connected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other loops have transports that are not subclasses of it.
        self._transport = cast(asyncio.Transport, transport)
        self._connected = True
        if self.lost.done():
            self._transport.abort()
        else:
            self.send(self._first)

    @property
    def writable(self) -> bool:
        """Whether the connection accepts requests now."""
        return not (self._paused or self.finishing or self._transport.is_closing())

    @property
    def flushed(self) -> bool:
        """Whether the system has taken all that was sent."""
        return self._transport.get_write_buffer_size() == 0

    def send(self, entries: Sequence[Entry[Any]]) -> None:
        """Send `entries` in one write."""
        self._replies.expect(entries)
        self._transport.write(b"".join([entry.call.packed for entry in entries]))

    def finish(self) -> None:
        """Take no more requests, and close when those that were sent have been answered."""
        self.finishing = True
        if not self.pending:
            self._transport.close()

    def abort(self, reason: Exception) -> None:
        """Close at once; unanswered requests are lost because of `reason`."""
        if self._connected:
            self._transport.abort()
        self._end(reason)

    def data_received(self, data: bytes) -> None:
        if self.lost.done():
            return
        self.heard = True
        on_reply = self.on_reply
        try:
            for entry, reply in self._replies.feed(data):
                on_reply(entry, reply)
        except ReplyProtocolError as error:
            self.abort(error)
            return
        if self.finishing and not self.pending:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the store closed the connection"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._on_writable()

    def _end(self, reason: Exception) -> None:
        if self.lost.done():
            return
        unanswered = list(self.pending)
        self.pending.clear()
        self.lost.set_result(None)
        self._on_lost(self, reason, unanswered)


def settle(entry: Entry[Any], reply: Any) -> None:
    """Give the caller the result, or the error, of a reply."""
    if entry.future.done():
        return
    result = entry.read(reply)
    if isinstance(result, StoreError):
        entry.future.set_exception(result)
    else:
        entry.future.set_result(result)
