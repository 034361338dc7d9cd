"""I4, where the work begins: a worker process starts no two handlers of a queue closer than that.

From the history, by the one monotonic clock of a machine; the store's own clock decides dispatches,
see `limits`. The interval is the one in force at the second job's dispatch, as the audit has it,
and a pair counts where the rate state has lived through: the worker is told no more than that. It
holds whatever came between: a SIGSTOP of the worker, too, after which all comes at once.

A worker decides that a handler starts, and the handler runs its first line: in between the machine
may let others run. So the second handler has to begin an interval after the decision for the first,
which may be earlier than the beginning of the first by `LATE` at most, or by a stop of the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.faults.checker.replay import Lease
from tests.faults.checker.report import Report
from tests.faults.history import Event

Span = tuple[int, int]
"""From when to when something lasted, in µs of the history."""

LATE: Final = 250_000
"""So many µs a handler begins after its worker's decision at most, on a busy machine."""

_TICK: Final = 1000
"""Intervals are kept on ticks of a millisecond (µs)."""


class Starts:
    """The checks of I4 on workers. `stops`: when each worker was stopped, by its name."""

    def __init__(self, report: Report, stops: Mapping[str, Sequence[Span]]) -> None:
        self._tally = report["I4"]
        self._stops = stops
        self._last: dict[tuple[str, str, str], Event] = {}

    def on_delivery(self, told: Event, lease: Lease) -> None:
        """A client was told of a job; `started` is set where that is a handler that has begun."""
        if not told.started:
            return
        key = told.p, told.type, told.queue
        last, self._last[key] = self._last.get(key), told
        if last is None or not lease.spacing:
            return
        gap = told.t - self._decided(last)
        self._tally.expect(
            gap + _TICK >= lease.spacing * 1000,
            f"{told.p} starts a handler of {told.type}/{told.queue} {gap / 1000:.1f} ms after the"
            f" one before it, the interval is {lease.spacing}",
            last,
            told,
        )

    def _decided(self, note: Event) -> int:
        """When the worker had the handler begin, as far as that may lie before its beginning."""
        worker = note.p.partition(".")[0]
        stopped = any(
            begin <= note.t and end >= note.started for begin, end in self._stops.get(worker, ())
        )
        return note.started if stopped else max(note.started, note.t - LATE)
