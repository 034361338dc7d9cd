"""Whether the servers of the original are in use, by their counters."""

from __future__ import annotations

from typing import Final

from sharq.migration.jobs import number
from sharq.migration.source import Source

Counts = dict[int, int]
"""What was enqueued and dequeued, by the minute (ms) in which a server counted it."""

_MINUTE: Final = 60_000

_CLOCKS_DIFFER: Final = 10
"""Minutes by which the clock of a server may be off for its use to be noticed."""


def counts_of(source: Source) -> Counts:
    """The counts of the minutes around now."""
    minute = source.time() // _MINUTE
    minutes = [(minute + at) * _MINUTE for at in range(-_CLOCKS_DIFFER, _CLOCKS_DIFFER + 1)]
    counts = [number(count, 0) for count in source.counts(minutes)]
    return {
        minute: enqueued + dequeued
        for minute, enqueued, dequeued in zip(minutes, counts[::2], counts[1::2], strict=True)
    }


def have_grown(before: Counts, after: Counts) -> bool:
    """Whether something was counted between two looks; old counts end by themselves."""
    return any(count > before.get(minute, 0) for minute, count in after.items())
