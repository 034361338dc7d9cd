"""Checks the invariants by what clients saw, what the store did, and what is there at the end.

`check` takes the folder of a run. The audit comes first: it is replayed entry by entry (`replay`),
and each check looks at each entry in the state before it. Then comes the history, held against the
leases and lives that the audit has left, and last the snapshots:

    conservation  I1 I2      order      I5   counters   I9
    leases        I3 I6      requeues   I7   leaks      I10   replies  I12
    limits        I4 I14 I15 liveness   I8   isolation  I11   credit   I13
    starts        I4         ready      I16  dead_letters I1 I2 I5 I7 to I11
    served        I8 I11

What a promotion may have lost is for `losses`.

What each invariant is checked by, and what is allowed where an answer was lost or a fault was
about, is told at the head of its module. An invariant of which nothing could be checked is not
checked; the report has how much was. What the checker holds grows with the jobs and the dispatches
(some 500 bytes each), and not with the history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.audit import Entry, read_audit
from tests.faults.checker.conservation import Conservation
from tests.faults.checker.counters import Counters
from tests.faults.checker.credit import Credit
from tests.faults.checker.dead_letters import DeadLetters
from tests.faults.checker.isolation import Isolation
from tests.faults.checker.leaks import SLACK, Leaks
from tests.faults.checker.leases import Leases
from tests.faults.checker.limits import Limits
from tests.faults.checker.liveness import GRACE_MS, Liveness
from tests.faults.checker.losses import Losses
from tests.faults.checker.operations import operations
from tests.faults.checker.order import Order
from tests.faults.checker.outages import outages_of
from tests.faults.checker.ready import WITHIN, WITHIN_OF_NODES, Ready
from tests.faults.checker.replay import Job, Lease, Queue, Replay
from tests.faults.checker.replies import Replies
from tests.faults.checker.report import Report, Violation
from tests.faults.checker.requeues import Requeues
from tests.faults.checker.served import Served
from tests.faults.checker.starts import Span, Starts
from tests.faults.history import Delivered, Event, merge, read_history

__all__ = ["Report", "Violation", "check", "check_all"]

_WHAT: Final = (
    *("enqueue", "dispatch", "finish", "return", "dead", "extend", "interval", "reset", "clear"),
    *("cancel", "limits", "pause", "cost", "fallen", "unburied"),
)

_DEFAULTS: Final = {
    "interval_retention": 3_600_000,
    "job_requeue_interval": 1000,
    "backoff_min": 1000,
    "backoff_max": 3_600_000,
    "dead_max_jobs": 10_000,
    "dead_retention": 30 * 24 * 3_600_000,
    "grace": GRACE_MS,
    "replicas_acked": None,
    "probes": (),
}

_NEVER: Final = 1 << 62

Snapshot = Mapping[str, Any]


def check(folder: Path) -> Report:
    """Check a run by its folder: ``audit.jsonl`` and ``history-*.jsonl`` or ``history.jsonl``.

    ``final.json``, ``drained.json`` and ``settings.json`` may be missing; see `check_all`.
    """
    history = folder / "history.jsonl"
    parts = sorted(folder.glob("history-*.jsonl"))
    if parts:
        merge(parts, history)

    def read(name: str) -> Any:
        path = folder / name
        return msgspec.json.decode(path.read_bytes()) if path.exists() else None

    return check_all(
        lambda: read_history(history),
        read_audit(folder / "audit.jsonl"),
        read("final.json"),
        read("drained.json"),
        read("settings.json"),
    )


def check_all(
    history: Callable[[], Iterable[Event]],
    audit: Iterable[Entry],
    final: Snapshot | None = None,
    drained: Snapshot | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Check a run.

    `history` gives the events each time it is called. `final` is the state when nothing moves any
    more, `drained` that after all jobs were taken and finished: `jobs`, a list of type, queue, job
    and state (queued or active); `levels`, a list of type, level, leased and group (see `states`);
    `counters`, by type and minute, `e`, `d` and `queues`; `dead`, a list of what each type has of
    dead letters (see `states`); `keys`, a list of key, type and ttl (ms); `resources`. The last
    snapshot given is that at the end of the audit. `settings`: interval_retention,
    job_requeue_interval (ms) and those of failures and dead letters, of the configuration, `slack`
    of resources, `grace` (ms) of the sweep, `replicas_acked` (None: the store is one), `probes`
    (their types).
    """
    settings = {**_DEFAULTS, **(settings or {})}
    report = Report()
    replay = Replay(settings["interval_retention"])
    faults = Faults(history())
    outages = outages_of(faults.notes, faults.wall_minus_t)
    within = settings["job_requeue_interval"] + settings["grace"]
    conservation = Conservation(report, replay)
    requeues = Requeues(report)
    counters = Counters(report)
    limits = Limits(report, replay)
    of_nodes = settings["replicas_acked"] is not None
    wait = WITHIN_OF_NODES if of_nodes else WITHIN
    ready = Ready(report, replay, faults.notes, faults.wall_minus_t, outages, wait)
    replies = Replies(report, replay, settings)
    dead_letters = DeadLetters(report, replay, settings)
    credit = Credit(report)
    liveness = Liveness(report, replay, within, outages)

    last_at = _follow(
        audit,
        replay,
        (
            conservation,
            Leases(report, replay),
            limits,
            Order(report, replay),
            requeues,
            liveness,
            counters,
            Isolation(report),
            replies,
            ready,
            dead_letters,
        ),
    )
    starts = Starts(report, faults.stops)
    losses = Losses(faults.notes, replay, forgiven=settings["replicas_acked"] == 0)
    served = Served(report, faults.notes, settings["probes"])
    Clients(
        report, replay, losses, served, conservation, requeues, replies, credit, starts, ready
    ).follow(history())
    losses.at_end(conservation.accepted)
    served.at_end()
    report.promotions = losses.promotions
    report.outages = list(served.rows())
    for note in faults.notes:
        if note.op == "recovered":
            liveness.on_recovered(note)
    liveness.on_times(faults.invoked, faults.succeeded)

    last = drained if drained is not None else final
    conservation.at_end(faults.disturbed, last)
    replies.at_end(faults.disturbed)
    liveness.at_end(last_at, drained is not None)
    ready.at_end()
    for snapshot in (final, drained):
        if snapshot is not None:
            limits.at_end(snapshot)
            dead_letters.look_at(snapshot)
    if last is not None:
        counters.at_end(last)
    dead_letters.at_end(last)
    if drained is not None:
        Leaks(report).at_end(drained, {**SLACK, **settings.get("slack", {})})
    return report


class Faults:
    """What a first look at the history tells: the faults, and when clients were served.

    `wall_minus_t`: how far the time of day is ahead of the times of the history, in µs. `invoked`
    and `succeeded` are in ms of the time of day, sorted, one of each in ten ms. `stops`: when a
    worker was stopped, by its name.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.notes: list[Event] = []
        self.wall_minus_t = 0
        self.disturbed = False
        self.stops: defaultdict[str, list[Span]] = defaultdict(list)
        invoked: set[int] = set()
        succeeded: set[int] = set()
        for event in events:
            if event.e == "invoke":
                invoked.add(event.t // 10_000)
            elif event.e == "ok":
                succeeded.add(event.t // 10_000)
            elif event.op == "clock" and event.wall:
                self.wall_minus_t = event.wall - event.t
            elif event.p == "faults":
                self.notes.append(event)
                self.disturbed = True
                if event.op == "stop worker":
                    self._on_stop(event)
        self.invoked = [self._ms(tick) for tick in sorted(invoked)]
        self.succeeded = [self._ms(tick) for tick in sorted(succeeded)]

    def _on_stop(self, note: Event) -> None:
        spans = self.stops[note.target]
        if note.phase == "begin":
            spans.append((note.t, _NEVER))
        elif spans:
            spans[-1] = spans[-1][0], note.t

    def _ms(self, tick: int) -> float:
        return (tick * 10_000 + self.wall_minus_t) / 1000


def _follow(audit: Iterable[Entry], replay: Replay, checks: Iterable[object]) -> int:
    """Show each entry to all checks that want it, then apply it; the time (ms) of the last one."""
    handlers: dict[str, list[Callable[[Entry, Queue, Job | None], None]]] = {
        what: [
            getattr(check, name)
            for check in checks
            for name in ("on_any", f"on_{what}")
            if hasattr(check, name)
        ]
        for what in _WHAT
    }
    last_at = 0
    for entry in audit:
        queue, job = replay.find(entry)
        for handler in handlers[entry.what]:
            handler(entry, queue, job)
        replay.apply(entry, queue, job)
        last_at = max(last_at, entry.at)
    return last_at


class Clients:
    """Follows the history, and shows what clients saw to the checks."""

    def __init__(
        self,
        report: Report,
        replay: Replay,
        losses: Losses,
        served: Served,
        conservation: Conservation,
        requeues: Requeues,
        replies: Replies,
        credit: Credit,
        starts: Starts,
        ready: Ready,
    ) -> None:
        self._invented = report["I2"]
        self._replay = replay
        self._losses = losses
        self._served = served
        self._conservation = conservation
        self._requeues = requeues
        self._replies = replies
        self._credit = credit
        self._starts = starts
        self._ready = ready

    def follow(self, events: Iterable[Event]) -> None:
        """Go through the history."""
        for event, told, over in operations(events):
            op = event.op
            if over and told is not None and told.e == "ok":
                self._note_service(event, told)
            end = self._losses.end(event, told) if over else told
            if event.e == "note":
                self._served.on_note(event)
                self._credit.on_note(event)
                self._ready.on_note(event)
                if op == "deliver" and not self._losses.is_lost(event):
                    lease = self._on_delivery(event.type, event, event.p)
                    if lease is not None:
                        self._starts.on_delivery(event, lease)
                        self._ready.on_push(event, lease)
            elif op == "enqueue":
                if over:
                    self._conservation.on_enqueued(event, end)
                else:
                    self._conservation.on_asked(event)
            elif not over:
                if op == "dequeue":
                    self._ready.on_asked(event)
            elif op in ("finish", "release", "fail", "extend"):
                self._replies.on_ended(event, end)
                self._credit.on_ended(event, end)
                self._ready.on_ended(event, end)
            elif op in ("interval", "reset_interval", "clear", "cancel", "limits", "pause"):
                self._replies.on_changed(event, end)
            elif op in ("retry_dead", "delete_dead", "bulk", "bulk_progress"):
                self._replies.on_dead_letter(event, end)
            elif op == "dequeue" and end is not None:
                self._ready.on_dequeued(event, end)
                if end.e != "ok":
                    continue
                self._replies.on_dequeued(event, end)
                holder = f"request {event.request_id}" if event.request_id else event.p
                for job in end.jobs:
                    self._on_delivery(event.type, job, holder)

    def _note_service(self, invoke: Event, end: Event) -> None:
        if invoke.op == "enqueue":
            self._served.on_served("enqueue", invoke.type, invoke.p, end.t)
        elif invoke.op == "dequeue" and end.jobs:
            self._served.on_served("dispatch", invoke.type, invoke.p, end.t)

    def _on_delivery(self, queue_type: str, told: Event | Delivered, holder: str) -> Lease | None:
        lease = self._replay.lease(queue_type, told.n)
        self._invented.expect(lease is not None, f"{holder} was given a job of no lease", told)
        if lease is None:
            return None
        self._conservation.on_delivery(told, lease)
        self._requeues.on_delivery(told, lease)
        self._replies.on_delivery(told, lease)
        self._credit.on_delivery(told, lease, holder)
        return lease
