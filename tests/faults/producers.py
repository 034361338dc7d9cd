"""Clients that put jobs in, one by one and many at once, until the outcome is known."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.faults.callers import Caller, Run
from tests.faults.http_client import Lost, NotSent, may_have_happened
from tests.faults.recording import Operation
from tests.faults.tenants import Kind, Source

_MOST_WAITING: Final = 20_000
"""Jobs in the store over which nothing more is put in."""

_CATCH_UP: Final = 8.0
"""Seconds of an outage whose jobs are put in later."""

_PATIENCE: Final = 15.0
"""Seconds after which a producer gives up a job."""


_AGAIN: Final = ("store_unavailable", "store_full", "store_auth", "overloaded", "stopping")


class Producer:
    """Puts in `rate` jobs of a kind a second."""

    def __init__(self, run: Run, name: str, number: int, kind: Kind, rate: float) -> None:
        self._caller = Caller(run, name, number)
        self._source = Source(kind, name, self._caller.rng)
        self._rate = rate
        self._run = run

    async def work(self) -> None:
        """Put jobs in as long as the run wants it."""
        loop = asyncio.get_running_loop()
        rng, batch = self._caller.rng, self._source.kind.batch
        due, last = 0.0, loop.time()
        while await self._run.until("producing"):
            now = loop.time()
            due = min(due + (now - last) * self._rate, self._rate * _CATCH_UP + batch)
            last = now
            count = min(int(due), rng.randint(max(1, batch // 3), batch))
            if count < min(batch, 1 + batch // 3) or self._run.backlog > _MOST_WAITING:
                await asyncio.sleep(min(0.5, max(0.01, (1 + batch // 3 - due) / self._rate)))
                continue
            due -= count
            async with self._run.at_work():
                await self._put(self._source.jobs(count))
        self._caller.close()

    async def _put(self, jobs: list[dict[str, Any]]) -> None:
        """Put jobs in, again and again where it may not have worked."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        while jobs and loop.time() < deadline:
            several = len(jobs) > 1 or self._caller.rng.random() < 0.1
            jobs = await (self._put_many(jobs) if several else self._put_one(jobs[0]))

    async def _put_one(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        body = {name: value for name, value in job.items() if not name.startswith("queue_")}
        path = f"/enqueue/{job['queue_type']}/{job['queue_id']}/"
        answer = await self._caller.operate("enqueue", recorded(job), "POST", path, body)
        again = answer is None or answer.status >= 500
        return [job] if again else []

    async def _put_many(self, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send jobs together; those that are to be sent again."""
        log = self._caller.log
        operations = [log.invoke("enqueue", **recorded(job)) for job in jobs]
        try:
            answer = await self._caller.call("POST", "/enqueue/", {"jobs": jobs}, timeout=6.0)
        except NotSent:
            for operation in operations:
                operation.fail("not_sent")
            return jobs
        except Lost:
            for operation in operations:
                operation.unknown()
            return jobs
        body = answer.body
        results = body["results"] if answer.status == 200 else [body] * len(jobs)
        return [
            job
            for operation, job, result in zip(operations, jobs, results, strict=True)
            if note_result(operation, result)
        ]


def recorded(job: dict[str, Any]) -> dict[str, Any]:
    """What the history keeps of a job that is put in."""
    payload = job["payload"]
    fields = {
        "type": job["queue_type"],
        "queue": job["queue_id"],
        "job": job["job_id"],
        "interval": job["interval"],
        "limit": job.get("requeue_limit", -1),
        "payload": payload,
    }
    bound = job.get("max_queued_length")
    if bound is None and isinstance(payload, dict):
        bound = payload.get("max_queued_length")
    if bound is not None:
        fields["max_length"] = bound
    return fields


def note_result(operation: Operation, result: dict[str, Any]) -> bool:
    """Record one result of a bulk; whether the job is to be sent again."""
    if result["status"] == "queued":
        operation.ok(duplicate=result.get("duplicate", False))
        return False
    code = result["code"]
    if may_have_happened(500 if code == "internal" else 0, result):
        operation.unknown(code)
        return True
    operation.fail(code)
    return code in _AGAIN
