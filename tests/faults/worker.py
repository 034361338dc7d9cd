"""A worker of the library's, in a process of its own.

python -m tests.faults.worker NAME PORT PLACES [calm]

Whatever it is about to do is in the history before it does it, since it may be killed at any
moment. A calm one finishes every job at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from sharq import Discard, LeasedJob, Retry, Worker
from sharq.worker import log as worker_log
from tests.faults.history import Recorder
from tests.faults.places import Places
from tests.faults.pollers import number_of
from tests.faults.recording import Recorded
from tests.faults.tenants import DEADLY, FAILING

_LONGEST_HANDLER: Final = 1.0
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"w1": {"prefetch": 12}}
"""What a worker is asked for; the other one has the defaults."""

_MOST_FAILURES: Final = 3
"""Attempts before which a job may fail: the worker waits twice as long after each."""


def main(name: str, port: int, places: Places, calm: bool) -> int:
    """Work until SIGTERM."""
    recorder = Recorder(Path(places.folder), f"{name}.{os.getpid()}", buffered=False)
    log = Recorded.of(recorder, f"{name}.{os.getpid()}")
    rng = places.rng(name)
    # What kills its workers is left to those who do not mind; all is finished by a calm one.
    types = places.setup.types
    if not calm:
        types = tuple(each for each in types if each not in (DEADLY, *places.setup.probes))
    worker = Worker(
        f"ws://127.0.0.1:{port}/ws/",
        types,
        concurrency=24,
        timeout=_LONGEST_HANDLER,
        grace=3.0,
        **_OPTIONS.get(name, {}),
    )

    @worker.handler
    async def handle(job: LeasedJob) -> None:
        note_start(log, job)
        chance = 1.0 if calm else rng.random()
        if chance < 0.1:
            await asyncio.sleep(rng.uniform(0.0, 0.05))
        elif chance < 0.12 and job.attempt < _MOST_FAILURES:
            await asyncio.sleep(2 * _LONGEST_HANDLER)  # more than it may
        elif chance < 0.15:
            raise Retry(rng.choice((0.0, 0.1, 0.5)))
        elif chance < 0.2 or (job.queue_type == FAILING and chance < 0.6):
            raise ValueError(f"no tenant of {job.job_id}")
        elif job.queue_type == FAILING and chance < 0.7:
            raise Discard("for good", dead=True)
        finish(log, job)
        if 0.9 < chance < 0.91:
            raise Discard("as it happens")

    worker_log.set_up(worker_log.TEXT)
    return worker.run()


def note_start(log: Recorded, job: LeasedJob) -> None:
    """The handler of a job begins: its first line."""
    assert job.started_at is not None
    log.note(
        "deliver",
        **_named(job),
        payload=job.payload,
        left=job.requeues_remaining,
        started=round(job.started_at * 1_000_000),
    )


def finish(log: Recorded, job: LeasedJob) -> None:
    """The handler is about to return; what becomes of the finish the worker does not tell."""
    log.invoke("finish", **_named(job)).unknown()


def _named(job: LeasedJob) -> dict[str, Any]:
    return {
        "type": job.queue_type,
        "queue": job.queue_id,
        "job": job.job_id,
        "n": number_of(job.lease),
    }


if __name__ == "__main__":
    name, port, places, *calm = sys.argv[1:]
    sys.exit(main(name, int(port), msgspec.json.decode(places, type=Places), bool(calm)))
