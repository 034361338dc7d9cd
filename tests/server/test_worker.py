"""`Worker` and `sharq worker` against a real server."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from sharq import Discard, LeasedJob, Retry
from sharq_server import SharQServer
from tests.server.command import Server, environment
from tests.server.conftest import ExpectLog
from tests.server.support import Rest, state_is, until
from tests.support.stores import wait_for

pytestmark = pytest.mark.gen_test(timeout=20)


async def test_jobs_are_done_once_and_never_more_at_a_time(working: Any, rest: Rest) -> None:
    seen: list[str] = []
    running = most = 0

    async def handle(job: LeasedJob) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        seen.append(job.payload["name"])

    for at in range(100):
        await rest.enqueue("t/q", f"j{at}", {"name": f"j{at}"})
    async with working(handle, concurrency=5, prefetch=20) as worker:
        await until(lambda: worker.counts["done"] == 100)
    assert sorted(seen) == sorted(f"j{at}" for at in range(100))
    assert most == 5


async def test_no_handler_meets_what_another_has_left(working: Any, rest: Rest) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="")
    seen: list[tuple[str, str]] = []
    tasks = set()

    async def handle(job: LeasedJob) -> None:
        seen.append((job.job_id, mark.get()))
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task.get_name())
        if job.job_id == "marks":
            mark.set("left")
        elif job.job_id == "cancels":
            task.cancel()
        elif job.job_id == "waits":
            async with asyncio.timeout(5):
                await asyncio.sleep(0)

    names = ["a", "marks", "b", "cancels", "c", "waits", *"defgh"]
    for name in names:
        await rest.enqueue("t/q", name)
    async with working(handle, concurrency=3, prefetch=20) as worker:
        await until(lambda: worker.counts["done"] == len(names))
    assert seen == [(name, "") for name in names]
    assert len(tasks) < len(names), "those who wait for nothing share a task"


async def test_a_plain_function_runs_in_a_thread(working: Any, rest: Rest) -> None:
    threads: set[str] = set()

    def handle(job: LeasedJob) -> None:
        threads.add(threading.current_thread().name)

    async with working(handle, concurrency=2) as worker:
        for at in range(5):
            await rest.enqueue("t/q", f"j{at}")
        await until(lambda: worker.counts["done"] == 5)
    assert all(name.startswith("sharq-handler") for name in threads)


async def test_a_failed_job_comes_again_later(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t")
    attempts: list[tuple[int, float]] = []

    async def handle(job: LeasedJob) -> None:
        attempts.append((job.attempt, time.monotonic()))
        if job.attempt == 1:
            raise ZeroDivisionError
        if job.attempt == 2:
            raise Retry(0.3)

    async with working(handle) as worker:
        await rest.enqueue()
        await until(lambda: worker.counts["done"] == 1)
        assert worker.counts["retried"] == 2
    assert [attempt for attempt, _ in attempts] == [1, 2, 3]
    assert attempts[1][1] - attempts[0][1] >= 0.75, "the backoff of the server"
    assert attempts[2][1] - attempts[1][1] >= 0.29


async def test_a_handler_that_cancels_itself_has_failed(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t queue=q job=j attempt=1")
    attempts: list[int] = []

    async def handle(job: LeasedJob) -> None:
        attempts.append(job.attempt)
        raise asyncio.CancelledError

    async with working(handle) as worker:
        await rest.enqueue()
        await until(lambda: worker.counts["retried"] == 1)
        await asyncio.sleep(0.2)
    assert attempts == [1], "it comes again after a delay"


async def test_the_log_says_when_no_requeue_is_left(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed .* job=fails attempt=1 requeues_remaining=0 dead=True")
    expect_log("retried, but no requeue is left .* job=retries requeues_remaining=0 dead=True")

    async def handle(job: LeasedJob) -> None:
        raise Retry(5) if job.job_id == "retries" else ValueError

    async with working(handle):
        for name in ("fails", "retries"):
            await rest.enqueue("t/q", name, requeue_limit=0)
            await state_is(rest, "dead", name)


@pytest.mark.parametrize("error", [StopIteration, SystemExit, asyncio.CancelledError])
async def test_no_exception_ends_a_worker(
    working: Any, rest: Rest, expect_log: ExpectLog, error: type[BaseException]
) -> None:
    expect_log("failed|cancelled")

    def plain(job: LeasedJob) -> None:
        if job.payload == "bad":
            raise error

    async with working(plain) as worker:
        await rest.enqueue("t/q", "bad", "bad", requeue_limit=0)
        await rest.enqueue("t/q", "good", "good")
        await until(lambda: worker.counts["done"] == 1)
        await state_is(rest, "dead", "bad")


async def test_a_discarded_job_is_finished(working: Any, rest: Rest, expect_log: ExpectLog) -> None:
    expect_log("discarded type=t queue=q job=j reason=no")

    async def handle(job: LeasedJob) -> None:
        raise Discard("no")

    async with working(handle) as worker:
        await rest.enqueue()
        await until(lambda: worker.counts["discarded"] == 1)
        await state_is(rest, "finished")


async def test_a_handler_that_takes_too_long_is_cancelled(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("failed type=t")
    cancelled = asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with working(handle, timeout=0.1):
        await rest.enqueue(requeue_limit=0)
        await cancelled.wait()
        await state_is(rest, "dead")


class TestLeases:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        intervals = {"job_expire_interval": 400, "job_requeue_interval": 50}
        return {"sharq": {"enable_requeue_script": True, **intervals}}

    @pytest.mark.parametrize("blocking", [True, False])
    async def test_leases_are_extended_while_a_handler_runs(
        self, rest: Rest, tmp_path: Path, http_port: int, http_server: object, blocking: bool
    ) -> None:
        # In a process of its own: a handler that blocks its loop must not block this one.
        kind = "" if blocking else "async "
        (tmp_path / "jobs.py").write_text(
            f"import time\n{kind}def handle(job):\n    time.sleep(1.5)\n    print(job.attempt)\n"
        )
        command = [sys.executable, "-m", "sharq", "worker", "jobs:handle", "--type", "t"]
        process = subprocess.Popen(
            [*command, "--url", f"ws://127.0.0.1:{http_port}/ws/"],
            cwd=tmp_path,
            env=environment(tmp_path, PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        await rest.enqueue()
        await state_is(rest, "finished")
        process.terminate()
        output, _ = await asyncio.to_thread(process.communicate, timeout=10)
        assert (process.returncode, output) == (0, "1\n")

    async def test_a_handler_that_outlives_its_lease_is_told(
        self, working: Any, rest: Rest, expect_log: ExpectLog
    ) -> None:
        expect_log("lease lost type=t queue=q job=j")
        told = asyncio.Event()

        async def handle(job: LeasedJob) -> None:
            while not job.lease_lost:
                await asyncio.sleep(0.005)
            told.set()

        async with working(handle) as worker:
            await rest.enqueue()
            await state_is(rest, "active")
            await rest.delete("/deletequeue/t/q/", {"purge_all": True})
            await told.wait()
            assert worker.counts["lost"] == 1
        assert worker.counts["done"] == 0


class TestWaiting:
    """A job that waits in a worker is not used up, and not kept from others."""

    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        intervals = {"job_expire_interval": 600, "job_requeue_interval": 50}
        return {"sharq": {"enable_requeue_script": True, **intervals}}

    @pytest.mark.parametrize("beside", [False, True], ids=["alone", "with an idle worker beside"])
    async def test_a_job_behind_a_long_one_is_not_used_up(
        self, working: Any, rest: Rest, beside: bool
    ) -> None:
        release = asyncio.Event()
        runs: list[tuple[str, int, int]] = []

        async def handle(job: LeasedJob) -> None:
            runs.append((job.job_id, job.attempt, job.requeues_remaining))
            if job.job_id == "long":
                await release.wait()

        async with working(handle, concurrency=1, prefetch=1) as worker:
            # A quick one, after which it takes a job ahead.
            await rest.enqueue("t/q", "quick")
            await until(lambda: worker.counts["done"] == 1)
            await rest.enqueue("t/q", "long")
            await rest.enqueue("t/q2", "behind", requeue_limit=1)
            await until(lambda: len(runs) == 2)
            if beside:
                async with working(handle, concurrency=1) as other:
                    await until(lambda: other.counts["done"] == 1)
            else:
                # Through several lengths of a lease.
                await asyncio.sleep(2)
            release.set()
            await until(lambda: len(runs) == 3)
        assert runs == [("quick", 1, -1), ("long", 1, -1), ("behind", 1, 1)]


async def test_a_worker_comes_back_with_its_leases(
    working: Any, rest: Rest, server: SharQServer, expect_log: ExpectLog
) -> None:
    expect_log("disconnected")
    release = asyncio.Event()
    attempts: list[int] = []

    async def handle(job: LeasedJob) -> None:
        attempts.append(job.attempt)
        await release.wait()

    async with working(handle, concurrency=2, prefetch=0) as worker:
        await rest.enqueue(job_id="a")
        await until(lambda: attempts)
        former = set(server.push.sessions)
        for session in former:
            session.abort()
        await until(lambda: any(each.credit.held for each in server.push.sessions - former))
        release.set()
        await until(lambda: worker.counts["done"] == 1)
    assert attempts == [1]


async def test_a_stop_gives_back_what_was_not_started(working: Any, rest: Rest) -> None:
    started = asyncio.Event()
    release = asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        started.set()
        await release.wait()

    for at in range(5):
        await rest.enqueue("t/q", f"j{at}", requeue_limit=0)
    async with working(handle, concurrency=1, prefetch=3) as worker:
        await started.wait()
        worker.stop()
        await state_is(rest, "queued", "j1")
        release.set()
    assert worker.counts["done"] == 1
    status = (await rest.get("/metrics/t/q/")).body
    assert (status["queue_length"], status["active_count"]) == (4, 0)
    assert (await rest.get("/dequeue/t/")).body["requeues_remaining"] == 0


async def test_what_runs_longer_than_the_grace_is_given_back(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("cut off by the stop type=t queue=q job=j$")

    begun = asyncio.Event()

    async def handle(job: LeasedJob) -> Awaitable[None]:
        begun.set()
        await asyncio.sleep(60)
        raise AssertionError

    async with working(handle, grace=0.05):
        await rest.enqueue()
        await begun.wait()
    await state_is(rest, "queued")


async def test_a_handler_that_ignores_its_cancellation_is_named_and_keeps_its_lease(
    working: Any, rest: Rest, expect_log: ExpectLog
) -> None:
    expect_log("handlers ignore their cancellation count=1")
    expect_log("left behind in its handler, with its lease type=t queue=q job=j")
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(job: LeasedJob) -> None:
        begun.set()
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()
        ended.set()

    async with working(handle, grace=0.05):
        await rest.enqueue()
        await begun.wait()
    await state_is(rest, "active")
    go_on.set()
    await ended.wait()


# ---- the command ----


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere:handle", "--type", "t"], "No module named 'nowhere'"),
        (["broken:handle", "--type", "t"], "ZeroDivisionError"),
        (["jobs:nothing", "--type", "t"], "The module jobs has no nothing."),
        (["jobs:NAME", "--type", "t"], "jobs:NAME is no function."),
        (["jobs", "--type", "t"], "does not name a function"),
        (["jobs:handle", "--type", "a b"], "`types` has an invalid value."),
        (["jobs:handle", "--type", "t=x"], "no whole number"),
        (["jobs:handle", "--type", "t", "--url", "ftp://x/"], "`url` has to be one like"),
        (["jobs:handle", "--type", "t", "--concurrency", "0"], "`concurrency` has to be"),
        (["jobs:handle", "--type", "t", "--token-file", "none"], "cannot be read"),
        (["jobs:handle", "--type", "t", "--tls-ca", "none"], "`tls_ca` none cannot be used"),
    ],
)
def test_what_cannot_be_started_is_told(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    (tmp_path / "jobs.py").write_text("NAME = 1\nasync def handle(job): pass\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    done = subprocess.run(
        [sys.executable, "-m", "sharq", "worker", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


BLOCKING = """
import os, signal, threading, time
def hit(job):
    os.write(1, b"begun\\n")
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(job.payload)
def plain(job):
    os.write(1, b"begun\\n")
    time.sleep(job.payload)
async def blocks(job):
    plain(job)
"""


@pytest.mark.parametrize(
    ("handler", "seconds", "signals", "code"),
    [
        pytest.param("plain", 600, 1, 0, id="a thread that never ends"),
        pytest.param("hit", 600, 0, 0, id="another thread that is hit"),
        pytest.param("plain", 600, 2, 1, id="a second signal"),
        pytest.param("blocks", 1, 1, 0, id="a loop that is blocked for a while"),
        pytest.param("blocks", 600, 2, -signal.SIGTERM, id="a loop that is blocked"),
    ],
)
def test_a_signal_ends_a_worker_whatever_its_handler_does(
    tmp_path: Path, handler: str, seconds: int, signals: int, code: int
) -> None:
    (tmp_path / "jobs.py").write_text(BLOCKING)
    with Server(tmp_path) as server, (tmp_path / "worker.log").open("wb") as log:
        url = f"ws://127.0.0.1:{server.port}/ws/"
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "sharq", "worker", f"jobs:{handler}", "--type", "t"),
                *("--url", url, "--concurrency", "1", "--prefetch", "2"),
                *("--grace", "60" if signals == 2 else "0.1"),
            ],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            enqueue(server, range(3), payload=seconds)
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"begun\n"
            for _ in range(signals):
                worker.send_signal(signal.SIGTERM)
                # Those of the same moment are one.
                worker.send_signal(signal.SIGTERM)
                time.sleep(0.7)
            assert worker.wait(10) == code
            assert worker.stdout.read() == b"", "no more jobs were begun"
        finally:
            worker.kill()
            worker.communicate()
            print((tmp_path / "worker.log").read_text(), server.log)


def test_two_worker_processes_share_and_survive_a_killed_server(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(
        "import os\ndef handle(job):\n    os.write(1, f'{job.job_id} {os.getpid()}\\n'.encode())\n"
    )
    seen = tmp_path / "seen"
    with Server(tmp_path) as server, seen.open("w") as output:
        port = server.port
        workers = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "sharq", "worker", "jobs:handle", "--type", "t"),
                    *("--url", f"ws://127.0.0.1:{port}/ws/", "--concurrency", "1"),
                    *("--prefetch", "0", "--log-format", "json"),
                ],
                cwd=tmp_path,
                env=environment(tmp_path),
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stderr is not None
            assert '"event":"connected"' in worker.stderr.readline()
        enqueue(server, range(20))
        wait_for("the jobs are done", lambda: len(seen.read_text().splitlines()) >= 20)
        server.kill()
    with Server(tmp_path, "--port", str(port)) as server:
        enqueue(server, range(20, 40))
        wait_for("all jobs are done", lambda: len(seen.read_text().splitlines()) >= 40, 30)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        errors = [worker.communicate(timeout=20)[1] for worker in workers]
    rows = [line.split() for line in seen.read_text().splitlines()]
    assert {name for name, _ in rows} == {f"j{at}" for at in range(40)}
    assert len({pid for _, pid in rows}) == 2
    assert [worker.returncode for worker in workers] == [0, 0]
    assert all('"event":"stopped"' in error for error in errors)


def enqueue(server: Server, numbers: range, payload: int = 1) -> None:
    for at in numbers:
        job = {"job_id": f"j{at}", "interval": 0, "payload": payload}
        assert server.call("POST", f"/enqueue/t/q{at % 5}/", job)[0] == 201
