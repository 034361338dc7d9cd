"""Clients of the push channel that record each job, and each credit that they allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sharq.worker.socket import Socket
from tests.faults.callers import PAUSE, Run
from tests.faults.http_client import Job
from tests.faults.pollers import delivered
from tests.faults.producers import note_result, recorded
from tests.faults.recording import Operation, Recorded
from tests.faults.tenants import DEADLY, FAILING, KINDS, Source

_BEAT: Final = 0.02
"""Seconds for which what is to be finished is gathered."""

_MOST_LEASES: Final = 500
_ANSWER_TIMEOUT: Final = 8.0
_FAILS: Final = 0.4
_KILLS: Final = 0.2
"""From these chances on a job of its type fails, or its lease runs out."""

_FAILURES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"error": {"type": "ValueError", "message": "over a frame"}, "worker": "push 1"},
    {"delay": 80},
    {"error": {"type": "KeyError"}, "retry": False},
)
_UNSURE: Final = ("store_unavailable", "internal")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client goes about it.

    `types` with the credit of each; `life` is how many seconds a connection is kept at most.
    `notify`: it is told, and fetches. `release`: its jobs go back when it is lost. `breaks_off`:
    the connections end without a word.
    """

    types: dict[str, int]
    life: float = 60.0
    notify: bool = False
    release: bool = False
    breaks_off: bool = False


@dataclass(slots=True)
class _Held:
    queue_type: str
    job: Job


class _Event(msgspec.Struct):
    event: str
    queue_type: str = ""
    jobs: list[Job] = []
    id: int | None = None
    results: list[Any] = []
    leases: list[str] = []
    code: str = ""
    outcome: str = ""
    ready: int = 0


_decode = msgspec.json.Decoder(_Event).decode


class PushClient:
    """One client: connects, takes jobs, finishes most of them, and connects again."""

    def __init__(self, run: Run, name: str, number: int, manner: Manner) -> None:
        self._run = run
        self._name = name
        self._manner = manner
        self._rng = run.places.rng(name)
        self._ports = run.places.ports(number)
        self._lives = 0
        self._asked = 0
        self._source = Source(KINDS["limited"], name, self._rng)

    async def work(self) -> None:
        """Take jobs as long as the run wants it."""
        while await self._run.until("taking"):
            port = self._ports[self._lives % len(self._ports)]
            self._lives += 1
            try:
                async with asyncio.timeout(4.0):
                    socket = await Socket.connect(f"ws://127.0.0.1:{port}/ws/", {})
                    await socket.first_text()
            except (OSError, TimeoutError):
                await asyncio.sleep(PAUSE * self._rng.uniform(0.5, 1.5))
                continue
            log = Recorded.of(self._run.recorder, f"{self._name}#{self._lives}")
            async with self._run.at_work():
                await _Connection(
                    self._run, log, socket, self._manner, self._rng, self._source
                ).use()


class _Connection:
    """One connection, from its subscriptions to its end."""

    def __init__(
        self, run: Run, log: Recorded, socket: Socket, manner: Manner, rng: Any, source: Source
    ) -> None:
        self._run = run
        self._log = log
        self._socket = socket
        self._manner = manner
        self._rng = rng
        self._source = source
        self._ids = 0
        self._heard = asyncio.get_running_loop().time()
        self._answers: dict[int, tuple[float, Any]] = {}
        self._to_finish: dict[str, _Held] = {}
        self._to_release: dict[str, _Held] = {}
        self._to_fail: dict[str, _Held] = {}
        self._later: deque[tuple[float, str, _Held]] = deque()
        self._fetching: set[str] = set()
        self._credit = dict(manner.types)
        self._lowered = False

    async def use(self) -> None:
        """Use the connection until it ends, its life is over or the run wants none."""
        loop = asyncio.get_running_loop()
        self._log.note("open")
        self._socket.listen(self._on_text)
        for queue_type, credit in self._manner.types.items():
            self._subscribe(queue_type, credit)
        end = loop.time() + self._manner.life * self._rng.uniform(0.3, 1.0)
        try:
            while self._goes_on(loop.time(), end):
                await asyncio.wait({self._socket.closed}, timeout=_BEAT)
                self._beat(loop.time())
            if not self._manner.breaks_off:
                await self._take_leave()
        finally:
            self._log.note("close")
            for _, (then, fields) in self._answers.values():
                then(None, *fields)
            self._answers.clear()
            if self._manner.breaks_off:
                self._socket.abort()
            else:
                self._socket.close()

    def _goes_on(self, now: float, end: float) -> bool:
        if self._run.stopped or not self._run.taking or now > end:
            return False
        stuck = any(sent < now - _ANSWER_TIMEOUT for sent, _ in self._answers.values())
        return not (self._socket.closed.done() or stuck)

    async def _take_leave(self) -> None:
        """Take no more, and finish what is held."""
        for queue_type in self._manner.types:
            self._log.note("unsubscribe", type=queue_type)
            self._send(self._on_simple, op="unsubscribe", queue_type=queue_type)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 3.0
        while loop.time() < deadline and not self._socket.closed.done():
            self._beat(loop.time(), ask=False)
            if not (self._answers or self._to_finish or self._to_release or self._to_fail):
                return
            await asyncio.sleep(_BEAT)

    # What is said

    def _send(self, then: Any, *fields: Any, **frame: Any) -> None:
        self._ids += 1
        now = asyncio.get_running_loop().time()
        self._answers[self._ids] = (now, (then, fields))
        self._socket.send(msgspec.json.encode({"id": self._ids, **frame}))

    def _subscribe(self, queue_type: str, credit: int) -> None:
        mode = "notify" if self._manner.notify else "deliver"
        on_disconnect = "release" if self._manner.release else "keep"
        self._log.note("subscribe", type=queue_type, credit=credit, mode=mode)
        self._send(
            self._on_simple,
            op="subscribe",
            queue_type=queue_type,
            credit=credit,
            mode=mode,
            on_disconnect=on_disconnect,
        )

    def _beat(self, now: float, ask: bool = True) -> None:
        """Send what has been gathered, and now and then something else."""
        while self._later and self._later[0][0] < now:
            _, lease, held = self._later.popleft()
            self._to_finish[lease] = held
        if self._to_finish:
            self._end_some("finish", self._to_finish)
        if self._to_release:
            more = {
                "delay": self._rng.choice((0, 0, 200)),
                "count_requeue": self._rng.random() < 0.7,
            }
            self._end_some("release", self._to_release, **more)
        if self._to_fail:
            self._end_some("fail", self._to_fail, **self._rng.choice(_FAILURES))
        if ask and not self._run.well_behaved and self._rng.random() < 0.004:
            self._say_something()

    def _end_some(self, op: str, leases: dict[str, _Held], **more: Any) -> None:
        some = [(lease, leases.pop(lease)) for lease in list(leases)[:_MOST_LEASES]]
        operations = [self._log.invoke(op, **_parts(lease), **more) for lease, _ in some]
        names = [lease for lease, _ in some]
        self._send(self._on_ended, op, operations, some, op=op, leases=names, **more)

    def _say_something(self) -> None:
        """One of the things that are said now and then."""
        what = self._rng.choice(("credit", "enqueue", "extend", "dequeue", "ping"))
        queue_type = self._rng.choice(tuple(self._manner.types))
        if what == "credit" and not self._manner.notify and not self._lowered:
            self._change_credit(queue_type)
        elif what == "enqueue" and self._run.producing:
            jobs = self._source.jobs(3)
            operations = [self._log.invoke("enqueue", **recorded(job)) for job in jobs]
            self._send(self._on_enqueued, operations, op="enqueue", jobs=jobs)
        elif what == "dequeue":
            self._fetch(queue_type, 3)
        elif what == "extend" and self._later:
            _, lease, _ = self._later[0]
            operation = self._log.invoke("extend", **_parts(lease), by=2000)
            self._send(self._on_extended, operation, op="extend", leases=[lease], by=2000)
        elif what == "ping":
            self._send(self._on_simple, op="ping")

    def _change_credit(self, queue_type: str) -> None:
        """Ask for more or less; less is in force once it is answered."""
        credit = max(1, round(self._manner.types[queue_type] * self._rng.choice((0.2, 1, 2))))
        raised = credit >= self._credit[queue_type]
        self._credit[queue_type] = credit
        if raised:
            self._log.note("credit", type=queue_type, credit=credit)
        self._lowered = not raised
        self._send(
            self._on_credit,
            queue_type,
            credit,
            raised,
            op="credit",
            queue_type=queue_type,
            credit=credit,
        )

    def _fetch(self, queue_type: str, count: int) -> None:
        operation = self._log.invoke("dequeue", type=queue_type, count=count)
        self._send(
            self._on_fetched,
            operation,
            queue_type,
            op="dequeue",
            queue_type=queue_type,
            count=count,
        )

    # What is heard

    def _on_text(self, text: bytes) -> None:
        event = _decode(text)
        if event.event == "jobs":
            for job in event.jobs:
                self._log.note("deliver", type=event.queue_type, **delivered(job))
                self._take(_Held(event.queue_type, job))
        elif event.event == "ready":
            if event.queue_type not in self._fetching:
                self._fetching.add(event.queue_type)
                self._fetch(event.queue_type, min(event.ready, 100))
        elif event.event == "expired":
            self._log.note("expired", leases=event.leases)
        elif event.id is not None:
            entry = self._answers.pop(event.id, None)
            if entry is not None:
                then, fields = entry[1]
                then(event, *fields)

    def _take(self, held: _Held) -> None:
        """Decide what becomes of a job."""
        lease = held.job.lease
        chance = 0.0 if self._run.well_behaved else self._rng.random()
        now = asyncio.get_running_loop().time()
        careless = held.queue_type != "bulk"
        if held.queue_type == FAILING and chance > _FAILS:
            self._to_fail[lease] = held
        elif held.queue_type == DEADLY and chance > _KILLS:
            return
        elif chance < (0.80 if careless else 0.97):
            self._to_finish[lease] = held
        elif chance < 0.88 or not careless:
            self._to_release[lease] = held
        elif chance < 0.94:
            self._later.append((now + 1.0, lease, held))
        elif chance < 0.96:
            self._later.append((now + 4.0, lease, held))
        # All others are left to run out.

    def _on_simple(self, _event: _Event | None) -> None:
        pass

    def _on_credit(self, event: _Event | None, queue_type: str, credit: int, raised: bool) -> None:
        if event is not None and not raised:
            self._log.note("credit", type=queue_type, credit=credit)
        self._lowered = False

    def _on_ended(
        self,
        event: _Event | None,
        op: str,
        operations: Sequence[Operation],
        some: Sequence[tuple[str, _Held]],
    ) -> None:
        if event is None:
            for operation in operations:
                operation.unknown()
            return
        if event.event == "error":
            for operation, (lease, held) in zip(operations, some, strict=True):
                _note_end(operation, event.code, event.outcome)
                if op == "finish":
                    self._later.append((asyncio.get_running_loop().time() + 0.1, lease, held))
            return
        for operation, (lease, held), result in zip(operations, some, event.results, strict=True):
            if result == "success":
                operation.ok()
            else:
                _note_end(operation, result, "")
                if op == "finish" and result in _UNSURE:
                    self._later.append((asyncio.get_running_loop().time() + 0.1, lease, held))

    def _on_enqueued(self, event: _Event | None, operations: Sequence[Operation]) -> None:
        if event is None or (event.event == "error" and event.outcome == "unknown"):
            for operation in operations:
                operation.unknown()
        elif event.event == "error":
            for operation in operations:
                operation.fail(event.code)
        else:
            for operation, result in zip(operations, event.results, strict=True):
                note_result(operation, result)

    def _on_extended(self, event: _Event | None, operation: Operation) -> None:
        if event is None or event.outcome == "unknown" or event.code in _UNSURE:
            operation.unknown()
        elif event.event == "error":
            operation.fail(event.code)
        elif event.results[0]["status"] == "success":
            operation.ok(left=event.results[0]["lease_ms"])
        else:
            _note_end(operation, event.results[0]["status"], "")

    def _on_fetched(self, event: _Event | None, operation: Operation, queue_type: str) -> None:
        self._fetching.discard(queue_type)
        if event is None or event.outcome == "unknown":
            operation.unknown()
        elif event.event == "error":
            operation.fail(event.code)
        else:
            operation.ok(jobs=[delivered(job) for job in event.jobs])
            for job in event.jobs:
                self._take(_Held(queue_type, job))


def _parts(lease: str) -> dict[str, Any]:
    """What a lease token is made of."""
    queue_type, queue, job, n = lease.split("/")
    return {"type": queue_type, "queue": queue, "job": job, "n": int(n)}


def _note_end(operation: Operation, code: str, outcome: str) -> None:
    if outcome == "unknown" or code in _UNSURE:
        operation.unknown(code)
    else:
        operation.fail(code)
