"""What a client sees of a server, played without a store: its connections, jobs and leases."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sharq.conform import frames
from sharq.conform.frames import BadFrame
from sharq.conform.parties import (
    Answer,
    Cut,
    End,
    Job,
    NotSeen,
    Peer,
    Refuse,
    Wire,
    Wrong,
    now_ms,
)

PROTOCOL: Final = "sharq.v1.json"
LIMITS: Final = {
    "max_frame_bytes": frames.MAX_FRAME_BYTES,
    "max_payload_bytes": 1024 * 1024,
    "max_jobs": 1000,
    "max_leases": 1000,
    "max_subscriptions": 1000,
    "max_credit": frames.MAX_CREDIT,
}
OPERATIONS: Final = ("enqueue", "dequeue", "finish", "release", "extend", "cancel")
HEARTBEAT: Final = 20.0
"""Seconds between two pings, where no scenario says otherwise."""

FINAL: Final = frozenset({"success", "already_finished", "not_active", "stale_lease"})
_QUEUE: Final = "conform"
_LEASE_MS: Final = 60_000


class Stage:
    """Answers what the client says. `patience` is how long a scenario waits for it, in s."""

    def __init__(self, patience: float = 10.0) -> None:
        self.patience = patience
        self.peers: list[Peer] = []
        self.jobs: dict[str, Job] = {}
        self.mistakes: list[str] = []
        """What is wrong in frames, whatever the scenario."""
        self.excess: list[int] = []
        """Credits over the limit that were asked for."""
        self.paused = False
        self.heartbeat = HEARTBEAT
        self.refuses = False
        """New connections get 503."""
        self.refused: list[float] = []
        """When connections were refused."""
        self.report_url = ""
        self.lost = False
        """The client did not come back after a connection had ended."""
        self.client: asyncio.subprocess.Process | None = None
        """The client, where it was started here."""
        self.exited: int | None = None
        """Its exit code."""
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)

    # What the wires tell

    def connected(self, wire: Wire, protocols: Sequence[str]) -> Peer:
        """A connection was made: it is welcomed."""
        peer = Peer(wire, protocols)
        self.peers.append(peer)
        self.lost = False
        peer.send(
            "welcome",
            protocol=PROTOCOL,
            server_time=now_ms(),
            heartbeat=round(self.heartbeat * 1000),
            limits=LIMITS,
            operations=OPERATIONS,
        )
        self.change()
        return peer

    def closed(self, peer: Peer, code: int | None) -> None:
        """A connection has ended."""
        peer.open, peer.code = False, code
        self.change()

    def ran(self, number: str) -> None:
        """The handler of a job begins."""
        for job in self.jobs.values():
            if job.lease.endswith(f"/{number}"):
                job.runs += 1
        self.change()

    def heard(self, peer: Peer, message: str | bytes) -> None:
        """A message has come."""
        if peer.mute or not peer.open:
            return
        peer.frames += 1
        if isinstance(message, bytes):
            self.mistakes.append("a binary message: frames are text")
            peer.close(1003)
        else:
            try:
                frame = frames.read(message)
            except BadFrame as error:
                self.mistakes.append(f"{message[:200]}: {error}")
                peer.send("error", **_id_of(message), code=error.code, message=str(error))
            else:
                self._answer(peer, frame)
        self.change()

    def change(self) -> None:
        """Something has happened for which a scenario may wait."""
        self._changed.set()

    # What scenarios do

    async def until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Whether something becomes so in time, by default within `patience`; not after its end."""
        try:
            async with asyncio.timeout(self.patience if seconds is None else seconds):
                while not condition() and self.exited is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return condition()

    @property
    def peer(self) -> Peer | None:
        """The newest connection that wants jobs."""
        for peer in reversed(self.peers):
            if peer.open and not peer.draining and any(map(peer.asked, peer.credits)):
                return peer
        return None

    async def ready(self) -> Peer:
        """A connection that wants jobs. Raises `NotSeen`: there is none, and none comes."""
        await self.until(lambda: self.peer is not None, 0 if self.lost else None)
        if self.peer is None:
            self.lost = True
            raise NotSeen("the client is not connected and subscribed")
        return self.peer

    async def returns(self, after: Peer) -> Peer:
        """The next connection that wants jobs. Raises `Wrong`: none comes in time."""

        def has_come() -> bool:
            return self.peer is not None and self.peer is not after

        if not await self.until(has_come, 2 * self.patience):
            self.lost = True
            if self.exited is not None:
                raise Wrong(f"it ended, with the exit code {self.exited}")
            came = self.peers[-1] is not after and self.peers[-1].open
            what = "does not subscribe again" if came else "does not connect again"
            raise Wrong(f"it {what} within {2 * self.patience:g} s")
        assert self.peer is not None
        return self.peer

    async def deal(
        self,
        number: int = 1,
        *,
        answers: Sequence[Answer] = (),
        lease_ms: int = _LEASE_MS,
        odd: Mapping[str, Any] | None = None,
        **payload: Any,
    ) -> list[Job]:
        """Give the client jobs, in one frame, when it has room for them.

        `odd` are more fields of the frame and of each job. Raises `NotSeen`: it never has room.
        """
        peer = await self.ready()
        queue_type = next(each for each in peer.credits if peer.asked(each))
        if not await self.until(lambda: self.room(peer, queue_type) >= number):
            raise NotSeen(f"its credit of {queue_type} has no room for {number}")
        jobs = [self._new(peer, queue_type, lease_ms, payload, odd or {}) for _ in range(number)]
        for job in jobs:
            job.answers.extend(answers)
        self.send_jobs(peer, jobs, **(odd or {}))
        return jobs

    def send_jobs(self, peer: Peer, jobs: Sequence[Job], **odd: Any) -> None:
        """Send a frame of jobs of one type."""
        entries = [job.entry for job in jobs]
        kind = jobs[0].queue_type
        peer.send("jobs", queue_type=kind, server_time=now_ms(), jobs=entries, **odd)

    def room(self, peer: Peer, queue_type: str) -> int:
        """How many more jobs the client has asked for."""
        held = sum(not job.over for job in self.jobs.values() if job.queue_type == queue_type)
        return peer.asked(queue_type) - held

    async def over(self, *jobs: Job, seconds: float | None = None) -> None:
        """Wait for the end of leases. Raises `Wrong`."""

        def gone() -> bool:
            return any(not (job.over or job.peer.open or job.peer.ending) for job in jobs)

        await self.until(lambda: gone() or all(job.over for job in jobs), seconds)
        left = [job for job in jobs if not job.over]
        if left and gone():
            raise Wrong(f"it closed the connection (code {left[0].peer.code})")
        if left:
            waited = self.patience if seconds is None else seconds
            raise Wrong(f"{len(left)} of {len(jobs)} leases not ended within {waited:g} s")

    def clear(self) -> None:
        """Be as a server is when nothing happens; leases that are left run out."""
        self.paused = self.refuses = False
        self.heartbeat = HEARTBEAT
        for job in self.jobs.values():
            if not job.over:
                job.over = True
                job.answers.clear()
                job.answers.append("not_active")
                job.peer.send("expired", leases=[job.lease])

    # Inside

    def _new(
        self,
        peer: Peer,
        queue_type: str,
        lease_ms: int,
        payload: Mapping[str, Any],
        odd: Mapping[str, Any],
    ) -> Job:
        number = next(self._numbers)
        lease = f"{queue_type}/{_QUEUE}/job-{number}/{number}"
        told = {"work_ms": 50, "fail": False, "report": f"{self.report_url}{number}", **payload}
        entry = {
            "queue_id": _QUEUE,
            "job_id": f"job-{number}",
            "payload": told,
            "requeues_remaining": -1,
            "current_queue_length": 0,
            "lease": lease,
            "attempt": 1,
            "lease_ms": lease_ms,
            "interval": 0,
            **odd,
        }
        until = time.monotonic() + lease_ms / 1000
        job = self.jobs[lease] = Job(lease, queue_type, told, peer, until, entry)
        return job

    def _answer(self, peer: Peer, frame: frames.AnyFrame) -> None:
        """Answer a frame as the scenario has it, else as a server does."""
        name = {"id": frame.id} if frame.id else {}
        refused = self._refusal(peer, frame)
        if refused is not None:
            code, message = refused
            peer.send("error", **name, code=code, message=message)
            return
        match frame:
            case frames.Ping():
                peer.send("pong", **name, server_time=now_ms())
            case frames.Subscribe():
                self._subscribe(peer, frame, name)
            case frames.Credit():
                if frame.queue_type is None:
                    peer.total = frame.credit
                else:
                    peer.credits[frame.queue_type] = frame.credit
                peer.send("reply", **name, status="success")
            case frames.Unsubscribe():
                peer.credits.pop(frame.queue_type, None)
                peer.send("reply", **name, status="success")
            case frames.Finish() | frames.Release() | frames.Fail():
                self._end(peer, frame, name)
            case frames.Extend():
                results = [self._extend(lease, frame.by) for lease in frame.leases]
                peer.send("reply", **name, status="success", results=results)
            case frames.Dequeue():
                peer.send("reply", **name, status="success", jobs=[], ready_in=None)
            case frames.Enqueue():
                queued = [{"status": "queued"}] * len(frame.jobs)
                peer.send("reply", **name, status="success", results=queued)
            case frames.Cancel():
                peer.send(
                    "reply", **name, status="success", results=["not_found"] * len(frame.jobs)
                )
            case frames.Watch():
                peer.send("reply", **name, status="success")

    def _refusal(self, peer: Peer, frame: frames.AnyFrame) -> tuple[str, str] | None:
        """The code and message of the error that a server in this state has for a frame."""
        if isinstance(frame, frames.Subscribe | frames.Credit) and frame.credit > frames.MAX_CREDIT:
            self.excess.append(frame.credit)
            return "invalid_argument", "`credit` has an invalid value."
        if isinstance(frame, frames.Credit) and frame.queue_type not in (None, *peer.credits):
            self.mistakes.append(f"credit for {frame.queue_type}, which has no subscription")
            return "not_found", "There is no subscription to this type."
        if peer.draining and isinstance(frame, frames.Subscribe | frames.Dequeue):
            return "stopping", "The server is stopping."
        if self.paused and not isinstance(
            frame, frames.Ping | frames.Subscribe | frames.Credit | frames.Unsubscribe
        ):
            if isinstance(frame, frames.Ends):
                self._note(peer, frame)
            return "store_unavailable", "The store cannot be reached."
        return None

    def _subscribe(self, peer: Peer, frame: frames.Subscribe, name: dict[str, Any]) -> None:
        peer.modes.add(frame.mode or "deliver")
        if frame.mode != "notify":
            peer.credits[frame.queue_type] = frame.credit
        results: list[dict[str, Any]] = []
        for lease in frame.leases or ():
            job = self.jobs.get(lease)
            if job is None:
                self.mistakes.append(f"a lease that it was never given: {lease}")
            else:
                job.peer = peer
                peer.carried.append(lease)
            if job is None or job.over:
                results.append({"status": "not_active"})
            else:
                results.append({"status": "success", "lease_ms": _rest(job)})
        more = {"results": results} if frame.leases else {}
        peer.send("reply", **name, status="success", **more)

    def _note(self, peer: Peer, frame: frames.Ends) -> list[Job | None]:
        """Write down that ends of leases were asked for; None: that lease is not known."""
        op = type(frame).__name__.lower()
        told = getattr(frame, "error", None) is not None or any(
            getattr(each, "error", None) is not None for each in frame.items or ()
        )
        named = [self.jobs.get(lease) for lease in frame.tokens]
        for job, lease in zip(named, frame.tokens, strict=True):
            if job is None:
                self.mistakes.append(f"a lease that it was never given: {lease}")
            else:
                job.ends.append(End(op, time.monotonic(), peer, told))
        return named

    def _end(self, peer: Peer, frame: frames.Ends, name: dict[str, Any]) -> None:
        named = self._note(peer, frame)
        answers = [_answer_of(job) for job in named]
        if any(isinstance(each, Cut) for each in answers):
            peer.cut()
            return
        for each in answers:
            if isinstance(each, Refuse):
                peer.send("error", **name, code=each.code, message="Not now.")
                return
        for job, result in zip(named, answers, strict=True):
            if job is not None and result in FINAL:
                job.over = True
        peer.send("reply", **name, status="success", results=answers)

    def _extend(self, lease: str, by: int) -> dict[str, Any]:
        job = self.jobs.get(lease)
        if job is None:
            self.mistakes.append(f"a lease that it was never given: {lease}")
        if job is None or job.over:
            return {"status": "not_active"}
        job.extensions += 1
        job.until = max(job.until, time.monotonic() + by / 1000)
        return {"status": "success", "lease_ms": _rest(job)}


def _answer_of(job: Job | None) -> Answer:
    if job is None:
        return "not_active"
    if job.answers:
        return job.answers.popleft()
    return "already_finished" if job.over else "success"


def _rest(job: Job) -> int:
    return max(1, round((job.until - time.monotonic()) * 1000))


def _id_of(message: str) -> dict[str, Any]:
    """The `id` of a frame that is not valid, if it can be read."""
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    name = found.get("id") if isinstance(found, dict) else None
    return {"id": name} if isinstance(name, str | int | float) else {}
