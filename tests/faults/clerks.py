"""Clients that look after dead letters: list them, retry and delete some, or many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tests.faults.callers import Caller, Run
from tests.faults.http_client import Lost, NotSent, may_have_happened
from tests.faults.tenants import SPREAD
from tests.support.http import Answer

_PAUSE: Final = 0.25
_TYPES: Final = ("failing", "failing", "deadly", "deadly", "limited", "varied", "reused", SPREAD)
_FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {"all": True},
    {"all": True},
    {"filter": {"reason": "expired"}},
    {"filter": {"reason": "rejected"}},
    {"filter": {"error": "ValueError"}},
    {"filter": {"queue_id": "failing-1"}},
)

Letter = tuple[str, str]
"""The queue and the job of a dead letter."""


class Clerk:
    """Does one thing after another with the dead letters of several types."""

    def __init__(self, run: Run, name: str, number: int) -> None:
        self._caller = Caller(run, name, number)
        self._run = run

    async def work(self) -> None:
        """Work as long as jobs are put in."""
        rng = self._caller.rng
        acts: tuple[Callable[[str], Any], ...] = (
            *(self._change_some, self._change_some, self._change_some),
            *(self._change_many, self._look, self._look),
        )
        while await self._run.until("producing"):
            async with self._run.at_work():
                await rng.choice(acts)(rng.choice(_TYPES))
            await asyncio.sleep(_PAUSE * rng.uniform(0.2, 1.0))
        self._caller.close()

    async def _look(self, queue_type: str) -> None:
        """Look at some of them, or at how far a bulk is."""
        rng = self._caller.rng
        if rng.random() < 0.6:
            await self.progress(queue_type)
        else:
            for queue, job in (await self._page(queue_type))[:1]:
                path = rng.choice((f"/dead/{queue_type}", f"/status/{queue_type}"))
                await self._ask("GET", f"{path}/{queue}/{job}/")

    async def progress(self, queue_type: str) -> bool:
        """How far the bulk of a type is; whether one may run."""
        operation = self._caller.log.invoke("bulk_progress", type=queue_type)
        answer = await self._ask("GET", f"/dead/{queue_type}/retry")
        if answer is None or answer.status != 200:
            operation.unknown()
            return True
        bulk = answer.body["bulk"] or {"kind": "", "id": "", "moved": 0, "state": ""}
        operation.ok(kind=bulk["kind"], bulk=bulk["id"], moved=bulk["moved"])
        return bool(bulk["state"] == "running")

    async def cancel(self, queue_type: str) -> None:
        """End the bulk of a type, if one runs."""
        await self._ask("DELETE", f"/dead/{queue_type}/retry")

    def close(self) -> None:
        """Leave all connections."""
        self._caller.close()

    async def _change_some(self, queue_type: str) -> None:
        rng = self._caller.rng
        letters = await self._page(queue_type)
        some = rng.sample(letters, min(len(letters), rng.choice((1, 1, 3, 20))))
        if not some:
            return
        kind = rng.choice(("retry", "retry", "delete"))
        log = self._caller.log
        operations = [
            log.invoke(f"{kind}_dead", type=queue_type, queue=queue, job=job) for queue, job in some
        ]
        try:
            answer = await self._call(kind, queue_type, {"jobs": some})
        except NotSent:
            for operation in operations:
                operation.fail("not_sent")
            return
        except Lost:
            for operation in operations:
                operation.unknown()
            return
        if answer.status == 200:
            for operation, result in zip(operations, answer.body["results"], strict=True):
                if result == "success":
                    operation.ok()
                else:
                    operation.fail(result)
            return
        for operation in operations:
            # A part of them may have been carried out.
            operation.unknown()

    async def _change_many(self, queue_type: str) -> None:
        rng = self._caller.rng
        kind = rng.choice(("retry", "retry", "retry", "delete"))
        limit = rng.choice(({}, {}, {"limit": 3}))
        await self.begin(kind, queue_type, rng.choice(_FILTERS) | limit)
        if rng.random() < 0.1:
            await self.cancel(queue_type)

    async def begin(self, kind: str, queue_type: str, body: dict[str, Any]) -> None:
        """Begin a bulk."""
        operation = self._caller.log.invoke("bulk", type=queue_type, kind=kind)
        try:
            answer = await self._call(kind, queue_type, body)
        except NotSent:
            operation.fail("not_sent")
            return
        except Lost:
            operation.unknown()
            return
        if answer.status == 202:
            operation.ok()
        elif may_have_happened(answer.status, answer.body):
            operation.unknown()
        else:
            operation.fail(str(answer.body.get("code", answer.status)))

    async def _call(self, kind: str, queue_type: str, body: dict[str, Any]) -> Answer:
        if kind == "retry":
            return await self._caller.call("POST", f"/dead/{queue_type}/retry", body)
        return await self._caller.call("DELETE", f"/dead/{queue_type}/", body)

    async def _page(self, queue_type: str) -> list[Letter]:
        query = self._caller.rng.choice(("", "?reason=expired", "?count=5", "?error=ValueError"))
        answer = await self._ask("GET", f"/dead/{queue_type}/{query}")
        if answer is None or answer.status != 200:
            return []
        return [(letter["queue_id"], letter["job_id"]) for letter in answer.body["jobs"]]

    async def _ask(self, method: str, path: str) -> Answer | None:
        try:
            return await self._caller.call(method, path)
        except (NotSent, Lost):
            return None
