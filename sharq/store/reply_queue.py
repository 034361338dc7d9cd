"""The requests in flight on one connection and the replies that answer them. Pure.

The store answers in order: the n-th reply belongs to the n-th request. A request keeps its place
until its reply has come, even if its caller has given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from hiredis import HiredisError, Reader

R = TypeVar("R")

NOTHING: Final = object()
"""Stands for a reply that is not complete yet."""


class ReplyProtocolError(Exception):
    """The connection received something that is no reply to a request."""


class ReplyQueue(Generic[R]):
    """`pending` holds the requests without a reply, oldest first."""

    __slots__ = ("_reader", "pending")

    def __init__(self) -> None:
        self.pending: deque[R] = deque()
        self._reader = Reader(notEnoughData=NOTHING)

    def expect(self, requests: Iterable[R]) -> None:
        """Note that `requests` are on their way, in this order."""
        self.pending.extend(requests)

    def feed(self, data: bytes) -> Iterator[tuple[R, Any]]:
        """Yield each request that `data` completes the reply of, with its reply.

        A reply is bytes, int, list, None or a `hiredis.ReplyError`. Raises ReplyProtocolError; then
        nothing later on the connection can be trusted.
        """
        pending = self.pending
        next_reply = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not NOTHING:
                if not pending:
                    raise ReplyProtocolError(f"a reply without a request: {reply!r:.200}")
                yield pending.popleft(), reply
        except HiredisError as error:
            raise _unreadable(error) from error

    def next_reply(self, data: bytes) -> Any:
        """Return the first reply that `data` completes, or NOTHING, for any request.

        Raises ReplyProtocolError.
        """
        try:
            self._reader.feed(data)
            return self._reader.gets()
        except HiredisError as error:
            raise _unreadable(error) from error

    def has_data(self) -> bool:
        """Tell whether something came in that is not part of a complete reply."""
        return self._reader.has_data()


def _unreadable(error: Exception) -> ReplyProtocolError:
    return ReplyProtocolError(f"no valid reply: {error}")
