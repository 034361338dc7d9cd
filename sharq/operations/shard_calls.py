"""The operations by which the number of a type's shards changes, and all shards are paused."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from sharq.identifiers import ascii_word
from sharq.operations.arrival_calls import ArrivalOperations
from sharq.operations.call import Call, no_promise
from sharq.results import REMOVE, Removal

OPEN: Final = 0
OPENED: Final = 1
CLOSED: Final = 2


class Known(NamedTuple):
    """What the store knows of a type's shards, see `read_layout`, and its time (ms)."""

    text: str
    now: int


class RateStates(NamedTuple):
    """How many states of queues were `found` among some keys of a node.

    `cursor` is that of the next keys, "0" at the end; the last of them is gone in `left` ms, None:
    nobody can tell.
    """

    cursor: str
    found: int
    left: int | None


class Pausing(NamedTuple):
    """What is to be done to all shards of a type: `ms` and `reason` are as those of a pause."""

    number: int
    ms: int | Removal | None
    reason: str
    set_by: str


class ShardOperations(ArrivalOperations):
    """A part of `Operations`."""

    def known_shards(self, queue_type: str) -> Call[Known]:
        """What the store knows of a type's shards."""
        return self.note_shards(queue_type, "", "")

    def note_shards(
        self, queue_type: str, former: str, following: str, begins: bool = False
    ) -> Call[Known]:
        """Put a text in the place of the `former` one, if that is there; the one that is there now.

        With `begins` the store's time comes behind it.
        """
        packed = self._codec.shards(queue_type, former, following, begins)
        return Call(packed, self._keys.tag(queue_type), _known, True)

    def close_shard(self, name: str, generation: int) -> Call[list[str]]:
        """Close a shard, if nothing is there; what is there, in words."""
        packed = self._codec.close_shard(name, generation)
        return Call(packed, self._keys.tag(name), _words, True)

    def open_shard(self, name: str, generation: int) -> Call[int]:
        """Open a shard that no later change than this has closed.

        `OPENED` if it was opened now or within the last minute, `OPEN` if it was open before, else
        `CLOSED`.
        """
        packed = self._codec.open_shard(name, generation)
        return Call(packed, self._keys.tag(name), int, True)

    def replicas_of(self, name: str) -> Call[int]:
        """How many replicas follow the node of a shard."""
        packed = b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
        return Call(packed, self._keys.tag(name), _online, True, no_promise, optional=True)

    def replicated(self, name: str, replicas: int, ms: int) -> Call[bool]:
        """Whether so many of them have, after `ms` at most, what the connection has written."""
        count, wait = b"%d" % replicas, b"%d" % ms
        packed = b"*3\r\n$4\r\nWAIT\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            *(len(count), count),
            *(len(wait), wait),
        )
        return Call(
            packed,
            self._keys.tag(name),
            lambda reply: bool(reply >= replicas),
            free=no_promise,
            optional=True,
        )

    def rate_states(self, name: str, cursor: str, count: int) -> Call[RateStates]:
        """States of queues among about `count` keys of the shard's node; "0" is the beginning."""
        packed = self._codec.rate_states(name, cursor, count)
        return Call(packed, self._keys.tag(name), _rate_states, True)

    def begin_pausing(
        self, queue_type: str, ms: int | Removal | None, reason: str, set_by: str
    ) -> Call[Pausing | None]:
        """Note that a type is to be paused or resumed in all its shards; what is to be done."""
        packed = self._codec.pausing(queue_type, 0, ms, ascii_word(reason), set_by)
        return Call(packed, self._keys.tag(queue_type), _pausing, True)

    def pausing(self, queue_type: str, done: int = 0) -> Call[Pausing | None]:
        """What is to be done to all shards, if anything; with its number it is `done`."""
        packed = self._codec.pausing(queue_type, done, None, "", "")
        return Call(packed, self._keys.tag(queue_type), _pausing, True)


def _known(reply: Any) -> Known:
    text, now = reply
    return Known(text.decode(), now)


def _online(reply: bytes) -> int:
    return sum(
        line.startswith(b"slave") and b",state=online," in line for line in reply.splitlines()
    )


def _words(reply: Any) -> list[str]:
    return [word.decode() for word in reply]


def _rate_states(reply: Any) -> RateStates:
    cursor, count, left = reply
    return RateStates(cursor.decode(), count, None if left < 0 else left)


def _pausing(reply: Any) -> Pausing | None:
    number, ms, reason, set_by = reply
    if not number:
        return None
    left = REMOVE if ms == b"-" else int(ms) if ms else None
    return Pausing(number, left, unquote(reason.decode()), set_by.decode())
