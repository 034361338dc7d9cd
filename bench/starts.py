"""When a worker begins the jobs of a queue with a rate, while slow jobs of others fill it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bench.processes import Stand
from bench.push_stand import key_of, worker
from bench.report import Column, Table
from bench.targets import Target
from bench.waiting import wait_until
from sharq import AsyncSharQ

CASES: dict[str, tuple[str, ...]] = {"default": (), "8": ("--prefetch", "8")}
"""By the prefetch of the worker."""

_INTERVAL = 1_000
_JOBS = 9
_CONCURRENCY = 16
"""The worker's own default: so many slow jobs leave no room for another handler."""

_SLOW = 5.0
_AFTER = 3.5
_START = 10.0
_TOGETHER = 3
_SLACK = 0.05
"""The share of the interval that a start may come sooner: the way to the worker takes its time."""

_numbers = itertools.count()


class Starts(NamedTuple):
    """How the handlers of one queue were started.

    `smallest`: the smallest gap, in percent of the interval. `early`: gaps that are smaller than
    the interval by more than the slack. `together`: the most that started within 3 ms.
    """

    count: int
    smallest: float
    early: int
    together: int


def measure(here: Stand, arguments: Sequence[str]) -> Starts:
    """Run a worker full of slow jobs until they have ended, and what it started then."""
    queue_type = f"starts{next(_numbers)}"
    leases = key_of(queue_type, "leases")
    with worker(here, queue_type, "--slow", "--receipts", *arguments) as told:
        asyncio.run(_put(here, queue_type, "other", _CONCURRENCY, 0, _SLOW))
        if not wait_until(lambda: here.store.client.zcard(leases) == _CONCURRENCY, _START):
            raise RuntimeError("The worker did not take the slow jobs.")
        asyncio.run(_put(here, queue_type, "limited", _JOBS, _INTERVAL, 0))
        wait_until(lambda: False, _SLOW + _AFTER)
    times = [at for queue_id, at in told["receipts"] if queue_id == "limited-0"]
    return starts_of(times, _INTERVAL)


async def _put(
    here: Stand, queue_type: str, name: str, count: int, interval: int, seconds: float
) -> None:
    """Jobs that take `seconds`: each in a queue of its own, or in one where that has a rate."""
    async with AsyncSharQ(here.settings) as sq:
        await sq.submit_many(
            [
                sq.new_job(
                    b"%g" % seconds,
                    interval,
                    f"job-{at}",
                    f"{name}-{0 if interval else at}",
                    queue_type,
                )
                for at in range(count)
            ]
        )


def starts_of(times: Sequence[int], interval: int) -> Starts:
    """What the times (µs) at which handlers began say of an interval in ms."""
    times = sorted(times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    if not gaps:
        raise RuntimeError(f"The worker began {len(times)} jobs of the limited queue.")
    shares = [gap / (interval * 1000) for gap in gaps]
    together = max(sum(first <= at <= first + _TOGETHER * 1000 for at in times) for first in times)
    early = sum(share < 1 - _SLACK for share in shares)
    return Starts(len(times), 100 * min(shares), early, together)


def findings(measured: dict[str, Starts]) -> tuple[Table, list[Target]]:
    """The table and the targets of what was measured, by the prefetch."""
    table = Table(
        "Starts of handlers of a queue of one a second, behind slow jobs of others",
        (
            Column("prefetch"),
            Column("starts"),
            Column("smallest gap %", 2),
            Column("early"),
            Column(f"most in {_TOGETHER} ms"),
        ),
        [(prefetch, *starts) for prefetch, starts in measured.items()],
        (
            f"{_CONCURRENCY} jobs of {_SLOW:g} s fill a worker of that concurrency; behind them",
            f"wait {_JOBS} of a queue with an interval of {_INTERVAL:,} ms. Gaps in percent of the",
            f"interval, by the worker's clock; less than {100 - 100 * _SLACK:g} % is early.",
        ),
    )
    targets = [
        Target(
            f"starts of handlers, {_INTERVAL:,} ms", f"early, prefetch {prefetch}", 0, starts.early,
            "", at_most=True,
        )
        for prefetch, starts in measured.items()
    ]  # fmt: skip
    return table, targets
