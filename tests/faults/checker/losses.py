"""What promotions have lost: acknowledged, and not in the audit, which has what has come to stay.

A replica that is promoted may lack the last writes of its primary. So where nobody waits for
replicas (`replicas_acked` is 0), what was acknowledged around a promotion may be lost, and nothing
else: from a second before the fault until after the promotion, of the types of that node; while a
node was cut off, or after it has come back and before it is a replica, it may take writes, too.
What was acknowledged then counts, for all checks, as if its answer had been lost; a delivery of a
lease that the audit does not have is left out. Whatever is missing at any other time is a
violation, and so is a lease number that was given to two jobs.

Where replicas are waited for, nothing may be missing at all, and `exposed` tells how much could
have been.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from tests.faults.checker.replay import DEAD, FINISHED, RETURNED, Replay
from tests.faults.history import Delivered, Event

BEFORE: Final = 1_000_000
"""µs before a fault from which on what was acknowledged may not have reached a replica."""

AFTER: Final = 500_000
"""µs after a promotion in which answers may be on their way."""

UNPROVOKED: Final = 6_000_000
"""µs before a promotion that no fault was the cause of: a node was silent for so long at most."""

LOSING: Final = ("kill a primary", "hang a primary", "cut off a primary", "deafen a primary", "")
"""During which faults a promotion may lose something; "" is none of them."""

_CUT: Final = "cut off a primary"


@dataclass(slots=True)
class Promotion:
    """One that may have lost something, and what.

    `kind` is the fault, `lost` counts by what was acknowledged: `enqueues`, `finishes`,
    `dispatches`, `releases and failures`; `exposed` are all acknowledged operations of that time.
    """

    kind: str
    types: tuple[str, ...]
    lost: Counter[str] = field(default_factory=Counter)
    exposed: int = 0


@dataclass(frozen=True, slots=True)
class _Window:
    begin: int
    end: int
    promotion: Promotion


class Losses:
    """Counts them. `forgiven`: whether there may be some."""

    def __init__(self, notes: Iterable[Event], replay: Replay, *, forgiven: bool) -> None:
        self.forgiven = forgiven
        self.promotions: list[Promotion] = []
        self._replay = replay
        self._windows: defaultdict[str, list[_Window]] = defaultdict(list)
        self._enqueued: defaultdict[tuple[str, str, str], list[Promotion]] = defaultdict(list)
        self._read(notes)
        for windows in self._windows.values():
            windows.sort(key=lambda window: window.begin)

    def end(self, invoke: Event, end: Event | None) -> Event | None:
        """The end of an operation, as far as it counts."""
        if end is None or end.e == "unknown":
            return end
        promotion = self._at(invoke.type, invoke.t, end.t)
        if promotion is None:
            return end
        if end.e == "fail":
            # What was said not to be ready may have been given out, which was lost.
            empty = self.forgiven and invoke.op == "dequeue"
            return replace(end, e="unknown", code="") if empty else end
        promotion.exposed += 1
        if not self.forgiven:
            return end
        if invoke.op == "dequeue":
            jobs = [job for job in end.jobs if self._is_there(invoke.type, job)]
            promotion.lost["dispatches"] += len(end.jobs) - len(jobs)
            return replace(end, jobs=jobs, e="ok" if jobs else "unknown")
        self._count(invoke, end, promotion)
        return replace(end, e="unknown")

    def is_lost(self, note: Event) -> bool:
        """Whether a delivery is of a lease that was lost."""
        promotion = self._at(note.type, note.t, note.t)
        if promotion is None:
            return False
        promotion.exposed += 1
        lost = self.forgiven and not self._is_there(note.type, note)
        promotion.lost["dispatches"] += lost
        return lost

    def at_end(self, accepted: Callable[[str, str, str], int]) -> None:
        """Count the jobs. `accepted`: how often one was accepted at other times."""
        for key, promotions in self._enqueued.items():
            queue = self._replay.queue(*key[:2])
            lives = queue.lives.get(key[2], 0) if queue is not None else 0
            missing = accepted(*key) + len(promotions) - lives
            for promotion in promotions[: max(0, missing)]:
                promotion.lost["enqueues"] += 1

    def _count(self, invoke: Event, end: Event, promotion: Promotion) -> None:
        lease = self._replay.lease(invoke.type, invoke.n)
        if invoke.op == "enqueue" and not end.duplicate:
            self._enqueued[invoke.type, invoke.queue, invoke.job].append(promotion)
        elif invoke.op == "finish" and invoke.n:
            promotion.lost["finishes"] += lease is None or lease.end != FINISHED
        elif invoke.op in ("release", "fail"):
            there = lease is not None and lease.end in (RETURNED, DEAD)
            promotion.lost["releases and failures"] += not there

    def _is_there(self, queue_type: str, told: Event | Delivered) -> bool:
        name = self._replay.home(queue_type, told.queue)
        return self._replay.lease(name, told.n) is not None

    def _at(self, queue_type: str, begin: int, end: int) -> Promotion | None:
        """The promotion that may have lost what was under way from `begin` to `end` (µs)."""
        windows = self._windows.get(queue_type)
        if not windows:
            return None
        at = bisect_right(windows, end, key=lambda window: window.begin)
        for window in reversed(windows[max(0, at - 3) : at]):
            if window.end >= begin:
                return window.promotion
        return None

    def _read(self, notes: Iterable[Event]) -> None:
        begun, kind = 0, ""
        last: Promotion | None = None
        returned = 0
        for note in notes:
            if note.op in LOSING and note.phase == "begin":
                begun, kind, last = note.t, note.op, None
            elif note.op == "promoted" and note.kind in LOSING:
                last = Promotion(note.kind, tuple(note.types))
                self.promotions.append(last)
                since = begun - BEFORE if note.kind else note.t - UNPROVOKED
                self._add(note, since, last)
                returned = note.t
            elif last is not None and note.op == "returned":
                returned = note.t if kind != _CUT else returned
            elif last is not None and note.op == "demoted":
                self._add(note, returned, last)

    def _add(self, note: Event, since: int, promotion: Promotion) -> None:
        for queue_type in note.types:
            self._windows[queue_type].append(_Window(since, note.t + AFTER, promotion))
