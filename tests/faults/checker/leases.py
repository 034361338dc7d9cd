"""I3, one lease, one holder; I6, a finish is final. From the audit.

Each dispatch, finish, return, discard and extension is held against what was in the store before
it:

- I3: a job is dispatched only while it waits, so that a second delivery comes after the end of the
  first lease and one return between; numbers of leases only rise; a lease runs out at its end and
  not before, and an extension never shortens it.
- I6: what has ended is not delivered again; only the lease that holds a job ends, returns or
  extends it, and a stale one changes nothing. What clients were told of that is in `replies`.
"""

from __future__ import annotations

from tests.faults.audit import Entry
from tests.faults.checker.replay import ACTIVE, QUEUED, Job, Queue, Replay
from tests.faults.checker.report import Report


class Leases:
    """The checks of I3 and I6."""

    def __init__(self, report: Report, replay: Replay) -> None:
        self._holder = report["I3"]
        self._final = report["I6"]
        self._replay = replay

    def on_dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """A job is leased."""
        self._holder.expect(
            job is None or job.state == QUEUED,
            f"job {entry.job} is dispatched while lease {_number(job)} holds it",
            entry,
        )
        last_n = self._replay.types[entry.type].last_n
        self._holder.expect(entry.n > last_n, f"lease number {entry.n} comes after {last_n}", entry)
        past = queue.past.get(entry.job) if job is None else None
        self._final.expect(
            past is None, f"job {entry.job} is dispatched after it was {past and past.state}", entry
        )

    def on_finish(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is finished."""
        self._expect_held(entry, job)

    def on_return(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job waits again."""
        self._expect_held(entry, job)
        self._expect_run_out(entry)

    def on_dead(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is discarded."""
        self._expect_held(entry, job)
        self._expect_run_out(entry)

    def on_cancel(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is removed: one that waits, or by the lease that holds it."""
        if entry.n:
            self._expect_held(entry, job)
        else:
            waits = job is None or job.state == QUEUED
            self._final.expect(waits, f"job {entry.job} is cancelled while it is leased", entry)

    def on_extend(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A lease ends later."""
        self._expect_held(entry, job)
        lease = self._replay.lease(entry.type, entry.n)
        if lease is not None:
            self._holder.expect(
                entry.ends >= lease.ends, f"an extension shortens a lease from {lease.ends}", entry
            )

    def _expect_held(self, entry: Entry, job: Job | None) -> None:
        held = job is not None and job.state == ACTIVE and _number(job) == entry.n
        self._final.expect(held, f"a {entry.what} under a lease that does not hold the job", entry)

    def _expect_run_out(self, entry: Entry) -> None:
        """The sweep takes what has run out."""
        lease = self._replay.lease(entry.type, entry.n)
        if entry.script == "requeue" and lease is not None:
            self._holder.expect(
                lease.ends <= entry.now,
                f"a lease is ended before it runs out at {lease.ends}",
                entry,
            )


def _number(job: Job | None) -> int | None:
    return job.lease.n if job is not None and job.lease is not None else None
