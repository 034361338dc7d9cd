"""What a job costs the store from its enqueue to its finish, one by one and in batches."""

from __future__ import annotations

from bench.report import Column, Options, Progress, Subject, Table, median
from bench.store import BenchStore, Cost, new_job, parts

_TYPE = "bench"
_QUEUES = 1_000
_INTERVAL = 1
_JOBS = 3_200
_BATCHES = {"one by one": 1, "batches of 32": 32}
_STEPS = ("enqueue", "dequeue", "finish")


def run(progress: Progress, options: Options) -> list[Table]:
    progress.begin("cycle", len(_BATCHES) * options.rounds)
    samples: dict[str, list[list[Cost]]] = {way: [] for way in _BATCHES}
    with BenchStore() as store:
        for _ in range(options.rounds):
            for way, batch in _BATCHES.items():
                progress.step(way)
                samples[way].append(_round(store, batch))
    progress.end()
    return [_table(samples, options.rounds)]


def _round(store: BenchStore, batch: int) -> list[Cost]:
    """What each step costs a job. Afterwards no job is left."""
    operations = store.operations
    jobs = [new_job(_TYPE, f"queue-{n % _QUEUES}", _INTERVAL) for n in range(_JOBS)]
    if batch == 1:
        enqueues = [operations.enqueue(job) for job in jobs]
        _, enqueue = store.measure(enqueues)
    else:
        bulks = [operations.enqueue_many(_TYPE, part) for part in parts(jobs, batch)]
        _, enqueue = store.measure(bulks)
    batches, dequeue = store.measure([operations.dequeue(_TYPE, batch)] * (_JOBS // batch))
    leased = [job for each in batches for job in each.jobs]
    if len(leased) != _JOBS:
        raise RuntimeError(f"{_JOBS - len(leased)} jobs were not ready.")
    ends = [
        operations.finish(_TYPE, job.queue_id, job.job_id, job.lease.rpartition("/")[2])
        for job in leased
    ]
    _, finish = store.measure(ends)
    return [
        Cost(enqueue.script / batch, enqueue.call / batch),
        Cost(dequeue.script / batch, dequeue.call / batch),
        finish,
    ]


def _table(samples: dict[str, list[list[Cost]]], rounds: int) -> Table:
    rows: list[tuple[str, str, float, float]] = []
    for way, each in samples.items():
        steps = list(zip(*each, strict=True))
        costs = [
            Cost(median([cost.script for cost in step]), median([cost.call for cost in step]))
            for step in steps
        ]
        rows += [(way, name, *cost) for name, cost in zip(_STEPS, costs, strict=True)]
        rows.append((way, "cycle", sum(c.script for c in costs), sum(c.call for c in costs)))
    return Table(
        "Store time of a job's cycle",
        (Column("way"), Column("step"), Column("µs in the script", 1), Column("µs a call", 1)),
        rows,
        (
            f"Microseconds a job, medians of {rounds} rounds of {_JOBS:,} jobs in {_QUEUES:,} "
            f"queues with an interval of {_INTERVAL} ms.",
            "A finish is one call a job in both ways.",
            "Targets for the cycle: 40 one by one, 25 in batches of 32.",
        ),
    )


SUBJECT = Subject("cycle", "store time of enqueue, dequeue and finish", run)
