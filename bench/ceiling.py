"""The most that the store can do: the scripts of a job's cycle alone, called without a pause."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from statistics import fmean
from typing import NamedTuple

import hiredis

from bench.push_cycles import QUEUES, Batches
from bench.store import PAYLOAD, BenchStore, new_job, parts
from sharq import NewJob
from sharq.identifiers import Lease
from sharq.operations.call import Call
from sharq.results import SUCCESS, Ended

_JOBS = 4_000
_PASSES = 3
_TYPE = "bench"
_INTERVAL = 1
_SERVER = ".bench"
_CLIENTS = 8
_AT_ONCE = 4
_RANDOM = "__rand_int__"
_SEQ = 777_000_777_000
_SHARE_DEQUEUED = 0.9
_TIMEOUT = 60.0
_NUMBER = re.compile(r'"(\d+(?:\.\d+)?)"')
_NUMBERS = 7
"""How many a line of results ends with, the first of which is the calls a second."""

_seqs = itertools.count(1)


class Times(NamedTuple):
    """µs of the store that a job takes in each of its calls."""

    enqueue: float
    dequeue: float
    finish: float

    @property
    def ceiling(self) -> float:
        """Jobs a second if the store did nothing else."""
        return 1e6 / sum(self)


class Sizes(NamedTuple):
    """Jobs a call."""

    enqueue: int
    dequeue: int
    finish: int


def whole(measured: Batches) -> Sizes:
    """Whole batches of about the sizes that were measured."""
    return Sizes(*(max(1, round(size)) for size in measured))


def by_calls(store: BenchStore, sizes: Sizes) -> Times:
    """By packed calls over a pipelined socket. Afterwards the store is empty."""
    passes = [_by_calls(store, sizes) for _ in range(_PASSES)]
    return Times(*map(fmean, zip(*passes, strict=True)))


def by_redis_benchmark(store: BenchStore, sizes: Sizes) -> tuple[float, float]:
    """µs of a job in its enqueue and dequeue by redis-benchmark, with the same scripts and sizes.

    It cannot do a finish, whose arguments come from the answer of a dequeue. Afterwards the store
    is empty.
    """
    passes = [_by_redis_benchmark(store, sizes) for _ in range(_PASSES)]
    enqueue, dequeue = map(fmean, zip(*passes, strict=True))
    return enqueue, dequeue


def redis_benchmark() -> str | None:
    """The name and version of redis-benchmark; None where it is not installed."""
    if shutil.which("redis-benchmark") is None:
        return None
    done = subprocess.run(
        ["redis-benchmark", "--version"], capture_output=True, text=True, check=True
    )
    return done.stdout.split("(")[0].strip()


def _by_calls(store: BenchStore, sizes: Sizes) -> Times:
    jobs = [new_job(_TYPE, f"queue-{n % QUEUES}", _INTERVAL) for n in range(_JOBS)]
    enqueues = [store.operations.enqueue(_TYPE, part) for part in parts(jobs, sizes.enqueue)]
    _, enqueue = store.measure(enqueues)
    dispatches = [
        store.operations.dispatch(_TYPE, sizes.dequeue, _SERVER, next(_seqs), None, False)
        for _ in range(-(-_JOBS // sizes.dequeue))
    ]
    batches, dequeue = store.measure(dispatches)
    leases = [
        Lease(_TYPE, job.queue_id, job.job_id, job.lease.rpartition("/")[2])
        for batch in batches
        for job in batch.jobs
    ]
    finishes = [_finish(store, list(part)) for part in parts(leases, sizes.finish)]
    outcomes, finish = store.measure(finishes)
    ended = sum(_successes(outcome) for outcome in outcomes)
    if ended != _JOBS:
        raise RuntimeError(f"{ended} of {_JOBS} jobs were leased and finished.")
    store.client.flushall()
    return Times(
        enqueue.call * len(enqueues) / _JOBS,
        dequeue.call * len(dispatches) / len(leases),
        finish.call * len(finishes) / len(leases),
    )


def _by_redis_benchmark(store: BenchStore, sizes: Sizes) -> tuple[float, float]:
    jobs = [
        NewJob(_TYPE, f"queue-{_RANDOM}", 3 * _RANDOM, PAYLOAD, _INTERVAL, -1)
        for _ in range(sizes.enqueue)
    ]
    enqueue = _rate(store, store.operations.enqueue(_TYPE, jobs), _JOBS // sizes.enqueue)
    dispatch = store.operations.dispatch(_TYPE, sizes.dequeue, _SERVER, _SEQ, None, False)
    dequeue = _rate(store, dispatch, int(_SHARE_DEQUEUED * _JOBS / sizes.dequeue))
    store.client.flushall()
    return 1e6 / enqueue / sizes.enqueue, 1e6 / dequeue / sizes.dequeue


def _finish(store: BenchStore, leases: list[Lease]) -> Call[object]:
    operations = store.operations
    return (
        operations.finish(*leases[0]) if len(leases) == 1 else operations.finish_many(_TYPE, leases)
    )


def _successes(outcome: Ended | list[Ended]) -> int:
    outcomes = outcome if isinstance(outcome, list) else [outcome]
    return sum(each.outcome == SUCCESS for each in outcomes)


def _rate(store: BenchStore, call: Call[object], count: int) -> float:
    """Calls a second by redis-benchmark: as many as `count`, with other numbers in each."""
    reader = hiredis.Reader()
    reader.feed(call.packed)
    words = [word.replace(b"%d" % _SEQ, _RANDOM.encode()) for word in reader.gets()]
    done = subprocess.run(
        [
            *("redis-benchmark", "-s", store.socket_path, "--csv", "-n", str(count)),
            *("-c", str(_CLIENTS), "-P", str(_AT_ONCE), "-r", str(QUEUES), *words),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT,
    )
    return float(_NUMBER.findall(done.stdout)[-_NUMBERS])
