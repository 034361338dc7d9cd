"""When a worker starts the handlers of a queue with a rate, by its own clock."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharq import LeasedJob, Worker
from tests.server.support import Rest, until

pytestmark = pytest.mark.gen_test(timeout=20)

INTERVAL = 200
"""Milliseconds."""

CONCURRENCY = 16
"""A worker's default."""

JOBS = 8


class Handlers:
    """Handlers that note when they begin; those of queues that are `slow` end at a word."""

    def __init__(self) -> None:
        self.began: dict[str, list[float]] = {"slow": [], "limited": []}
        self._word = threading.Event()

    def end_slow(self) -> None:
        self._word.set()

    async def in_the_loop(self, job: LeasedJob) -> None:
        self._note(job)
        while job.payload == "slow" and not self._word.is_set():
            await asyncio.sleep(0.005)

    def in_a_thread(self, job: LeasedJob) -> None:
        self._note(job)
        if job.payload == "slow":
            self._word.wait()

    def _note(self, job: LeasedJob) -> None:
        self.began[job.payload].append(time.monotonic())


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    it = Handlers()
    yield it
    it.end_slow()


@asynccontextmanager
async def full(
    port: int, rest: Rest, handlers: Handlers, handler: Callable[[LeasedJob], Any], **options: Any
) -> AsyncIterator[Worker]:
    """A worker full of slow jobs of others, with jobs of a queue with a rate behind them."""
    worker = Worker(f"ws://127.0.0.1:{port}/ws/", "t", **options)
    worker.handler(handler)
    serving = asyncio.ensure_future(worker.serve())
    try:
        for at in range(CONCURRENCY):
            await rest.enqueue(f"t/slow-{at}", "slow", "slow")
        await until(lambda: len(handlers.began["slow"]) == CONCURRENCY)
        for at in range(JOBS):
            await rest.enqueue("t/limited", f"j{at}", "limited", interval=INTERVAL)
        # So long that a worker could be given five of them.
        await asyncio.sleep(4.5 * INTERVAL / 1000)
        yield worker
    finally:
        handlers.end_slow()
        worker.stop()
        await serving


@pytest.mark.parametrize("handler", [Handlers.in_the_loop, Handlers.in_a_thread])
@pytest.mark.parametrize(
    "options", [{}, {"prefetch": 4}, {"prefetch": 12}], ids=["default", "prefetch 4", "prefetch 12"]
)
async def test_a_queue_with_a_rate_has_its_handlers_started_apart_behind_slow_jobs(
    http_port: int,
    http_server: object,
    rest: Rest,
    handlers: Handlers,
    handler: Callable[[Handlers, LeasedJob], Any],
    options: dict[str, Any],
) -> None:
    bound = handler.__get__(handlers)
    async with full(http_port, rest, handlers, bound, **options) as worker:
        handlers.end_slow()
        await until(lambda: worker.counts["done"] == CONCURRENCY + JOBS)
    began = handlers.began["limited"]
    gaps = [round(1000 * (later - earlier)) for earlier, later in itertools.pairwise(began)]
    # The way from the dispatch to the handler does not take the same time for each, less so on a
    # busy machine; what was leased ahead would begin at once.
    assert min(gaps) > 0.25 * INTERVAL, gaps


async def test_by_default_nothing_is_leased_that_cannot_begin_at_once(
    http_port: int, http_server: object, rest: Rest, handlers: Handlers
) -> None:
    async with full(http_port, rest, handlers, handlers.in_the_loop):
        seen = (await rest.get("/metrics/t/limited/")).body
        assert (seen["active_count"], seen["queue_length"]) == (0, JOBS)


async def test_a_burst_begins_at_once_and_the_rest_at_the_rate(
    http_port: int, http_server: object, rest: Rest
) -> None:
    burst, began, told = 4, [], set()
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t")

    @worker.handler
    async def note(job: LeasedJob) -> None:
        began.append(time.monotonic())
        told.add((job.interval, job.burst))

    for at in range(burst + 2):
        await rest.enqueue("t/q", f"j{at}", interval=INTERVAL, burst=burst)
    serving = asyncio.ensure_future(worker.serve())
    try:
        await until(lambda: worker.counts["done"] == burst + 2)
    finally:
        worker.stop()
        await serving
    since = [round(1000 * (each - began[0])) for each in began]
    assert told == {(INTERVAL, burst)}
    assert since[burst - 1] < 0.75 * INTERVAL, since
    assert since[burst] > 0.75 * INTERVAL, since
    assert since[burst + 1] > 1.75 * INTERVAL, since
