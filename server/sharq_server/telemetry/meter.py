"""What one process counts, as it happens: each method is called from one place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sharq import results
from sharq.errors import StoreError
from sharq.observed import Growing
from sharq.results import Ended, Swept
from sharq_server.telemetry import fields
from sharq_server.telemetry._cells import Cells, Durations, Outcomes
from sharq_server.telemetry.cells import Slot, Table
from sharq_server.telemetry.fields import Histogram

_ENQUEUED: Final = {
    results.QUEUED: fields.ENQUEUED,
    results.FULL: fields.REFUSED.of("queue_full"),
    results.CONFLICT: fields.REFUSED.of("job_conflict"),
}

# By what was told of a lease, and by the outcome.
_ENDED: Final = {
    ("finish", results.SUCCESS): fields.FINISHED,
    ("release", results.SUCCESS): fields.REQUEUED.of("released"),
    ("return", results.SUCCESS): fields.REQUEUED.of("released"),
    ("fail", results.SUCCESS): fields.REQUEUED.of("failed"),
    ("disconnect", results.SUCCESS): fields.REQUEUED.of("disconnected"),
    ("reject", results.DEAD): fields.DEAD.of("rejected"),
    **{
        (how, results.DEAD): fields.DEAD.of("exhausted")
        for how in ("release", "return", "fail", "disconnect")
    },
}

_STATUS: Final = {
    int(value): fields.ANSWERED.of(value) for value in fields.ANSWERED.values if value != "other"
}
_OTHER_STATUS: Final = fields.ANSWERED.of("other")

_ERRORS: Final = {code: fields.STORE_ERRORS.of(code) for code in fields.STORE_ERRORS.values}
_INTERNAL: Final = fields.STORE_ERRORS.of("internal")


class TypeUse(NamedTuple):
    """The subscribers of a queue type at a process: by their mode, and what they may hold.

    `held` are leases, `free` is the room for more.
    """

    deliver: int = 0
    notify: int = 0
    poll: int = 0
    held: int = 0
    free: int = 0


class Meter:
    """Counts for the process whose slot it is. It is the `Observer` of the engine."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._cells = slot.cells
        self._type = slot.types.block
        self._add = Cells(slot.cells).add
        self.on_answer: Final = _durations(slot, slot.scripts, fields.CALL_DURATION).add
        self.on_request: Final = _durations(slot, slot.routes, fields.REQUEST_DURATION).add_answer
        """A request for a route, by its template, was answered: with its status, after seconds."""
        types = slot.types
        self.on_enqueued: Final = Outcomes(slot.cells, types.known, types.block, _ENQUEUED).add
        self._delays = _durations(slot, types, fields.DISPATCH_DELAY)
        self._leases = _durations(slot, types, fields.LEASE_DURATION)
        self._round_claimed = False
        self.growing: Final[dict[str, Growing]] = {}
        """Who is told of each job that is enqueued, by the types that somebody watches."""

    # Told by the engine

    def on_dispatched(self, queue_type: str, count: int, ready_ms: int | None) -> None:
        self._add(self._type(queue_type) + fields.DISPATCHED, count)
        if ready_ms is not None:
            self._delays.add(queue_type, ready_ms / 1000)

    def on_ended(self, queue_type: str, how: str, outcome: Ended) -> None:
        cell = _ENDED.get((how, outcome.outcome))
        if cell is not None:
            self._add(self._type(queue_type) + cell, 1)

    def on_swept(self, queue_type: str, swept: Swept) -> None:
        if swept.returned or swept.discarded:
            at = self._type(queue_type)
            self._cells[at + fields.REQUEUED.of("expired")] += swept.returned
            self._cells[at + fields.DEAD.of("expired")] += swept.discarded

    def on_round_claimed(self) -> None:
        self._round_claimed = True

    def on_failure(self, error: StoreError) -> None:
        self._cells[_ERRORS.get(error.code, _INTERNAL)] += 1

    # Told by the server

    def on_lease_ended(self, queue_type: str, seconds: float) -> None:
        """A lease that a connection has held for `seconds` has ended."""
        self._leases.add(queue_type, seconds)

    def on_wakeups(self, result: str, count: int) -> None:
        """Wake-ups have led to something. `result`: taken, handed_on or in_vain."""
        self._cells[fields.WAKEUPS.of(result)] += count

    def on_swept_all(self) -> None:
        """A sweep has ended without a failure; what counts is one that was a round."""
        if self._round_claimed:
            self._round_claimed = False
            self._cells[fields.SWEPT_AT] = time.time_ns() // 1_000_000

    def on_scrape(self) -> None:
        """The process was asked for the metrics of all."""
        self._cells[fields.SCRAPED_AT] = int(time.time())

    def publish(self, connections: Sequence[int], types: Mapping[str, TypeUse]) -> None:
        """Tell how many there are now, `connections` by their kind; the others are none."""
        cells = self._cells
        for cell, count in zip(fields.PROCESS_GAUGES, connections, strict=True):
            cells[cell] = count
        told: dict[int, TypeUse] = {}
        for queue_type, use in types.items():
            at = self._type(queue_type)
            before = told.get(at, TypeUse())
            told[at] = TypeUse(*map(sum, zip(before, use, strict=True)))
        for at in self._slot.types.starts():
            for cell, count in zip(fields.TYPE_GAUGES, told.get(at, TypeUse()), strict=True):
                cells[at + cell] = count


def _durations(slot: Slot, table: Table, histogram: Histogram) -> Durations:
    return Durations(
        slot.cells,
        table.known,
        table.block,
        histogram.at,
        histogram.bounds,
        _STATUS,
        _OTHER_STATUS,
    )
