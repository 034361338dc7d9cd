"""The dead letters of all shards of a type as one list, the newest first. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sharq.identifiers import invalid
from sharq.results import DeadLetter, DeadPage

_CURSOR: Final = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,3}))?", re.ASCII)
_LAST: Final = 10**3


class DeadCursor(NamedTuple):
    """Behind which letter a page begins: by its death (µs), and of equal ones by the shard."""

    death: int
    shard: int = _LAST

    def __str__(self) -> str:
        return str(self.death) if self.shard == _LAST else f"{self.death}.{self.shard}"

    def at(self, shard: int) -> str:
        """Before which death (µs) the page of a shard begins."""
        return str(self.death + 1 if shard > self.shard else self.death)


class ShardLetters(NamedTuple):
    """Dead letters of one shard, each with its death (µs), the newest first.

    `looked_to` is the death down to which it has been looked; None: there are no more.
    """

    looked_to: int | None
    letters: list[tuple[int, DeadLetter]]


def dead_cursor(text: Any) -> DeadCursor | None:
    """The cursor that a text is; None is the beginning. Raises `BadArgumentException`."""
    if text is None:
        return None
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise invalid("cursor")
    return DeadCursor(int(match[1]), _LAST if match[2] is None else int(match[2]))


def merged(parts: Sequence[ShardLetters], count: int) -> DeadPage:
    """The first `count` letters of those that no shard can come before."""
    # The farther down, the later.
    ends = [
        (-part.looked_to, shard) for shard, part in enumerate(parts) if part.looked_to is not None
    ]
    end = min(ends, default=None)
    found = sorted(
        (
            (-death, shard, letter)
            for shard, part in enumerate(parts)
            for death, letter in part.letters
        ),
        key=lambda each: each[:2],
    )
    known = [each for each in found if end is None or each[:2] <= end]
    page = known[:count]
    if len(page) < len(known):
        end = page[-1][:2]
    cursor = None if end is None else str(DeadCursor(-end[0], end[1]))
    return DeadPage([letter for *_, letter in page], cursor)
