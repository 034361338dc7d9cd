"""The wake-ups of a type that a server has got, until it has asked the store for jobs."""

from __future__ import annotations

from sharq_server.telemetry.meter import Meter


class News:
    """Counts what becomes of wake-ups."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._wakeups = 0

    def on_wakeup(self) -> None:
        """The store says that a job is ready, or will be sooner."""
        self._wakeups += 1

    def take(self) -> int:
        """The store is asked now: because of so many wake-ups."""
        wakeups, self._wakeups = self._wakeups, 0
        return wakeups

    def put_back(self, wakeups: int) -> None:
        """The store has not answered."""
        self._wakeups += wakeups

    def answered(self, wakeups: int, jobs: int) -> None:
        """The store has given jobs, or let this server offer some, or none."""
        if wakeups:
            self._meter.on_wakeups("taken" if jobs else "in_vain", wakeups)

    def handed_on(self) -> None:
        """Nobody here has room: another server is told."""
        if wakeups := self.take():
            self._meter.on_wakeups("handed_on", wakeups)
