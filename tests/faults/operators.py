"""A client that does what operators do: looks, changes limits, pauses, clears, cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tests.faults.callers import Caller, Run
from tests.faults.tenants import KINDS, LIMITED, SPREAD

_PAUSE: Final = 0.15
_INTERVALS: Final = (0, 3, 20, 150, 400)
_CLEARED: Final = ("reused", "bounded", "limited", "varied", SPREAD)
_GROUPS: Final = sorted({group for kind in KINDS.values() for group in kind.groups if group})
_LIMITS: Final[dict[str, tuple[Any, ...]]] = {
    "interval": (2, 4, 10.5, 25, 60, None),
    "burst": (1, 2, 5, None),
    "concurrency": (1, 3, 10, None),
}
_STOPS: Final = (None, None, 50, 400, 1500)
_LONGEST_OVERRIDE: Final = 4.0
"""Seconds after which what was set is given back."""

_LONGEST_STOP: Final = 1.2


class _Override(NamedTuple):
    """What gives something back, and when (of the loop's clock)."""

    end: float
    op: str
    fields: dict[str, Any]
    method: str
    path: str


class Operator:
    """Does one thing after another, all over the queues."""

    def __init__(self, run: Run, name: str, number: int) -> None:
        self._caller = Caller(run, name, number)
        self._run = run
        self._overrides: list[_Override] = []

    async def work(self) -> None:
        """Operate as long as jobs are put in; then give back all that was set."""
        rng = self._caller.rng
        loop = asyncio.get_running_loop()
        acts: tuple[Callable[[], Any], ...] = (
            *(self._look, self._look, self._set_interval, self._clear, self._cancel),
            *(self._set_limits, self._set_limits, self._stop),
        )
        while await self._run.until("producing"):
            async with self._run.at_work():
                await rng.choice(acts)()
                for override in [each for each in self._overrides if each.end < loop.time()]:
                    await self._give_back(override)
            await asyncio.sleep(_PAUSE * rng.uniform(0.3, 0.9))
            if not self._run.producing:
                async with self._run.at_work():
                    while self._overrides:
                        await self._give_back(self._overrides[0])
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
        queue_type, queue = self._queue(("paced", "reused", "limited", "bulk", SPREAD))
        interval = self._caller.rng.choice(_INTERVALS)
        fields = {"type": queue_type, "queue": queue, "interval": interval}
        path = f"/interval/{queue_type}/{queue}/"
        await self._caller.operate("interval", fields, "POST", path, {"interval": interval})
        fields = {"type": queue_type, "queue": queue}
        self._override(_LONGEST_OVERRIDE, "reset_interval", fields, "DELETE", path)

    async def _set_limits(self) -> None:
        """Change one limit of a queue, a group or a type."""
        rng = self._caller.rng
        fields, path = self._level()
        field = rng.choice(tuple(_LIMITS))
        body: dict[str, Any] = {field: rng.choice(_LIMITS[field])}
        if not fields["queue"].startswith("=") and rng.random() < 0.4:
            body = {"group": rng.choice((*_GROUPS, None))}
        await self._caller.operate("limits", fields, "POST", f"/limits/{path}", body)
        self._override(_LONGEST_OVERRIDE, "limits", fields, "DELETE", f"/limits/{path}")

    async def _stop(self) -> None:
        """Pause a queue, a group or a type, for some time or until it is resumed."""
        fields, path = self._level()
        ms = self._caller.rng.choice(_STOPS)
        body = {"reason": "closed"} | ({"for": ms} if ms else {})
        await self._caller.operate("pause", fields, "POST", f"/pause/{path}", body)
        self._override(_LONGEST_STOP, "pause", fields, "POST", f"/resume/{path}")

    def _override(self, longest: float, op: str, *how: Any) -> None:
        end = asyncio.get_running_loop().time() + longest * self._caller.rng.uniform(0.1, 1.0)
        self._overrides.append(_Override(end, op, *how))

    async def _give_back(self, override: _Override) -> None:
        _, op, fields, method, path = override
        answer = await self._caller.operate(op, fields, method, path)
        if (answer is not None and answer.status < 500) or self._run.stopped:
            self._overrides.remove(override)

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

    def _level(self) -> tuple[dict[str, str], str]:
        """A level: how the history names it, and its path. The spread type takes no group, and no
        limits for itself: that is refused, and changes nothing.
        """
        rng = self._caller.rng
        queue_type, queue = self._queue((*LIMITED, SPREAD))
        kind = rng.choice(("queue", "queue", "group", "type"))
        if kind == "queue":
            return {"type": queue_type, "queue": queue}, f"{queue_type}/{queue}/"
        if kind == "group":
            group = rng.choice(_GROUPS)
            return {"type": queue_type, "queue": f"={group}"}, f"{queue_type}/?group={group}"
        return {"type": queue_type, "queue": "="}, f"{queue_type}/"

    def _queue(self, types: tuple[str, ...]) -> tuple[str, str]:
        kind = KINDS[self._caller.rng.choice(types)]
        return kind.name, f"{kind.name}-{self._caller.rng.randrange(kind.queues)}"
