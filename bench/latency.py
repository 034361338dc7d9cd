"""How soon a worker has a job that has become ready, by the store's own schedule."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.highlights import Highlight
from bench.machine import fdatasync_us
from bench.processes import ALWAYS, NO_LOG, Stand, stand
from bench.progress import Progress
from bench.push_stand import key_of, worker
from bench.report import Column, Table
from bench.series import Series
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from bench.waiting import wait_until
from sharq import AsyncSharQ

RATE = 1_000
"""Dispatches a second that the targets are for, and users are told of first."""

_RATES = (250, RATE, 2_000, 4_000)
_INTERVAL = 1_000
_DEPTH = 3
_LOOK = 0.25
_ROUNDS = 3
_END = 30.0
_EARLY = 0.05
"""A receipt is early that comes by less than this share of an interval before a readiness."""

_SEEN = 0.95
"""The share of the jobs whose readiness is seen at least, else nothing is known."""

_READINGS = 50
_SHARES = {0.5: "p50", 0.99: "p99"}
_WANTED_MS = {0.99: 1.0}
_STORES: dict[str, dict[str, Any]] = {"no log": NO_LOG, "always": ALWAYS}
_numbers = itertools.count()

Key = tuple[str, int]
"""The durability of the store, and the dispatches a second that the queues permit."""


class _Sample(NamedTuple):
    """What was seen of one run: latencies in ms, in order, and the dispatches a second."""

    latencies: list[float]
    rate: float

    def at(self, share: float) -> float:
        return self.latencies[int(len(self.latencies) * share)]


@dataclass(slots=True)
class _Case:
    """The same of several rounds."""

    rate: Series = field(default_factory=Series)
    at: dict[float, Series] = field(default_factory=lambda: {share: Series() for share in _SHARES})
    jobs: int = 0

    def add(self, sample: _Sample | None) -> None:
        self.rate.add(sample and sample.rate)
        self.jobs += len(sample.latencies) if sample else 0
        for share, series in self.at.items():
            series.add(sample and sample.at(share))


def run(progress: Progress, options: Options) -> Findings:
    rounds = min(options.rounds, _ROUNDS)
    cases: dict[Key, _Case] = {(store, rate): _Case() for store in _STORES for rate in _RATES}
    progress.begin("latency", rounds * len(cases))
    offset = 0.0
    for _ in range(rounds):
        for (store, rate), case in cases.items():
            progress.step(f"ready to worker, {rate:,}/s, {store}")
            with stand(**_STORES[store]) as here:
                offset = _clock_offset(here)
                try:
                    case.add(_measure(here, rate * _INTERVAL // 1000, offset))
                except RuntimeError:
                    # A machine need not do more than the targets are for.
                    if rate <= RATE:
                        raise
                    case.add(None)
    progress.end()
    return Findings([_table(cases, rounds, offset)], _targets(cases), _highlights(cases))


def _table(cases: Mapping[Key, _Case], rounds: int, offset: float) -> Table:
    return Table(
        "From readiness to the worker's handler, by push",
        (
            Column("store"),
            Column("permitted/s"),
            Column("jobs"),
            Column("dispatches/s"),
            *(Column(f"{name} ms", 2) for name in _SHARES.values()),
        ),
        [
            (*key, case.jobs, case.rate.median, *(series.median for series in case.at.values()))
            for key, case in cases.items()
        ],
        (
            f"Queues with a backlog and an interval of {_INTERVAL:,} ms, as many as permit the",
            "rate, and one worker.",
            "Readiness is the time in the store's schedule at which a queue's next job may go,",
            "read while it lies ahead; the worker notes when its handler begins. Medians of",
            f"{rounds} rounds. The store's clock was {offset:+.0f} µs off the worker's, which is",
            "taken into account. A rate without figures was too much for this machine.",
        ),
    )


def _targets(cases: Mapping[Key, _Case]) -> list[Target]:
    sync_ms = fdatasync_us() / 1000
    return [
        Target(
            "ready → worker has it",
            f"{_SHARES[share]}, {store}",
            wanted + (2 * sync_ms if store == "always" else 0),
            cases[store, RATE].at[share].median,
            "ms",
            at_most=True,
            remark=f"with twice the fdatasync of {sync_ms:.2f} ms" if store == "always" else "",
        )
        for store in _STORES
        for share, wanted in _WANTED_MS.items()
    ]


def _highlights(cases: Mapping[Key, _Case]) -> list[Highlight]:
    what = f"Push: from ready to its handler, {RATE:,} queues of one a second"
    return [
        Highlight(
            what, store, case.rate.median, "jobs", *(each.median for each in case.at.values())
        )
        for (store, rate), case in cases.items()
        if rate == RATE
    ]


def _measure(here: Stand, queues: int, offset_us: float) -> _Sample:
    queue_type = f"latency{next(_numbers)}"
    with worker(here, queue_type, "--receipts") as told:
        schedule = asyncio.run(_follow(here, queue_type, queues))
        gone = wait_until(lambda: not here.store.client.exists(key_of(queue_type, "leases")), _END)
    if not gone or told["done"] != queues * _DEPTH:
        raise RuntimeError(f"The worker had {told['done']} of {queues * _DEPTH} jobs.")
    return match(schedule, told["receipts"], offset_us)


async def _follow(here: Stand, queue_type: str, queues: int) -> dict[str, list[int]]:
    """Fill the queues evenly over an interval, and note when each will be ready (ms)."""
    seen: dict[str, set[int]] = {f"queue-{at}": set() for at in range(queues)}
    key = key_of(queue_type, "ready")

    def look() -> bool:
        entries: Any = here.store.client.zrange(key, 0, -1, withscores=True)
        for queue_id, ready in entries:
            seen[queue_id.decode()].add(int(ready))
        return bool(entries)

    async with AsyncSharQ(here.settings) as sq:
        began = time.monotonic()
        looked = began
        sent = []
        for at, queue_id in enumerate(seen):
            await asyncio.sleep(max(0.0, began + at * _INTERVAL / 1000 / queues - time.monotonic()))
            jobs = [
                sq.new_job(b"1", _INTERVAL, f"job-{number}", queue_id, queue_type)
                for number in range(_DEPTH)
            ]
            # The next queue does not wait for the answer: it would be late at high rates.
            sent.append(asyncio.ensure_future(sq.submit_many(jobs)))
            if time.monotonic() - looked > _LOOK:
                looked = time.monotonic()
                look()
        await asyncio.gather(*sent)
    while look():
        await asyncio.sleep(_LOOK)
    return {queue_id: sorted(times) for queue_id, times in seen.items()}


def match(
    schedule: dict[str, list[int]], receipts: list[tuple[str, int]], offset_us: float
) -> _Sample:
    """Pair each receipt (µs) but the first of its queue with the readiness (ms) before it.

    A readiness that was not seen makes a latency longer, never shorter. Raises RuntimeError where a
    job came early, or nothing was seen before too many.
    """
    latencies = []
    begun: set[str] = set()
    first = last = paired = 0
    for queue_id, received in sorted(receipts, key=lambda receipt: receipt[1]):
        if queue_id not in begun:
            begun.add(queue_id)
            continue
        first, last, paired = first or received, received, paired + 1
        by_store = (received + offset_us) / 1000
        times = schedule[queue_id]
        at = bisect.bisect_right(times, by_store)
        if at < len(times) and times[at] - by_store < _EARLY * _INTERVAL:
            raise RuntimeError(f"{queue_id} had a job before it was ready.")
        if at:
            latencies.append(by_store - times[at - 1])
    if len(latencies) < _SEEN * paired:
        raise RuntimeError(f"Of {paired} jobs {len(latencies)} were seen in the schedule in time.")
    rate = (paired - 1) / (last - first) * 1e6 if last > first else 0.0
    return _Sample(sorted(latencies), rate)


def _clock_offset(here: Stand) -> float:
    """µs by which the store's clock is ahead of this machine's other processes'."""
    best = (float("inf"), 0.0)
    for _ in range(_READINGS):
        before = time.time()
        seconds, micros = here.store.client.time()
        after = time.time()
        best = min(best, (after - before, seconds + micros / 1e6 - (before + after) / 2))
    return best[1] * 1e6


SUBJECT = Subject("latency", "how soon a worker has a ready job", run)
