"""I11: nothing in one queue affects another. From the audit and the state at the end.

Each queue is replayed by itself: what its own entries do not explain came from elsewhere. So, for
each entry of a queue, what the script found there must be what the queue's own past left there:
the interval in force, the places in the order of enqueues (one after another, or from the first
one anew where the queue was without jobs), the number of jobs and leases that a clear met, of a
purge those of this queue alone. A dispatch is of a job with the place that it had, and is charged
to the group of its queue.
"""

from __future__ import annotations

from tests.faults.audit import Entry
from tests.faults.checker.replay import PLACES, Job, Queue
from tests.faults.checker.report import Report


class Isolation:
    """The checks of I11."""

    def __init__(self, report: Report) -> None:
        self._tally = report["I11"]

    def on_enqueue(self, entry: Entry, queue: Queue, _job: Job | None) -> None:
        """A job is put in."""
        in_force = queue.interval if queue.api_stands(entry.now) else entry.asked
        place = entry.place % PLACES
        self._tally.expect(
            entry.interval == in_force,
            f"{entry.type}/{entry.queue} has the interval {entry.interval}, its own is {in_force}",
            entry,
        )
        self._tally.expect(
            place == queue.place + 1 or (place == 1 and queue.idle),
            f"place {place} comes after {queue.place}",
            entry,
        )

    def on_dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """A job is leased."""
        if entry.charged:
            group = queue.group.name if queue.group is not None else ""
            charged = entry.charged.split(";")[2].rpartition(",")[2]
            self._tally.expect(
                charged == group,
                f"group {charged!r} was charged for {entry.type}/{entry.queue} of {group!r}",
                entry,
            )
        if job is not None:
            self._tally.expect(
                entry.place == job.place, f"job {job.id} had the place {job.place}", entry
            )

    def on_clear(self, entry: Entry, queue: Queue, _job: Job | None) -> None:
        """A queue is cleared."""
        self._tally.expect(
            entry.removed == queue.waiting,
            f"a clear removed {entry.removed} jobs of the {queue.waiting} that waited",
            entry,
        )
        if entry.purge:
            self._tally.expect(
                entry.ended == queue.leased,
                f"a purge ended {entry.ended} leases of the {queue.leased} of the queue",
                entry,
            )
