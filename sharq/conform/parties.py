"""Who is on the stage: the client's connections, and the jobs that it was given."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec


class Wire(Protocol):
    """The websocket below a connection."""

    def send(self, text: str) -> None: ...

    def ping(self, data: bytes) -> None: ...

    def close(self, code: int) -> None:
        """Say goodbye, and close."""

    def cut(self) -> None:
        """Close without a word."""


class Wrong(Exception):
    """The client does something wrong; the message says what was seen."""


class NotSeen(Exception):
    """A point cannot be judged; the message says why."""


@dataclass(frozen=True)
class Refuse:
    """The answer to an end: an `error` with this code for the whole frame."""

    code: str


@dataclass(frozen=True)
class Cut:
    """The answer to an end: none, and the connection is cut."""


Answer = str | Refuse | Cut
"""What the client gets for the end of a lease: a result, or one of these."""


@dataclass
class End:
    """A finish, release or fail that came for a lease."""

    op: str
    at: float
    peer: Peer
    error: bool
    """Whether it tells an error."""


@dataclass
class Job:
    """A lease that the client was given. `until` and other times: by the monotonic clock, in s."""

    lease: str
    queue_type: str
    payload: Mapping[str, Any]
    peer: Peer
    until: float
    entry: dict[str, Any]
    """As it stands in a `jobs` frame."""
    answers: deque[Answer] = field(default_factory=deque)
    """To its ends, in their turn; after them the usual ones."""
    ends: list[End] = field(default_factory=list)
    extensions: int = 0
    runs: int = 0
    """How often its handler has told that it begins."""
    over: bool = False


class Peer:
    """A connection of the client."""

    def __init__(self, wire: Wire, protocols: Sequence[str]) -> None:
        self.wire = wire
        self.protocols = protocols
        self.credits: dict[str, int] = {}
        self.total: int | None = None
        self.modes: set[str] = set()
        self.open = True
        self.draining = False
        self.ending = False
        """It is the stage that ends it."""
        self.mute = False
        self.code: int | None = None
        self.frames = 0
        self.pongs = 0
        self.pings = 0
        self.carried: list[str] = []
        """The leases that a subscribe brought along."""

    def asked(self, queue_type: str) -> int:
        """The credit that the client has asked for, of a type and the connection."""
        credit = self.credits.get(queue_type, 0)
        return credit if self.total is None else min(credit, self.total)

    def send(self, event: str, **fields: Any) -> None:
        """Send a frame; nothing on a connection that is mute or has ended."""
        if self.open and not self.mute:
            self.wire.send(_text({"event": event, **fields}))

    def cut(self) -> None:
        """End it without a close frame."""
        self.ending, self.open = True, False
        self.wire.cut()

    def close(self, code: int) -> None:
        """End it by the server's word."""
        self.ending, self.open = True, False
        self.wire.close(code)


def now_ms() -> int:
    """The time since 1970 in ms."""
    return time.time_ns() // 1_000_000


def _text(frame: Mapping[str, Any]) -> str:
    return msgspec.json.encode(frame).decode()
