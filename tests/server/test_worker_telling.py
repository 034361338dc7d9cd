"""What a worker's handlers tell: the real cost of a job, and that they were told to wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sharq import Discard, LeasedJob, Retry, Throttled, Worker
from tests.server.conftest import ExpectLog
from tests.server.support import Rest, state_is, until, write_tokens

pytestmark = pytest.mark.gen_test(timeout=30)

INTERVAL = 60_000
"""Milliseconds between two dispatches of a queue: no test lives as long."""

Handler = Callable[[LeasedJob], Any]


async def in_the_loop(job: LeasedJob) -> None:
    throttle(job)


def in_a_thread(job: LeasedJob) -> None:
    throttle(job)


def by_an_awaitable(job: LeasedJob) -> Any:
    return in_the_loop(job)


def in_a_process(_job: LeasedJob) -> Any:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(raise_it).result()


def throttle(_job: LeasedJob) -> None:
    raise Throttled(3600)


def raise_it() -> None:
    raise Throttled(3600)


async def level(rest: Rest, path: str) -> Any:
    return (await rest.get(f"/limits/{path}")).body


async def pause_is_set(rest: Rest, path: str = "t/q/") -> Any:
    """Wait for a pause of a level."""
    while (pause := (await level(rest, path))["pause"]) is None:
        await asyncio.sleep(0.005)
    return pause


# ---- Throttled ----


@pytest.mark.parametrize("handler", [in_the_loop, in_a_thread, by_an_awaitable, in_a_process])
async def test_a_throttled_job_goes_back_uncounted_and_its_queue_pauses(
    working: Any, rest: Rest, handler: Handler
) -> None:
    async with working(handler) as worker:
        await rest.enqueue(requeue_limit=0)
        assert (await pause_is_set(rest))["set_by"] == "worker"
        await state_is(rest, "queued")
        # The other queues of the type go on.
        await rest.enqueue("t/other", "j2")
        await pause_is_set(rest, "t/other/")
        assert {*worker.counts.values()} == {0}


@pytest.mark.parametrize(
    ("scope", "path"), [("queue", "t/q/"), ("group", "t/?group=g"), ("type", "t/")]
)
async def test_a_pause_is_for_what_the_handler_says(
    working: Any, rest: Rest, scope: Any, path: str
) -> None:
    async def handle(_job: LeasedJob) -> None:
        raise Throttled(60, scope=scope)

    async with working(handle):
        await rest.enqueue(group="g")
        await pause_is_set(rest, path)
        levels = ("t/q/", "t/?group=g", "t/")
        assert [each for each in levels if (await level(rest, each))["pause"]] == [path]


async def test_when_the_pause_is_over_the_job_comes_again_as_the_same_attempt(
    working: Any, rest: Rest
) -> None:
    attempts: list[int] = []

    async def handle(job: LeasedJob) -> None:
        attempts.append(job.attempt)
        if len(attempts) == 1:
            raise Throttled(0.05)

    async with working(handle) as worker:
        await rest.enqueue(requeue_limit=0)
        await until(lambda: worker.counts["done"])
    assert attempts == [1, 1]


@pytest.mark.parametrize(
    "arguments",
    [(0,), (-1,), (3600.1,), (float("nan"),), (float("inf"),), (True,), ("30",), (None,),
     (30, "all"), (30, ""), (30, None), (30, ["queue"])],
)  # fmt: skip
def test_a_pause_that_cannot_be_is_refused_where_it_is_made(arguments: Any) -> None:
    with pytest.raises(ValueError, match="has to be"):
        Throttled(*arguments)


async def test_a_pause_that_was_made_invalid_is_a_failure_as_any_other(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t")

    async def handle(_job: LeasedJob) -> None:
        wish = Throttled(1)
        wish.seconds = 86_400
        raise wish

    async with working(handle):
        await rest.enqueue(requeue_limit=0)
        await state_is(rest, "dead")
    assert (await level(rest, "t/q/"))["pause"] is None


@pytest.mark.parametrize(
    "wish",
    [
        *(Retry(2.5), Throttled(30), Throttled(0.5, "group")),
        *(Discard("no"), Discard("no", 1, dead=True), Discard()),
    ],
)
def test_what_a_handler_raises_may_come_from_another_process(wish: Any) -> None:
    copied = pickle.loads(pickle.dumps(wish))
    assert (type(copied), copied.__dict__) == (type(wish), wish.__dict__)
    assert str(copied) == str(wish)


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        tokens = {
            "root": (["*"], ["*"]),
            "worker": (["dequeue", "finish", "release", "extend"], ["t"]),
        }
        write_tokens(tmp_path / "tokens", tokens)
        return {"sharq-server": {"token_file": str(tmp_path / "tokens")}}

    async def test_without_the_right_to_pause_others_the_queue_pauses(
        self, http_port: int, http_server: object, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("the token is not for pause; no type pauses, but the queue")
        root = {"Authorization": "Bearer root"}
        worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t", token="worker")

        @worker.handler
        async def handle(_job: LeasedJob) -> None:
            raise Throttled(60, scope="type")

        serving = asyncio.ensure_future(worker.serve())
        try:
            body = {"job_id": "j", "interval": 0, "payload": 1}
            await rest.call("POST", "/enqueue/t/q/", body, root)
            while (await rest.call("GET", "/limits/t/q/", None, root)).body["pause"] is None:
                await asyncio.sleep(0.005)
            assert (await rest.call("GET", "/limits/t/", None, root)).body["pause"] is None
        finally:
            worker.stop()
            await serving


# ---- cost ----


def finishes(job: LeasedJob) -> None:
    job.cost = 3


def retries(job: LeasedJob) -> None:
    job.cost = 3
    raise Retry(60)


def is_throttled(job: LeasedJob) -> None:
    job.cost = 3
    raise Throttled(60)


def discards(job: LeasedJob) -> None:
    job.cost = 3
    raise Discard("no")


def fails(job: LeasedJob) -> None:
    job.cost = 3
    raise RuntimeError("no")


async def finishes_in_the_loop(job: LeasedJob) -> None:
    assert job.cost is None
    job.cost = 3


@pytest.mark.parametrize(
    "handler", [finishes, finishes_in_the_loop, retries, is_throttled, discards, fails]
)
async def test_a_cost_goes_with_the_end_whatever_that_is(
    working: Any, rest: Rest, expect_log: ExpectLog, handler: Handler
) -> None:
    expect_log("failed type=t|discarded type=t", certain=handler in (fails, discards))
    await rest.post("/limits/t/q/", {"interval": INTERVAL, "burst": 10})
    await rest.enqueue("t/q", "probe")
    lease = (await rest.post("/dequeue/t/")).body["lease"]
    await rest.post("/finish/t/q/probe/", {"lease": lease})
    before = (await level(rest, "t/q/"))["tat"]
    async with working(handler):
        await rest.enqueue()
        while (await level(rest, "t/q/"))["tat"] < before + 3 * INTERVAL:
            await asyncio.sleep(0.005)
    assert (await level(rest, "t/q/"))["tat"] == before + 3 * INTERVAL


@pytest.mark.parametrize("cost", [0, -1, 1_000_001, 1.5, "5", True])
async def test_a_cost_that_cannot_be_is_refused_where_it_is_set(
    working: Any, rest: Rest, expect_log: ExpectLog, cost: Any
) -> None:
    expect_log("failed type=t")

    async def handle(job: LeasedJob) -> None:
        job.cost = 5
        job.cost = None
        job.cost = cost

    async with working(handle):
        await rest.enqueue(requeue_limit=0)
        await state_is(rest, "dead")
