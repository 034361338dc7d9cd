"""Jobs that this server hands out, of the types that somebody tails: the first of each second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from sharq import Batch
from sharq_server.api.handing import Handing
from sharq_server.watch.following import Following

MOST: Final = 100
"""Jobs that are told at a time; the others are counted."""


class HandedOut(msgspec.Struct, omit_defaults=True):
    """A job that was handed out: `at` is in ms since 1970, by the clock of its server.

    `how` is one of the words of `handing`; `attempt` counts its dispatches, this one included.
    """

    at: int
    queue_id: str
    job_id: str
    how: str
    attempt: int
    worker: str | None = None


class Tailed(msgspec.Struct, omit_defaults=True):
    """What was handed out of a type: up to `MOST` jobs in their order, and how many `more`."""

    jobs: list[HandedOut] = []
    more: int = 0

    def __bool__(self) -> bool:
        return bool(self.jobs or self.more)

    def joined(self, other: Tailed) -> Tailed:
        """Both, by the time: of too many jobs some of all times, and so of all servers."""
        jobs = sorted((*self.jobs, *other.jobs), key=lambda job: job.at)
        count = len(jobs)
        kept = jobs if count <= MOST else [jobs[at * count // MOST] for at in range(MOST)]
        return Tailed(kept, self.more + other.more + count - len(kept))


class Tail(Following[[Batch, int, int, str, str | None], Tailed]):
    """Follows what is handed out of types."""

    def __init__(
        self,
        notes: dict[str, Handing],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(notes, clock)
        self._wall_clock = wall_clock

    def _nothing(self) -> Tailed:
        return Tailed()

    def _with(
        self, found: Tailed, batch: Batch, start: int, stop: int, how: str, worker: str | None
    ) -> Tailed:
        kept = min(stop, start + MOST - len(found.jobs))
        if kept > start:
            at = round(self._wall_clock() * 1000)
            found.jobs += [
                HandedOut(at, job.queue_id, job.job_id, how, job.attempt, worker)
                for job in batch.part(start, kept).jobs
            ]
        found.more += stop - kept
        return found
