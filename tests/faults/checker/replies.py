"""I12: every reply belongs to its request. From the history, held against the audit.

What a client was told must be what the store did for this request and no other:

- a delivery names the queue and the job of its lease, and is of the type that was asked for; a
  dequeue brings no more jobs than were asked for
- a finish is told to be a success once for a lease, and only where the audit has the finish of
  this lease (where it has another end, I6 is broken: a stale lease was not refused); a release,
  where the lease was given back or its job discarded; an extension, where there was such a lease
- a failure is told to be a success where the lease was ended by one, or the job has died; it waits
  for the delay that was told, or for the backoff, and a rejected one dies (I5, I7)
- as many dead letters were retried and deleted by name as clients were told of, and no more than
  with those whose answer was lost; what a bulk says that it has moved, it has, and it moves nothing
  that nobody has asked for
- each finish of the audit was asked for, by its lease or by the name of its job, and was not told
  to have failed
- as many changes of an interval or of limits, pauses and ends of them, clears that met something,
  and cancellations of a job, as clients were told of, and no more than with those whose answer was
  lost (of all but clears and cancellations twice that while faults are about: a server may send
  them again)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from sharq.operations.sharding import is_shard, type_of
from tests.faults.audit import Entry
from tests.faults.checker.dead_letters import backoff
from tests.faults.checker.levels import WHOLE
from tests.faults.checker.replay import DEAD, FINISHED, RETURNED, Job, Lease, Queue, Replay
from tests.faults.checker.report import Report
from tests.faults.history import Delivered, Event

_Row = tuple[str, ...]

_REPEATED: Final = ("interval", "limits", "pause")
"""What a server may send again whose answer it lost."""


class Replies:
    """The checks of I12."""

    def __init__(self, report: Report, replay: Replay, settings: Mapping[str, Any]) -> None:
        self._report = report
        self._settings = settings
        self._tally = report["I12"]
        self._stale = report["I6"]
        self._replay = replay
        self._done: Counter[_Row] = Counter()
        self._told: Counter[_Row] = Counter()
        self._lost: Counter[_Row] = Counter()
        self._refused: Counter[_Row] = Counter()
        self._bulks: Counter[_Row] = Counter()
        self._asked: Counter[_Row] = Counter()
        self._moved: dict[_Row, dict[str, int]] = defaultdict(dict)
        self._named: dict[_Row, list[int]] = defaultdict(lambda: [0, 0])

    # What the store did

    def on_interval(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """An interval is set."""
        self._done["interval", entry.type, entry.queue, str(entry.interval)] += 1

    def on_reset(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """An interval is given back."""
        self._done["reset_interval", entry.type, entry.queue, ""] += 1

    def on_clear(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A queue is cleared."""
        if entry.removed or entry.ended:
            self._done["clear", entry.type, entry.queue, ""] += 1

    def on_cancel(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A job is removed."""
        self._done["cancel", entry.type, entry.queue, f"{entry.job}/{entry.n}"] += 1

    def on_limits(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """Limits are set."""
        self._done["limits", entry.type, entry.queue, ""] += 1

    def on_pause(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """Something is paused, or resumed."""
        if entry.script == "pause" and not (is_shard(entry.type) and entry.queue == WHOLE):
            self._done["pause", entry.type, entry.queue, ""] += 1

    def on_unburied(self, entry: Entry, _queue: Queue, _job: Job | None) -> None:
        """A dead letter is retried or deleted, by name or with others."""
        if entry.script == "dead_advance":
            self._bulks[type_of(entry.type), entry.why] += 1
        else:
            self._done[f"{entry.why}_dead", entry.type, entry.queue, entry.job] += 1

    # What clients were told

    def on_ended(self, invoke: Event, end: Event | None) -> None:
        """An operation on a lease is over."""
        ok = end is not None and end.e == "ok"
        lost = end is None or end.e == "unknown"
        if invoke.op == "finish" and not invoke.n:
            counts = self._named[invoke.type, invoke.queue, invoke.job]
            counts[0] += ok
            counts[1] += lost
            return
        lease = self._replay.lease(invoke.type, invoke.n)
        if lease is None or not _is_of(lease, invoke.queue, invoke.job):
            self._tally.expect(not ok, f"a {invoke.op} of no lease succeeded", invoke, end)
        elif invoke.op == "finish":
            lease.finishes += ok
            lease.attempts += lost
            self._stale.expect(
                not ok or lease.end in ("", FINISHED),
                f"a finish succeeded under a lease that is {lease.end}",
                invoke,
                end,
            )
            self._tally.expect(
                not ok or (lease.end != "" and lease.finishes == 1),
                f"{lease.finishes} finishes succeeded of a lease that is {lease.end or 'held'}",
                invoke,
                end,
            )
        elif invoke.op == "release":
            self._tally.expect(
                not ok or lease.end in (RETURNED, DEAD),
                f"a release succeeded of a lease that is {lease.end or 'held'}",
                invoke,
                end,
            )

        elif invoke.op == "fail":
            self._on_failed(invoke, end, lease)

    def _on_failed(self, invoke: Event, end: Event | None, lease: Lease) -> None:
        if end is None or end.e != "ok":
            return
        how = "fail" if invoke.retry else "reject"
        self._tally.expect(
            lease.how == how and lease.end in (RETURNED, DEAD),
            f"a failure ({how}) succeeded of a lease that has ended by {lease.how or 'nothing'}",
            invoke,
            end,
        )
        if not invoke.retry:
            self._report["I7"].expect(lease.end == DEAD, "a rejected job lives", invoke, end)
        elif lease.end == RETURNED:
            low, high = backoff(self._settings, lease.attempt)
            if invoke.delay is not None:
                low = high = invoke.delay
            self._report["I5"].expect(
                low <= lease.delay <= high,
                f"after attempt {lease.attempt} a failed job is to wait for {lease.delay} ms,"
                f" not {low:.0f} to {high:.0f}",
                invoke,
            )

    def on_dead_letter(self, invoke: Event, end: Event | None) -> None:
        """A dead letter was to be retried or deleted, or many were."""
        ok = end is not None and end.e == "ok"
        if invoke.op == "bulk":
            if end is None or end.e != "fail":
                self._asked[invoke.type, invoke.kind] += 1
        elif invoke.op == "bulk_progress":
            if end is not None and ok and end.bulk:
                moved = self._moved[invoke.type, end.kind]
                moved[end.bulk] = max(moved.get(end.bulk, 0), end.moved)
        else:
            row = (invoke.op, invoke.type, invoke.queue, invoke.job)
            self._told[row] += ok
            self._lost[row] += end is None or end.e == "unknown"

    def on_changed(self, invoke: Event, end: Event | None) -> None:
        """An operation on a queue is over. What is done to all shards of a type is for `spread`."""
        if invoke.op == "pause" and invoke.queue == WHOLE and self._replay.is_spread(invoke.type):
            return
        value = str(invoke.interval) if invoke.op == "interval" else ""
        if invoke.op == "cancel":
            value = f"{invoke.job}/{invoke.n}"
        row = (invoke.op, invoke.type, invoke.queue, value)
        if end is None or end.e == "unknown":
            self._lost[row] += 1
        elif end.e == "ok" and end.removed:
            self._told[row] += 1
        elif end.e == "fail" and end.code == "not_found" and invoke.op == "interval":
            self._refused[row] += 1

    def on_dequeued(self, invoke: Event, end: Event) -> None:
        """A dequeue was answered."""
        self._tally.expect(
            len(end.jobs) <= invoke.count, f"{len(end.jobs)} jobs for {invoke.count}", invoke, end
        )

    def on_delivery(self, told: Event | Delivered, lease: Lease) -> None:
        """A client was given a job."""
        self._tally.expect(
            _is_of(lease, told.queue, told.job),
            f"lease {lease.n} is of {lease.job.queue.id}/{lease.job.id}",
            told,
        )

    # What became of both

    def at_end(self, disturbed: bool) -> None:
        """Count up. `disturbed`: there were faults."""
        by_name: Counter[_Row] = Counter()
        for of_type in self._replay.types.values():
            for lease in of_type.leases.values():
                if lease.end != FINISHED:
                    continue
                key = (of_type.name, lease.job.queue.id, lease.job.id)
                named = self._named.get(key)
                if named is not None and not lease.finishes:
                    by_name[key] += 1
                self._tally.expect(
                    bool(lease.finishes or lease.attempts or (named and sum(named))),
                    f"{'/'.join(key)}/{lease.n} is finished, and nobody was told so",
                )
        for job, (finishes, _) in self._named.items():
            self._tally.expect(
                finishes <= by_name[job],
                f"{'/'.join(job)}: {finishes} finishes by name, {by_name[job]} in the store",
            )
        for of, moved in self._moved.items():
            told = sum(moved.values())
            self._tally.expect(
                told <= self._bulks[of],
                f"bulks ({' '.join(of)}) say to have moved {told}, and have {self._bulks[of]}",
            )
        for of in self._bulks:
            self._tally.expect(self._asked[of] > 0, f"nobody has asked for {' '.join(of)}")
        for change in self._done.keys() | self._told.keys():
            told, done = self._told[change], self._done[change]
            most = told + self._lost[change]
            if disturbed and change[0] in _REPEATED:
                most = 2 * most + self._refused[change]
            self._tally.expect(
                told <= done <= most,
                f"{' '.join(change)}: {done} done, {told} successes were told,"
                f" {self._lost[change]} answers lost",
            )


def _is_of(lease: Lease, queue: str, job: str) -> bool:
    return lease.job.id == job and lease.job.queue.id == queue
