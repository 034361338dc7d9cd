"""What a dequeue costs the store when ever more queues are ready: it should be the same."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import fmean

from bench.progress import Progress
from bench.report import Column, Table
from bench.series import median
from bench.store import BenchStore, Cost, new_job
from bench.subject import Findings, Options, Subject
from bench.targets import Target

SIZES = (100, 1_000, 10_000, 100_000)
LARGEST = 1_000_000
_TYPE = "bench"
_DEQUEUES = 1_000
_DEPTH = 2
_WANTED = 1.2


def run(progress: Progress, options: Options) -> Findings:
    sizes = (*SIZES, LARGEST) if options.full else SIZES
    progress.begin("dequeue", len(sizes) * (options.rounds + 1))
    samples: dict[int, list[Cost]] = {size: [] for size in sizes}
    with ExitStack() as held:
        # A store for each size: what is in a store slows all of its scripts a little.
        stores = {size: held.enter_context(BenchStore()) for size in sizes}
        for size, store in stores.items():
            progress.step(f"filling {size:,} queues")
            for _ in range(_DEPTH):
                store.fill(new_job(_TYPE, f"queue-{number}") for number in range(size))
        for _ in range(options.rounds):
            for size, store in stores.items():
                progress.step(f"{size:,} ready queues")
                # No queue is asked for its last job, so that every dequeue does the same.
                pieces = [
                    _measure(store, min(size, _DEQUEUES)) for _ in range(_DEQUEUES // size or 1)
                ]
                samples[size].append(Cost(*(fmean(each) for each in zip(*pieces, strict=True))))
    progress.end()
    return Findings([_table(samples)], [_target(samples)])


def _measure(store: BenchStore, count: int) -> Cost:
    """Dequeue, and put everything back as it was: as many jobs, and as many queues ready."""
    operations = store.operations
    batches, cost = store.measure([operations.dequeue(_TYPE)] * count)
    jobs = [job for batch in batches for job in batch.jobs]
    if len(jobs) != count:
        raise RuntimeError(f"{count - len(jobs)} dequeues found nothing.")
    store.run([operations.finish(_TYPE, job.queue_id, job.job_id, "") for job in jobs])
    store.fill(new_job(_TYPE, job.queue_id) for job in jobs)
    return cost


def _ratio(samples: dict[int, list[Cost]], size: int) -> Cost:
    """How many times what it is with the fewest queues, the medians of the rounds."""
    pairs = list(zip(samples[size], samples[SIZES[0]], strict=True))
    return Cost(
        median([cost.script / beside.script for cost, beside in pairs]),
        median([cost.call / beside.call for cost, beside in pairs]),
    )


def _target(samples: dict[int, list[Cost]]) -> Target:
    ratio = _ratio(samples, LARGEST).script if LARGEST in samples else None
    most = max(size for size in samples if size != LARGEST)
    return Target(
        "cost of a dequeue",
        f"at {LARGEST:,} ready queues, of that at {SIZES[0]}",
        _WANTED,
        ratio,
        "times",
        at_most=True,
        remark=f"at {most:,}: {_ratio(samples, most).script:.2f} times"
        + ("" if ratio is not None else "; --full was not given"),
    )


def _table(samples: dict[int, list[Cost]]) -> Table:
    columns = (
        Column("ready queues"),
        Column("µs in the script", 1),
        Column("ratio", 2),
        Column("µs a call", 1),
        Column("ratio of calls", 2),
    )
    rows = [
        (
            size,
            median([cost.script for cost in costs]),
            _ratio(samples, size).script,
            median([cost.call for cost in costs]),
            _ratio(samples, size).call,
        )
        for size, costs in samples.items()
    ]
    return Table(
        "Store time of a dequeue",
        columns,
        rows,
        (
            f"Medians of {len(samples[SIZES[0]])} rounds of {_DEQUEUES:,} dequeues, sizes in turn;",
            f"ratios are taken in each round. Each queue has {_DEPTH} jobs.",
        ),
    )


SUBJECT = Subject("dequeue", "store time of a dequeue by the number of ready queues", run)
