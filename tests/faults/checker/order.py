"""I5: by priority, then in the order of enqueues, over all jobs that are due. From the audit.

Enqueue entries stand in the order of the store. Of the jobs of a queue that wait and are due at a
dispatch, by the script's clock, the one of the highest priority goes, and among several the one
that was enqueued first, whether it was delivered before or not.

A delayed job may be dispatched early only where the clock was ahead before: it was moved to those
that are due then, and stays there when the clock is moved back.
"""

from __future__ import annotations

from tests.faults.audit import Entry
from tests.faults.checker.replay import QUEUED, Job, Queue, Replay
from tests.faults.checker.report import Report


class Order:
    """The checks of I5."""

    def __init__(self, report: Report, replay: Replay) -> None:
        self._tally = report["I5"]
        self._replay = replay

    def on_dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """A job is leased."""
        if job is None or job.state != QUEUED:
            return
        tally = self._tally
        tally.checked += 1
        first = queue.next_due(entry.now)
        if first is not None and first is not job and first.rank < job.rank:
            tally.violate(
                f"job {first.id} (place {first.place}) is due, and {job.id} (place {job.place})"
                " goes before it",
                entry,
            )
        elif job.due > entry.now and job.due > entry.at + self._replay.types[entry.type].ahead:
            tally.violate(f"job {job.id} is dispatched {job.due - entry.now} ms early", entry)
