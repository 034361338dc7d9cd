"""The core library, synchronous, one call at a time, beside the original's and a bare PING."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.highlights import Highlight
from bench.peers import original
from bench.peers.failures import FAILURES, reason
from bench.processes import ALWAYS, NO_LOG
from bench.progress import Progress
from bench.report import Column, Table
from bench.series import Series
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from tests.support.stores import PrivateStore

_SCRIPT = Path(__file__).parent / "library_calls.py"
_JOBS = 1_000
_TIMEOUT = 120.0
_WANTED = 0.75
_CALLS = ("enqueue", "dequeue", "finish", "all")
_STORES: dict[str, dict[str, Any]] = {"no log": NO_LOG, "always": ALWAYS}


class _Case(NamedTuple):
    python: str
    config: str
    store: PrivateStore
    speeds: dict[str, Series]
    pings: Series


def run(progress: Progress, options: Options) -> Findings:
    progress.begin("library", 1)
    pythons = {"SharQ": sys.executable}
    without = "--peers was not given"
    if options.peers:
        try:
            pythons["original"] = str(original.prepare(progress.say).python)
            without = ""
        except FAILURES as error:
            without = reason(error)
    cases: dict[tuple[str, str], _Case] = {}
    with ExitStack() as held:
        for whose, python in pythons.items():
            for name, settings in _STORES.items():
                store = held.enter_context(PrivateStore(**settings))
                config = held.enter_context(original.configured(store))
                speeds = {call: Series() for call in _CALLS}
                cases[whose, name] = _Case(python, config, store, speeds, Series())
        progress.begin("library", options.rounds * len(cases))
        for _ in range(options.rounds):
            for key, case in cases.items():
                progress.step(" ".join(key))
                try:
                    _measure(case)
                except FAILURES as error:
                    if key[0] == "SharQ":
                        raise
                    without = reason(error)
    progress.end()
    ours = cases["SharQ", "no log"]
    target = Target(
        "core library, one call at a time",
        "ratio to a bare PING",
        _WANTED,
        ours.speeds["all"].ratio_to(ours.pings),
        "times",
        remark=f"{ours.speeds['all'].median:,.0f} calls/s",
    )
    highlights = [
        Highlight("Library without a server: one call at a time", store, speed.median, "calls")
        for (whose, store), case in cases.items()
        if whose == "SharQ"
        for speed in (case.speeds["all"],)
    ]
    return Findings([_table(cases, options.rounds, without)], [target], highlights)


def _measure(case: _Case) -> None:
    done = subprocess.run(
        [case.python, "-W", "ignore", str(_SCRIPT), case.config, str(_JOBS)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{case.python} failed: {done.stderr}")
    seconds = json.loads(done.stdout)
    for call, took in zip(_CALLS, [*(_JOBS / each for each in seconds)], strict=False):
        case.speeds[call].add(took)
    case.speeds["all"].add(len(seconds) * _JOBS / sum(seconds))
    case.pings.add(_pings(case.store.socket_path))


def _pings(path: str) -> float:
    """PINGs a second, one at a time, with nothing around them but the socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        began = time.perf_counter()
        for _ in range(len(_CALLS) * _JOBS):
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            if connection.recv(64) != b"+PONG\r\n":
                raise RuntimeError("The store did not answer a PING.")
        return len(_CALLS) * _JOBS / (time.perf_counter() - began)


def _table(cases: dict[tuple[str, str], _Case], rounds: int, without: str) -> Table:
    rows = []
    for (whose, store), case in cases.items():
        other = cases.get(("original", store)) if whose == "SharQ" else None
        ratio = case.speeds["all"].ratio_to(other.speeds["all"]) if other is not None else None
        speeds = [case.speeds[call] for call in _CALLS]
        share = case.speeds["all"].ratio_to(case.pings)
        rows.append((whose, store, *(each.median for each in speeds), share, ratio))
    return Table(
        "Core library, synchronous, one call at a time: calls a second",
        (
            Column("library"),
            Column("store"),
            *(Column(call) for call in _CALLS),
            Column("times a PING", 2),
            Column("times original", 2),
        ),
        rows,
        (
            f"Medians of {rounds} rounds of {_JOBS:,} jobs, in turn; over a unix socket, as the",
            "bare PINGs that they are compared with.",
            f"The original: {without or original.SETUP}.",
        ),
    )


SUBJECT = Subject("library", "the core library, one call at a time", run)
