"""Clients that see for how long a node's types are not served: over the library, without a server.

Of each type of `probes` one puts a job in every few milliseconds, and another one takes it and
finishes it. Nothing else is done to these types while the run goes on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from sharq import AsyncSharQ
from sharq._fastpath import Job
from sharq.errors import StoreError
from sharq.results import DUPLICATE, SUCCESS
from tests.faults.audit import audited_scripts
from tests.faults.callers import Run
from tests.faults.pollers import number_of
from tests.faults.recording import Operation, Recorded

_EVERY: Final = 0.03
"""Seconds between two operations."""

_AGAIN: Final = 0.01
_QUEUE: Final = "probed"
_MOST_TRIES: Final = 200


def probes(run: Run) -> list[Coroutine[Any, Any, None]]:
    """All of them."""
    return [Probe(run, queue_type).work() for queue_type in run.places.setup.probes]


class Probe:
    """The two clients of one type."""

    def __init__(self, run: Run, queue_type: str) -> None:
        self._run = run
        self._type = queue_type
        self._put_log = Recorded.of(run.recorder, f"{queue_type}-put")
        self._take_log = Recorded.of(run.recorder, f"{queue_type}-take")
        self._config = Path(run.places.folder) / f"{queue_type}.conf"
        self._config.write_text(
            "[sharq]\njob_expire_interval = 1000\nenable_requeue_script = false\n"
            f"{run.places.sharq}[redis]\n{run.places.store}\n"
        )

    async def work(self) -> None:
        """Put in and take as long as the run wants it."""
        config = str(self._config)
        async with AsyncSharQ(config, scripts=audited_scripts()) as queue:
            await asyncio.gather(self._put(queue), self._take(queue))

    async def _put(self, queue: AsyncSharQ) -> None:
        for number in itertools.count(1):
            if not await self._run.until("producing"):
                return
            async with self._run.at_work():
                await self._put_one(queue, f"{self._type}-{number}")
            await asyncio.sleep(_EVERY)

    async def _put_one(self, queue: AsyncSharQ, job_id: str) -> None:
        job = queue.new_job(b'"' + job_id.encode() + b'"', 0, job_id, _QUEUE, self._type)
        fields = {"type": self._type, "queue": _QUEUE, "job": job_id, "interval": 0, "limit": -1}
        operation = self._put_log.invoke("enqueue", **fields, payload=job_id)
        try:
            done = await queue.submit(job)
        except StoreError as error:
            _note(operation, error)
            await asyncio.sleep(_AGAIN)
        else:
            operation.ok(duplicate=done.outcome == DUPLICATE)

    async def _take(self, queue: AsyncSharQ) -> None:
        while await self._run.until("producing"):
            async with self._run.at_work():
                await self._take_one(queue)
            # More often than jobs come, to catch up after an outage.
            await asyncio.sleep(_AGAIN)

    async def _take_one(self, queue: AsyncSharQ) -> None:
        operation = self._take_log.invoke("dequeue", type=self._type, count=1)
        try:
            batch = await queue.take(self._type)
        except StoreError as error:
            _note(operation, error)
            return
        jobs = batch.jobs
        told = [
            {
                "queue": job.queue_id,
                "job": job.job_id,
                "n": number_of(job.lease),
                "payload": msgspec.Raw(job.payload),
                "left": job.requeues_remaining,
            }
            for job in jobs
        ]
        if not told:
            operation.fail("nothing_ready")
            return
        operation.ok(jobs=told)
        for job in jobs:
            await self._finish(queue, job)

    async def _finish(self, queue: AsyncSharQ, job: Job) -> None:
        """Finish a job; again where the outcome is unknown, which is safe."""
        where = (self._type, job.queue_id, job.job_id)
        names = dict(zip(("type", "queue", "job"), where, strict=True))
        for _ in range(_MOST_TRIES):
            operation = self._take_log.invoke("finish", **names, n=number_of(job.lease))
            try:
                ended = await queue.finish_job(*where, job.lease)
            except StoreError as error:
                _note(operation, error)
                if not error.outcome_unknown and self._run.stopped:
                    return
                await asyncio.sleep(_AGAIN)
                continue
            if ended.outcome == SUCCESS:
                operation.ok()
            else:
                operation.fail(ended.outcome)
            return


def _note(operation: Operation, error: StoreError) -> None:
    if error.outcome_unknown:
        operation.unknown()
    else:
        operation.fail("store_unavailable")
