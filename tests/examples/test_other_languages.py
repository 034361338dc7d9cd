"""The example workers in other languages, as their users run them, on a real server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sharq.settings.tokens import line_for
from tests.server.command import Server, environment
from tests.support.parts import NODE_OPTIONS, find
from tests.support.stores import wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"

# What the worker of the shell runs: it does what the payloads for the others ask for.
COMMAND = r"""
read -r payload
printf '%s %s\n' "$QUEUE_ID" "$payload"
case $payload in *work_ms*) sleep 1 ;; esac
case $payload in *'"fail": true'*) exit 3 ;; esac
"""


class Kind(NamedTuple):
    """An example: its command up to the URL, what it talks to, and the error of its failures.

    `path` is another path of the URL than the right one.
    """

    command: Sequence[str]
    push: bool
    more: Sequence[str]
    error: tuple[str, str]
    path: str | None = None


ASKED = "its payload asks for it"
KINDS = {
    "node": Kind(
        ["node", *NODE_OPTIONS, str(EXAMPLES / "push_worker.mjs")], True, (), ("Error", ASKED)
    ),
    "php": Kind(
        ["php", str(EXAMPLES / "polling_worker.php")], False, (), ("RuntimeException", ASKED)
    ),
    "shell": Kind(
        ["sh", str(EXAMPLES / "polling_worker.sh")],
        False,
        ["sh", "-c", COMMAND],
        ("ExitCode", "3"),
    ),
}


PARTS = {"node": "node", "php": "php", "shell": "curl"}


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.needs(part)) for name, part in PARTS.items()]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


class Running:
    """A worker as a process; what it prints is in `output`, what it complains of in `errors`."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def output(self) -> str:
        return (self._folder / "output").read_text()

    @property
    def errors(self) -> str:
        return (self._folder / "errors").read_text()

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)


@contextmanager
def running(kind: Kind, port: int, folder: Path, **more: str) -> Iterator[Running]:
    program, *arguments = kind.command
    scheme, path = ("ws", "/ws/") if kind.push else ("http", "")
    url = f"{scheme}://127.0.0.1:{port}{path if kind.path is None else kind.path}"
    with open(folder / "output", "wb") as output, open(folder / "errors", "wb") as errors:
        process = subprocess.Popen(
            [find(program) or program, *arguments, url, "sms", *kind.more],
            env=environment(folder, **more),
            stdout=output,
            stderr=errors,
            process_group=0,
        )
    try:
        yield Running(process, folder)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def put(server: Server, job_id: str, payload: Any, **more: Any) -> None:
    job = {"job_id": job_id, "interval": 0, "payload": payload, **more}
    assert server.call("POST", "/enqueue/sms/q/", job)[0] == 201


def state(server: Server, job_id: str) -> str:
    return str(server.call("GET", f"/status/sms/q/{job_id}/")[1].get("state"))


def finished(server: Server, *jobs: str) -> None:
    wait_for("they are finished", lambda: all(state(server, job) == "finished" for job in jobs), 20)


def test_it_works_and_stops(kind: Kind, server: Server, tmp_path: Path) -> None:
    odd = {"lease": 'a","lease":"b', "text": "é\n%s\\", "payload": {"requeues_remaining": 1}}
    put(server, "one", odd)
    put(server, "two", {"n": 2})
    with running(kind, server.port, tmp_path) as worker:
        finished(server, "one", "two")
        assert worker.stop(signal.SIGTERM) == 0
        first = worker.output.splitlines()[0]
        assert json.loads(first[first.index("{") :]) == odd
        assert worker.errors == ""


def test_what_has_failed_is_told(kind: Kind, server: Server, tmp_path: Path) -> None:
    put(server, "bad", {"fail": True}, requeue_limit=0)
    put(server, "good", {})
    with running(kind, server.port, tmp_path) as worker:
        finished(server, "good")
        wait_for("it is dead", lambda: state(server, "bad") == "dead")
        assert worker.stop(signal.SIGINT) == 0
        assert "bad has failed" in worker.errors
    _, letter = server.call("GET", "/dead/sms/q/bad/")
    assert (letter["error"]["type"], letter["error"]["message"]) == kind.error


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_ends_before_the_worker(
    kind: Kind, server: Server, tmp_path: Path, how: signal.Signals
) -> None:
    put(server, "long", {"work_ms": 1000})
    with running(kind, server.port, tmp_path) as worker:
        wait_for("it runs", lambda: "work_ms" in worker.output, 20)
        put(server, "late", {})
        assert worker.stop(how) == 0
    assert state(server, "long") == "finished"
    assert state(server, "late") in {"queued", "finished"}


@pytest.mark.needs("curl")
def test_ctrl_c_in_a_terminal_lets_a_command_end(server: Server, tmp_path: Path) -> None:
    put(server, "long", {"work_ms": 1000})
    with running(KINDS["shell"], server.port, tmp_path) as worker:
        wait_for("it runs", lambda: "work_ms" in worker.output, 20)
        os.killpg(worker.process.pid, signal.SIGINT)
        assert worker.process.wait(20) == 0
        assert worker.errors == ""
    assert state(server, "long") == "finished"


def test_a_server_that_was_away(kind: Kind, server: Server, tmp_path: Path) -> None:
    port = server.port
    with running(kind, port, tmp_path) as worker:
        put(server, "before", {})
        finished(server, "before")
        server.kill()
        wait_for("it notices", lambda: worker.process.poll() is not None or _asks(worker, kind), 20)
        assert worker.process.poll() is None
        with Server(tmp_path, "--port", str(port)) as again:
            put(again, "after", {})
            finished(again, "after")
            assert worker.stop(signal.SIGTERM) == 0


def test_a_wrong_address_is_told_and_not_hammered(
    kind: Kind, server: Server, tmp_path: Path
) -> None:
    wrong = kind._replace(path="/elsewhere/")
    with running(wrong, server.port, tmp_path) as worker:
        wait_for("it tells", lambda: worker.errors.count("\n") >= 2, 20)
        assert ("No connection to ws" if kind.push else "There is no such route") in worker.errors
        assert worker.process.poll() is None


@pytest.mark.needs("curl")
def test_a_slash_at_the_end_of_the_address_is_no_matter(server: Server, tmp_path: Path) -> None:
    put(server, "one", {})
    with running(KINDS["shell"]._replace(path="/"), server.port, tmp_path):
        finished(server, "one")


@pytest.mark.needs("node")
def test_a_node_without_websockets_is_told_what_it_lacks(tmp_path: Path) -> None:
    program = "delete globalThis.WebSocket; import(process.argv[1])"
    ran = subprocess.run(
        ["node", "-e", program, str(EXAMPLES / "push_worker.mjs")],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("This Node.js has no WebSocket")


@pytest.mark.needs("node")
def test_a_stop_waits_for_a_server_that_is_away(server: Server, tmp_path: Path) -> None:
    port = server.port
    with running(KINDS["node"], port, tmp_path) as worker:
        put(server, "long", {"work_ms": 500})
        wait_for("it runs", lambda: "work_ms" in worker.output, 20)
        server.kill()
        worker.process.send_signal(signal.SIGTERM)
        with Server(tmp_path, "--port", str(port)) as again:
            finished(again, "long")
            assert worker.process.wait(20) == 0


def _asks(worker: Running, kind: Kind) -> bool:
    return kind.push or "Something went wrong" in worker.errors


def test_a_token_is_sent(kind: Kind, tmp_path: Path) -> None:
    with Server(
        tmp_path,
        SHARQ_SERVER_TOKENS=line_for("secret", "w", ("enqueue", "dequeue", "finish"), ["sms"]),
    ) as server:
        connection = server.connect()
        connection.request(
            "POST",
            "/enqueue/sms/q/",
            json.dumps({"job_id": "j", "interval": 0, "payload": 1}),
            {"Authorization": "Bearer secret"},
        )
        assert connection.getresponse().status == 201
        connection.close()
        with running(kind, server.port, tmp_path, SHARQ_TOKEN="secret") as worker:
            wait_for(
                "the job is printed", lambda: re.search(r"q (j: )?1$", worker.output, re.M), 20
            )
            assert worker.stop(signal.SIGTERM) == 0
