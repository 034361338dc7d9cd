"""What a worker tells of handlers that raise, and what the server keeps of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import json
import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sharq import Discard, LeasedJob, Retry, Worker
from sharq.errors import BadArgumentException
from tests.server.conftest import ExpectLog
from tests.server.support import Rest, state_is, until, write_tokens

pytestmark = pytest.mark.gen_test(timeout=30)

Handler = Callable[[LeasedJob], Any]

HERE = __name__


class NoRoute(Exception):
    class Inner(Exception):
        pass


def raise_it() -> None:
    raise NoRoute("to « é »")


async def in_the_loop(_job: LeasedJob) -> None:
    raise_it()


def in_a_thread(_job: LeasedJob) -> None:
    raise_it()


def by_an_awaitable(job: LeasedJob) -> Any:
    return in_the_loop(job)


def by_a_pool(_job: LeasedJob) -> Any:
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        return pool.submit(raise_it)
    finally:
        pool.shutdown(wait=False)


def in_a_process(_job: LeasedJob) -> Any:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(raise_it).result()


@functools.wraps(in_the_loop)
def decorated(job: LeasedJob) -> Any:
    return in_the_loop(job)


def runs_a_loop(job: LeasedJob) -> None:
    asyncio.run(in_the_loop(job))


def with_more(_more: str, _job: LeasedJob) -> None:
    raise_it()


class Callee:
    async def __call__(self, _job: LeasedJob) -> None:
        raise_it()

    def method(self, _job: LeasedJob) -> None:
        raise_it()


HANDLERS: dict[str, Handler] = {
    "async": in_the_loop,
    "plain": in_a_thread,
    "plain that returns a coroutine": by_an_awaitable,
    "plain that returns a future of a pool": by_a_pool,
    "in another process": in_a_process,
    "decorated": decorated,
    "with a loop of its own": runs_a_loop,
    "partial": functools.partial(with_more, "more"),
    "object": Callee(),
    "method": Callee().method,
}


async def letter(rest: Rest, job_id: str = "j") -> dict[str, Any]:
    """The dead letter of a job, as soon as there is one."""
    while (answer := await rest.get(f"/dead/t/q/{job_id}/")).status != 200:
        await asyncio.sleep(0.005)
    return dict(answer.body)


async def waiting(rest: Rest, job_id: str = "j") -> dict[str, Any]:
    """The status of a job that has failed and waits."""
    while True:
        status = (await rest.get(f"/status/t/q/{job_id}/")).body
        if status["state"] == "queued" and "attempt" in status:
            return dict(status)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", HANDLERS)
async def test_what_a_handler_raises_is_kept(
    working: Any, rest: Rest, expect_log: ExpectLog, kind: str
) -> None:
    expect_log("failed type=t queue=q job=j attempt=1 requeues_remaining=0 dead=True")
    async with working(HANDLERS[kind], name="w-1") as worker:
        await rest.enqueue(requeue_limit=0, payload={"to": "Ada"})
        found = await letter(rest)
        await until(lambda: worker.counts["discarded"] == 1)
        assert worker.counts["retried"] == 0
    assert (found["reason"], found["worker"], found["attempts"]) == ("exhausted", "w-1", 1)
    assert found["payload"] == {"to": "Ada"}
    error = found["error"]
    assert error.keys() == {"type", "message", "trace"}
    assert (error["type"], error["message"]) == (f"{HERE}.NoRoute", "to « é »")
    assert error["trace"].endswith("NoRoute: to « é »\n")
    assert ", in raise_it\n" in error["trace"]


async def test_a_job_that_fails_waits_for_the_backoff_and_has_its_error(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t queue=q job=j attempt=1$")
    async with working(in_the_loop):
        await rest.enqueue()
        status = await waiting(rest)
        assert 0 < status["ready_in"] <= 1200
        assert status["attempt"] == 2
        assert status["error"]["type"] == f"{HERE}.NoRoute"
        assert status["worker"] == f"{socket.gethostname()}:{os.getpid()}"


class Strange(BaseException):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Stranger(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Unpicklable(Exception):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        super().__init__(self.lock)

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


class Text(str):
    def __str__(self) -> str:
        return self


def raises_deep(depth: int = 900) -> None:
    if depth:
        raises_deep(depth - 1)
    raise NoRoute("deep")


def raises_a_chain() -> None:
    error: Exception = NoRoute("0")
    for n in range(1, 200):
        try:
            raise NoRoute(str(n)) from error
        except NoRoute as raised:
            error = raised
    raise error


def raises_a_circle() -> None:
    first, second = NoRoute("first"), NoRoute("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def raises(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


STRANGE: dict[str, tuple[Callable[[], None], str | None, Any]] = {
    "a base exception": (raises(Strange()), f"{HERE}.Strange", ""),
    "one whose text ends the process": (raises(Stranger()), f"{HERE}.Stranger", ""),
    "SystemExit": (raises(SystemExit(5)), "SystemExit", "5"),
    "KeyboardInterrupt": (raises(KeyboardInterrupt()), "KeyboardInterrupt", ""),
    "GeneratorExit": (raises(GeneratorExit("x")), "GeneratorExit", None),
    "StopIteration": (raises(StopIteration(5)), "", ""),
    "a group": (
        raises(ExceptionGroup("many", [NoRoute("a"), ValueError("b")])),
        "ExceptionGroup",
        "many (2 sub-exceptions)",
    ),
    "an inner class": (raises(NoRoute.Inner("x")), f"{HERE}.NoRoute.Inner", "x"),
    "control characters": (
        raises(NoRoute("a\x1f b\x00\r\n\u2028")),
        f"{HERE}.NoRoute",
        "a\x1f b\x00\r\n\u2028",
    ),
    "a text of its own kind": (raises(NoRoute(Text("x"))), f"{HERE}.NoRoute", "x"),
    "a message of megabytes": (raises(NoRoute("é" * 3_000_000)), f"{HERE}.NoRoute", "é" * 500),
    "one that cannot be pickled": (raises(Unpicklable()), f"{HERE}.Unpicklable", None),
    "from deep below": (raises_deep, f"{HERE}.NoRoute", "deep"),
    "a long chain": (raises_a_chain, f"{HERE}.NoRoute", "199"),
    "a circle": (raises_a_circle, f"{HERE}.NoRoute", "first"),
    "an error of the library": (raises(BadArgumentException("no")), None, "no"),
    "an exception of no module": (
        raises(type("Odd", (Exception,), {"__module__": None})("x")),
        "None.Odd",
        "x",
    ),
    "a long name": (raises(type("N" * 300, (Exception,), {})("x")), None, "x"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_strange_exceptions_are_told_as_well_as_they_can(
    working: Any, rest: Rest, expect_log: ExpectLog, kind: str, where: str
) -> None:
    expect_log("failed type=t queue=q job=j ")
    function, name, message = STRANGE[kind]

    async def in_the_loop(job: LeasedJob) -> None:
        if job.job_id == "j":
            function()

    def in_a_thread(job: LeasedJob) -> None:
        if job.job_id == "j":
            function()

    async with working(in_the_loop if where == "loop" else in_a_thread) as worker:
        await rest.enqueue(requeue_limit=0)
        error = (await letter(rest))["error"]
        if name:
            assert error["type"] == name
        assert 0 < len(error["type"]) <= 100
        if message is not None and name != "":
            assert error["message"] == message
        trace = error["trace"].encode()
        assert len(trace) <= 8192
        if len(trace) > 4000:
            assert error["trace"].startswith("…"), "the end, where it was raised, is there"
        # The worker goes on.
        await rest.enqueue(job_id="good")
        await until(lambda: worker.counts["done"] == 1)


async def test_half_a_surrogate_pair_becomes_a_question_mark(
    working: Any, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What runs the tests could not pass the log on.
    monkeypatch.setattr(logging.getLogger("sharq.worker"), "disabled", True)
    async with working(lambda job: raises(NoRoute("a\ud83db"))()):
        await rest.enqueue(requeue_limit=0)
        error = (await letter(rest))["error"]
    assert error["message"] == "a?b"
    assert error["trace"].endswith("NoRoute: a?b\n")


async def test_a_cancelled_handler_tells_so(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t")

    async def handle(_job: LeasedJob) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by itself")
        await asyncio.sleep(60)

    async with working(handle):
        await rest.enqueue(requeue_limit=0)
        error = (await letter(rest))["error"]
    assert (error["type"], error["message"]) == ("asyncio.exceptions.CancelledError", "by itself")


async def test_a_time_out_is_an_error(working: Any, rest: Rest, expect_log: ExpectLog) -> None:
    expect_log("failed type=t")

    async def handle(_job: LeasedJob) -> None:
        await asyncio.sleep(60)

    async with working(handle, timeout=0.05):
        await rest.enqueue(requeue_limit=0)
        error = (await letter(rest))["error"]
    assert error["type"] == "TimeoutError"
    assert "in handle" in error["trace"]


# ---- Retry and Discard ----


async def test_a_retry_tells_its_delay_and_why(working: Any, rest: Rest) -> None:
    async def handle(job: LeasedJob) -> None:
        if job.job_id == "plain":
            raise Retry(60)
        try:
            raise_it()
        except NoRoute as error:
            raise Retry(120) from error

    async with working(handle) as worker:
        for job_id in ("plain", "caused"):
            await rest.enqueue(job_id=job_id)
        plain, caused = await waiting(rest, "plain"), await waiting(rest, "caused")
        await until(lambda: worker.counts["retried"] == 2)
    assert 59_000 < plain["ready_in"] <= 60_000
    assert (plain["error"]["type"], plain["error"]["message"]) == ("sharq.Retry", "again in 60 s")
    assert 119_000 < caused["ready_in"] <= 120_000
    assert (caused["error"]["type"], caused["error"]["message"]) == (f"{HERE}.NoRoute", "to « é »")
    assert caused["attempt"] == 2


async def test_a_retry_without_a_delay_comes_at_once(working: Any, rest: Rest) -> None:
    attempts: list[int] = []

    async def handle(job: LeasedJob) -> None:
        attempts.append(job.attempt)
        if len(attempts) < 4:
            raise Retry

    async with working(handle) as worker:
        await rest.enqueue()
        async with asyncio.timeout(1):
            await until(lambda: worker.counts["done"] == 1)
    assert attempts == [1, 2, 3, 4]


@pytest.mark.parametrize("caused", [False, True])
@pytest.mark.parametrize("where", ["loop", "thread", "process"])
async def test_a_job_can_be_given_up(
    working: Any, rest: Rest, expect_log: ExpectLog, caused: bool, where: str
) -> None:
    expect_log("discarded type=t queue=q job=j reason='no such number' dead=True")
    give_up = give_up_for_a_reason if caused else give_up_plainly

    async def in_the_loop(_job: LeasedJob) -> None:
        give_up()

    def in_a_thread(_job: LeasedJob) -> None:
        give_up()

    def in_a_process(_job: LeasedJob) -> Any:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            return pool.submit(give_up).result()

    handlers: dict[str, Handler] = {
        "loop": in_the_loop,
        "thread": in_a_thread,
        "process": in_a_process,
    }
    async with working(handlers[where]) as worker:
        await rest.enqueue()
        found = await letter(rest)
        await until(lambda: worker.counts["discarded"] == 1)
        assert worker.counts["retried"] == 0
    assert (found["reason"], found["attempts"]) == ("rejected", 1)
    # Of an exception from another process the cause is there as the text of its trace only.
    is_told = caused and where != "process"
    name, message = (
        (f"{HERE}.NoRoute", "to « é »") if is_told else ("sharq.Discard", "no such number")
    )
    assert (found["error"]["type"], found["error"]["message"]) == (name, message)
    assert "give_up" in found["error"]["trace"]


def give_up_plainly() -> None:
    raise Discard("no such number", dead=True)


def give_up_for_a_reason() -> None:
    try:
        raise_it()
    except NoRoute as error:
        raise Discard("no such number", dead=True) from error


async def test_a_discard_alone_finishes(working: Any, rest: Rest, expect_log: ExpectLog) -> None:
    expect_log("discarded type=t")

    async def handle(_job: LeasedJob) -> None:
        raise Discard

    async with working(handle) as worker:
        await rest.enqueue()
        await until(lambda: worker.counts["discarded"] == 1)
        await state_is(rest, "finished")
    assert (await rest.get("/dead/t/")).body["jobs"] == []


async def test_a_cost_goes_with_a_failure_and_with_a_discard(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed|discarded")

    async def handle(job: LeasedJob) -> None:
        job.cost = 3
        if job.job_id == "fails":
            raise NoRoute
        raise Discard(dead=True)

    async with working(handle):
        for queue, job_id in (("a", "fails"), ("b", "dies")):
            await rest.post(f"/limits/t/{queue}/", {"interval": 60_000, "burst": 10})
            await rest.enqueue(f"t/{queue}", job_id)
        for queue in "ab":
            while True:
                body = (await rest.get(f"/limits/t/{queue}/")).body
                if body["tat"] is not None and body["active"] == 0:
                    break
                await asyncio.sleep(0.005)
            reach = body["tat"] - _now_of(await rest.get("/metrics/"))
            assert reach > 120_000 - 60_000, "three intervals, not one"


def _now_of(answer: Any) -> int:
    return max(int(minute) for minute in answer.body["enqueue_counts"])


# ---- many ----


async def test_many_failures_share_frames_that_are_not_too_large(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t")
    jobs = [f"j{n}" for n in range(300)]

    async def handle(_job: LeasedJob) -> None:
        # Control characters take six bytes each in JSON.
        raise NoRoute("\x01" * 5000)

    body = {
        "jobs": [
            {
                "queue_type": "t",
                "queue_id": "q",
                "job_id": job,
                "interval": 0,
                "payload": 1,
                "requeue_limit": 0,
            }
            for job in jobs
        ]
    }
    async with working(handle, concurrency=300) as worker:
        await rest.post("/enqueue/", body)
        await until(lambda: worker.counts["discarded"] == 300)
        assert worker.counts["lost"] == 0
    assert (await rest.get("/metrics/t/")).body["dead"]["jobs"] == 300


class TestSmallPayloads:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq": {"max_payload_bytes": 2}}

    async def test_a_failure_fits_where_payloads_are_small(
        self, working: Any, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("failed type=t")

        def nest(depth: int = 60) -> None:
            if depth:
                try:
                    nest(depth - 1)
                except NoRoute as error:
                    raise NoRoute("\x01" * 1000) from error
            raise NoRoute("\x01" * 1000)

        async def handle(_job: LeasedJob) -> None:
            nest()

        async with working(handle) as worker:
            for n in range(5):
                await rest.enqueue(job_id=f"j{n}", requeue_limit=0)
            await until(lambda: worker.counts["discarded"] == 5)
        assert (await letter(rest, "j0"))["error"]["message"] == "\x01" * 1000


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        tokens = {"root": (["*"], ["*"]), "poor": (["dequeue", "finish", "extend"], ["t"])}
        write_tokens(tmp_path / "tokens", tokens)
        return {"sharq-server": {"token_file": str(tmp_path / "tokens")}}

    async def test_without_the_right_to_release_the_lease_runs_out(
        self, http_port: int, http_server: object, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("the token is not for release; leases run out instead")
        expect_log("failed type=t")
        expect_log("refused op=fail code=forbidden")
        expect_log("lease lost")
        worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t", token="poor")
        worker.handler(in_the_loop)
        serving = asyncio.ensure_future(worker.serve())
        try:
            body = json.dumps({"job_id": "j", "interval": 0, "payload": 1}).encode()
            root = {"Authorization": "Bearer root"}
            await rest.call("POST", "/enqueue/t/q/", body, root)
            await until(lambda: worker.counts["lost"] == 1)
            status = (await rest.call("GET", "/status/t/q/j/", None, root)).body
            assert status["state"] == "active"
        finally:
            worker.stop()
            await serving


@pytest.mark.parametrize("name", ["", "w" * 101, "a\nb", 5, b"w"])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(BadArgumentException, match="`name` has an invalid value") as caught:
        Worker("ws://x/ws/", "t", name=name)
    assert caught.value.expected


async def test_the_name_is_told_again_on_another_connection(
    working: Any, rest: Rest, expect_log: ExpectLog, server: Any
) -> None:
    expect_log("disconnected")
    expect_log("failed type=t")
    async with working(in_the_loop, name="wéb-1"):
        await rest.enqueue(job_id="a", requeue_limit=0)
        assert (await letter(rest, "a"))["worker"] == "wéb-1"
        for session in tuple(server.push.sessions):
            session.abort()
        await rest.enqueue(job_id="b", requeue_limit=0)
        assert (await letter(rest, "b"))["worker"] == "wéb-1"
