"""An answer as a WSGI server takes it (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import responses
from typing import Any, Final

from sharq_server.api.replies import Reply

StartResponse = Callable[..., Any]

_SAME: Final = (
    ("Content-Type", "application/json"),
    # A GET may have effects here, so no answer may be cached.
    ("Cache-Control", "no-store"),
)


def begin(start_response: StartResponse, reply: Reply) -> None:
    """Tell the status and the headers of an answer."""
    head(start_response, reply.status, [*_SAME, *reply.fields], len(reply.body))


def head(
    start_response: StartResponse, status: int, fields: list[tuple[str, str]], size: int
) -> None:
    """Tell a status and the headers of a body of `size` bytes."""
    start_response(f"{status} {responses[status]}", [*fields, ("Content-Length", str(size))])


class Answer:
    """The body of an answer, and what follows it.

    `unsent` is called if the web server does not take the body; `then` at the end, when the client
    has its answer.
    """

    def __init__(
        self, body: bytes, unsent: Callable[[], None] | None, then: Callable[[], None]
    ) -> None:
        self._bodies = iter((body,))
        self._unsent = unsent
        self._then = then

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._bodies)
        except StopIteration:
            # The web server asks for more, so it has sent what it had.
            self._unsent = None
            raise

    def close(self) -> None:
        """The web server is done with the answer, whether it could send it or not."""
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            unsent()
        self._then()
