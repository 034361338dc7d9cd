"""I1, nothing accepted is lost; I2, nothing is invented. From the history, the audit and the end.

Per job_id of a queue, the enqueues that clients saw are counted against the lives that the audit
has. Every acceptance that was no duplicate is a life (I1). A life needs an enqueue that was
accepted or whose answer was lost, each good for one (I2); none comes from a refusal (I1). While
faults are about, a server may send an enqueue again whose answer it lost: then an operation is
good for two lives, and a refusal by the queue itself (a conflict, a full queue) for one.

At the end, the jobs that the audit leaves waiting or leased are those of the last snapshot, in the
same states: what is missing was lost (I1), what is there beside was invented (I2). The audit alone
says that a job has one life at a time, and that only what was enqueued is dispatched or cancelled
(I2).

A payload reaches a worker as a value that was enqueued under its job_id, and the same in each
delivery of a life; where a job_id had several, equal texts in the store are equal values (I2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.faults.audit import Entry
from tests.faults.checker.replay import Job, Lease, Queue, Replay
from tests.faults.checker.report import Report
from tests.faults.history import Delivered, Event

_OF_THE_QUEUE: Final = ("job_conflict", "queue_full")


class _Asked:
    """The enqueues of a job_id, by their outcomes, and their payloads."""

    __slots__ = ("accepted", "duplicates", "lost", "payloads", "refused", "refused_by_queue")

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.lost = 0
        self.refused = 0
        self.refused_by_queue = 0
        self.payloads: int | set[int] | None = None

    def add_payload(self, digest: int) -> None:
        if self.payloads is None:
            self.payloads = digest
        elif isinstance(self.payloads, set):
            self.payloads.add(digest)
        elif self.payloads != digest:
            self.payloads = {self.payloads, digest}


class Conservation:
    """The checks of I1 and I2."""

    def __init__(self, report: Report, replay: Replay) -> None:
        self._lost = report["I1"]
        self._invented = report["I2"]
        self._replay = replay
        self._asked: dict[tuple[str, str], dict[str, _Asked]] = {}
        self._values: dict[tuple[str, str, str, str], int] = {}
        self._told: dict[int, int] = {}

    def on_enqueue(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is put in."""
        self._invented.expect(job is None, f"job {entry.job} is put in while it is there", entry)

    def on_dispatch(self, entry: Entry, queue: Queue, job: Job | None) -> None:
        """A job is leased."""
        self._invented.expect(
            job is not None or entry.job in queue.past,
            f"job {entry.job} is dispatched and was never put in",
            entry,
        )

    def on_cancel(self, entry: Entry, _queue: Queue, job: Job | None) -> None:
        """A job is removed."""
        self._invented.expect(job is not None, f"job {entry.job} is cancelled, not there", entry)

    def on_asked(self, invoke: Event) -> None:
        """A client asks for an enqueue."""
        self._row(invoke).add_payload(hash(bytes(invoke.payload)))

    def on_enqueued(self, invoke: Event, end: Event | None) -> None:
        """A client knows how an enqueue went."""
        row = self._row(invoke)
        if end is None or end.e == "unknown":
            row.lost += 1
        elif end.e == "fail":
            row.refused += 1
            row.refused_by_queue += end.code in _OF_THE_QUEUE
        elif end.duplicate:
            row.duplicates += 1
        else:
            row.accepted += 1

    def accepted(self, queue_type: str, queue_id: str, job_id: str) -> int:
        """How often an enqueue of a job was told to be accepted."""
        row = self._asked.get((queue_type, queue_id), {}).get(job_id)
        return row.accepted if row is not None else 0

    def on_delivery(self, told: Event | Delivered, lease: Lease) -> None:
        """A client was given a job."""
        job = lease.job
        rows = self._asked.get((job.queue.type, job.queue.id))
        row = rows.get(job.id) if rows is not None else None
        digest = hash(bytes(told.payload))
        payloads = row.payloads if row is not None else None
        known = digest in payloads if isinstance(payloads, set) else digest == payloads
        if known and isinstance(payloads, set):
            key = (job.queue.type, job.queue.id, job.id, job.sha)
            known = self._values.setdefault(key, digest) == digest
        self._invented.expect(known, f"job {job.id} is delivered with another payload", told)

    def at_end(self, disturbed: bool, snapshot: Mapping[str, Any] | None) -> None:
        """Count up. `disturbed`: there were faults."""
        for of_type in self._replay.types.values():
            for queue in of_type.queues.values():
                rows = self._asked.pop((queue.type, queue.id), {})
                for job_id, lives in queue.lives.items():
                    name = f"{queue.type}/{queue.id}/{job_id}"
                    self._count_up(name, lives, rows.pop(job_id, None), disturbed)
                for job_id, row in rows.items():
                    self._count_up(f"{queue.type}/{queue.id}/{job_id}", 0, row, disturbed)
        for (queue_type, queue_id), rows in self._asked.items():
            for job_id, row in rows.items():
                self._count_up(f"{queue_type}/{queue_id}/{job_id}", 0, row, disturbed)
        if snapshot is not None:
            self._compare(snapshot)

    def _count_up(self, name: str, lives: int, row: _Asked | None, disturbed: bool) -> None:
        if row is None:
            self._invented.expect(
                False, f"{name} was put in {lives} times, and nobody asked for it"
            )
            return
        self._lost.expect(
            lives >= row.accepted, f"{name} was accepted {row.accepted} times, put in {lives} times"
        )
        possible = row.accepted + row.duplicates + row.lost
        most = 2 * possible + row.refused_by_queue if disturbed else possible
        tally = self._invented if possible else self._lost
        tally.expect(
            lives <= most,
            f"{name} was put in {lives} times: {row.accepted} accepted,"
            f" {row.duplicates} duplicates, {row.lost} without an answer, {row.refused} refused",
        )
        self._lost.expect(
            lives > 0 or row.duplicates == 0, f"{name} was called a duplicate, and is nowhere"
        )

    def _compare(self, snapshot: Mapping[str, Any]) -> None:
        found = {(j["type"], j["queue"], j["job"]): j["state"] for j in snapshot["jobs"]}
        for job in self._left():
            key = (job.queue.type, job.queue.id, job.id)
            state = found.pop(key, "not there")
            self._lost.expect(
                state == job.state, f"{'/'.join(key)} is {state}, it should be {job.state}"
            )
        for key, state in found.items():
            self._invented.expect(False, f"{'/'.join(key)} is {state}, and not put in")
        self._invented.checked += 1

    def _left(self) -> Iterator[Job]:
        for of_type in self._replay.types.values():
            for queue in of_type.queues.values():
                yield from queue.jobs.values()

    def _row(self, invoke: Event) -> _Asked:
        rows = self._asked.setdefault((invoke.type, invoke.queue), {})
        row = rows.get(invoke.job)
        if row is None:
            row = rows[invoke.job] = _Asked()
        return row
