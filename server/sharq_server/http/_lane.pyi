"""Requests off the wire, and answers onto it: the compiled part of the fast lane.

What is plain and for one of the routes that most requests are for is gathered here and told of in
one call; of everything else the head, the pieces of the body and the end are told.
"""

from typing import Final, Self

from typing_extensions import disjoint_base

WAITING: Final[int]
IN_HEAD: Final[int]
IN_BODY: Final[int]

MAX_HEAD_BYTES: Final[int]
"""Bytes of a request's line and headers, at most."""

MAX_URL: Final[int]
"""Bytes of a request's target, at most."""

@disjoint_base
class Reader:
    """Reads the requests of one connection; a subclass is told of them.

    A plain request has one Host, of those in `hosts`, no more body than `body_limit` (bytes), a
    Content-Length if any, nothing to negotiate, comes from no web page, and keeps its connection
    alive; where the reader is `locked`, it is one that `admits` admits. One for
    ``POST /enqueue/T/Q``, ``GET /dequeue/T?…`` or ``POST /finish/T/Q/J`` with valid names is told
    of whole, by `on_enqueue`, `on_dequeue` or `on_finish`; any other one by `on_head`, `on_chunk`
    and `on_end`.

    `stage` tells how far the request that is being read has come: WAITING for its first byte,
    IN_HEAD or IN_BODY. `method`, `target` and `headers` are those of the last head; `headers` has
    names and values as they came, but for white space around the values.
    """

    body_limit: int
    hosts: set[bytes]
    """Values of Host that need not be looked at."""
    locked: bool
    """Whether requests need credentials."""
    epoch: list[int]
    """One number, which changes when what `admits` has admitted may be so no more."""
    busy: bool
    """For the subclass: whether a request is under way."""

    @property
    def stage(self) -> int: ...
    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    def __new__(cls, *args: object, **kwargs: object) -> Self: ...
    def feed(self, data: bytes) -> None:
        """Read `data`.

        Raises `httptools.HttpParserUpgrade` with the place behind the head of a request to
        upgrade, of which only `method`, `target` and `headers` are told, and
        `httptools.HttpParserError` for what is no request.
        """

    def renew(self) -> None:
        """Go on with the first byte of a request, after an exception of `feed`."""

    def ignore(self) -> None:
        """Tell of nothing any more."""

    def forget(self) -> None:
        """Let go of the parser: the connection has ended."""

    @property
    def version(self) -> str:
        """The version of the last head, such as ``HTTP/1.1``."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the last head lets the connection stay (RFC 9112, 9.3)."""

    def on_message_begin(self) -> None: ...
    def on_url(self, part: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes | None) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, part: bytes) -> None: ...
    def on_message_complete(self) -> None: ...
    def admits(self, authorization: bytes | None, operation: str, queue_type: str) -> bool:
        """Whether a request that is plain otherwise has the credentials for what it asks for."""

    def on_enqueue(self, queue_type: str, queue_id: str, body: bytes) -> None:
        """A plain request to enqueue has come."""

    def on_dequeue(self, queue_type: str | None, query: str, body: bytes) -> None:
        """A plain request to dequeue has come; without a name in its path, `queue_type` is None."""

    def on_finish(self, queue_type: str, queue_id: str, job_id: str, body: bytes) -> None:
        """A plain request to finish has come."""

    def on_head(self) -> None:
        """The head of another request has come."""

    def on_chunk(self, chunk: bytes) -> None:
        """A piece of its body has come."""

    def on_end(self) -> None:
        """All of it has come."""

    def on_large_target(self) -> None:
        """The target is longer than `MAX_URL`."""

    def on_large_head(self) -> None:
        """The head is larger than `MAX_HEAD_BYTES`."""

def answer(head: bytes, body: bytes) -> bytes:
    """A whole answer: `head` up to ``Content-Length: ``, the length, an empty line, `body`."""
