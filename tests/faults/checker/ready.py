"""I16: a job that all limits allow is dispatched at once. From the audit and the history.

For each dispatch the audit tells since when the job could go: it waits and is due, its queue, group
and type have had room and no pause, and their rates have allowed it. A limit, a pause, a group or
a cost that was changed counts as blocking until that moment, a lease as held until it was ended or
swept, and where the script's clock was moved, nothing before that counts.

- A job goes within `WITHIN`, `WITHIN_OF_SHARDS` or `WITHIN_OF_NODES`, while the history shows
  credit: one connection of a subscriber has room for a job of the type (its credit, less the leases
  that it was told of, from their dispatch until the answer to their end) for so long at a stretch.
  Nothing is asked until 5 s after any fault. A stretch in which the clients themselves were late
  (`stall`) counts as so much shorter.
- While a job could go, from before a dequeue was asked until after it was answered, the answer is
  not that nothing is ready. Of a spread type it could go `KNOWN` before: a shard may have answered
  then. The dequeue of a subscriber is not asked for that: its credit may be used up, or be on its
  way to the store already. Nor is one that repeats another: it gets what is left of the other's
  jobs. This holds under faults as well, but for outages (a server that stops gives nothing out) and
  for `STEPPED` after a step of the clock: what was to wait by a clock that was ahead goes on to
  wait.

What is never dispatched at all is for I8. The library's workers tell no credit, and a connection
that is only told of jobs shows none.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Final

from sharq.operations.sharding import is_shard, type_of
from tests.faults.audit import Entry
from tests.faults.checker.outages import RECOVERY_MS, ByType, Span, spans_of_nodes
from tests.faults.checker.replay import QUEUED, Job, Lease, Queue, Replay
from tests.faults.checker.report import Report
from tests.faults.history import Event
from tests.faults.schedule import is_of_node

WITHIN: Final = 250
"""Milliseconds that a job may wait which could go to somebody."""

WITHIN_OF_NODES: Final = 1_000
"""The same where the store is several processes, which wait for each other, on the same cores."""

STEPPED: Final = 12_000
"""Milliseconds after a step of the clock: it is 10 s at most, from one end to the other."""

WITHIN_OF_SHARDS: Final = 350
"""The same of a spread type: a shard that is slow to answer keeps others from their turn for
100 ms, and jobs go before those that are ready for 150 ms longer, and an answer takes its time.
"""

KNOWN: Final = 250
"""Milliseconds for which it counts that a shard had nothing, for those who ask the whole type: 50,
and where a server stands waiting there, until the store has woken it.
"""

_SURE: Final = 5
"""Milliseconds by which the clocks of the store and of the history may differ."""

_FINAL: Final = ("not_active", "stale_lease", "already_finished", "invalid_argument")


class _Window:
    """From when until when (ms) a job could go; `entry` is its dispatch."""

    __slots__ = ("entry", "since", "until")

    def __init__(self, since: float, entry: Entry) -> None:
        self.since = since
        self.until = entry.at
        self.entry = entry


class _Room:
    """The credit of a connection for a type, and when (ms) it has had room."""

    __slots__ = ("changes", "credit", "held")

    def __init__(self) -> None:
        self.credit = 0
        self.held: set[tuple[str, int]] = set()
        self.changes: list[tuple[float, int]] = []

    def set_credit(self, at: float, credit: int) -> None:
        self.changes.append((at, credit - self.credit))
        self.credit = credit

    def take(self, lease: Lease) -> None:
        self.held.add((lease.job.queue.id, lease.n))
        self.changes.append((lease.began, -1))

    def end(self, at: float, queue: str, n: int) -> None:
        if (queue, n) in self.held:
            self.held.discard((queue, n))
            self.changes.append((at, 1))

    def spans(self) -> Iterator[Span]:
        """When there was room."""
        room, begin = 0, 0.0
        for at, change in sorted(self.changes):
            before, room = room, room + change
            if before <= 0 < room:
                begin = at
            elif room <= 0 < before:
                yield begin, at
        if room > 0:
            yield begin, math.inf


class Ready:
    """The checks of I16. `faults`: all notes of faults, `wall_minus_t` as in `Faults`.

    `within` (ms): how long a job may wait.
    """

    def __init__(
        self,
        report: Report,
        replay: Replay,
        faults: Iterable[Event],
        wall_minus_t: int,
        outages: ByType,
        within: float = WITHIN,
    ) -> None:
        self._within = within
        self._tally = report["I16"]
        self._replay = replay
        self._wall_minus_t = wall_minus_t
        self._outages = outages
        notes = list(faults)
        self._disturbed = ByType(
            _spans(notes, self._ms), spans_of_nodes(notes, self._ms, RECOVERY_MS)
        )
        self._steps = sorted(self._ms(note.t) for note in notes if _is_step(note))
        self._windows: defaultdict[str, list[_Window]] = defaultdict(list)
        self._rooms: dict[tuple[str, str], _Room] = {}
        self._spans: defaultdict[str, list[Span]] = defaultdict(list)
        self._empty: list[tuple[Event, Event]] = []
        self._stalls: list[Span] = []
        self._of_subscribers: set[tuple[str, int]] = set()
        self._answered: set[str] = set()

    # What the store did

    def on_dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """A job is leased."""
        if entry.request:
            self._answered.add(entry.request)
        if job is None or job.state != QUEUED:
            return
        of_type = self._replay.types[entry.type]
        offset = of_type.offset or 0
        since: float = max(job.since, of_type.moved, job.due - offset)
        for _, level in of_type.levels(queue):
            since = max(since, level.free, level.paused - offset)
            if level.tat:
                since = max(since, math.ceil(level.rate_allows_at) - offset)
        if entry.at - since > _SURE:
            self._windows[entry.type].append(_Window(since, entry))
        if entry.at - since <= self._bound(entry.type) and self._undisturbed(
            entry.type, since, entry.at
        ):
            self._tally.checked += 1

    # What clients were told

    def on_note(self, note: Event) -> None:
        """Something on a websocket that is no answer."""
        at = self._ms(note.t)
        if note.op == "stall":
            self._stalls.append((at - note.ms, at))
        elif note.op in ("subscribe", "credit") and note.mode == "deliver" and note.type:
            self._rooms.setdefault((note.p, note.type), _Room()).set_credit(at, note.credit)
        elif note.op == "unsubscribe":
            self._close(note.p, at, note.type)
        elif note.op == "expired":
            for token in note.leases:
                queue_type, queue, _, n = token.split("/")
                self._end(note.p, queue_type, queue, int(n), at)
        elif note.op == "close":
            self._close(note.p, at)

    def on_push(self, note: Event, lease: Lease) -> None:
        """A client was told of a job."""
        room = self._rooms.get((note.p, type_of(note.type)))
        if room is not None:
            room.take(lease)

    def on_ended(self, invoke: Event, end: Event | None) -> None:
        """An operation on a lease is over."""
        if invoke.op == "extend" or end is None:
            return
        if end.e != "fail" or end.code in _FINAL:
            at = self._ms(end.t)
            self._end(invoke.p, type_of(invoke.type), invoke.queue, invoke.n, at)

    def on_asked(self, invoke: Event) -> None:
        """A dequeue is asked for; that of a subscriber takes what is left of its credit."""
        if (invoke.p, invoke.type) in self._rooms:
            self._of_subscribers.add((invoke.p, invoke.i))

    def on_dequeued(self, invoke: Event, end: Event) -> None:
        """A dequeue was answered."""
        if (invoke.p, invoke.i) in self._of_subscribers:
            self._of_subscribers.remove((invoke.p, invoke.i))
        elif not end.jobs and (end.e == "ok" or end.code == "nothing_ready"):
            self._empty.append((invoke, end))

    # What became of both

    def at_end(self) -> None:
        """Hold the dispatches against the credit and the answers."""
        for (_, queue_type), room in self._rooms.items():
            self._spans[queue_type] += room.spans()
        of_types: defaultdict[str, list[_Window]] = defaultdict(list)
        for name, windows in self._windows.items():
            of_types[type_of(name)] += windows
        for queue_type, windows in of_types.items():
            within = self._bound(queue_type)
            spans = [span for span in self._spans[queue_type] if span[1] - span[0] > within]
            spans.sort()
            for window in windows:
                if window.until - window.since > within:
                    self._expect_in_time(window, spans)
        longest = {name: _longest(filter(self._steady, all)) for name, all in of_types.items()}
        for invoke, end in self._empty:
            if invoke.request_id not in self._answered:
                self._expect_nothing(invoke, end, longest.get(invoke.type, []))

    def _expect_in_time(self, window: _Window, spans: list[Span]) -> None:
        judged, within = False, self._bound(window.entry.type)
        for begin, end in spans:
            if begin >= window.until - within:
                break
            for piece in self._pieces(
                window.entry.type, max(begin, window.since), min(end, window.until)
            ):
                judged = True
                waited = piece[1] - piece[0] - self._stalled(*piece)
                if waited > within + _SURE:
                    entry = window.entry
                    self._tally.checked += 1
                    self._tally.violate(
                        f"{entry.type}/{entry.queue}/{entry.job} could go and was to wait for"
                        f" {waited:.0f} ms, with room at a subscriber since {begin:.0f}",
                        entry,
                    )
                    return
        self._tally.checked += judged

    def _expect_nothing(
        self, invoke: Event, end: Event, longest: list[tuple[float, _Window]]
    ) -> None:
        span = self._ms(invoke.t), self._ms(end.t)
        if self._outages.of(invoke.type).meets(span):
            return
        known = KNOWN if self._replay.is_spread(invoke.type) else 0
        begun = bisect_left(longest, span[0] - known - _SURE, key=itemgetter(0))
        self._tally.checked += 1
        window = longest[begun - 1][1] if begun else None
        if window is not None and window.until > span[1] + _SURE:
            self._tally.violate(
                f"nothing of {invoke.type} was said to be ready, and"
                f" {window.entry.queue}/{window.entry.job} could go since {window.since:.0f}",
                invoke,
                end,
                window.entry,
            )

    def _bound(self, name: str) -> float:
        """How long a job of a type, or of a shard, may wait."""
        if is_shard(name) or self._replay.is_spread(name):
            return max(self._within, WITHIN_OF_SHARDS)
        return self._within

    def _steady(self, window: _Window) -> bool:
        """Whether the clock was not moved meanwhile."""
        at = bisect_left(self._steps, window.since - STEPPED)
        return at == len(self._steps) or self._steps[at] > window.until

    def _undisturbed(self, queue_type: str, begin: float, end: float) -> bool:
        return next(self._pieces(queue_type, begin, max(end, begin + 1)), None) is not None

    def _pieces(self, queue_type: str, begin: float, end: float) -> Iterator[Span]:
        """The parts of a time that no fault has to do with, for a type."""
        spans = self._disturbed.of(queue_type).spans
        at = max(0, bisect_left(spans, (begin, 0.0)) - 1)
        for fault_begin, fault_end in spans[at:]:
            if fault_begin >= end:
                break
            if fault_begin > begin:
                yield begin, fault_begin
            begin = max(begin, fault_end)
        if begin < end:
            yield begin, end

    def _stalled(self, begin: float, end: float) -> float:
        return sum(max(0.0, min(end, till) - max(begin, since)) for since, till in self._stalls)

    def _end(self, p: str, queue_type: str, queue: str, n: int, at: float) -> None:
        room = self._rooms.get((p, queue_type))
        if room is not None:
            room.end(at, queue, n)

    def _close(self, p: str, at: float, queue_type: str = "") -> None:
        for key in [key for key in self._rooms if key[0] == p and queue_type in ("", key[1])]:
            room = self._rooms.pop(key)
            room.changes.append((at, -(1 << 30)))
            self._spans[key[1]] += room.spans()

    def _ms(self, t: int) -> float:
        return (t + self._wall_minus_t) / 1000


def _is_step(note: Event) -> bool:
    return note.op.startswith("step the clock")


def _longest(windows: Iterable[_Window]) -> list[tuple[float, _Window]]:
    """For each beginning the window that ends last, of those that had begun by then."""
    longest: list[tuple[float, _Window]] = []
    for window in sorted(windows, key=attrgetter("since")):
        last = longest[-1][1] if longest else window
        longest.append((window.since, max(last, window, key=attrgetter("until"))))
    return longest


def _spans(notes: Iterable[Event], ms: Callable[[int], float]) -> Iterator[Span]:
    """Each fault, and the time after it. Of faults that overlap, the first begun ends first."""
    begun: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for note in notes:
        key = (note.op, note.target)
        if is_of_node(note.op):
            continue
        if note.phase == "begin":
            begun[key].append(ms(note.t))
        elif note.phase == "end":
            after = STEPPED if _is_step(note) else RECOVERY_MS
            yield begun[key].pop(0) if begun[key] else ms(note.t), ms(note.t) + after
    for begin in chain.from_iterable(begun.values()):
        yield begin, math.inf
