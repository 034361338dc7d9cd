"""Reads requests and writes answers: the compiled part of the fast lane.

A plain request of a hot route is read completely here and passed on in one call; of every other one
the head, the pieces of the body and the end are passed on.
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
    """Reads the requests of one connection; a subclass gets them.

    A plain request has one Host, of those in `hosts`, no more body than `body_limit` (bytes), a
    Content-Length if any, nothing to negotiate, comes from no web page, and keeps its connection
    alive; where the reader is `locked`, it is one that `admits` admits. One for ``POST
    /enqueue/T/Q``, ``GET /dequeue/T?…`` or ``POST /finish/T/Q/J`` with valid names is passed on
    whole, by `on_enqueue`, `on_dequeue` or `on_finish`; any other one by `on_head`, `on_chunk` and
    `on_end`.

    `stage` tells the progress of the request that is being read: WAITING for its first byte,
    IN_HEAD or IN_BODY. `method`, `target` and `headers` are those of the last head; `headers` has
    names and values as they came, without white space around the values.
    """

    body_limit: int
    hosts: set[bytes]
    """Values of Host that need no check."""
    locked: bool
    """Whether requests need credentials."""
    epoch: list[int]
    """A number that changes when earlier results of `admits` may no longer be valid."""
    base_path: bytes
    """What all paths of hot routes begin with, without a slash at its end; empty by default."""
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

        Raises `httptools.HttpParserUpgrade` with the place after the head of an upgrade request, of
        which only `method`, `target` and `headers` are set, and `httptools.HttpParserError` for
        invalid bytes.
        """

    def renew(self) -> None:
        """Continue with the first byte of a request, after an exception of `feed`."""

    def ignore(self) -> None:
        """Pass on nothing more."""

    def forget(self) -> None:
        """Release the parser: the connection has ended."""

    @property
    def version(self) -> str:
        """The version of the last head, such as ``HTTP/1.1``."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the last head keeps the connection alive (RFC 9112, 9.3)."""

    def on_message_begin(self) -> None: ...
    def on_url(self, part: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes | None) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, part: bytes) -> None: ...
    def on_message_complete(self) -> None: ...
    def admits(self, authorization: bytes | None, operation: str, queue_type: str) -> bool:
        """Whether an otherwise plain request has the credentials for its operation."""

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
