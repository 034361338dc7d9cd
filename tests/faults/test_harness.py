"""The parts of the harness that a run depends on and would not show to be broken."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from sharq import deployment
from sharq.operations.scripts import Scripts
from sharq.results import JobOptions
from tests.faults.history import Recorder, merge, read_history
from tests.faults.keeper import Reconnector
from tests.faults.recording import Recorded
from tests.faults.schedule import KILLS, OTHERS, is_kill, schedule
from tests.faults.tenants import KINDS, LIMITED, Source
from tests.support.stores import wait_for


def test_a_schedule_depends_on_its_seed_and_length_alone() -> None:
    assert schedule(7, 3) == schedule(7, 3)
    assert schedule(7, 3) != schedule(8, 3)


def test_a_longer_schedule_begins_like_a_shorter_one() -> None:
    short = [fault for fault in schedule(7, 3) if fault.at < 170]
    assert schedule(7, 10)[: len(short)] == short


def test_three_minutes_have_every_fault() -> None:
    kinds = Counter(fault.kind for fault in schedule(7, 3))
    assert set(kinds) == {*KILLS, *OTHERS}


def test_an_hour_has_five_hundred_kills() -> None:
    for seed in range(20):
        assert sum(is_kill(fault.kind) for fault in schedule(seed, 60)) > 550


def test_the_load_has_every_option_of_a_job_and_types_without_any() -> None:
    told: dict[str, set[str]] = {}
    for name, kind in KINDS.items():
        jobs = Source(kind, "producer", random.Random(1)).jobs(200)
        told[name] = {field for job in jobs for field in job if field in JobOptions._fields}
    assert set().union(*(told[name] for name in LIMITED)) == set(JobOptions._fields)
    assert [name for name in told if not told[name]] == [n for n in KINDS if n not in LIMITED]


def test_histories_of_processes_become_one_in_order(tmp_path: Path) -> None:
    recorders = [Recorder(tmp_path, name) for name in ("one", "two")]
    logs = [Recorded.of(recorder, f"client-{i}") for i, recorder in enumerate(recorders)]
    first = logs[0].invoke("enqueue", type="t", job="j1", payload={"a": 1})
    second = logs[1].invoke("finish", type="t", job="j1", n=5)
    first.ok(duplicate=False)
    second.unknown()
    for recorder in recorders:
        recorder.close()
    merge(sorted(tmp_path.glob("history-*.jsonl")), tmp_path / "history.jsonl")
    events = [event for event in read_history(tmp_path / "history.jsonl") if event.op != "clock"]
    assert [(event.p, event.e) for event in events] == [
        ("client-0", "invoke"),
        ("client-1", "invoke"),
        ("client-0", "ok"),
        ("client-1", "unknown"),
    ]
    assert events[0].i == events[2].i
    assert json.loads(bytes(events[0].payload)) == {"a": 1}


def test_what_is_not_buffered_is_there_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "worker", buffered=False)
    recorder.client("worker").note("deliver", job="j1")
    lines = (tmp_path / "history-worker.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["job"] == "j1"
    recorder.close()


def test_the_launcher_gives_servers_the_audited_scripts_and_the_movable_clock() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _LAUNCH], check=True, capture_output=True, text=True, cwd=Path.cwd()
    )
    digests, texts = json.loads(told.stdout)
    assert digests.keys() == Scripts().digests.keys()
    enqueue = texts[digests["enqueue"]]
    assert "XADD" in enqueue
    assert "':offset'" in enqueue
    assert "XADD" not in "".join(Scripts().by_digest.values())
    assert deployment.__dict__["Scripts"] is Scripts


# The launcher with a server that only tells which scripts it would use.
_LAUNCH = """
import json, runpy, sys
import sharq_server.__main__
def tell():
    from sharq import AsyncSharQ
    scripts = AsyncSharQ()._engine.deployment.scripts
    print(json.dumps([dict(scripts.digests), dict(scripts.by_digest)]))
sharq_server.__main__.main = tell
sys.argv = ["sharq-server"]
runpy.run_module("tests.faults.server", run_name="__main__")
"""


def test_nothing_outlives_the_harness() -> None:
    keeper = Reconnector()
    stopped = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], process_group=0
    )
    os.kill(stopped.pid, signal.SIGSTOP)
    keeper.begins(stopped.pid)
    assert stopped.poll() is None
    keeper.close()
    wait_for("it is killed", lambda: stopped.poll() == -signal.SIGKILL)
