"""I5: first deliveries in the order of enqueues, requeued jobs before them in theirs. From the
audit.

Enqueue entries stand in the order of the store, so that the never delivered jobs of a queue must
be dispatched in the order of those entries. A job that was given back and is due at the dispatch,
by the script's clock, goes before all of them, and among several the one that was enqueued first.

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
        returned = queue.next_returned(entry.now)
        if returned is not None and returned is not job and returned.place < _turn_of(job):
            tally.violate(
                f"job {returned.id} (place {returned.place}) was given back and is due, and"
                f" {job.id} (place {job.place}) goes before it",
                entry,
            )
        elif job.lease is None:
            first = queue.next_fresh()
            if first is not None and first is not job:
                tally.violate(f"job {first.id} was enqueued before {job.id}, and waits", entry)
        elif job.due > entry.now:
            ahead = entry.at + self._replay.types[entry.type].ahead
            if job.due > ahead:
                tally.violate(f"job {job.id} is dispatched {job.due - entry.now} ms early", entry)


def _turn_of(job: Job) -> float:
    """The place of a job among those that were given back; a never delivered one is behind them."""
    return float("inf") if job.lease is None else job.place
