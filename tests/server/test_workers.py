"""Several processes on one port: the work is shared, the dead are replaced, and one sweeps."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.server.command import Server
from tests.server.test_command import gone
from tests.support.stores import PrivateStore, wait_for

JOB = {"job_id": "j", "interval": 0, "payload": 1}


def two_workers(server: Server) -> list[int]:
    """The processes of two workers, when both serve."""
    wait_for("two workers run", lambda: len(server.children()) == 2)
    workers = server.children()
    wait_for("both serve", lambda: all(f" {pid} INFO" in server.log for pid in workers))
    return workers


def test_there_are_as_many_workers_as_wanted(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "3") as server:
        wait_for("three workers run", lambda: len(server.children()) == 3)


def test_one_worker_needs_no_other_process(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "1") as server:
        assert server.call("GET", "/")[0] == 200
        assert server.children() == []


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "2") as server:
        first, second = two_workers(server)
        for victim in (first, second):
            os.kill(victim, signal.SIGKILL)
        wait_for(
            "two others run",
            lambda: len(server.children()) == 2 and not {first, second} & {*server.children()},
        )
        assert server.call("POST", "/enqueue/t/q/", JOB)[0] == 201
        for index, victim in ((0, first), (1, second)):
            words = f"Worker {index} (process {victim}) was killed by signal 9; another one starts"
            assert words in server.log
        assert server.stop() == 0


def test_the_other_workers_serve_while_one_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "2") as server:
        first, second = two_workers(server)
        os.kill(first, signal.SIGKILL)
        wait_for("it is gone", lambda: gone(first))
        for _ in range(5):
            assert server.call("GET", "/deepstatus/")[0] == 200
        assert not gone(second)


def test_a_worker_that_hangs_is_killed_when_the_server_is_to_end_at_once(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "2") as server:
        first, _ = two_workers(server)
        os.kill(first, signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        wait_for("the other one ends", lambda: len(server.children()) == 1)
        assert server.process.poll() is None
        since = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - since < 8
        assert f"Worker 0 (process {first}) was killed by signal 9" in server.log


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "2") as server:
        workers = two_workers(server)
        assert server.call("POST", "/enqueue/t/q/", JOB)[0] == 201
        store = server.store_pid(tmp_path)
        os.kill(server.process.pid, signal.SIGKILL)
        wait_for("the workers end", lambda: all(map(gone, workers)))
        wait_for("the store ends with them", lambda: gone(store))
        server.wait()
    with Server(tmp_path) as server:
        assert server.call("GET", "/dequeue/t/")[1]["job_id"] == "j"


def test_the_sweep_goes_on_when_its_worker_dies(tmp_path: Path) -> None:
    intervals = {
        "SHARQ_JOB_EXPIRE_INTERVAL": "100",
        "SHARQ_JOB_REQUEUE_INTERVAL": "50",
    }
    with Server(tmp_path, "--workers", "2", **intervals) as server:
        first, _ = two_workers(server)
        assert server.call("POST", "/enqueue/t/q/", JOB)[0] == 201
        assert server.call("GET", "/dequeue/t/")[0] == 200
        os.kill(first, signal.SIGKILL)
        wait_for("the job is back", lambda: server.call("GET", "/dequeue/t/")[0] == 200, 5)


def test_one_worker_sweeps(tmp_path: Path) -> None:
    with PrivateStore() as store:
        environ = {
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_JOB_REQUEUE_INTERVAL": "100",
        }

        with Server(tmp_path, "--workers", "4", embedded=False, **environ) as server:
            wait_for("four workers run", lambda: len(server.children()) == 4)
            wait_for("a sweep has been", store.script_calls)
            before, since = store.script_calls(), time.monotonic()
            wait_for("fifteen more sweeps have been", lambda: store.script_calls() >= before + 30)
            # A sweep of an empty store is a claim and one page, 100 ms after the last one. A worker
            # that connects late calls a few scripts besides.
            assert time.monotonic() - since > 0.9
