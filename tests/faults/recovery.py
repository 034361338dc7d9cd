"""How soon each server works again after the store has come back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Final

from tests.faults.callers import outcome
from tests.faults.http_client import Http, Lost, NotSent, may_have_happened
from tests.faults.recording import Recorded

_EVERY: Final = 0.05
_GIVE_UP: Final = 30.0


class Recovery:
    """After each return of the store, asks every server until it has put a job in.

    A measurement during which something is done to the server or the store is thrown away, and it
    begins anew while the server is not there.
    `disturbed(server)` counts what was done, `is_disturbed(server)` tells whether it goes on.
    """

    def __init__(
        self,
        ports: Mapping[str, int],
        log: Recorded,
        faults_log: Recorded,
        disturbed: Callable[[str], int],
        is_disturbed: Callable[[str], bool],
    ) -> None:
        self.times: list[float] = []
        """Seconds that it took, one for each server and return."""
        self._ports = ports
        self._log = log
        self._faults_log = faults_log
        self._disturbed = disturbed
        self._is_disturbed = is_disturbed
        self._numbers = itertools.count(1)
        self._probes: dict[str, asyncio.Task[None]] = {}

    def on_return(self, queue_type: str) -> None:
        """The store is back, or the node of a type."""
        for name, port in self._ports.items():
            if name in self._probes:
                self._probes[name].cancel()
            self._probes[name] = asyncio.create_task(self._measure(name, port, queue_type))

    def stop(self) -> None:
        """Measure no more."""
        for probe in self._probes.values():
            probe.cancel()

    async def _measure(self, name: str, port: int, queue_type: str) -> None:
        loop = asyncio.get_running_loop()
        began, before = loop.time(), None
        async with Http(port) as http:
            while loop.time() < began + _GIVE_UP:
                if self._is_disturbed(name):
                    began, before = loop.time(), None
                elif before is None:
                    began, before = loop.time(), self._disturbed(name)
                works = await self._works(http, queue_type)
                if works and before is not None:
                    break
                if works is None:
                    began, before = loop.time(), None
                await asyncio.sleep(_EVERY)
        if before == self._disturbed(name):
            seconds = loop.time() - began
            self.times.append(seconds)
            self._faults_log.note("recovered", server=name, ms=round(seconds * 1000))

    async def _works(self, http: Http, queue_type: str) -> bool | None:
        """Whether it puts a job in; None where it takes no connection."""
        job = f"probe-{next(self._numbers)}"
        fields = {"type": queue_type, "queue": "probe", "job": job, "interval": 0, "limit": -1}
        operation = self._log.invoke("enqueue", **fields, payload=job)
        body = {"job_id": job, "interval": 0, "payload": job}
        try:
            answer = await http.call("POST", f"/enqueue/{queue_type}/probe/", body, timeout=2.0)
        except NotSent:
            operation.fail("not_sent")
            return None
        except Lost:
            operation.unknown()
            return False
        except asyncio.CancelledError:
            operation.unknown()
            raise
        if answer.status == 201:
            operation.ok(**outcome("enqueue", answer))
            return True
        if may_have_happened(answer.status, answer.body):
            operation.unknown()
        else:
            operation.fail(str(answer.body.get("code", answer.status)))
        return False
