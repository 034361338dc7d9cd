"""HTTP load from a process of its own: wrk where it is installed, else the project's generator."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path

from bench.load import Order, Outcome

_SCRIPT = Path(__file__).parent / "wrk.lua"
_GRACE = 60.0
_PARTS = 6


def generator() -> str:
    """The name of what makes the load, with its version."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return "bench/load.py"
    text = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(text.split()[:2])


def load(order: Order) -> Outcome:
    """Load a server as ordered. Raises RuntimeError where a connection breaks."""
    wrk = shutil.which("wrk")
    return _from_wrk(wrk, order) if wrk is not None else _from_load(order)


def _from_load(order: Order) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(order)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=order.seconds + _GRACE,
    )
    return Outcome(**json.loads(done.stdout))


def _from_wrk(wrk: str, order: Order) -> Outcome:
    unique = uuid.uuid4().hex[:24]
    before = _children_time()
    began = time.perf_counter()
    done = subprocess.run(
        [
            *(wrk, "-t1", f"-c{order.connections}", f"-d{order.seconds}s", "--timeout", "30s"),
            *("-s", str(_SCRIPT), f"http://127.0.0.1:{order.port}", "--"),
            *(order.kind, order.queue_type, str(order.queues), str(order.interval), unique),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=order.seconds + _GRACE,
    )
    elapsed = time.perf_counter() - began
    busy = (_children_time() - before) / elapsed
    words = done.stdout.strip().splitlines()[-1].split()
    if len(words) != _PARTS:
        raise RuntimeError(f"wrk: {done.stdout}")
    requests, took_us, refused, broken, p50_us, p99_us = map(int, words)
    if broken:
        raise RuntimeError(f"wrk: {broken} requests were not answered")
    others = {"4xx, 5xx": refused} if refused else {}
    count = requests - refused
    return Outcome(count, count / took_us * 1e6, p50_us / 1000, p99_us / 1000, busy, others)


def _children_time() -> float:
    """Seconds of processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
