"""Workers as processes: signals, processes that handlers fork, threads that stop them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sharq import LeasedJob, Worker
from sharq_server import SharQServer
from tests.server.command import Server, environment
from tests.server.support import Rest, until
from tests.support.stores import wait_for

pytestmark = pytest.mark.gen_test(timeout=30)

JOBS = """
import multiprocessing, os, signal, sys, time

def wait(job):
    os.write(1, b"begun\\n")
    time.sleep(600)

async def awaits(job):
    import asyncio
    os.write(1, b"begun\\n")
    await asyncio.sleep(600)

def forks(job):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    child.terminate()
    child.join(10)
    os.write(1, b"child %d\\n" % (99 if child.exitcode is None else child.exitcode))

async def forks_in_the_loop(job):
    forks(job)

def comes_back(job):
    child = os.fork()
    if child == 0:
        if job.payload == "exits":
            sys.exit(7)
        if job.payload == "raises":
            raise ZeroDivisionError
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(1, b"child %d\\n" % code)

async def comes_back_in_the_loop(job):
    comes_back(job)

def leaves_a_child(job):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    os.write(1, b"%d\\n" % child)
    time.sleep(60)

async def takes_no_notice(job):
    import asyncio
    os.write(1, b"begun\\n")
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            pass

def plain(job):
    os.write(1, b"ran\\n")

def fails(job):
    os.write(1, b"%d\\n" % os.getpid())
    raise ZeroDivisionError("no")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module")
def command(home: Path) -> Iterator[Server]:
    with Server(home) as server:
        yield server


Starting = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def starting(home: Path, command: Server) -> Iterator[Starting]:
    """Starts `sharq worker` with a handler of `JOBS`; it is ended with the test."""
    (home / "jobs.py").write_text(JOBS)
    begun: list[subprocess.Popen[bytes]] = []

    def start(
        handler: str, queue_type: str, *before: str, more: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        begun.append(
            subprocess.Popen(
                [
                    *(*before, sys.executable, "-m", "sharq", "worker", f"jobs:{handler}"),
                    *("--type", queue_type, "--url", f"ws://127.0.0.1:{command.port}/ws/"),
                    *("--concurrency", "1", "--grace", "0.1", *more),
                ],
                cwd=home,
                env=environment(home),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def enqueue(command: Server, queue_type: str, job_id: str = "j", payload: object = 1) -> None:
    job = {"job_id": job_id, "interval": 0, "payload": payload}
    assert command.call("POST", f"/enqueue/{queue_type}/q/", job)[0] == 201


def line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("handler", ["forks", "forks_in_the_loop"])
def test_a_process_that_a_handler_forks_can_be_terminated(
    command: Server, starting: Starting, handler: str
) -> None:
    enqueue(command, handler)
    worker = starting(handler, handler)
    assert line(worker) == b"child -15\n"
    worker.terminate()
    assert worker.wait(10) == 0


@pytest.mark.parametrize("handler", ["comes_back", "comes_back_in_the_loop"])
@pytest.mark.parametrize(("payload", "code"), [("returns", 0), ("exits", 7), ("raises", 1)])
def test_a_forked_process_ends_where_its_handler_does(
    command: Server, starting: Starting, handler: str, payload: str, code: int
) -> None:
    queue_type = f"{handler}-{payload}"
    enqueue(command, queue_type, "j", payload)
    worker = starting(handler, queue_type)
    assert line(worker) == b"child %d\n" % code
    path = f"/status/{queue_type}/q/j/"
    wait_for(
        "the parent has finished it",
        lambda: command.call("GET", path)[1]["state"] == "finished",
    )


def test_a_worker_that_is_killed_is_gone_although_a_child_of_it_lives(
    command: Server, starting: Starting
) -> None:
    enqueue(command, "orphan")
    worker = starting("leaves_a_child", "orphan")
    child = int(line(worker))
    try:
        # Its only place is taken; the next job waits for another worker.
        worker.kill()
        worker.wait(10)
        other = starting("plain", "orphan")
        for at in range(4):
            enqueue(command, "orphan", f"j{at}")
            assert line(other) == b"ran\n"
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_handler_that_takes_no_notice_of_its_end_keeps_no_worker_alive(
    command: Server, starting: Starting
) -> None:
    enqueue(command, "stubborn")
    worker = starting("takes_no_notice", "stubborn")
    assert line(worker) == b"begun\n"
    worker.terminate()
    assert worker.wait(15) == 1


def test_sighup_ends_a_worker_in_good_order(command: Server, starting: Starting) -> None:
    enqueue(command, "hup")
    worker = starting("awaits", "hup")
    assert line(worker) == b"begun\n"
    worker.send_signal(signal.SIGHUP)
    assert worker.wait(10) == 0
    wait_for(
        "the job is given back",
        lambda: command.call("GET", "/status/hup/q/j/")[1].get("state") == "queued",
    )


def test_a_worker_that_is_to_outlive_its_terminal_takes_no_notice_of_sighup(
    command: Server, starting: Starting
) -> None:
    worker = starting("plain", "nohup", "nohup")
    enqueue(command, "nohup")
    assert line(worker) == b"ran\n"
    worker.send_signal(signal.SIGHUP)
    enqueue(command, "nohup", "k")
    assert line(worker) == b"ran\n"
    worker.terminate()
    assert worker.wait(10) == 0


# ---- stop ----


async def nothing(job: LeasedJob) -> None:
    pass


async def test_an_idle_worker_is_stopped_from_another_thread(
    http_port: int, http_server: object, server: SharQServer
) -> None:
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t")
    worker.handler(nothing)
    # In a loop of its own, which nothing else wakes.
    serving = asyncio.ensure_future(asyncio.to_thread(worker.run))
    await until(lambda: server.push.sessions)
    worker.stop()
    assert await asyncio.wait_for(serving, 5) == 0


async def test_a_handler_in_a_thread_may_stop_its_worker(
    rest: Rest, http_port: int, http_server: object
) -> None:
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t", concurrency=1)
    worker.handler(lambda _: worker.stop())
    for at in range(3):
        await rest.enqueue("t/q", f"j{at}")
    await asyncio.wait_for(worker.serve(), 10)
    assert worker.counts["done"] == 1
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 2


async def test_a_stop_that_comes_before_the_start_is_not_lost(
    http_port: int, http_server: object
) -> None:
    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t")
    worker.handler(nothing)
    worker.stop()
    await asyncio.wait_for(worker.serve(), 5)


async def test_a_worker_works_again_after_a_stop_and_once_at_a_time(
    working: Any, rest: Rest, http_port: int
) -> None:
    done: list[str] = []

    async def handle(job: LeasedJob) -> None:
        done.append(job.job_id)

    worker = Worker(f"ws://127.0.0.1:{http_port}/ws/", "t")
    worker.handler(handle)
    for at in range(3):
        serving = asyncio.ensure_future(worker.serve())
        await rest.enqueue("t/q", f"j{at}")
        await until(lambda: len(done) == at + 1)  # noqa: B023
        with pytest.raises(RuntimeError, match="already running"):
            await worker.serve()
        worker.stop()
        worker.stop()
        await asyncio.wait_for(serving, 5)
        worker.stop()
    assert worker.counts["done"] == 3


@pytest.mark.parametrize("name", [None, "wéb 1"])
def test_a_worker_fails_by_its_name(command: Server, starting: Starting, name: str | None) -> None:
    queue_type = "named" if name else "nameless"
    enqueue(command, queue_type)
    process = starting("fails", queue_type, more=("--name", name) if name else ())
    pid = int(line(process))

    def status() -> Any:
        return command.call("GET", f"/status/{queue_type}/q/j/")[1]

    wait_for("it has failed", lambda: "error" in status())
    told = status()
    assert (told["error"]["type"], told["error"]["message"]) == ("ZeroDivisionError", "no")
    assert told["worker"] == (name or f"{socket.gethostname()}:{pid}")


def test_a_name_that_is_none_is_said_in_one_line(home: Path) -> None:
    (home / "jobs.py").write_text(JOBS)
    done = subprocess.run(
        [sys.executable, "-m", "sharq", "worker", "jobs:plain", "--type", "t", "--name", ""],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    told = "It is a text of 1 to 100 printable characters."
    assert done.stderr == f"sharq worker: `name` has an invalid value. {told}\n"
