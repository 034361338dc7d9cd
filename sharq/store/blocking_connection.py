"""One blocking connection to the store: requests in one write, replies in order."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from sharq.store.confirming import Touch, touch_by_script
from sharq.store.reply_queue import NOTHING, ReplyQueue
from sharq.store.request import Request

R = TypeVar("R", bound=Request[Any])

_READ_SIZE: Final = 64 * 1024

# A socket's time limit is set again only if it is off by more than this, seconds.
_SLACK: Final = 0.1


class BlockingWire:
    """A connection for one caller at a time; `process` is the id of the one that opened it.

    `pending` has the requests without an answer. A connection whose exchange was not completed has
    to be closed: outstanding answers would meet the next requests. `touch` is for who has replicas
    confirm what it answers.
    """

    __slots__ = ("_limit", "_poll", "_replies", "_socket", "pending", "process", "touch")

    def __init__(self, opened: socket.socket) -> None:
        self.process = os.getpid()
        self.touch: Touch = touch_by_script
        self._socket = opened
        self._replies: ReplyQueue[Any] = ReplyQueue()
        self.pending = self._replies.pending
        self._poll = select.poll()
        self._poll.register(opened, select.POLLIN)
        self._limit = 0.0

    def exchange(self, requests: Sequence[R], deadline: float) -> Iterator[tuple[R, Any]]:
        """Send `requests` and yield each with its reply.

        `deadline` is of `time.monotonic`. Raises OSError (TimeoutError among them) and
        ReplyProtocolError.
        """
        self._replies.expect(requests)
        self._set_limit(deadline)
        for request in requests:
            request.sent = True
        self._socket.sendall(b"".join([request.call.packed for request in requests]))
        while self.pending:
            yield from self._replies.feed(self._receive(deadline))

    def ask(self, request: R, deadline: float) -> Any:
        """Send one request and return its reply; otherwise as `exchange`."""
        self._set_limit(deadline)
        request.sent = True
        self._socket.sendall(request.call.packed)
        reply = self._replies.next_reply(self._receive(deadline))
        while reply is NOTHING:
            reply = self._replies.next_reply(self._receive(deadline))
        return reply

    def doubt(self) -> None:
        """Raise ConnectionAbortedError if the server is known to be replaced by another one."""

    def quiet(self) -> bool:
        """Tell whether the connection is unchanged: open, with nothing to be read."""
        return not (self._replies.has_data() or self._poll.poll(0))

    def close(self) -> None:
        """Close this process's end."""
        self._socket.close()

    def _receive(self, deadline: float) -> bytes:
        self._set_limit(deadline)
        data = self._socket.recv(_READ_SIZE)
        if not data:
            raise ConnectionResetError("the store closed the connection")
        return data

    def _set_limit(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("no answer in time")
        if not self._limit - _SLACK <= remaining <= self._limit:
            self._socket.settimeout(remaining)
            self._limit = remaining


class WatchedWire(BlockingWire):
    """A connection to a server that may be replaced while it is silent.

    When no answer has come for `first` seconds, and then every `then` seconds, `replaced` is asked;
    if it says so, the connection is given up with a ConnectionAbortedError.
    """

    __slots__ = ("_first", "_replaced", "_then")

    def __init__(
        self, opened: socket.socket, replaced: Callable[[], bool], *, first: float, then: float
    ) -> None:
        super().__init__(opened)
        self._replaced = replaced
        self._first = first
        self._then = then

    def doubt(self) -> None:
        """Ask whether it is."""
        if self._replaced():
            raise ConnectionAbortedError("another node is the primary now")

    def _receive(self, deadline: float) -> bytes:
        silence = self._first
        while not self._arrives(min(silence, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise TimeoutError("no answer in time")
            self.doubt()
            silence = self._then
        return super()._receive(deadline)

    def _arrives(self, timeout: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._poll.poll(max(0.0, timeout) * 1000))
