"""What all REST clients of a run have in common: the run's state, and a way to some server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults.history import Recorder
from tests.faults.http_client import Http, Lost, NotSent, may_have_happened
from tests.faults.places import Places
from tests.faults.recording import Recorded
from tests.support.http import Answer

PAUSE: Final = 0.2
"""Seconds before a client tries again after a failure."""


@dataclass
class Run:
    """What the clients of one process share.

    `producing`, `taking`: whether jobs are put in, and taken out. `well_behaved`: whether every job
    that is taken is finished at once. `backlog`: how many jobs there are, as far as is known.
    """

    places: Places
    recorder: Recorder
    producing: bool = True
    taking: bool = True
    well_behaved: bool = False
    stopped: bool = False
    backlog: int = 0
    busy: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def change(self, **what: Any) -> None:
        """Set some of it, and wake those who wait for that."""
        for name, value in what.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition: str) -> bool:
        """Wait until `producing` or `taking` is true; false where the run stops first."""
        while not self.stopped and not getattr(self, condition):
            await self.changed.wait()
        return not self.stopped

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Something is done that is to come to its end before the clients rest."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1


class Caller:
    """One client: its name in the history, its choices, and its connection to some server.

    After a failure the next server gets its turn.
    """

    def __init__(self, run: Run, name: str, first: int) -> None:
        self.run = run
        self.rng: random.Random = run.places.rng(name)
        self.log = Recorded.of(run.recorder, name)
        self._ways = [Http(port) for port in run.places.ports(first)]
        self._at = 0

    async def call(
        self, method: str, path: str, body: Any = None, *, timeout: float = 4.0
    ) -> Answer:
        """One request. Raises `NotSent` or `Lost`."""
        try:
            answer = await self._ways[self._at].call(method, path, body, timeout=timeout)
        except (NotSent, Lost):
            await self.turn_away()
            raise
        if answer.status >= 500:
            await self.turn_away()
        return answer

    async def turn_away(self) -> None:
        """Try another server from now on, after a pause."""
        self._at = (self._at + 1) % len(self._ways)
        await asyncio.sleep(PAUSE * self.rng.uniform(0.5, 1.5))

    async def operate(
        self, op: str, fields: dict[str, Any], method: str, path: str, body: Any = None
    ) -> Answer | None:
        """One operation, recorded: its answer, None where that is not known."""
        operation = self.log.invoke(op, **fields)
        try:
            answer = await self.call(method, path, body)
        except NotSent:
            operation.fail("not_sent")
            return None
        except Lost:
            operation.unknown()
            return None
        if answer.status < 300:
            operation.ok(**outcome(op, answer))
        elif answer.status >= 500 and may_have_happened(answer.status, answer.body):
            operation.unknown()
            return None
        else:
            operation.fail(str(answer.body.get("code", answer.status)))
        return answer

    def close(self) -> None:
        """Leave all connections."""
        for way in self._ways:
            way.close()


def outcome(op: str, answer: Answer) -> dict[str, Any]:
    """What the history keeps of a success."""
    if op == "enqueue":
        return {"duplicate": answer.body.get("duplicate", False)}
    if op == "clear":
        return {"removed": answer.body["status"] == "Success"}
    if op == "extend":
        return {"left": answer.body["lease_expires_in"]}
    if op in ("release", "fail", "status"):
        return {"state": answer.body["state"]}
    return {}
