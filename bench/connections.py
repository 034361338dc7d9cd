"""What a job costs store and server as the worker connections of a type become more."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any, NamedTuple

from bench.processes import Stand, processor_time, stand
from bench.progress import Progress
from bench.report import Column, Table
from bench.series import Series
from bench.store import StoreCalls, new_job
from bench.subject import Findings, Options, Subject
from bench.targets import Target

CONNECTIONS = (1, 12, 40)
_JOBS = 40_000
_QUEUES = 1_000
_CREDIT = 100
_WANTED = 1.15
_TIMEOUT = 300
_HOW = {False: "for each delivery", True: "for each job"}
_numbers = itertools.count()


class Sample(NamedTuple):
    """Processor time of store and server, µs a job; jobs of a delivery, and of a call of the store.

    `spread`: how many times as many jobs the connection with most had as the one with fewest.
    """

    store: float
    server: float
    jobs_a_delivery: float
    jobs_a_call: float
    spread: float


def measure(here: Stand, connections: int, jobs: int = _JOBS, *, alone: bool = False) -> Sample:
    """Hand out a backlog of `jobs` over `_QUEUES` queues, which are finished as they come.

    With `alone` each of them by a frame of its own.
    """
    queue_type = f"connections{next(_numbers)}"
    calls = StoreCalls(here.store)
    calls.fill(new_job(queue_type, f"queue-{at % _QUEUES}") for at in range(jobs))
    calls.close()
    before = _times(here)
    arguments = (here.port, queue_type, connections, _CREDIT, jobs, *(["--alone"] * alone))
    done = subprocess.run(
        [sys.executable, "-m", "bench.connections_driver", *map(str, arguments)],
        stdout=subprocess.PIPE,
        timeout=_TIMEOUT,
        check=True,
    )
    store, server, scripts = (
        after - earlier for after, earlier in zip(_times(here), before, strict=True)
    )
    told = json.loads(done.stdout)
    return Sample(
        store * 1e6 / jobs,
        server * 1e6 / jobs,
        jobs / told["frames"],
        2 * jobs / scripts,
        max(told["jobs"]) / max(1, min(told["jobs"])),
    )


def _times(here: Stand) -> tuple[float, float, float]:
    """Seconds of processor of store and server, and the calls of scripts, until now."""
    info: Any = here.store.client.info("cpu")
    stats: Any = here.store.client.info("commandstats")
    return (
        float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        processor_time(here.server.pid),
        float(stats.get("cmdstat_evalsha", {}).get("calls", 0)),
    )


def run(progress: Progress, options: Options) -> Findings:
    cases = [(alone, count) for alone in _HOW for count in CONNECTIONS]
    progress.begin("connections", options.rounds * len(cases))
    series = {(case, name): Series() for case in cases for name in Sample._fields}
    with stand() as here:
        for _ in range(options.rounds):
            for alone, count in cases:
                progress.step(f"{count} connections, a finish {_HOW[alone]}")
                sample = measure(here, count, alone=alone)
                for name, value in sample._asdict().items():
                    series[(alone, count), name].add(value)
    progress.end()

    def ratio(alone: bool, count: int, name: str) -> float | None:
        one = series[(alone, CONNECTIONS[0]), name]
        return series[(alone, count), name].ratio_to(one)

    table = Table(
        "One type over more and more worker connections: from the delivery to the finish",
        (
            Column("a finish frame"),
            Column("connections"),
            Column("store µs a job", 1),
            Column("times one", 2),
            Column("server µs a job", 1),
            Column("times one's", 2),
            Column("jobs delivered a frame", 1),
            Column("jobs a call", 1),
            Column("most : fewest", 1),
        ),
        [
            (
                _HOW[alone],
                count,
                series[(alone, count), "store"].median,
                ratio(alone, count, "store"),
                series[(alone, count), "server"].median,
                ratio(alone, count, "server"),
                *(series[(alone, count), name].median for name in Sample._fields[2:]),
            )
            for alone, count in cases
        ],
        (
            f"{_JOBS:,} jobs of {_QUEUES:,} queues wait; each connection, with a credit of",
            f"{_CREDIT}, finishes what it gets at once. All of the two processes' time on a",
            "processor, without the enqueues; ratios to one connection; jobs of the connection",
            f"with most and of the one with fewest. Medians of {options.rounds} rounds.",
        ),
    )
    most = CONNECTIONS[-1]
    targets = [
        Target(
            "many worker connections",
            f"{who}, µs a job with {most} beside one, a finish {how}",
            _WANTED,
            ratio(alone, most, who),
            "times",
            at_most=True,
        )
        for alone, how in _HOW.items()
        for who in ("store", "server")
    ]
    return Findings([table], targets)


SUBJECT = Subject(
    "connections", "what a job costs store and server with 1, 12 and 40 worker connections", run
)
