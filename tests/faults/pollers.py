"""Clients that take jobs over REST, and do with their leases all that one can."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.faults.callers import Caller, Run
from tests.faults.http_client import Job, Lost, NotSent, jobs_in, may_have_happened
from tests.faults.tenants import DEADLY, FAILING, PROBE, SPREAD

_WEIGHTS: Final = {
    "bulk": 3,
    "paced": 4,
    "limited": 4,
    "bounded": 3,
    "reused": 3,
    "grouped": 4,
    "varied": 4,
    SPREAD: 6,
    FAILING: 5,
    DEADLY: 3,
    PROBE: 1,
}
_LONGEST_LEASE: Final = 3.0
_FAILS: Final = 0.4
_KILLS: Final = 0.2
"""From these chances on a job of its type fails, or its lease runs out."""

_FAILURES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"error": {"type": "ValueError", "message": "no such tenant", "trace": "File 1\n line 2"}},
    {"error": {"type": "ValueError"}, "delay": 0},
    {"error": {"message": "grüße  " * 100}, "delay": 150},
    {"error": {"type": "KeyError"}, "retry": False},
)

_IMPATIENT: Final = 0.05
"""Part of the long polls whose client goes away."""


def number_of(lease: str) -> int:
    """The number in a lease token."""
    return int(lease.rpartition("/")[2])


class Poller:
    """Takes jobs of all types, one or several at a time."""

    def __init__(self, run: Run, name: str, number: int) -> None:
        self._caller = Caller(run, name, number)
        self._run = run
        self._name = name
        self._asked = 0
        self._late: list[tuple[float, str, Job]] = []

    async def work(self) -> None:
        """Take jobs as long as the run wants it."""
        rng = self._caller.rng
        while await self._run.until("taking"):
            queue_type = rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
            async with self._run.at_work():
                for job in await self._take(queue_type):
                    await self._deal_with(queue_type, job)
                await self._finish_late()
        self._caller.close()

    async def _take(self, queue_type: str) -> list[Job]:
        rng = self._caller.rng
        count = rng.choice((None, None, 1, 5, 20))
        wait = rng.choice((0.0, 0.0, 0.2, 0.5))
        self._asked += 1
        request_id = f"{self._name}-{self._asked}" if rng.random() < 0.6 else None
        asked = {"count": count, "wait": wait or None, "request_id": request_id}
        query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
        path = f"/dequeue/{queue_type}/" + (f"?{query}" if query else "")
        fields = {"type": queue_type, "count": count or 1}
        if request_id is not None:
            fields["request_id"] = request_id
        for _ in range(20):
            jobs = await self._dequeue(path, fields, wait)
            if jobs is not None:
                return jobs
            if request_id is None or self._run.stopped:
                return []
        return []

    async def _dequeue(self, path: str, fields: dict[str, Any], wait: float) -> list[Job] | None:
        """One dequeue, recorded; None where it is not known what it took."""
        operation = self._caller.log.invoke("dequeue", **fields)
        rng = self._caller.rng
        method, timeout = rng.choice(("GET", "POST")), 4.0 + wait
        if wait and rng.random() < _IMPATIENT:
            timeout = wait / 2
        try:
            answer = await self._caller.call(method, path, timeout=timeout)
        except NotSent:
            operation.fail("not_sent")
            return []
        except Lost:
            operation.unknown()
            return None
        if answer.status == 200:
            jobs = jobs_in(answer, "count=" in path)
            operation.ok(jobs=[delivered(job) for job in jobs])
            return jobs
        body = answer.body
        if may_have_happened(answer.status, body):
            operation.unknown()
            return None
        operation.fail(body["code"])
        return []

    async def _deal_with(self, queue_type: str, job: Job) -> None:
        chance = 0.0 if self._run.well_behaved else self._caller.rng.random()
        if queue_type == FAILING and chance > _FAILS:
            await self._fail(queue_type, job)
        elif queue_type == DEADLY and chance > _KILLS:
            return
        elif chance < 0.78:
            await self._end("finish", queue_type, job)
        elif chance < 0.80:
            await self._end("finish", queue_type, job, lease=False)
        elif chance < 0.87:
            await self._release(queue_type, job)
        elif chance < 0.90:
            by = self._caller.rng.choice((1, 500, 2000))
            await self._end("extend", queue_type, job, by=by)
            await self._end("finish", queue_type, job)
        elif chance < 0.93:
            await self._end("finish", queue_type, job)
            await self._end("finish", queue_type, job)
        elif chance < 0.96:
            later = asyncio.get_running_loop().time() + _LONGEST_LEASE
            self._late.append((later, queue_type, job))
        # All others are left to run out.

    async def _finish_late(self) -> None:
        """Finish by leases that have run out in the meantime."""
        now = asyncio.get_running_loop().time()
        while self._late and self._late[0][0] < now:
            _, queue_type, job = self._late.pop(0)
            await self._end("finish", queue_type, job)

    async def _release(self, queue_type: str, job: Job) -> None:
        rng = self._caller.rng
        delay, counted = rng.choice((0, 0, 100, 1000)), rng.random() < 0.7
        await self._end("release", queue_type, job, delay=delay, count_requeue=counted)

    async def _fail(self, queue_type: str, job: Job) -> None:
        rng = self._caller.rng
        more: dict[str, Any] = dict(rng.choice(_FAILURES))
        if rng.random() < 0.2:
            more["worker"] = self._name
        await self._end("fail", queue_type, job, **more)

    async def _end(
        self, op: str, queue_type: str, job: Job, *, lease: bool = True, **more: Any
    ) -> None:
        """Finish, release, fail or extend; again where the outcome is unknown and that is safe."""
        fields = {
            "type": queue_type,
            "queue": job.queue_id,
            "job": job.job_id,
            "n": number_of(job.lease) if lease else 0,
            **more,
        }
        token = {"lease": job.lease} if lease else {}
        path = f"/{op}/{queue_type}/{job.queue_id}/{job.job_id}/"
        for _ in range(1 if op in ("release", "fail") else 5):
            answer = await self._caller.operate(op, fields, "POST", path, token | more)
            if answer is not None and answer.status < 500:
                return


def delivered(job: Job) -> dict[str, Any]:
    """What the history keeps of a job that was taken."""
    return {
        "queue": job.queue_id,
        "job": job.job_id,
        "n": number_of(job.lease),
        "payload": job.payload,
        "left": job.requeues_remaining,
    }
