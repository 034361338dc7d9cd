"""What failing and dead letters cost the store: below their bounds and at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.progress import Progress
from bench.report import Column, Table
from bench.series import median
from bench.store import BenchStore, new_job
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq.endings import fail_with
from sharq.identifiers import check_lease
from sharq.operations.call import Call
from sharq.results import DeadFilter, JobError, Lease
from sharq.settings.options import QueueSettings

_TYPE = "bench"
_QUEUES = 100
_JOBS = 500
_CHUNK = 100
_BOUND = QueueSettings().dead_max_jobs
_ERROR = JobError("TimeoutError", "no answer within 30 s", "Traceback: line\n" * 64)
_ALL = DeadFilter()
_NONE = DeadFilter(error="NoSuchError")


def run(progress: Progress, options: Options) -> Findings:
    progress.begin("dead", 2 + len(_CASES) * options.rounds)
    costs: dict[str, list[float]] = {name: [] for name in _CASES}
    with BenchStore() as few, BenchStore() as full:
        progress.step(f"filling: {_BOUND:,} dead letters")
        while _count(full) < _BOUND:
            _end(full, "reject", _CHUNK)
        progress.step("warming up")
        _end(few, "reject", _CHUNK)
        for _ in range(options.rounds):
            for name, measure in _CASES.items():
                progress.step(name)
                costs[name].append(measure(few, full))
    progress.end()
    medians = {name: median(samples) for name, samples in costs.items()}
    return Findings([_table(medians)], _targets(costs))


def _count(store: BenchStore) -> int:
    (metrics,) = store.run([store.operations.type_metrics(_TYPE)])
    jobs: int = metrics.dead.jobs
    return jobs


def _lease(store: BenchStore, count: int) -> list[Lease]:
    store.fill(new_job(_TYPE, f"queue-{at % _QUEUES}") for at in range(count))
    batches = store.run([store.operations.dequeue(_TYPE, _CHUNK)] * (count // _CHUNK))
    return [check_lease(job.lease) for batch in batches for job in batch.jobs]


def _end(store: BenchStore, how: str, count: int) -> float:
    """End leases of new jobs one by one; µs in the script for each. What comes back is removed."""
    leases = _lease(store, count)
    operations = store.operations
    calls: list[Call[Any]]
    if how == "finish":
        calls = [operations.finish(*lease) for lease in leases]
    elif how == "release":
        calls = [operations.release(_TYPE, [lease], 0, True) for lease in leases]
    else:
        ending = fail_with(_ERROR, how == "fail", 0 if how == "fail" else None)
        calls = [operations.settle(_TYPE, [ending.of(lease)]) for lease in leases]
    _, cost = store.measure(calls)
    if how in ("release", "fail"):
        store.run([operations.clear(_TYPE, f"queue-{at}", True) for at in range(_QUEUES)])
    return cost.script


def _page(store: BenchStore, wanted: DeadFilter) -> float:
    _, cost = store.measure([store.operations.list_dead(_TYPE, wanted, "", 100)] * 20)
    return cost.script


def _sweep(store: BenchStore) -> float:
    _, cost = store.measure([store.operations.requeue(_TYPE)] * 100)
    return cost.script


def _step(store: BenchStore, kind: str) -> float:
    """µs for each dead letter that a bulk moves, in steps of a hundred."""
    for _ in range(5):
        _end(store, "reject", _CHUNK)
    store.run([store.operations.begin_dead(_TYPE, "b", kind, _ALL, 500)])
    _, cost = store.measure([store.operations.advance_dead(_TYPE, "s")] * 5)
    store.run([store.operations.clear(_TYPE, f"queue-{at}", True) for at in range(_QUEUES)])
    while _count(store) < _BOUND:
        _end(store, "reject", _CHUNK)
    return cost.script / _CHUNK


_DEATH, _DEATH_AT_BOUND = "a death, below the bounds", "a death, at the bounds"
_SWEEP, _SWEEP_AT_BOUND = "a sweep without dead letters", f"a sweep beside {_BOUND:,}"

_CASES: dict[str, Callable[[BenchStore, BenchStore], float]] = {
    "a finish": lambda few, full: _end(few, "finish", _JOBS),
    "a release": lambda few, full: _end(few, "release", _JOBS),
    "a failure that comes back, with a trace of 1 KiB": lambda few, full: _end(few, "fail", _JOBS),
    _DEATH: lambda few, full: _end(few, "reject", _JOBS),
    _DEATH_AT_BOUND: lambda few, full: _end(full, "reject", _JOBS),
    _SWEEP: lambda few, full: _sweep(_emptied(few)),
    _SWEEP_AT_BOUND: lambda few, full: _sweep(full),
    "a page of 100": lambda few, full: _page(full, _ALL),
    "a page of a filter that selects none": lambda few, full: _page(full, _NONE),
    "a retry, in steps of 100": lambda few, full: _step(full, "retry"),
    "a deletion, in steps of 100": lambda few, full: _step(full, "delete"),
}


def _emptied(store: BenchStore) -> BenchStore:
    store.run([store.operations.begin_dead(_TYPE, "b", "delete", _ALL, None)])
    while any(store.run([store.operations.advance_dead(_TYPE, "s")])):
        pass
    return store


def _table(medians: dict[str, float]) -> Table:
    columns = (Column("call"), Column("µs", 1))
    note = "Store time in the script; medians of the rounds. A page and a step in one call."
    return Table("Failures and dead letters", columns, list(medians.items()), (note,))


def _targets(costs: dict[str, list[float]]) -> list[Target]:
    def ratio(case: str, base: str) -> float:
        return median([a / b for a, b in zip(costs[case], costs[base], strict=True)])

    return [
        Target(
            "a death", "at the bounds", 3, ratio(_DEATH_AT_BOUND, _DEATH), "times", at_most=True
        ),
    ]


SUBJECT = Subject("dead", "failures and dead letters, below their bounds and at them", run)
