"""An answer as a WSGI server takes it (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http.client import responses
from typing import Any, Final

from sharq_server.api.replies import Reply
from sharq_server.security.cors import Fields

StartResponse = Callable[..., Any]

# A GET may have effects here, so no answer may be cached.
_SAME: Final = (("Cache-Control", "no-store"),)


class Outgoing:
    """The answer to one request; `for_page` are header fields for a page that has sent it."""

    def __init__(self, start_response: StartResponse, method: str, for_page: Fields) -> None:
        self._start_response = start_response
        self._method = method
        self._for_page = for_page

    def answer(self, reply: Reply) -> list[bytes]:
        """Answer."""
        self.begin(reply)
        return self.body(reply.body)

    def begin(self, reply: Reply) -> None:
        """Tell the status and the headers of an answer."""
        fields = [*_SAME, *reply.fields]
        if reply.body:
            size = str(len(reply.body))
            fields += [("Content-Type", reply.content_type), ("Content-Length", size)]
        self._start(reply.status, fields)

    def page(self, status: int, fields: Iterable[tuple[str, str]], body: bytes) -> list[bytes]:
        """Answer with something else than JSON."""
        size = () if status == 304 else (("Content-Length", str(len(body))),)
        self._start(status, [*fields, *size])
        return self.body(body)

    def body(self, body: bytes) -> list[bytes]:
        """The body of the answer, which has none if the request is a HEAD."""
        return [b"" if self._method == "HEAD" else body]

    def _start(self, status: int, fields: list[tuple[str, str]]) -> None:
        self._start_response(f"{status} {responses[status]}", [*fields, *self._for_page])


class Answer:
    """The body of an answer, and what follows it.

    `unsent` is called if the web server does not take the body; `then` at the end, when the client
    has its answer.
    """

    def __init__(
        self, body: list[bytes], unsent: Callable[[], None] | None, then: Callable[[], None]
    ) -> None:
        self._bodies = iter(body)
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
