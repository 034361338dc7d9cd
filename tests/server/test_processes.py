"""The parent of the workers: what a signal does that comes while a worker is being made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SUPERVISED = """
import logging, os, signal, sys
from sharq_server.process.workers import Supervisor

logging.basicConfig(stream=sys.stdout, format="%(message)s")

def in_the_window():
    if os.path.exists("once"):
        return
    open("once", "w").close()
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])

os.register_at_fork(after_in_child=in_the_window)

def work(index, lifeline, report):
    print("at work", flush=True)
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()

supervisor = Supervisor(
    1,
    work,
    on_ready=lambda: print("ready", flush=True),
    on_stop=lambda: print("stops", flush=True),
    on_hangup=lambda: None,
    grace=10,
)
sys.exit(supervisor.run())
"""


def supervised(folder: Path, signal_name: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SUPERVISED, signal_name],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_a_worker_without_handlers_is_neither_lost_nor_its_parents(
    tmp_path: Path, signal_name: str
) -> None:
    killed, *rest = supervised(tmp_path, signal_name)
    number = {"SIGTERM": 15, "SIGHUP": 1}[signal_name]
    assert f"was killed by signal {number}; another one starts" in killed
    assert rest == ["at work", "stops"]


def test_the_terminals_signal_is_left_to_the_parent(tmp_path: Path) -> None:
    assert supervised(tmp_path, "SIGINT") == ["at work", "stops"]
