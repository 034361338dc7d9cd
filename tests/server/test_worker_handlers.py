"""Handlers as people write them: a job is done only when its handler has run to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from sharq import LeasedJob, Retry, Worker
from sharq.errors import BadArgumentException
from sharq_server.service import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.support import Rest, state_is, until

pytestmark = pytest.mark.gen_test(timeout=30)

Handler = Callable[[LeasedJob], Any]

done: list[str] = []


async def work(job: LeasedJob) -> str:
    await asyncio.sleep(0.01)
    done.append(job.job_id)
    return "ran"


def plain(job: LeasedJob) -> None:
    done.append(job.job_id)


@functools.wraps(work)
def wrapped(job: LeasedJob) -> Any:
    return work(job)


@functools.wraps(work)
def runs_a_loop(job: LeasedJob) -> None:
    asyncio.run(work(job))


class Callee:
    async def __call__(self, job: LeasedJob) -> None:
        await work(job)

    async def method(self, job: LeasedJob) -> None:
        await work(job)

    @staticmethod
    def static(job: LeasedJob) -> Any:
        return work(job)


class PlainCallee:
    def __call__(self, job: LeasedJob) -> Any:
        return work(job)


async def forgets_to_await(job: LeasedJob) -> Any:
    return work(job)


async def makes_a_task(job: LeasedJob) -> Any:
    return asyncio.ensure_future(work(job))


def with_more(more: str, job: LeasedJob) -> Any:
    assert more == "more"
    return work(job)


def hands_to_a_pool(job: LeasedJob) -> Any:
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        return pool.submit(lambda: (time.sleep(0.02), plain(job)))
    finally:
        pool.shutdown(wait=False)


HANDLERS: dict[str, Handler] = {
    "async def": work,
    "def": plain,
    "functools.wraps around an async def": wrapped,
    "one that runs a loop of its own": runs_a_loop,
    "lambda that calls an async def": lambda job: work(job),  # noqa: PLW0108
    "partial of an async def": functools.partial(work),
    "partial with more": functools.partial(with_more, "more"),
    "object with an async __call__": Callee(),
    "partial of an object with an async __call__": functools.partial(Callee()),
    "object with a plain __call__ that calls an async def": PlainCallee(),
    "bound method": Callee().method,
    "static method": Callee.static,
    "async def that returns a coroutine": forgets_to_await,
    "async def that returns a task": makes_a_task,
    "def that returns a future of a pool": hands_to_a_pool,
}


@pytest.mark.parametrize("kind", HANDLERS)
async def test_a_job_is_done_when_its_handler_has_run_to_its_end(
    working: Any, rest: Rest, kind: str
) -> None:
    done.clear()
    async with working(HANDLERS[kind], timeout=20) as worker:
        await rest.enqueue()
        await until(lambda: worker.counts["done"])
        assert done == ["j"]
        await state_is(rest, "finished")


def generator(_job: LeasedJob) -> Iterator[int]:
    yield 1


async def async_generator(_job: LeasedJob) -> AsyncIterator[int]:
    yield 1


class GeneratorCallee:
    def __call__(self, job: LeasedJob) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (generator, "generator"),
        (async_generator, "generator"),
        (functools.partial(generator), "generator"),
        (GeneratorCallee(), "generator"),
        (42, "no function"),
        (None, "no function"),
        (lambda: None, "a job alone"),
        (lambda job, more: None, "a job alone"),
        (functools.partial(with_more, "a", "b"), "a job alone"),
    ],
)
def test_what_could_not_run_is_refused_at_the_start(handler: Any, complaint: str) -> None:
    with pytest.raises(BadArgumentException, match=complaint):
        Worker("ws://x/ws/", "t").handler(handler)


def decorator_with_arguments(_times: object = 3) -> Any:
    def decorate(function: Handler) -> Handler:
        return function

    return decorate


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(lambda job: generator(job), id="a generator"),  # noqa: PLW0108
        pytest.param(lambda job: async_generator(job), id="an async one"),  # noqa: PLW0108
        pytest.param(decorator_with_arguments, id="a decorator that was not called"),
        pytest.param(lambda job: functools.partial(plain, job), id="a partial"),
    ],
)
async def test_a_job_fails_whose_handler_returns_what_has_not_run(
    working: Any, rest: Rest, expect_log: ExpectLog, handler: Handler
) -> None:
    expect_log("failed type=t")
    async with working(handler) as worker:
        await rest.enqueue(requeue_limit=0)
        await state_is(rest, "dead")
        assert worker.counts["done"] == 0


async def test_a_coroutine_of_a_plain_handler_is_cancelled_at_the_time_out(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t")
    cancelled = asyncio.Event()

    async def long(_job: LeasedJob) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with working(lambda job: long(job), timeout=0.2):  # noqa: PLW0108
        await rest.enqueue(requeue_limit=0)
        await cancelled.wait()
        await state_is(rest, "dead")


@pytest.mark.parametrize("delay", [86_400_000, float("inf"), float("nan"), -1])
async def test_a_retry_that_cannot_be_is_a_failure_as_any_other(
    working: Any, rest: Rest, expect_log: ExpectLog, delay: float
) -> None:
    expect_log("failed type=t")

    async def handle(job: LeasedJob) -> None:
        raise Retry(delay)

    async with working(handle) as worker:
        await rest.enqueue(requeue_limit=0)
        await state_is(rest, "dead")
        await until(lambda: worker.counts["discarded"])


class TestThreads:
    """A thread cannot be stopped: its place is taken, and its job is its own, until it ends."""

    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        intervals = {"job_expire_interval": 1200, "job_requeue_interval": 50}
        return {"sharq": {"enable_requeue_script": True, **intervals}}

    async def test_what_a_thread_achieves_after_its_time_out_counts(
        self, working: Any, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("time-out in a thread")
        runs: list[int] = []

        def handle(job: LeasedJob) -> None:
            runs.append(job.attempt)
            time.sleep(0.5)

        async with working(handle, timeout=0.1) as worker:
            await rest.enqueue(requeue_limit=0)
            await until(lambda: worker.counts["done"])
            await state_is(rest, "finished")
        assert runs == [1]

    async def test_a_job_runs_again_when_the_lease_of_a_hanging_thread_has_ended(
        self, working: Any, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("time-out in a thread")
        # By the server, or by the answer to what the thread has come to.
        expect_log("lease (was )?lost")
        release = threading.Event()
        runs: list[tuple[int, float]] = []

        def handle(job: LeasedJob) -> None:
            runs.append((job.attempt, time.monotonic()))
            if job.attempt == 1:
                release.wait(20)

        async with working(handle, timeout=0.1) as worker:
            await rest.enqueue()
            await until(lambda: worker.counts["done"])
            release.set()
        (_, first), (attempt, second) = runs
        assert attempt == 2
        assert second - first >= 1.1, "not beside the first one's lease"
        assert worker.counts == {"done": 1, "retried": 0, "discarded": 0, "lost": 1}

    async def test_a_worker_whose_threads_hang_says_so_and_takes_no_more(
        self, working: Any, rest: Rest, server: SharQServer, expect_log: ExpectLog
    ) -> None:
        expect_log("time-out in a thread")
        expect_log("lease lost")
        expect_log("no place is free: handlers go on without a lease")
        release = threading.Event()
        begun: list[str] = []

        def handle(job: LeasedJob) -> None:
            begun.append(job.job_id)
            if job.job_id.startswith("hangs"):
                release.wait(20)

        for name in ("hangs1", "hangs2"):
            await rest.enqueue("t/q", name, requeue_limit=0)
        async with working(handle, concurrency=2, timeout=0.1) as worker:
            await until(lambda: worker.counts["lost"] == 2)
            for at in range(5):
                await rest.enqueue("t/q", f"j{at}", requeue_limit=0)
            session = next(iter(server.push.sessions))
            await until(lambda: session.credit.limit_of(None) == 0)
            # They wait in the queue, for whoever has a place.
            await asyncio.sleep(0.3)
            assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 5
            release.set()
            await until(lambda: worker.counts["done"] == 5)
        assert sorted(begun) == ["hangs1", "hangs2", *(f"j{at}" for at in range(5))]

    async def test_a_job_without_a_thread_goes_back_uncounted(
        self,
        working: Any,
        rest: Rest,
        expect_log: ExpectLog,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        expect_log("no thread for a handler")
        start, refusals = threading.Thread.start, [1, 2]

        def refuse(thread: threading.Thread) -> None:
            if thread.name.startswith("sharq-handler") and refusals:
                refusals.pop()
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        left: list[int] = []

        async with working(lambda job: left.append(job.requeues_remaining)) as worker:
            for at in range(2):
                await rest.enqueue("t/q", f"j{at}", requeue_limit=1)
            await until(lambda: worker.counts["done"] == 2)
        assert left == [1, 1]

    async def test_what_a_stop_leaves_behind_in_a_thread_keeps_its_lease(
        self, working: Any, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("left behind in its thread")
        begun, release = threading.Event(), threading.Event()

        def handle(_job: LeasedJob) -> None:
            begun.set()
            release.wait(20)

        async with working(handle, grace=0.05) as worker:
            await rest.enqueue()
            await until(begun.is_set)
        assert worker.counts["retried"] == 0
        assert (await rest.get("/status/t/q/j/")).body["state"] == "active"
        release.set()
