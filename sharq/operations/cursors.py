"""The cursors of listings: where a page begins, as a short text that clients give back. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from sharq.identifiers import invalid

_MOST: Final = 2**64 - 1
_JOBS: Final = re.compile(r"([rnd])([0-9]{1,15})-([0-9]{1,15})", re.ASCII)
_QUEUES: Final = re.compile(r"([wl])([0-9]{1,20})", re.ASCII)
_PARTS: Final = {"r": "returned", "n": "new", "d": "delayed"}


class JobCursor(NamedTuple):
    """Where a page of waiting jobs begins: in a part, at a sequence number or a time (ms).

    `seen`: the delayed jobs of that time that were listed already.
    """

    part: str = "returned"
    start: int = 0
    seen: int = 0

    def __str__(self) -> str:
        return f"{self.part[0]}{self.start}-{self.seen}"


class QueueCursor(NamedTuple):
    """Where a page of queues begins: among those with waiting jobs, or with leased ones."""

    waiting: bool = True
    at: str = "0"

    def __str__(self) -> str:
        return f"{'w' if self.waiting else 'l'}{self.at}"


def job_cursor(text: Any) -> JobCursor:
    """The cursor for waiting jobs; None is the beginning. Raises `BadArgumentException`."""
    if text is None:
        return JobCursor()
    match = _JOBS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise invalid("cursor")
    return JobCursor(_PARTS[match[1]], int(match[2]), int(match[3]))


def queue_cursor(text: Any) -> QueueCursor:
    """The cursor for queues; None is the beginning. Raises `BadArgumentException`."""
    if text is None:
        return QueueCursor()
    match = _QUEUES.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[2]) > _MOST:
        raise invalid("cursor")
    return QueueCursor(match[1] == "w", match[2])
