"""What a job costs the store from its enqueue to its finish, one by one and in batches."""

from __future__ import annotations

import itertools

from bench.progress import Progress
from bench.report import Column, Table
from bench.series import median
from bench.store import BenchStore, Cost, new_job, parts
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq.identifiers import Lease

_TYPE = "bench"
_SERVER = ".bench"
_QUEUES = 1_000
_JOBS = 3_200
_BATCHES = {"one by one, REST": 1, "one by one, push": 1, "batches of 32, push": 32}
_PLAIN = "one by one, REST"
"""The way whose dequeue is not a server's dispatch: it waits for nothing and is not repeated."""

_WANTED_US = {"one by one, REST": 38, "one by one, push": 38, "batches of 32, push": 20}
_LIMITS = {"1 ms": 1, "none": 0}
_STEPS = ("enqueue", "dequeue", "finish")
_seqs = itertools.count(1)

Key = tuple[str, str]
"""A way and a limit."""


def run(progress: Progress, options: Options) -> Findings:
    samples: dict[Key, list[list[Cost]]] = {
        (way, limit): [] for way in _BATCHES for limit in _LIMITS
    }
    progress.begin("cycle", len(samples) * options.rounds)
    with BenchStore() as store:
        for _ in range(options.rounds):
            for way, limit in samples:
                progress.step(f"{way}, limit {limit}")
                samples[way, limit].append(_round(store, way, _LIMITS[limit]))
    progress.end()
    costs = {
        key: [_middle(step) for step in zip(*each, strict=True)] for key, each in samples.items()
    }
    return Findings([_table(costs, options.rounds)], _targets(costs))


def _round(store: BenchStore, way: str, interval: int) -> list[Cost]:
    """What each step costs a job. Afterwards no job is left."""
    operations = store.operations
    batch = _BATCHES[way]
    jobs = [new_job(_TYPE, f"queue-{n % _QUEUES}", interval) for n in range(_JOBS)]
    _, enqueue = store.measure([operations.enqueue(_TYPE, part) for part in parts(jobs, batch)])
    dequeues = [
        operations.dequeue(_TYPE)
        if way == _PLAIN
        else operations.dispatch(_TYPE, batch, _SERVER, next(_seqs), None, False)
        for _ in range(_JOBS // batch)
    ]
    batches, dequeue = store.measure(dequeues)
    leases = [
        Lease(_TYPE, job.queue_id, job.job_id, job.lease.rpartition("/")[2])
        for each in batches
        for job in each.jobs
    ]
    if len(leases) != _JOBS:
        raise RuntimeError(f"{_JOBS - len(leases)} jobs were not ready.")
    if batch == 1:
        _, finish = store.measure([operations.finish(*lease) for lease in leases])
    else:
        ends = [operations.finish_many(_TYPE, list(part)) for part in parts(leases, batch)]
        _, finish = store.measure(ends)
    return [Cost(cost.script / batch, cost.call / batch) for cost in (enqueue, dequeue, finish)]


def _middle(costs: tuple[Cost, ...]) -> Cost:
    return Cost(median([cost.script for cost in costs]), median([cost.call for cost in costs]))


def _sum(costs: list[Cost]) -> Cost:
    return Cost(sum(cost.script for cost in costs), sum(cost.call for cost in costs))


def _table(costs: dict[Key, list[Cost]], rounds: int) -> Table:
    rows: list[tuple[str, str, str, float, float]] = []
    for (way, limit), steps in costs.items():
        rows += [(way, limit, name, *cost) for name, cost in zip(_STEPS, steps, strict=True)]
        rows.append((way, limit, "cycle", *_sum(steps)))
    return Table(
        "Store time of a job's cycle",
        (
            Column("way"),
            Column("limit"),
            Column("step"),
            Column("µs in the script", 1),
            Column("µs by the clock", 1),
        ),
        rows,
        (
            f"Microseconds a job, medians of {rounds} rounds of {_JOBS:,} jobs in {_QUEUES:,}",
            "queues. By push a dequeue is a server's dispatch, whose answer is kept for a while,",
            "and which registers the server as waiting for what it does not get.",
        ),
    )


def _targets(costs: dict[Key, list[Cost]]) -> list[Target]:
    targets = []
    for way, wanted in _WANTED_US.items():
        cycle = _sum(costs[way, "1 ms"])
        targets.append(
            Target(
                "store time of a job's cycle",
                way,
                wanted,
                cycle.script,
                "µs",
                at_most=True,
                remark=f"by the clock: {cycle.call:.1f} µs",
            )
        )
    return targets


SUBJECT = Subject("cycle", "store time of enqueue, dequeue and finish", run)
