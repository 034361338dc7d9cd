"""The cursors of listings: where a page begins, as a short text that clients give back. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from sharq.identifiers import invalid

_MOST: Final = 2**64 - 1
_JOBS: Final = re.compile(r"([rnd])((?<=r)-?[0-9]{1,15}|[0-9]{1,15})-([0-9]{1,15})", re.ASCII)
_QUEUES: Final = re.compile(
    r"([wgl])([0-9]{1,20})(?:-([A-Za-z0-9_-]{1,100}))?(?:\.([1-9][0-9]{0,2}))?", re.ASCII
)
_PARTS: Final = {"r": "returned", "n": "new", "d": "delayed"}
_QUEUE_PARTS: Final = {"w": "type", "g": "group", "l": "leased"}


class JobCursor(NamedTuple):
    """Where a page of waiting jobs begins: in a part, at a place in the order or a time (ms).

    No place is 0: that is the beginning. `seen`: the delayed jobs of that time that were listed
    already.
    """

    part: str = "returned"
    start: int = 0
    seen: int = 0

    def __str__(self) -> str:
        return f"{self.part[0]}{self.start}-{self.seen}"


class QueueCursor(NamedTuple):
    """Where a page of queues begins: among those that stand in the schedule of the type or of a
    `group`, or those with leases ("type", "group", "leased"; empty after the last page).
    """

    part: str = "type"
    group: str = ""
    at: str = "0"

    def __str__(self) -> str:
        kind = {part: kind for kind, part in _QUEUE_PARTS.items()}[self.part]
        return f"{kind}{self.at}-{self.group}" if self.group else f"{kind}{self.at}"


class ShardCursor(NamedTuple):
    """Where a page of queues begins, in which shard: 0 is the first, and that of any type."""

    shard: int = 0
    at: QueueCursor = QueueCursor()

    def __str__(self) -> str:
        return f"{self.at}.{self.shard}" if self.shard else str(self.at)


def job_cursor(text: Any) -> JobCursor:
    """The cursor for waiting jobs; None is the beginning. Raises `BadArgumentException`."""
    if text is None:
        return JobCursor()
    match = _JOBS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise invalid("cursor")
    return JobCursor(_PARTS[match[1]], int(match[2]), int(match[3]))


def shard_cursor(text: Any) -> ShardCursor:
    """The cursor for queues; None is the beginning. Raises `BadArgumentException`."""
    if text is None:
        return ShardCursor()
    match = _QUEUES.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[2]) > _MOST:
        raise invalid("cursor")
    if (match[1] == "g") != (match[3] is not None):
        raise invalid("cursor")
    at = QueueCursor(_QUEUE_PARTS[match[1]], match[3] or "", match[2])
    return ShardCursor(int(match[4] or 0), at)
