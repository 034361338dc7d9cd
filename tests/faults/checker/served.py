"""For how long a node's types are not served when something is done to the node.

From the history of the probes, which put jobs into one type of each primary and take them by the
library; see `tests.faults.probes`. Where a replica is promoted, the time counts from then on, or,
where its primary takes no writes without replicas, from when it had them (`able`).

I8: an enqueue and a dispatch succeed within `RECOVERY_MS` of that; the target is `TARGET_MS`, and
how often it was missed is told. I11: types of other nodes are never without service for
`NOTICED_MS`, but for stretches in which the probes themselves were late (`stall`).

Dispatches are not looked at for a while after a step of the clock.
"""

from __future__ import annotations

import statistics
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tests.faults.checker.outages import RECOVERY_MS
from tests.faults.checker.ready import STEPPED
from tests.faults.checker.report import Report
from tests.faults.history import Event
from tests.faults.schedule import is_of_node

TARGET_MS: Final = 1_500
NOTICED_MS: Final = 2_000

_AFTER: Final = 3_000_000
"""µs after a fault for which is looked."""

_OPERATIONS: Final = ("enqueue", "dispatch")


class Outage(NamedTuple):
    """What one fault did to the service of a node's types. Times are in ms.

    `gap`: the longest time without an enqueue or a dispatch that succeeded, None where no type of a
    probe is concerned; `since`: until the first one after the promotion, by operation, None where
    none was promoted; `others`: the longest time without either of types of other nodes, None where
    there are none.
    """

    kind: str
    gap: float | None
    since: dict[str, float] | None
    others: float | None


class Row(NamedTuple):
    """The outages of a kind of fault; times in ms, medians and longest."""

    kind: str
    count: int
    gap: tuple[float, float] | None
    enqueue: tuple[float, float] | None
    dispatch: tuple[float, float] | None
    late: int
    """How many were longer than the target."""

    others: float | None


class Served:
    """Looks at the service. `probes` are the types of the probes."""

    def __init__(self, report: Report, notes: Iterable[Event], probes: Iterable[str]) -> None:
        self._report = report
        self._notes = list(notes)
        self._probes = tuple(probes)
        self._times: defaultdict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))
        self._stalls: list[tuple[int, int]] = []
        self._steps = [note.t for note in self._notes if note.op.startswith("step the clock")]
        self.outages: list[Outage] = []

    def on_served(self, op: str, queue_type: str, p: str, t: int) -> None:
        """Something succeeded."""
        if queue_type in self._probes and p.startswith(queue_type):
            self._times[queue_type, op].append(t)

    def on_note(self, note: Event) -> None:
        """A process was late."""
        if note.op == "stall" and note.p == "probes":
            self._stalls.append((note.t - note.ms * 1000, note.t))

    def at_end(self) -> None:
        """Judge all faults."""
        begun: Event | None = None
        origin = 0
        promoted = False
        for note in self._notes:
            if is_of_node(note.op) and note.phase == "begin":
                begun, origin, promoted = note, note.t, False
            elif begun is None:
                continue
            elif note.op == "promoted" and set(note.types) & set(begun.types):
                origin, promoted = note.t, True
            elif note.op == "able" and promoted and set(note.types) & set(begun.types):
                origin = max(origin, note.t)
            elif note.op == begun.op and note.phase == "end":
                self._judge(begun, note, origin if promoted else None)
                begun = None

    def rows(self) -> Iterator[Row]:
        """A row for each kind."""
        for kind in sorted({outage.kind for outage in self.outages}):
            of_kind = [outage for outage in self.outages if outage.kind == kind]
            since = [outage.since for outage in of_kind if outage.since is not None]
            others = [outage.others for outage in of_kind if outage.others is not None]
            yield Row(
                kind,
                len(of_kind),
                _figures([outage.gap for outage in of_kind if outage.gap is not None]),
                _figures([each["enqueue"] for each in since]),
                _figures([each["dispatch"] for each in since if "dispatch" in each]),
                sum(max(each.values()) > TARGET_MS for each in since),
                max(others, default=None),
            )

    def _judge(self, begun: Event, ended: Event, origin: int | None) -> None:
        ours = [probe for probe in self._probes if probe in begun.types]
        others = [probe for probe in self._probes if probe not in begun.types]
        span = begun.t, ended.t
        since = None
        if origin is not None and ours:
            since = {
                op: max(self._first(probe, op, origin) for probe in ours)
                for op in self._judged(span)
            }
            for op, ms in since.items():
                self._report["I8"].expect(
                    ms <= RECOVERY_MS,
                    f"{begun.op}: no {op} of {ours[0]} for {ms:.0f} ms since a node could",
                    begun,
                    ended,
                )
        noticed = None
        if others:
            noticed = max(self._gap(probe, span) for probe in others)
            self._report["I11"].expect(
                noticed <= NOTICED_MS,
                f"{begun.op}: types of other nodes were not served for {noticed:.0f} ms",
                begun,
                ended,
            )
        gap = max((self._gap(probe, span) for probe in ours), default=None)
        self.outages.append(Outage(begun.op, gap, since, noticed))

    def _judged(self, span: tuple[int, int]) -> Sequence[str]:
        """The operations to look at: after a step of the clock what waits goes on to wait."""
        stepped = any(span[0] - STEPPED * 1000 <= at <= span[1] + _AFTER for at in self._steps)
        return _OPERATIONS[:1] if stepped else _OPERATIONS

    def _first(self, probe: str, op: str, origin: int) -> float:
        times = self._times[probe, op]
        at = bisect_right(times, origin)
        return (times[at] - origin) / 1000 if at < len(times) else float("inf")

    def _gap(self, probe: str, span: tuple[int, int]) -> float:
        """The longest time (ms) between two successes of an operation, less that of stalls."""
        longest = 0.0
        for op in self._judged(span):
            times = self._times[probe, op]
            first = max(0, bisect_left(times, span[0]) - 1)
            last = bisect_right(times, span[1] + _AFTER) + 1
            for before, after in pairwise(times[first:last]):
                if before <= span[1]:
                    longest = max(longest, after - before - self._stalled(before, after))
        return longest / 1000

    def _stalled(self, begin: int, end: int) -> int:
        if end - begin < NOTICED_MS * 500:
            return 0
        return sum(max(0, min(end, till) - max(begin, since)) for since, till in self._stalls)


def _figures(times: list[float]) -> tuple[float, float] | None:
    return (statistics.median(times), max(times)) if times else None
