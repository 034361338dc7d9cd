"""Types that are spread over shards: in which one a queue lives, and what they are called. Pure.

A shard is a type of its own inside: it has an internal name, such as ``sms:3.5:16`` for shard 3 of
16 of the type ``sms``, by which keys are built and calls are packed. No user's name has a colon.
Only flows know both kinds of names; operations take internal ones and answer with the type's.
"""

from __future__ import annotations

from binascii import crc32, crc_hqx
from functools import lru_cache
from typing import Final

from sharq.identifiers import MAX_SHARDS as MAX_SHARDS

_SLOTS: Final = 16384
_MOST_LAYOUTS: Final = 1024


def type_of(name: str) -> str:
    """The type that an internal name belongs to; that of an unsharded type is its own."""
    return name.partition(":")[0]


def is_shard(name: str) -> bool:
    """Whether an internal name is that of a shard."""
    return ":" in name


def shards_in(name: str) -> int:
    """How many shards the layout has that an internal name belongs to."""
    return int(name.rpartition(":")[2]) if ":" in name else 1


@lru_cache(_MOST_LAYOUTS)
def layout(prefix: str, queue_type: str, count: int) -> tuple[str, ...]:
    """The internal names of the shards of a type that has `count` of them; 1 is unsharded.

    The tag of shard s, ``{prefix:type:s.k}``, has the least k by which its slot lies in the s-th
    of `count` equal parts of the slots: so equal ranges of slots hold equally many shards.
    """
    if count == 1:
        return (queue_type,)
    return tuple(_name(prefix, queue_type, at, count) for at in range(count))


def _name(prefix: str, queue_type: str, at: int, count: int) -> str:
    head = f"{prefix}:{queue_type}:{at}."
    k = 0
    while crc_hqx(f"{head}{k}".encode(), 0) % _SLOTS * count // _SLOTS != at:
        k += 1
    return f"{queue_type}:{at}.{k}:{count}"


class Shards:
    """How types are spread, as far as this process knows.

    A type is unsharded until the store has told otherwise: see `sharq.operations.spreading`.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._spread: dict[str, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        """Whether any type is known to be spread."""
        return bool(self._spread)

    type_of = staticmethod(type_of)
    """The type that an internal name belongs to."""

    def home(self, queue_type: str, queue_id: str) -> str:
        """The internal name of where a queue lives: the hash of its `queue_id` decides."""
        if not self._spread or (names := self._spread.get(queue_type)) is None:
            return queue_type
        return names[crc32(queue_id.encode()) % len(names)]

    def homes(self, queue_type: str) -> tuple[str, ...]:
        """All internal names of a type; of an unsharded one its own."""
        if not self._spread:
            return (queue_type,)
        return self._spread.get(queue_type) or (queue_type,)

    def is_spread(self, queue_type: str) -> bool:
        """Whether a type is known to be spread."""
        return queue_type in self._spread

    def learn(self, queue_type: str, count: int) -> bool:
        """Remember how many shards a type has; whether that is news."""
        before = len(self.homes(queue_type))
        if count == 1:
            self._spread.pop(queue_type, None)
        else:
            self._spread[queue_type] = layout(self._prefix, queue_type, count)
        return count != before
