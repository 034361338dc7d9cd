"""The example of a worker over the push channel, as its user runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.server.command import Server, environment
from tests.support.stores import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "push_worker.py"


def test_it_prints_the_jobs_and_finishes_them(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        worker = subprocess.Popen(
            [sys.executable, EXAMPLE, f"ws://127.0.0.1:{server.port}/ws/", "mail"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        job = {"job_id": "j1", "interval": 0, "payload": {"to": "Ada"}}
        assert server.call("POST", "/enqueue/mail/q/", job)[0] == 201
        status = "/status/mail/q/j1/"
        wait_for("it is done", lambda: server.call("GET", status)[1].get("state") == "finished")
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=20)
    assert (worker.returncode, output) == (0, "q j1: {'to': 'Ada'}\n")
