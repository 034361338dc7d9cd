"""I8: expired jobs are back in time, service is back in time, and nothing is stuck.

- From the audit: the sweep takes a lease back within `job_requeue_interval` and a grace after it
  has run out, in real time. Both clocks of an entry tell how far the script's clock is from the
  store's, so that a step of that clock is no delay: a lease that ran out because of a step did so
  at the step.
- While the store, the node of a type or all servers are out of order (`outages`) nothing is due.
  After it, service must be back within 5 s, and then what is late has the same time again.
- From the history: after an outage an operation succeeds within these 5 s, where clients have
  tried. Where the harness has measured how soon a server was back (`recovered`), the same.
- From the drained state: no job is left. One that is, is of a type that is stuck.
- At the end no lease that has run out is still held.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from tests.faults.audit import Entry
from tests.faults.checker.outages import RECOVERY_MS, ByType
from tests.faults.checker.replay import ACTIVE, Job, Queue, Replay
from tests.faults.checker.report import Report
from tests.faults.history import Event

GRACE_MS: Final = 2_000
"""What a busy machine may take, beyond what the configuration says."""


class Liveness:
    """The checks of I8. `within` (ms): how long an expired lease may be held."""

    def __init__(self, report: Report, replay: Replay, within: float, outages: ByType) -> None:
        self._tally = report["I8"]
        self._replay = replay
        self._within = within
        self._outages = outages

    def on_return(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A job waits again."""
        self._on_expiry(entry)

    def on_dead(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A job is discarded."""
        self._on_expiry(entry)

    def _on_expiry(self, entry: Entry) -> None:
        lease = self._replay.lease(entry.type, entry.n)
        if entry.script != "requeue" or lease is None:
            return
        due = self._ran_out_at(entry.type, lease.ends)
        self._tally.expect(
            entry.at <= self._outages.of(entry.type).deadline(due, self._within),
            f"a lease is taken back {entry.at - due:.0f} ms after it ran out",
            entry,
        )

    def _ran_out_at(self, queue_type: str, ends: int) -> float:
        of_type = self._replay.types[queue_type]
        return max(ends - (of_type.offset or 0), of_type.moved)

    def on_recovered(self, note: Event) -> None:
        """The harness has measured how soon a server works after the store is back."""
        self._tally.expect(
            note.ms <= RECOVERY_MS, f"{note.server} worked again after {note.ms} ms", note
        )

    def on_times(self, invoked: list[float], succeeded: list[float]) -> None:
        """When operations began and when some succeeded (ms), both sorted."""
        for end, undisturbed in self._outages.whole.ends():
            until = end + RECOVERY_MS
            if undisturbed < RECOVERY_MS:
                continue
            first = bisect_left(invoked, end)
            # Somebody has tried early enough to see it.
            if first < len(invoked) and invoked[first] < until - RECOVERY_MS / 2:
                success = bisect_left(succeeded, end)
                self._tally.expect(
                    success < len(succeeded) and succeeded[success] <= until,
                    f"nothing succeeds within 5 s of the end of the faults at {end:.0f} ms",
                )

    def at_end(self, last_at: int, drained: bool) -> None:
        """Look at what is left; `last_at` (ms) is the time of the last entry."""
        for of_type in self._replay.types.values():
            left = [job for queue in of_type.queues.values() for job in queue.jobs.values()]
            if drained:
                self._tally.expect(
                    not left, f"{len(left)} jobs of {of_type.name} are stuck, {_some(left)}"
                )
            overdue = [
                job for job in left if job.state == ACTIVE and self._is_overdue(job, last_at)
            ]
            self._tally.expect(
                not overdue, f"{len(overdue)} leases are not taken back, of {_some(overdue)}"
            )

    def _is_overdue(self, job: Job, last_at: int) -> bool:
        if job.lease is None:
            return False
        due = self._ran_out_at(job.queue.type, job.lease.ends)
        return self._outages.of(job.queue.type).deadline(due, self._within) < last_at


def _some(jobs: list[Job]) -> str:
    return ", ".join(f"{job.queue.id}/{job.id}" for job in jobs[:5])
