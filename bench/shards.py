"""What a job costs the store as its type is spread over more shards, and over more primaries."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from bench.processes import serving
from bench.progress import Progress
from bench.report import Column, Table
from bench.series import Series
from bench.store import new_job
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq import AsyncSharQ, Settings
from tests.support.stores import PrivateCluster, PrivateStore

SHARDS: Final = (1, 2, 4, 16)
PRIMARIES: Final = (1, 2, 3, 6)
OVER: Final = 12
"""Shards of the type that is spread over primaries."""

WAYS: Final = ("push", "polling")
_JOBS = 20_000
_QUEUES = 10_000
_CONNECTIONS = 12
_CREDIT = 100
_POLLERS = 4
_COUNT = 50
_AT_ONCE = 5_000
_TIMEOUT = 300
_numbers = itertools.count()


class Place(NamedTuple):
    """Stores, settings of a library on them, and the port of a server."""

    nodes: Sequence[PrivateStore]
    settings: Settings
    port: int


class Sample(NamedTuple):
    """Of a job: µs of scripts, and of the processors of the stores, by their own accounts; calls.
    Jobs a second by the clock, and as the busiest store could at most.
    """

    script: float
    store: float
    calls: float
    by_clock: float
    capacity: float


class _Node(NamedTuple):
    script: float
    busy: float
    calls: float


@contextmanager
def one_store() -> Iterator[Place]:
    """A store without a log, and a server on it."""
    with PrivateStore() as store:
        address = {"conn_type": "unix_sock", "unix_socket_path": store.socket_path}
        with _served([store], address) as place:
            yield place


@contextmanager
def cluster_of(primaries: int) -> Iterator[Place]:
    """A cluster, and a server on it."""
    with PrivateCluster(primaries) as cluster:
        cluster.wait_until_ok()
        with _served(cluster.nodes, {"port": cluster.ports[0], "clustered": True}) as place:
            yield place


@contextmanager
def _served(nodes: Sequence[PrivateStore], redis: dict[str, Any]) -> Iterator[Place]:
    redis = redis | {"key_prefix": "bench"}
    environ = {f"SHARQ_REDIS_{name.upper()}": str(value) for name, value in redis.items()}
    with serving("sharq_server", "--port", "0", **environ) as server:
        settings = Settings.from_mapping(
            {"sharq": {"enable_requeue_script": False}, "redis": redis}
        )
        yield Place(nodes, settings, server.port)


def measure(here: Place, shards: int, way: str, jobs: int = _JOBS) -> Sample:
    """Hand out a backlog of `jobs` of a type with so many shards; each is finished as it comes."""
    queue_type = f"shards{next(_numbers)}"
    asyncio.run(_fill(here, queue_type, shards, jobs))
    before = [_node(node) for node in here.nodes]
    began = time.perf_counter()
    if way == "push":
        _push(here, queue_type, jobs)
    else:
        asyncio.run(_poll(here, queue_type, jobs))
    seconds = time.perf_counter() - began
    spent = [
        _Node(*(after - earlier for after, earlier in zip(_node(node), earlier, strict=True)))
        for node, earlier in zip(here.nodes, before, strict=True)
    ]
    return Sample(
        sum(each.script for each in spent) / jobs,
        sum(each.busy for each in spent) * 1e6 / jobs,
        sum(each.calls for each in spent) / jobs,
        jobs / seconds,
        jobs / max(each.busy for each in spent),
    )


async def _fill(here: Place, queue_type: str, shards: int, jobs: int) -> None:
    async with AsyncSharQ(here.settings) as sq:
        await sq.set_shards(queue_type, shards)
        for at in range(0, jobs, _AT_ONCE):
            numbers = range(at, min(at + _AT_ONCE, jobs))
            new = [new_job(queue_type, f"queue-{each % _QUEUES}") for each in numbers]
            for outcome in await sq.submit_many(new):
                if isinstance(outcome, Exception):
                    raise outcome


def _push(here: Place, queue_type: str, jobs: int) -> None:
    arguments = (here.port, queue_type, _CONNECTIONS, _CREDIT, jobs)
    done = subprocess.run(
        [sys.executable, "-m", "bench.connections_driver", *map(str, arguments)],
        stdout=subprocess.PIPE,
        timeout=_TIMEOUT,
        check=True,
    )
    if sum(json.loads(done.stdout)["jobs"]) != jobs:
        raise RuntimeError("not every job was delivered once")


async def _poll(here: Place, queue_type: str, jobs: int) -> None:
    taken = 0
    async with AsyncSharQ(here.settings) as sq:

        async def poll() -> None:
            nonlocal taken
            while taken < jobs:
                batch = await sq.take(queue_type, _COUNT)
                taken += len(batch)
                if batch:
                    await sq.finish_many(batch.leases(0, len(batch)))

        async with asyncio.timeout(_TIMEOUT):
            await asyncio.gather(*(poll() for _ in range(_POLLERS)))
    if taken != jobs:
        raise RuntimeError("not every job was taken once")


def _node(node: PrivateStore) -> _Node:
    cpu: Any = node.client.info("cpu")
    stats: Any = node.client.info("commandstats")
    scripts = stats.get("cmdstat_evalsha", {})
    busy = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
    return _Node(float(scripts.get("usec", 0)), busy, float(scripts.get("calls", 0)))


def run(progress: Progress, options: Options) -> Findings:
    steps = len(SHARDS) * len(WAYS) + len(PRIMARIES)
    progress.begin("shards", options.rounds * steps)
    series = {
        (case, name): Series()
        for case in (*itertools.product(WAYS, SHARDS), *PRIMARIES)
        for name in Sample._fields
    }
    with one_store() as here:
        for _ in range(options.rounds):
            for way, shards in itertools.product(WAYS, SHARDS):
                progress.step(f"{shards} shards, by {way}")
                _note(series, (way, shards), measure(here, shards, way))
    for primaries in PRIMARIES:
        with cluster_of(primaries) as here:
            for _ in range(options.rounds):
                progress.step(f"{primaries} primaries")
                _note(series, primaries, measure(here, OVER, "push"))
    progress.end()
    return Findings([_by_shards(series, options), _by_primaries(series, options)], _targets(series))


def _note(series: dict[Any, Series], case: Any, sample: Sample) -> None:
    for name, value in sample._asdict().items():
        series[case, name].add(value)


def _ratio(series: dict[Any, Series], name: str, case: Any, one: Any) -> float | None:
    return series[case, name].ratio_to(series[one, name])


def _by_shards(series: dict[Any, Series], options: Options) -> Table:
    return Table(
        "One type over shards on one store: from the lease to the finish",
        (
            Column("by"),
            Column("shards"),
            Column("scripts µs a job", 1),
            Column("times one's", 2),
            Column("store µs a job", 1),
            Column("times one's", 2),
            Column("calls a job", 3),
            Column("jobs/s"),
        ),
        [
            (
                way,
                shards,
                series[(way, shards), "script"].median,
                _ratio(series, "script", (way, shards), (way, SHARDS[0])),
                series[(way, shards), "store"].median,
                _ratio(series, "store", (way, shards), (way, SHARDS[0])),
                series[(way, shards), "calls"].median,
                series[(way, shards), "by_clock"].median,
            )
            for way, shards in itertools.product(WAYS, SHARDS)
        ],
        (
            f"{_JOBS:,} jobs of {_QUEUES:,} queues wait. Push: {_CONNECTIONS} connections with a",
            f"credit of {_CREDIT}; polling: {_POLLERS} takers of the library, of {_COUNT} jobs at",
            "a time. Scripts: the store's own time in them; store: its time on a processor.",
            f"Medians of {options.rounds} rounds.",
        ),
    )


def _by_primaries(series: dict[Any, Series], options: Options) -> Table:
    one = PRIMARIES[0]
    return Table(
        f"A type with {OVER} shards over primaries, by push",
        (
            Column("primaries"),
            Column("stores' µs a job", 1),
            Column("jobs/s at most"),
            Column("times one's", 2),
            Column("of linear", 2),
            Column("jobs/s by the clock"),
        ),
        [
            (
                primaries,
                series[primaries, "store"].median,
                series[primaries, "capacity"].median,
                _ratio(series, "capacity", primaries, one),
                _of_linear(series, primaries),
                series[primaries, "by_clock"].median,
            )
            for primaries in PRIMARIES
        ],
        (
            "At most: as many as the busiest primary could do if it were busy all the time, by its",
            "own account of its time on a processor. All processes share the processors of this",
            "machine, so that the clock shows no more than these can do.",
            f"Medians of {options.rounds} rounds.",
        ),
    )


def _of_linear(series: dict[Any, Series], primaries: int) -> float | None:
    ratio = _ratio(series, "capacity", primaries, PRIMARIES[0])
    return None if ratio is None else ratio / primaries


def _targets(series: dict[Any, Series]) -> list[Target]:
    most = SHARDS[-1]
    return [
        *(
            Target(
                "shards",
                f"scripts' µs a job by {way} with {most} shards beside one",
                1.1,
                _ratio(series, "script", (way, most), (way, SHARDS[0])),
                "times",
                at_most=True,
            )
            for way in WAYS
        ),
        Target(
            "shards",
            f"jobs a second at most with {PRIMARIES[-1]} primaries, of linear",
            0.9,
            _of_linear(series, PRIMARIES[-1]),
            "times",
        ),
    ]


SUBJECT = Subject(
    "shards", "what a job costs with 1 to 16 shards, and what 1 to 6 primaries could do", run
)
