"""What it costs that a replica has each change before it is answered (`replicas_acked = 1`)."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bench.http_load import load
from bench.load import Order
from bench.processes import Stand, processor_time, server_on
from bench.progress import Progress
from bench.push_cycles import cycles
from bench.report import Column, Table
from bench.series import Series
from bench.store import StoreCalls, new_job, refilling
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq import Settings, SharQ
from tests.support.sentinels import follow
from tests.support.stores import PrivateStore, wait_for

PAIRS = 7
_WANTED = 0.85
_SECONDS = 1
_JOBS = 10_000
_CONNECTIONS = (32, 128)
_BULK = 100
_BULKS = 60
_SINGLES = 500
_QUEUES = 1_000
_ACKED = ("0", "1")
_numbers = itertools.count()


class Run(NamedTuple):
    """What was done, a second and in all: cycles, requests or calls."""

    speed: float
    count: int


Measure = Callable[[], Run]


@dataclass(slots=True)
class Case:
    """A load, measured in turn without and with an acknowledgement.

    `bounded`: its ratio has to be what is wanted; a load of one call at a time has none. `pids` are
    the processes that work for each side; `costs` is their time on a processor, µs for one.
    """

    name: str
    measures: tuple[Measure, Measure]
    pids: Sequence[int]
    bounded: bool = True
    speeds: tuple[Series, Series] = field(default_factory=lambda: (Series(), Series()))
    costs: tuple[Series, Series] = field(default_factory=lambda: (Series(), Series()))

    def measure(self, side: int) -> None:
        """Once without (0) or with (1) an acknowledgement."""
        before = sum(map(processor_time, self.pids))
        done = self.measures[side]()
        took = sum(map(processor_time, self.pids)) - before
        self.speeds[side].add(done.speed)
        self.costs[side].add(took * 1e6 / done.count)


def ratios(sides: tuple[Series, Series]) -> Series:
    """With it, beside without, pair by pair."""
    pairs = zip(*(each.values for each in sides), strict=True)
    return Series([b / a if a and b else None for a, b in pairs])


@contextmanager
def cases() -> Iterator[list[Case]]:
    """A primary with one replica on loopback, and a server on it for each side."""
    with (
        PrivateStore(tcp=True, repl_diskless_sync_delay=0) as store,
        PrivateStore(tcp=True) as replica,
    ):
        follow(replica, store)
        wait_for("the replica follows", lambda: _state(store) == "online", 30)
        with (
            server_on(store, SHARQ_REDIS_REPLICAS_ACKED="0") as plain,
            server_on(store, SHARQ_REDIS_REPLICAS_ACKED="1") as acked,
        ):
            stands = Stand(store, plain), Stand(store, acked)
            served = [store.pid, replica.pid, plain.pid, acked.pid]
            alone = [store.pid, replica.pid, os.getpid()]
            calls = StoreCalls(store)
            queues = [_library(store, number) for number in _ACKED]
            try:
                yield [
                    *(
                        Case(
                            f"REST: enqueue, {count} connections",
                            _each(_rest(count), stands),
                            served,
                        )
                        for count in _CONNECTIONS
                    ),
                    Case("REST: dequeue, finish", _each(_rest_cycle(calls), stands), served),
                    Case("push: job cycles", _each(_push, stands), served),
                    Case(f"library: cycles, {_BULK} jobs a call", _each(_bulks, queues), alone),
                    Case("library: enqueues, one by one", _each(_singles, queues), alone, False),
                ]
            finally:
                calls.close()
                for queue in queues:
                    queue.close()


def run(progress: Progress, options: Options) -> Findings:
    pairs = max(options.rounds, PAIRS)
    with cases() as measured:
        progress.begin("acked", 2 * pairs * len(measured))
        for pair in range(pairs):
            for case in measured:
                for side in (0, 1) if pair % 2 == 0 else (1, 0):
                    progress.step(f"{case.name}, replicas_acked = {_ACKED[side]}")
                    case.measure(side)
        progress.end()
    table = Table(
        "What an acknowledgement of one replica costs: replicas_acked = 1 beside 0",
        (
            Column("load"),
            *(Column("0: a second"), Column("1: a second")),
            *(Column("ratio", 3), Column("least", 3), Column("most", 3)),
            *(Column("0: µs"), Column("1: µs"), Column("ratio of µs", 3)),
        ),
        [
            (
                case.name,
                *(series.median for series in case.speeds),
                *((told := ratios(case.speeds)).median, told.least, told.most),
                *(series.median for series in case.costs),
                ratios(case.costs).median,
            )
            for case in measured
        ],
        (
            "One primary and one replica on loopback, which follows in both; no log. Medians and",
            f"spread of {pairs} pairs, in changing order; a ratio is taken within a pair. µs: what",
            "one of them takes of a processor, in all processes but the load.",
        ),
    )
    targets = [
        Target(
            "replicas_acked = 1",
            f"{case.name}, beside 0",
            _WANTED,
            ratios(case.speeds).median,
            "times",
        )
        for case in measured
        if case.bounded
    ]
    return Findings([table], targets)


def _each(measure: Callable[[Any], Run], sides: Any) -> tuple[Measure, Measure]:
    plain, acked = sides
    return lambda: measure(plain), lambda: measure(acked)


def _state(store: PrivateStore) -> str:
    info: Any = store.client.info("replication")
    return str(info.get("slave0", {}).get("state"))


def _library(store: PrivateStore, acked: str) -> SharQ:
    address = {"conn_type": "unix_sock", "unix_socket_path": store.socket_path}
    return SharQ(Settings.from_mapping({"redis": {**address, "replicas_acked": acked}}))


def _rest(connections: int) -> Callable[[Stand], Run]:
    def measure(here: Stand) -> Run:
        done = load(Order("enqueue", here.port, _SECONDS, connections=connections))
        return Run(done.answers, done.count)

    return measure


def _rest_cycle(calls: StoreCalls) -> Callable[[Stand], Run]:
    refill = refilling(calls, "acked", _QUEUES)

    def measure(here: Stand) -> Run:
        refill(_JOBS)
        order = Order("cycle", here.port, _SECONDS, "acked", _QUEUES)
        done = load(replace(order, connections=_CONNECTIONS[-1]))
        return Run(done.answers, done.count)

    return measure


def _push(here: Stand) -> Run:
    return Run(cycles(here, _JOBS, 1), _JOBS)


def _bulks(queue: SharQ) -> Run:
    name = f"bulks{next(_numbers)}"
    jobs = [[new_job(name, f"queue-{at}") for at in range(_BULK)] for _ in range(_BULKS)]
    began = time.perf_counter()
    for some in jobs:
        queue.submit_many(some)
        batch = queue.take(name, _BULK)
        queue.finish_many(batch.leases(0, len(batch)))
    return Run(_BULK * _BULKS / (time.perf_counter() - began), _BULK * _BULKS)


def _singles(queue: SharQ) -> Run:
    name = f"singles{next(_numbers)}"
    jobs = [new_job(name, f"queue-{at}") for at in range(_SINGLES)]
    began = time.perf_counter()
    for job in jobs:
        queue.submit(job)
    return Run(_SINGLES / (time.perf_counter() - began), _SINGLES)


SUBJECT = Subject("acked", "what it costs that a replica has each change first", run)
