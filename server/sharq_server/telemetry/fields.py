"""What a process counts, and the cell of each: the bounds of all labels. Pure.

A cell holds an unsigned number of 64 bits. The cells of a block belong to one queue type, route or
script, or to the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

OTHER: Final = "_other"
"""The label for what has no place of its own. No queue type has a name like it."""

MOST_NAMED: Final = 100
"""Queue types that are told by name, at most."""


class Counters(NamedTuple):
    """Cells for the values of one label, from `at` on."""

    at: int
    values: tuple[str, ...]

    def of(self, value: str) -> int:
        """The cell of a value, which is one of them."""
        return self.at + self.values.index(value)


class Histogram(NamedTuple):
    """Cells from `at` on: one for each bucket, one for what is above all, and the sum in ns.

    `bounds` are in seconds.
    """

    at: int
    bounds: tuple[float, ...]

    @property
    def sum_at(self) -> int:
        """The cell of the sum."""
        return self.at + len(self.bounds) + 1


class Block:
    """Hands out the cells of a block; `width` is their number."""

    def __init__(self) -> None:
        self.width = 0

    def counters(self, values: Iterable[str]) -> Counters:
        """A cell for each value of a label."""
        counters = Counters(self.width, tuple(values))
        self.width += len(counters.values)
        return counters

    def cell(self) -> int:
        """One cell."""
        return self.counters(("",)).at

    def histogram(self, bounds: tuple[float, ...]) -> Histogram:
        """The cells of a histogram."""
        histogram = Histogram(self.width, bounds)
        self.width += len(bounds) + 2
        return histogram


# Of a queue type.

_type = Block()
ENQUEUED: Final = _type.cell()
DISPATCHED: Final = _type.cell()
FINISHED: Final = _type.cell()
REQUEUED: Final = _type.counters(("expired", "released", "failed", "disconnected"))
DEAD: Final = _type.counters(("exhausted", "expired", "rejected"))
REFUSED: Final = _type.counters(("queue_full", "job_conflict"))
DISPATCH_DELAY: Final = _type.histogram((0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5))
LEASE_DURATION: Final = _type.histogram((0.01, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0, 1800.0))
SUBSCRIBERS: Final = _type.counters(("deliver", "notify", "poll"))
CREDIT: Final = _type.counters(("held", "free"))
TYPE_WIDTH: Final = _type.width

# Of a route.

_STATUSES: Final = (
    *(200, 201, 202, 204),
    *(400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 417, 426, 429, 431),
    *(500, 503),
)
_route = Block()
ANSWERED: Final = _route.counters((*map(str, _STATUSES), "other"))
REQUEST_DURATION: Final = _route.histogram((0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0))
ROUTE_WIDTH: Final = _route.width

# Of a script.

_script = Block()
CALL_DURATION: Final = _script.histogram((0.0002, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.5))
SCRIPT_WIDTH: Final = _script.width

# Of the process.

_process = Block()
SCRAPED_AT: Final = _process.cell()
"""When this process was last asked for its metrics (epoch, seconds)."""
SWEPT_AT: Final = _process.cell()
"""When a round of the sweep has ended (epoch, ms)."""
WAKEUPS: Final = _process.counters(("taken", "handed_on", "in_vain"))
STORE_ERRORS: Final = _process.counters(
    ("store_unavailable", "store_full", "store_auth", "store_error", "overloaded", "internal")
)
CONNECTIONS: Final = _process.counters(("http", "websocket"))
PROCESS_WIDTH: Final = _process.width

TYPE_GAUGES: Final = (*range(SUBSCRIBERS.at, CREDIT.at + len(CREDIT.values)),)
PROCESS_GAUGES: Final = (*range(CONNECTIONS.at, CONNECTIONS.at + len(CONNECTIONS.values)),)
"""Cells that tell how many there are now: of a process that has died, they tell nothing."""
