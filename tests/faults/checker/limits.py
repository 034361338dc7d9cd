"""I4, rates; I14, concurrency; I15, pauses: of queues, groups and types. From the audit.

The limits in force, the TAT and the leases of each level are worked out from the entries (`levels`,
`replay`): dispatches with their costs, the real costs that were told, changes of intervals, bursts
and groups. Each dispatch is judged on the state before it, at its queue, its group and its type:

- I4: it comes when now is at least TAT - (burst - 1) * interval, on the tick of the script's clock:
  a ms, or a µs where the interval has decimals. A step back of the clock makes nothing early. The
  state of a queue without jobs whose TAT has passed begins anew.
- I14: the level has fewer leases than its concurrency. At the end, the counts that the store keeps
  of a queue, a group and a limited type are those of the leases that are there.
- I15: no pause lasts. Where the clock was moved back since the pause was set, it may have ended
  meanwhile and is not judged.

What becomes of a rate in a worker is in `starts`. I11 takes what the scripts say is in force, see
`isolation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from tests.faults.audit import Entry
from tests.faults.checker.replay import ACTIVE, Job, Queue, Replay
from tests.faults.checker.report import Report

_ERROR: Final = 0.002
"""By how many ms a sum of fractions may be wrong."""


class Limits:
    """The checks of I4, I14 and I15."""

    def __init__(self, report: Report, replay: Replay) -> None:
        self._rates = report["I4"]
        self._concurrency = report["I14"]
        self._pauses = report["I15"]
        self._replay = replay

    def on_dispatch(self, entry: Entry, queue: Queue, _job: Job | None) -> None:
        """A job is leased."""
        of_type = self._replay.types[entry.type]
        for name, level in of_type.levels(queue):
            if level.tat and level.interval:
                early = level.rate_allows_at - level.tick(entry.now, entry.us)
                self._rates.expect(
                    early <= _ERROR,
                    f"{name}: {early:g} ms early, the interval is {level.interval:g},"
                    f" the burst {level.burst}",
                    entry,
                )
            if level.concurrency:
                self._concurrency.expect(
                    not level.full,
                    f"{name} has {level.leased} leases, its concurrency is {level.concurrency}",
                    entry,
                )
            if level.paused_at is not None and level.paused_at > of_type.back:
                now = entry.now + entry.us / 1000
                self._pauses.expect(
                    not level.is_paused(now), f"{name} is paused till {level.paused}", entry
                )

    def at_end(self, snapshot: Mapping[str, Any]) -> None:
        """Compare the counts in the store with the leases."""
        levels = snapshot.get("levels", ())
        groups = {(of["type"], of["level"]): f"={of['group']}" for of in levels if of["group"]}
        leases: Counter[tuple[str, str]] = Counter()
        for job in snapshot["jobs"]:
            if job["state"] == ACTIVE:
                queue = job["type"], job["queue"]
                leases.update((queue, (job["type"], "=")))
                if queue in groups:
                    leases[job["type"], groups[queue]] += 1
        counted = {(of["type"], of["level"]): of["leased"] for of in levels}
        for level in counted.keys() | {level for level in leases if level[1] != "="}:
            if levels:
                self._concurrency.expect(
                    counted.get(level, 0) == leases[level],
                    f"{'/'.join(level)} counts {counted.get(level, 0)} leases of {leases[level]}",
                )
