"""I9: counters of queues add up to the global ones and to the audit. From the audit and a snapshot.

Each enqueue and each dispatch is counted in a minute of the script's clock; the audit tells which.
The last snapshot, taken when nothing moves any more, has the counters of each type: for each minute
its own sums, `e` and `d`, and those of its queues. Of the ten minutes that users are shown, up to
the last one in which something was counted or to the `now` (ms) of the snapshot, each number is
what the audit has, and those of the queues add up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from tests.faults.audit import Entry
from tests.faults.checker.replay import Job, Queue
from tests.faults.checker.report import Report

_MINUTE: Final = 60_000
_SHOWN: Final = 10

_Counts = dict[str, list[int]]


class Counters:
    """The checks of I9."""

    def __init__(self, report: Report) -> None:
        self._tally = report["I9"]
        self._counts: dict[tuple[str, int], _Counts] = defaultdict(lambda: defaultdict(_nothing))

    def on_enqueue(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A job is put in."""
        self._counts[entry.type, entry.now // _MINUTE][entry.queue][0] += 1

    def on_dispatch(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A job is leased."""
        self._counts[entry.type, entry.now // _MINUTE][entry.queue][1] += 1

    def at_end(self, snapshot: Mapping[str, Any]) -> None:
        """Compare with the snapshot."""
        found: dict[tuple[str, int], Mapping[str, Any]] = {
            (queue_type, int(minute)): counts
            for queue_type, minutes in snapshot["counters"].items()
            for minute, counts in minutes.items()
        }
        last = max((minute for _, minute in self._counts), default=0)
        last = max(last, snapshot.get("now", 0) // _MINUTE)
        for key in sorted(self._counts.keys() | found.keys()):
            if last - _SHOWN < key[1] <= last:
                self._compare(f"{key[0]}, minute {key[1]}", self._counts[key], found.get(key, {}))

    def _compare(self, name: str, counted: _Counts, found: Mapping[str, Any]) -> None:
        queues = found.get("queues", {})
        for at, kind in enumerate("ed"):
            sum_of_audit = sum(counts[at] for counts in counted.values())
            sum_of_queues = sum(queue[kind] for queue in queues.values())
            whole = found.get(kind, 0)
            self._tally.expect(
                whole == sum_of_audit == sum_of_queues,
                f"{name}: {kind} is {whole}, of the queues {sum_of_queues},"
                f" of the audit {sum_of_audit}",
            )
            for queue in counted.keys() | queues.keys():
                there = queues[queue][kind] if queue in queues else 0
                self._tally.expect(
                    there == counted[queue][at],
                    f"{name}: {kind} of {queue} is {there}, of the audit {counted[queue][at]}",
                )


def _nothing() -> list[int]:
    return [0, 0]
