"""I4: two dispatches of a queue are never closer than the interval in force. From the audit.

The gap is that between the ticks (ms) of the script's clock, as the rule has it, and the interval
is the one in force at the second dispatch: that of the last enqueue, or of the Interval API while
that stands. It is worked out from the entries, not taken from the script. A step back of the clock
makes the gap smaller, or negative, and the dispatch too early: it had to wait. A pair counts where
the rate state has lived through: a queue without jobs whose interval has passed begins anew.

What becomes of the limit in a worker is in `starts`.

I11 takes what the scripts say is in force, see `isolation`.
"""

from __future__ import annotations

from tests.faults.audit import Entry
from tests.faults.checker.replay import Job, Queue
from tests.faults.checker.report import Report


class Limits:
    """The checks of I4."""

    def __init__(self, report: Report) -> None:
        self._tally = report["I4"]

    def on_dispatch(self, entry: Entry, queue: Queue, _job: Job | None) -> None:
        """A job is leased."""
        if queue.last is None or not queue.interval:
            return
        self._tally.checked += 1
        gap = entry.now - queue.last
        if gap < queue.interval:
            self._tally.violate(
                f"{entry.type}/{entry.queue}: {gap} ms after the last dispatch,"
                f" the interval is {queue.interval}",
                entry,
            )
