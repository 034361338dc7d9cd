"""The frames that a worker sends on its connections, and its reactions to the server's.

It belongs to one event loop. Refused frames are retried in one place, `_try_again`: one frame every
half second, whatever kind and however many they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from typing import Protocol as Interface

from sharq.endings import QUEUE
from sharq.worker import frames as frames
from sharq.worker.connection import Connection, Settings
from sharq.worker.frames import chunks, encode
from sharq.worker.job import LeasedJob
from sharq.worker.leases import Leases
from sharq.worker.log import Causes, note
from sharq.worker.outbox import FOR_GOOD, GIVE_BACK, OVER, Answered, End, Outbox, Refused
from sharq.worker.telling import default_name

_AGAIN_AFTER: Final = 0.5


class Employer(Interface):
    """Runs the handlers. All methods are called in the thread of the protocol."""

    def on_jobs(self, jobs: list[LeasedJob]) -> None:
        """New jobs; each has to be claimed before it is started or given back."""

    def on_overdue(self) -> None:
        """Jobs have waited for too long and are given back; no more come until `allow`."""

    def on_answered(self, answered: Iterable[Answered]) -> None:
        """The results of finishes, releases and failures."""

    def on_lost(self, job: LeasedJob) -> None:
        """The lease of a job has ended before its end was told."""


class Dialogue:
    """The state of the protocol: leases, their ends that are not answered, credit.

    `on_change` is called when something was answered, or no longer needs an answer.
    """

    def __init__(
        self,
        settings: Settings,
        employer: Employer,
        extend: Callable[[LeasedJob, float], None],
        ids: Iterator[int],
        causes: Causes,
        on_change: Callable[[], None],
    ) -> None:
        self.leases = Leases(settings.timeout)
        self.connection: Connection | None = None
        self._settings = settings
        self._employer = employer
        self._extend = extend
        self._ids = ids
        self._causes = causes
        self._on_change = on_change
        self._credits = frames.credits_of(
            settings.weights, settings.concurrency + settings.prefetch
        )
        self._name = settings.name or default_name()
        self._outbox = Outbox()
        self._allowed = settings.concurrency
        self._stopping = False
        self._held_up = False
        self._retry: asyncio.TimerHandle | None = None
        self._probe: dict[str, Any] | None = None

    @property
    def owes(self) -> bool:
        """Whether something still has to be sent or answered, before the end."""
        # Jobs may come until the server has confirmed that there is no credit.
        wishes = self.connection is not None and bool(self.connection.wishes)
        return bool(self._outbox) or wishes or self.leases.wait

    # What the worker wants

    def take_over(self, connection: Connection) -> None:
        """Continue on a connection: first the leases, then their ends that are not answered.

        Jobs come when the server has counted all leases, also those in the last frame.
        """
        self.connection = connection
        self._outbox.open()
        if not self._stopping and self._is_enough(connection):
            self._wish(connection, op="credit", credit=0)
            connection.credit = 0
            for queue_type, credit in self._credits.items():
                self._subscribe(connection, queue_type, credit)
            self._set_credit()
        connection.ping(next(self._ids))
        self._flush()

    def on_closed(self, connection: Connection) -> None:
        """A connection has ended: frames that were on their way may be lost."""
        if connection is self.connection:
            self.connection = None
        self._outbox.unanswered(connection.ends)
        self._flush()
        self._on_change()

    def allow(self, jobs: int) -> None:
        """Set the number of jobs to hold at once."""
        self._allowed = jobs
        self._held_up = False
        self._set_credit()

    def stop(self) -> None:
        """Take no more jobs."""
        self._stopping = True
        self._set_credit()

    def end(self) -> None:
        """Send nothing more."""
        if self._retry is not None:
            self._retry.cancel()
        if self._outbox:
            note(
                logging.WARNING,
                "the server did not confirm the end of jobs",
                count=len(self._outbox),
            )

    def extend(self, job: LeasedJob, seconds: float) -> None:
        """Have a lease extended."""
        if job.lease in self.leases and self.connection is not None:
            self._send_extension(self.connection, [job.lease], max(1, round(seconds * 1000)))

    def on_reports(self, reports: Iterable[tuple[str, End | None]]) -> None:
        """Jobs have ended; None if nothing has to be sent about the lease."""
        for lease, end in reports:
            if not self.leases.ended(lease):
                continue
            if end is None:
                self.leases.drop(lease)
            else:
                self._outbox.add(lease, self._within_rights(end))
        self._flush()
        self._set_credit()

    def _within_rights(self, end: End) -> End:
        """The end of a lease; without the right to pause others, it pauses the queue alone."""
        connection = self.connection
        if end.pause is None or end.scope == QUEUE or connection is None or connection.may("pause"):
            return end
        event = f"the token is not for pause; no {end.scope} pauses, but the queue"
        self._causes.note(logging.WARNING, event)
        return end._replace(scope=QUEUE)

    def _is_enough(self, connection: Connection) -> bool:
        """Whether the token's rights are enough to work; missing ones are logged by name."""
        missing = [each for each in frames.OPERATIONS if not connection.may(each)]
        enough = not {"dequeue", "finish"} & {*missing}
        if missing:
            level = logging.WARNING if enough else logging.ERROR
            so = "leases run out instead" if enough else "no jobs are taken"
            note(level, f"the token is not for {' and '.join(missing)}; {so}")
        return enough

    def _wish(self, connection: Connection, **wish: Any) -> None:
        connection.wish(next(self._ids), wish)

    def _subscribe(self, connection: Connection, queue_type: str, credit: int) -> None:
        leases = [lease for lease in self.leases.of_type(queue_type) if lease not in self._outbox]
        wish = {
            "op": "subscribe",
            "queue_type": queue_type,
            "credit": credit,
            "worker": self._name,
        }
        for part in chunks(leases):
            self._wish(connection, **wish, leases=part)
        if not leases:
            self._wish(connection, **wish)

    def _set_credit(self) -> None:
        """Ask for as many jobs as there is room for, if this differs from the last request."""
        connection = self.connection
        if connection is None or connection.credit is None:
            return
        credit = 0
        if not (self._stopping or self._held_up):
            credit = max(0, self._allowed - self.leases.late)
        if credit != connection.credit:
            connection.credit = credit
            self._wish(connection, op="credit", credit=credit)

    def _flush(self) -> None:
        if self.connection is not None:
            self._send_ends(self.connection, self._outbox.frames(self._ids))
            self._look_for_refused(self.connection)

    def _send_ends(self, connection: Connection, ends: list[tuple[int, bytes]]) -> None:
        for frame_id, frame in ends:
            connection.ends.add(frame_id)
            connection.send(frame)

    # Frames of the server

    def on_text(self, connection: Connection, text: bytes) -> None:
        """Take a frame."""
        connection.heard_at = time.monotonic()
        event = frames.decode(text)
        if isinstance(event, frames.Jobs):
            self._on_jobs(connection, event)
        elif isinstance(event, frames.Reply):
            self._on_reply(connection, event)
        elif isinstance(event, frames.Pong):
            connection.on_pong(event.id, event.server_time)
        elif isinstance(event, frames.Expired):
            self._lose(event.leases)
        elif isinstance(event, frames.Error):
            self._on_error(connection, event)
        elif isinstance(event, frames.Draining):
            note(logging.INFO, "server draining", after_ms=event.after_ms)
            connection.drain()
        elif isinstance(event, frames.Paused):
            self._causes.note(logging.WARNING, "server paused", code=event.code)
            self._outbox.close()
        elif isinstance(event, frames.Resumed):
            note(logging.INFO, "server resumed")
            self._go_on(connection)
        elif isinstance(event, frames.TypesAway):
            fields = {"code": event.code, "types": " ".join(event.queue_types)}
            self._causes.note(logging.WARNING, "types away", **fields)
            self._outbox.close(event.queue_types)
        elif isinstance(event, frames.TypesBack):
            note(logging.INFO, "types back", types=" ".join(event.queue_types))
            self._outbox.open(event.queue_types)
            self._flush()

    def _on_jobs(self, connection: Connection, event: frames.Jobs) -> None:
        now = time.monotonic()
        dispatched = connection.clock.local(event.server_time, now)
        jobs = self.leases.add(
            LeasedJob(event.queue_type, each, dispatched, now, self._extend) for each in event.jobs
        )
        if self._stopping:
            self._give_back([job for job in jobs if self.leases.claim(job)])
        else:
            self._employer.on_jobs(jobs)

    def _give_back(self, jobs: Iterable[LeasedJob]) -> None:
        for job in jobs:
            self._outbox.add(job.lease, GIVE_BACK)
        self._flush()

    def _on_reply(self, connection: Connection, reply: frames.Reply) -> None:
        frame_id = reply.id or 0
        if self._outbox.has(frame_id):
            connection.ends.discard(frame_id)
            over, refused, well = self._outbox.answer(frame_id, reply.results or [], reply.dead)
            for each in over:
                self.leases.drop(each.lease)
            self._employer.on_answered(over)
            for some in refused:
                self._on_refused(some)
            if well:
                self._go_on(connection)
            elif over:
                self._flush()
        else:
            wish = connection.wishes.pop(frame_id, None)
            leases = connection.extensions.pop(frame_id, None)
            if leases is not None and reply.results and len(leases) == len(reply.results):
                self._note_extensions(leases, reply.results)
            if wish is not None and wish is self._probe:
                self._go_on(connection)
        self._on_change()

    def _go_on(self, connection: Connection) -> None:
        """The server carries out what it had refused: everything is retried."""
        self._causes.over()
        self._probe = None
        self._outbox.open()
        while connection.refused:
            self._wish_again(connection, connection.refused.popleft())
        self._flush()

    def _note_extensions(self, leases: Sequence[str], results: list[Any]) -> None:
        now = time.monotonic()
        gone = []
        for lease, result in zip(leases, results, strict=True):
            job = self.leases.get(lease)
            if job is None or not isinstance(result, dict):
                continue
            status = result.get("status")
            if status == "success":
                job.until = now + result.get("lease_ms", 0) / 1000
            elif status in OVER:
                gone.append(lease)
        self._lose(gone)

    def _lose(self, leases: Sequence[str]) -> None:
        for lease in leases:
            job = self.leases.lose(lease, told=lease in self._outbox)
            self._outbox.drop(lease)
            if job is not None:
                self._employer.on_lost(job)
        if leases:
            self._set_credit()
            self._on_change()
        if self.leases.late >= self._settings.concurrency:
            self._causes.note(logging.ERROR, "no place is free: handlers go on without a lease")

    # What the server refuses

    def _on_error(self, connection: Connection, error: frames.Error) -> None:
        frame_id = error.id or 0
        if self._outbox.has(frame_id):
            connection.ends.discard(frame_id)
            unknown = error.outcome == frames.UNKNOWN
            refused = self._outbox.refuse(frame_id, error.code, done=unknown)
            if refused is not None:
                self._on_refused(refused, error.message)
            self._on_change()
            return
        wish = connection.wishes.pop(frame_id, None)
        extended = connection.extensions.pop(frame_id, None) is not None
        op = wish["op"] if wish is not None else "extend" if extended else None
        for_good = error.code in FOR_GOOD and op is not None
        fields = {"op": op, "code": error.code, "message": error.message}
        if wish is not None and "queue_type" in wish:
            fields["type"] = wish["queue_type"]
        self._causes.note(logging.ERROR if for_good else logging.WARNING, "refused", **fields)
        if for_good and op == "extend":
            connection.may_not(op)
        elif wish is not None and not for_good:
            connection.refused.append(wish)
            self._look_for_refused(connection)
        self._on_change()

    def _on_refused(self, refused: Refused, message: str = "") -> None:
        """Ends of leases were refused; if finally, the leases run out and the jobs run again."""
        level = logging.ERROR if refused.for_good else logging.WARNING
        fields = {"op": refused.operation, "code": refused.code, "message": message}
        self._causes.note(level, "refused", **fields)
        if refused.for_good:
            for lease in refused.leases:
                job = self.leases.lose(lease, told=True)
                if job is not None:
                    self._employer.on_lost(job)
        elif self.connection is not None:
            self._look_for_refused(self.connection)

    def _look_for_refused(self, connection: Connection) -> None:
        if self._retry is None and (connection.refused or self._outbox.waits):
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(_AGAIN_AFTER, self._try_again)

    def _try_again(self) -> None:
        """Send one refused frame again; when it is carried out, the rest follows."""
        self._retry = None
        connection = self.connection
        if connection is None:
            return
        if connection.refused:
            self._probe = connection.refused.popleft()
            self._wish_again(connection, self._probe)
        else:
            self._send_ends(connection, self._outbox.probe(self._ids))
        self._look_for_refused(connection)

    def _wish_again(self, connection: Connection, wish: dict[str, Any]) -> None:
        """Send refused subscriptions and credit again, if they are still wanted."""
        if wish["op"] == "credit":
            if wish["credit"] != connection.credit:
                return
        elif self._stopping:
            return
        if "leases" in wish:
            wish["leases"] = [lease for lease in wish["leases"] if lease in self.leases]
        connection.wish(next(self._ids), wish)

    # What is due

    def tick(self) -> None:
        """Give back jobs that have waited too long, and extend those of running handlers."""
        now = time.monotonic()
        overdue = self.leases.overdue(now)
        if overdue:
            note(logging.INFO, "given back: no place was free in time", jobs=len(overdue))
            # The event loop of the handlers may be blocked: it has to confirm that it is not. This
            # comes first, or the jobs come straight back.
            self._held_up = True
            self._set_credit()
            self._give_back(overdue)
            self._employer.on_overdue()
        connection = self.connection
        if connection is not None and connection.may("extend"):
            for by, leases in self.leases.to_extend(now, self._outbox).items():
                self._send_extension(connection, leases, by)

    def _send_extension(self, connection: Connection, leases: Sequence[str], by: int) -> None:
        for part in chunks(leases):
            frame_id = next(self._ids)
            connection.extensions[frame_id] = part
            connection.send(encode({"op": "extend", "id": frame_id, "leases": part, "by": by}))
