"""I7: requeue limits are exact. From the audit, and from what clients were told.

A limit N allows N+1 counted deliveries. Each counted end of a lease without a finish takes one
from what remains, an uncounted one none, and -1 stays. With none left, or in a queue that was
cleared while the job was leased, the job is discarded, in no other case. A dispatch carries what
remains and the number of the attempt: a delivery that was given back uncounted is none. What the
sweep takes back is counted. Clients must have been told the same.
"""

from __future__ import annotations

from tests.faults.audit import Entry
from tests.faults.checker.replay import Job, Lease, Queue
from tests.faults.checker.report import Report
from tests.faults.history import Delivered, Event


class Requeues:
    """The checks of I7."""

    def __init__(self, report: Report) -> None:
        self._tally = report["I7"]

    def on_dispatch(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is leased."""
        if job is None:
            return
        self._tally.expect(
            entry.left == job.left and entry.attempt == job.ended + 1,
            f"attempt {job.ended + 1} with {job.left} requeues left is told as"
            f" {entry.attempt} with {entry.left}",
            entry,
        )

    def on_return(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job waits again."""
        if job is None:
            return
        spent = entry.counted and job.left >= 0
        expected = job.left - 1 if spent else job.left
        self._tally.expect(
            entry.left == expected
            and entry.how != "reject"
            and not job.doomed
            and not (entry.counted and job.left == 0),
            f"a job {'of a cleared queue' if job.doomed else f'with {job.left} left'} is given back"
            f" with {entry.left}",
            entry,
        )
        self._tally.expect(
            entry.counted or entry.script != "requeue", "an expiry was not counted", entry
        )

    def on_dead(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is discarded."""
        if job is None:
            return
        self._tally.expect(
            job.doomed or entry.how == "reject" or (entry.counted and job.left == 0),
            f"a job with {job.left} requeues left is discarded",
            entry,
        )
        self._tally.expect(
            entry.cleared == job.doomed, "a death is not told as what it was by a clear", entry
        )

    def on_delivery(self, told: Event | Delivered, lease: Lease) -> None:
        """A client was told of a lease."""
        self._tally.expect(
            told.left == lease.left,
            f"a client was told of {told.left} requeues left, not {lease.left}",
            told,
        )
