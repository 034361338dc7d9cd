"""How much of the store's memory a waiting job takes, and what an ended one leaves behind."""

from __future__ import annotations

from typing import NamedTuple

from bench.progress import Progress
from bench.report import Column, Table
from bench.store import PREFIX, BenchStore, new_job, parts
from bench.subject import Findings, Options, Subject
from bench.targets import Target

_TYPE = "bench"
_COUNTERS = f"{{{PREFIX}:{_TYPE}}}:c:*"
_MARKS = f"{{{PREFIX}:{_TYPE}}}:f:*"
_MOST = 100


class _Layout(NamedTuple):
    """Jobs spread over queues, and the bytes that one may take: what it took, and 3 % more."""

    queues: int
    jobs_each: int
    target: int

    @property
    def jobs(self) -> int:
        return self.queues * self.jobs_each

    def __str__(self) -> str:
        queues = "1 queue" if self.queues == 1 else f"{self.queues:,} queues"
        return f"{queues} of {self.jobs_each:,}"


_LAYOUTS = (
    _Layout(1_000, 100, 141),
    _Layout(100, 1_000, 200),
    _Layout(1, 100_000, 192),
    _Layout(10_000, 1, 245),
)

Row = tuple[str, int, float, int]
"""What is measured, how many of it there were, bytes of each, the target."""


def run(progress: Progress, _options: Options) -> Findings:
    progress.begin("memory", len(_LAYOUTS) + 1)
    rows: list[Row] = []
    for layout in _LAYOUTS:
        with BenchStore() as store:
            progress.step(str(layout))
            _warm_up(store)
            empty = store.used_memory()
            _fill(store, layout)
            counters = _drop(store, _COUNTERS, "counter of a queue in a minute", 20)
            used = (store.used_memory() - empty) / layout.jobs
            rows.append((f"waiting job, {layout}", layout.jobs, used, layout.target))
            if layout is _LAYOUTS[-1]:
                rows.append(counters)
            if layout is _LAYOUTS[0]:
                progress.step("ended jobs")
                _work_off(store)
                _drop(store, _COUNTERS, "", 0)
                mark = _drop(store, _MARKS, "mark of an ended job", 83)
                left = sum(store.client.memory_usage(key) or 0 for key in store.client.scan_iter())
                ended = [mark, ("idle queue", layout.queues, left / layout.queues, 0)]
    progress.end()
    columns = (Column("what"), Column("of these"), Column("bytes each", 1), Column("target"))
    rows += ended
    table = Table(
        "Memory of the store",
        columns,
        rows,
        (
            "By the store's own account (used_memory). Jobs have an id of 36 bytes and a",
            "payload of 45, and are counted without the counters of their minute. What is",
            "left of idle queues is the type's lease counter, which runs out, too.",
        ),
    )
    targets = [
        # The lease counter of a type is not a queue's.
        Target("store memory", what, wanted, round(used) if not wanted else used, "B", at_most=True)
        for what, _, used, wanted in rows
    ]
    return Findings([table], targets)


def _warm_up(store: BenchStore) -> None:
    """Have the store make the room that it keeps for statistics of every command it has met."""
    _fill(store, _Layout(2, _MOST, 0))
    _work_off(store)
    _drop(store, _COUNTERS, "", 0)
    _drop(store, _MARKS, "", 0)


def _fill(store: BenchStore, layout: _Layout) -> None:
    queues = [f"queue-{number:05}" for number in range(layout.queues)]
    store.fill(new_job(_TYPE, queue) for queue in queues for _ in range(layout.jobs_each))


def _work_off(store: BenchStore) -> None:
    """Dequeue and finish all jobs."""
    operations = store.operations
    while True:
        (batch,) = store.run([operations.dequeue(_TYPE, _MOST)])
        if not batch:
            return
        store.run([operations.finish(_TYPE, job.queue_id, job.job_id, "") for job in batch.jobs])


def _drop(store: BenchStore, pattern: str, what: str, target: int) -> Row:
    """Delete the keys that fit, and tell what each entry of theirs took."""
    keys = list(store.client.scan_iter(match=pattern, count=10_000))
    entries = sum(_entries(store, key) for key in keys)
    before = store.used_memory()
    for part in parts(keys, _MOST):
        store.client.delete(*part)
    return what, entries, (before - store.used_memory()) / entries, target


def _entries(store: BenchStore, key: bytes) -> int:
    """Counters are fields of hashes; marks are two elements each of lists."""
    kind = store.client.type(key)
    if kind == b"hash":
        return int(store.client.hlen(key))
    return int(store.client.llen(key)) // 2 if kind == b"list" else 0


SUBJECT = Subject("memory", "bytes of a job, a mark, a counter", run)
