"""A client that does what operators do: looks, changes rates, clears queues, cancels jobs."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.faults.callers import Caller, Run
from tests.faults.tenants import KINDS

_PAUSE: Final = 0.15
_INTERVALS: Final = (0, 3, 20, 150, 400)
_CLEARED: Final = ("reused", "bounded", "limited")
_LONGEST_OVERRIDE: Final = 4.0
"""Seconds after which a rate is given back to its producers."""


class Operator:
    """Does one thing after another, all over the queues."""

    def __init__(self, run: Run, name: str, number: int) -> None:
        self._caller = Caller(run, name, number)
        self._run = run
        self._overrides: list[tuple[float, str, str]] = []

    async def work(self) -> None:
        """Operate as long as jobs are put in; then give back all rates that were set."""
        rng = self._caller.rng
        loop = asyncio.get_running_loop()
        acts = (self._look, self._look, self._set_interval, self._clear, self._cancel)
        while await self._run.until("producing"):
            async with self._run.at_work():
                await rng.choice(acts)()
                while self._overrides and self._overrides[0][0] < loop.time():
                    await self._give_back()
            await asyncio.sleep(_PAUSE * rng.uniform(0.5, 1.5))
            if not self._run.producing:
                async with self._run.at_work():
                    while self._overrides:
                        await self._give_back()
        self._caller.close()

    async def _look(self) -> None:
        queue_type, queue = self._queue(tuple(KINDS))
        op, path = self._caller.rng.choice(
            (
                ("metrics", "/metrics/"),
                ("metrics", f"/metrics/{queue_type}/"),
                ("metrics", f"/metrics/{queue_type}/{queue}/"),
                ("status", f"/status/reused/{self._queue(('reused',))[1]}/again-1/"),
            )
        )
        fields = {"type": queue_type, "queue": queue} if op == "metrics" else {"job": "again-1"}
        await self._caller.operate(op, fields, "GET", path)

    async def _set_interval(self) -> None:
        queue_type, queue = self._queue(("paced", "reused", "limited", "bulk"))
        interval = self._caller.rng.choice(_INTERVALS)
        fields = {"type": queue_type, "queue": queue, "interval": interval}
        path = f"/interval/{queue_type}/{queue}/"
        await self._caller.operate("interval", fields, "POST", path, {"interval": interval})
        end = asyncio.get_running_loop().time() + _LONGEST_OVERRIDE
        self._overrides.append((end, queue_type, queue))

    async def _give_back(self) -> None:
        _, queue_type, queue = self._overrides[0]
        fields = {"type": queue_type, "queue": queue}
        path = f"/interval/{queue_type}/{queue}/"
        answer = await self._caller.operate("reset_interval", fields, "DELETE", path)
        if (answer is not None and answer.status < 500) or self._run.stopped:
            del self._overrides[0]

    async def _clear(self) -> None:
        rng = self._caller.rng
        if rng.random() < 0.6:
            return
        queue_type, queue = self._queue(_CLEARED)
        purge = rng.random() < 0.4
        fields = {"type": queue_type, "queue": queue, "purge": purge}
        body = {"purge_all": True} if purge else None
        path = f"/deletequeue/{queue_type}/{queue}/"
        await self._caller.operate("clear", fields, "DELETE", path, body)

    async def _cancel(self) -> None:
        queue_type, queue = self._queue(("reused",))
        job = f"again-{self._caller.rng.randrange(KINDS[queue_type].names)}"
        fields = {"type": queue_type, "queue": queue, "job": job}
        await self._caller.operate("cancel", fields, "DELETE", f"/job/{queue_type}/{queue}/{job}/")

    def _queue(self, types: tuple[str, ...]) -> tuple[str, str]:
        kind = KINDS[self._caller.rng.choice(types)]
        return kind.name, f"{kind.name}-{self._caller.rng.randrange(kind.queues)}"
