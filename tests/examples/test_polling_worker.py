"""The example worker does what its document says, as a process on a real server."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.server.command import Server
from tests.support.stores import PrivateStore, wait_for

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PATIENCE = 15.0

Lines = queue.Queue[tuple[str, float]]
"""What a process writes, each line with the time (s, monotonic) at which it came."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@contextmanager
def running(arguments: list[str], *, errors: bool = False) -> Iterator[Lines]:
    """A program of Python: what it writes, or what its `errors` are."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        stdout=None if errors else subprocess.PIPE,
        stderr=subprocess.PIPE if errors else None,
        text=True,
    )
    lines: Lines = queue.Queue()
    stream = process.stderr if errors else process.stdout
    assert stream is not None
    reader = threading.Thread(target=_read, args=(stream, lines))
    reader.start()
    try:
        yield lines
    finally:
        process.kill()
        reader.join()
        process.wait()


def worker(*arguments: str) -> AbstractContextManager[Lines]:
    return running([str(EXAMPLES / "polling_worker.py"), *arguments])


def _read(stream: IO[str], lines: Lines) -> None:
    with stream:
        for line in stream:
            lines.put((line.strip(), time.monotonic()))


def enqueue(server: Server, queue_id: str, job_id: str, interval: int) -> None:
    body = {"job_id": job_id, "interval": interval, "payload": {"text": job_id}}
    assert server.call("POST", f"/enqueue/sms/{queue_id}/", body)[0] == 201


def state(server: Server, queue_id: str, job_id: str) -> str:
    return str(server.call("GET", f"/status/sms/{queue_id}/{job_id}/")[1]["state"])


def test_jobs_are_processed_in_order_and_finished(server: Server) -> None:
    for number in range(3):
        enqueue(server, "fast", f"job-{number}", interval=0)
    with worker(server.url) as lines:
        got = [lines.get(timeout=PATIENCE)[0] for _ in range(3)]
        wait_for("the last job is finished", lambda: state(server, "fast", "job-2") == "finished")
    assert got == [f"fast {{'text': 'job-{number}'}}" for number in range(3)]


def test_each_queue_is_processed_at_its_own_rate(server: Server) -> None:
    interval = 1.2
    began = time.monotonic()
    for number in range(2):
        enqueue(server, "slow", f"job-{number}", interval=round(interval * 1000))
        enqueue(server, "fast", f"job-{number}", interval=0)
    with worker(server.url, "sms") as lines:
        came = [lines.get(timeout=PATIENCE) for _ in range(4)]
    assert [line.split()[0] for line, _ in came[:3]].count("fast") == 2
    last, at = came[3]
    assert last.startswith("slow")
    # The first one of the slow queue went after `began`.
    assert at - began >= interval


def test_jobs_of_another_type_are_left_alone(server: Server) -> None:
    enqueue(server, "queue", "job", interval=0)
    body = {"job_id": "mine", "interval": 0, "payload": 1}
    assert server.call("POST", "/enqueue/mail/queue/", body)[0] == 201
    with worker(server.url, "mail") as lines:
        assert lines.get(timeout=PATIENCE)[0] == "queue 1"
    assert state(server, "queue", "job") == "queued"


def test_what_has_failed_is_told(server: Server, tmp_path: Path) -> None:
    code = (EXAMPLES / "polling_worker.py").read_text()
    assert code.count("    print(job") == 1
    path = tmp_path / "failing_worker.py"
    path.write_text(code.replace("    print(job", '    raise ValueError("no")\n    print(job'))
    body = {"job_id": "job", "interval": 0, "payload": 1, "requeue_limit": 0}
    assert server.call("POST", "/enqueue/sms/queue/", body)[0] == 201
    with running([str(path), server.url], errors=True) as lines:
        assert lines.get(timeout=PATIENCE)[0] == "job has failed: ValueError('no')"
        wait_for("it is dead", lambda: state(server, "queue", "job") == "dead")
    _, letter = server.call("GET", "/dead/sms/queue/job/")
    assert (letter["reason"], letter["payload"]) == ("exhausted", 1)
    assert (letter["error"]["type"], letter["error"]["message"]) == ("ValueError", "no")
    assert letter["error"]["trace"].endswith("ValueError: no\n")


def test_the_producer_s_messages_reach_the_worker(server: Server) -> None:
    producer = subprocess.run(
        [sys.executable, str(EXAMPLES / "enqueue.py"), server.url],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert len(set(producer.stdout.split())) == 5
    with worker(server.url) as lines:
        assert "Message 1" in lines.get(timeout=PATIENCE)[0]


def test_a_server_that_is_away_does_not_end_the_worker(tmp_path: Path) -> None:
    with Server(tmp_path) as gone:
        url = gone.url
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "polling_worker.py"), url],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        try:
            assert "Something went wrong" in process.stderr.readline()
            assert process.poll() is None
        finally:
            process.kill()


def seconds_of_four(lines: Lines) -> float:
    """The time from the first of four jobs to the last."""
    times = [lines.get(timeout=PATIENCE)[1] for _ in range(4)]
    return times[-1] - times[0]


def test_14_a_job_that_is_due_soon_is_not_slept_through(server: Server) -> None:
    for number in range(4):
        enqueue(server, "brisk", f"job-{number}", interval=250)
    with worker(server.url) as lines:
        # A second after each one it would be three.
        assert 0.7 < seconds_of_four(lines) < 2.5


def test_14_the_worker_of_the_readme_is_told_when(server: Server, tmp_path: Path) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n([^`]*while True:.*?)```", readme, re.DOTALL)
    path = tmp_path / "readme_worker.py"
    path.write_text(code.replace("http://localhost:8080", server.url))
    for number in range(4):
        enqueue(server, "brisk", f"job-{number}", interval=250)
    with running([str(path)]) as lines:
        assert 0.7 < seconds_of_four(lines) < 2.5
        wait_for("the last job is finished", lambda: state(server, "brisk", "job-3") == "finished")


def test_14_a_server_without_its_store_is_asked_again_when_it_says(tmp_path: Path) -> None:
    with PrivateStore() as store:
        environ = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        with Server(tmp_path, embedded=False, **environ) as server:
            store.kill()
            wait_for("it is missed", lambda: server.call("GET", "/deepstatus/")[0] == 503)
            with running([str(EXAMPLES / "polling_worker.py"), server.url], errors=True) as lines:
                (_, first), (_, second), (text, third) = (
                    lines.get(timeout=PATIENCE) for _ in range(3)
                )
            store.start()
    assert "Something went wrong: " in text
    assert min(second - first, third - second) < 4
