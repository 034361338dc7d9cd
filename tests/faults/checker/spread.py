"""I11 and I15 of a type that is spread over shards. From the audit and the history.

- Each queue is at home in one shard, the one that the hash of its queue_id says (I11).
- A pause of the type that clients were told of has reached each shard while they waited for the
  answer, and so has a resume (I15). What a pause does in a shard is for `limits`: each shard is a
  type of its own there.
- Nothing is paused or resumed that nobody has asked for (I12).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Final
from zlib import crc32

from sharq.operations.sharding import is_shard, shards_in, type_of
from tests.faults.audit import Entry
from tests.faults.checker.levels import WHOLE, split_name
from tests.faults.checker.replay import Job, Queue
from tests.faults.checker.report import Report
from tests.faults.history import Event

_SURE: Final = 5
"""Milliseconds by which the clocks of the store and of the history may differ."""


class Spread:
    """The checks. `wall_minus_t` (µs): how far the time of day is ahead of the history's times."""

    def __init__(self, report: Report, wall_minus_t: int) -> None:
        self._report = report
        self._wall_minus_t = wall_minus_t
        self._pauses: defaultdict[str, list[int]] = defaultdict(list)
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._asked: Counter[str] = Counter()
        self._told: list[tuple[Event, Event]] = []

    def on_any(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """Whatever is done to a queue."""
        if not is_shard(entry.type):
            return
        self._names[type_of(entry.type)].add(entry.type)
        if split_name(entry.queue) is None:
            home = crc32(entry.queue.encode()) % shards_in(entry.type)
            shard = int(entry.type.split(":")[1].partition(".")[0])
            self._report["I11"].expect(
                shard == home, f"{entry.queue} is in {entry.type}, and at home in {home}", entry
            )

    def on_pause(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """Something is paused, or resumed."""
        if is_shard(entry.type) and entry.queue == WHOLE:
            self._pauses[entry.type].append(entry.at)

    def on_changed(self, invoke: Event, end: Event | None) -> None:
        """An operation on a queue or a type is over."""
        if invoke.op != "pause" or invoke.queue != WHOLE or invoke.type not in self._names:
            return
        if end is None or end.e != "fail":
            self._asked[invoke.type] += 1
        if end is not None and end.e == "ok":
            self._told.append((invoke, end))

    def at_end(self) -> None:
        """Hold the answers against what the shards did."""
        for invoke, end in self._told:
            names = self._names[invoke.type]
            missing = [name for name in sorted(names) if not self._is_paused(name, invoke, end)]
            all_there = len(names) == shards_in(next(iter(names)))
            self._report["I15"].expect(
                all_there and not missing,
                f"a pause of {invoke.type} was confirmed before {missing or 'all shards'} had it",
                invoke,
                end,
            )
        for name in self._pauses:
            self._report["I12"].expect(
                self._asked[type_of(name)] > 0, f"nobody has asked for a pause of {name}"
            )

    def _is_paused(self, name: str, invoke: Event, end: Event) -> bool:
        pauses = self._pauses[name]
        at = bisect_left(pauses, self._ms(invoke.t) - _SURE)
        return at < len(pauses) and pauses[at] <= self._ms(end.t) + _SURE

    def _ms(self, t: int) -> float:
        return (t + self._wall_minus_t) / 1000
