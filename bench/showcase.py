"""A load to look at: types of which each is held back by something else, and their workers."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tornado.httpclient import AsyncHTTPClient

from sharq import Discard, LeasedJob, Worker

_STEP: Final = 0.5
"""Seconds between two bulks of jobs."""

_WAVE: Final = 240.0
"""Seconds in which the load goes up and down once."""

_PAUSED_AFTER: Final = 200.0
"""Seconds after which an operator pauses a type."""

_TENANTS: Final = 60
_SLOW: Final = {"tenant-7": 12_000, "tenant-12": 4_000, "tenant-31": 6_000}
"""Tenants with more jobs than may go, and their intervals (ms)."""

_ERRORS: Final = (ConnectionRefusedError, TimeoutError, ConnectionResetError)


class _Load:
    """Producers, workers and an operator of a server on a port of loopback."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._chance = random.Random(7)
        self._numbers = itertools.count(1)
        self._channel = f"ws://127.0.0.1:{port}/ws/"

    async def run(self, over: asyncio.Event) -> None:
        await self._set_up()
        workers = [
            self._worker("sms", 32, "sms-1", 0.4, 1.2),
            self._worker("sms", 32, "sms-2", 0.4, 1.2),
            self._worker("webhook", 64, "hooks-1", 0.1, 0.9, failing=0.04),
            self._worker("model", 8, "gpu-1", 5.0, 11.0),
            self._worker("mail", 16, "mail-1", 0.1, 0.3),
        ]
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.serve())
            await self._feed(over)
            for worker in workers:
                worker.stop()

    def _worker(
        self,
        kind: str,
        concurrency: int,
        name: str,
        least: float,
        most: float,
        failing: float = 0.0,
    ) -> Worker:
        """One whose handler takes so many seconds, and fails for good at times."""
        worker = Worker(self._channel, kind, concurrency=concurrency, grace=0, name=name)

        async def work(job: LeasedJob) -> None:
            await asyncio.sleep(self._chance.uniform(least, most))
            if self._chance.random() < failing:
                error = self._chance.choice(_ERRORS)
                raise Discard(dead=True) from error(f"hooks.example.com, {job.queue_id}")

        worker.handler(work)
        return worker

    async def _set_up(self) -> None:
        await self._ask("/limits/model/", {"concurrency": 6, "reason": "two GPUs"})
        await self._ask("/limits/sms/?group=reseller", {"interval": 500, "reason": "contract 118"})
        for tenant, interval in _SLOW.items():
            await self._ask(f"/limits/sms/{tenant}/", {"interval": interval})
            jobs = [self._job("sms", tenant, interval, to="+123") for _ in range(400)]
            await self._enqueue(jobs)
        reports = [self._job("report", f"customer-{at}", 0, month="May") for at in (3, 9, 14)]
        await self._enqueue(reports)

    async def _feed(self, over: asyncio.Event) -> None:
        began = time.monotonic()
        paused = False
        while not over.is_set():
            elapsed = time.monotonic() - began
            wave = 1 + 0.5 * math.sin(2 * math.pi * elapsed / _WAVE)
            jobs = [
                *(self._job("sms", self._tenant(), 1000, to="+123") for _ in self._some(6 * wave)),
                *(self._job("webhook", self._tenant(), 0, event="paid") for _ in self._some(5)),
                *(self._job("mail", self._tenant(), 0, template=4) for _ in self._some(3 / wave)),
                *(self._job("model", self._tenant(), 0, tokens=900) for _ in self._some(0.46)),
            ]
            if jobs:
                await self._enqueue(jobs)
            if elapsed > _PAUSED_AFTER and not paused:
                paused = True
                body = {"for": 1_800_000, "reason": "429 from the provider"}
                await self._ask("/pause/mail/", body)
            await asyncio.sleep(_STEP)

    def _some(self, mean: float) -> range:
        """So many in a step, on average."""
        whole = int(mean)
        return range(whole + (self._chance.random() < mean - whole))

    def _tenant(self) -> str:
        """Some have more to do than others."""
        return f"tenant-{1 + int(_TENANTS * self._chance.random() ** 2)}"

    def _job(self, kind: str, queue: str, interval: float, **payload: Any) -> dict[str, Any]:
        number = next(self._numbers)
        group = {"group": "reseller"} if kind == "sms" and queue[-1] in "58" else {}
        return {
            "queue_type": kind,
            "queue_id": queue,
            "job_id": f"{kind}-{number}",
            "interval": interval,
            "payload": payload,
            **group,
        }

    async def _enqueue(self, jobs: list[dict[str, Any]]) -> None:
        await self._ask("/enqueue/", {"jobs": jobs})

    async def _ask(self, path: str, body: dict[str, Any]) -> None:
        text = json.dumps(body)
        await AsyncHTTPClient().fetch(self._url + path, method="POST", body=text)


@contextmanager
def load(port: int) -> Iterator[None]:
    """Keep a server under load, from a thread of its own, until the context is left."""
    ready = threading.Event()
    failed: list[BaseException] = []
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        over = asyncio.Event()
        ends.append((asyncio.get_running_loop(), over))
        ready.set()
        await _Load(port).run(over)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop, over = ends[0]
        if thread.is_alive():
            loop.call_soon_threadsafe(over.set)
        thread.join()
    if failed:
        raise failed[0]
