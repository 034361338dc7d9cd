"""The leases that a worker holds: those of jobs that wait, of handlers that run, and of late ones.

Pure: times are in seconds, by the monotonic clock of the process.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

from sharq.worker.job import LeasedJob
from sharq.worker.prefetch import SOON

_EXTEND_AGAIN: Final = 1.0


class Leases:
    """A job waits from `add` to `claim`; its lease is held until it is answered or lost.

    A handler that goes on after its lease is late: it occupies a place without the server's
    knowledge. `timeout` is how long a handler's lease is extended, None: without limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._jobs: dict[str, LeasedJob] = {}
        self._waiting: dict[str, LeasedJob] = {}
        self._late: set[str] = set()

    def __contains__(self, lease: str) -> bool:
        return lease in self._jobs

    @property
    def late(self) -> int:
        """How many handlers go on without a lease."""
        return len(self._late)

    @property
    def wait(self) -> bool:
        """Whether there is a job whose handler has not started."""
        return bool(self._waiting)

    def get(self, lease: str) -> LeasedJob | None:
        """The job of a lease that is held."""
        return self._jobs.get(lease)

    def of_type(self, queue_type: str) -> list[str]:
        """The leases of a queue type."""
        prefix = f"{queue_type}/"
        return [lease for lease in self._jobs if lease.startswith(prefix)]

    def add(self, jobs: Iterable[LeasedJob]) -> list[LeasedJob]:
        """Hold the leases of jobs that wait from now on.

        Returns those that are new: a lease that is held already is no other job.
        """
        new = {job.lease: job for job in jobs if job.lease not in self._jobs}
        self._jobs.update(new)
        self._waiting.update(new)
        return list(new.values())

    def claim(self, job: LeasedJob) -> bool:
        """Claim a waiting job, to start it or to give it back; False if it does not wait.

        May be called from any thread: if two claim a job, one gets it.
        """
        return self._waiting.pop(job.lease, None) is not None

    def overdue(self, now: float) -> list[LeasedJob]:
        """Claim the jobs that have waited too long; another worker can start them."""
        if not self._waiting:
            return []
        return [
            job
            for job in tuple(self._waiting.values())
            if now - job.arrived_at > min(SOON, job.lease_seconds / 2) and self.claim(job)
        ]

    def ended(self, lease: str) -> bool:
        """A handler has ended; whether its lease is still held."""
        self._late.discard(lease)
        return lease in self._jobs

    def drop(self, lease: str) -> None:
        """The end of a lease has been answered."""
        self._jobs.pop(lease, None)
        self._waiting.pop(lease, None)

    def lose(self, lease: str, *, told: bool) -> LeasedJob | None:
        """A lease has ended by itself; its job, if it was held. `told`: its handler has ended."""
        job = self._jobs.pop(lease, None)
        if job is None:
            return None
        waited = self._waiting.pop(lease, None) is not None
        if not (waited or told):
            self._late.add(lease)
        job.lease_lost = True
        return job

    def to_extend(self, now: float, told: Container[str]) -> dict[int, list[str]]:
        """The leases of running handlers of which half is over, by the ms of their extension.

        Nobody needs those whose end is in `told`.
        """
        due: dict[int, list[str]] = {}
        for job in self._jobs.values():
            if job.started_at is None or job.lease in told:
                continue
            half = job.lease_seconds / 2
            if job.until - now > half or now - job.extended_at < min(half, _EXTEND_AGAIN):
                continue
            seconds = job.lease_seconds
            if self._timeout is not None:
                seconds = min(seconds, job.started_at + self._timeout - now)
            if seconds > 0:
                job.extended_at = now
                due.setdefault(max(1, round(seconds * 1000)), []).append(job.lease)
        return due
