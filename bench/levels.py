"""What limits of groups and types cost a dispatch, and the share of its rate that a level gets."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench.processes import Stand, stand
from bench.progress import Progress
from bench.push_stand import connect, key_of
from bench.rate import read_all
from bench.report import Column, Table
from bench.series import median
from bench.store import PAYLOAD, BenchStore, Cost, new_job
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq import AsyncSharQ
from sharq.operations.targets import Target as Level
from sharq.results import JobOptions, LimitValues, NewJob

_TYPE = "bench"
_QUEUES = 1_000
_BLOCKED = 100_000
_BATCH = 32
_INTERVAL = 10
_SECONDS = 5.0
_NO_LIMIT = LimitValues(concurrency=1_000_000)
_numbers = itertools.count()


def run(progress: Progress, options: Options) -> Findings:
    blocked = _BLOCKED if options.full else _BLOCKED // 10
    cases = dict(_CASES)
    control, beside = (
        f"beside {blocked:,} queues of another type",
        f"beside {blocked:,} queues of a paused group",
    )
    cases[control] = lambda store: _crowd(store, blocked)
    cases[beside] = lambda store: _block(store, blocked)
    progress.begin("levels", len(cases) * (options.rounds + 1) + len(_LEVELS))
    costs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in cases}
    with ExitStack() as held:
        stores = {name: held.enter_context(BenchStore()) for name in cases}
        for name, fill in cases.items():
            progress.step(f"filling: {name}")
            fill(stores[name])
        for _ in range(options.rounds):
            for name, store in stores.items():
                progress.step(name)
                costs[name].append((_measure(store, 1), _measure(store, _BATCH)))
    shares = {}
    with stand() as here:
        for name, level in _LEVELS.items():
            progress.step(f"share of {name}")
            shares[name] = asyncio.run(_share(here, level))
    progress.end()
    return Findings(
        [_costs(costs), _shares(shares)], _targets(costs[beside], costs[control], beside, shares)
    )


def _fill(
    store: BenchStore, group: str | None, prefix: str = "queue", queues: int = _QUEUES
) -> None:
    options = JobOptions(group=group) if group else None
    store.fill(new_job(_TYPE, f"{prefix}-{at}")._replace(options=options) for at in range(queues))


def _plain(store: BenchStore) -> None:
    _fill(store, None)


def _in_a_group(store: BenchStore) -> None:
    _fill(store, "group")


def _in_limited_levels(store: BenchStore) -> None:
    for level in (Level("group", "group"), Level("type")):
        store.run([store.operations.set_limits(_TYPE, level, _NO_LIMIT)])
    _fill(store, "group")


def _crowd(store: BenchStore, queues: int) -> None:
    """A store with as much in it, and nothing that is limited."""
    store.fill(new_job("other", f"blocked-{at}") for at in range(queues))
    _fill(store, None)


def _block(store: BenchStore, queues: int) -> None:
    store.run([store.operations.pause(_TYPE, Level("group", "blocked"), None, "", "api")])
    _fill(store, "blocked", "blocked", queues)
    _fill(store, None)


_CASES: dict[str, Callable[[BenchStore], None]] = {
    "no limits": _plain,
    "in a group": _in_a_group,
    "in a limited group of a limited type": _in_limited_levels,
}
_LEVELS = {"a group": Level("group", "group"), "a type": Level("type")}


def _measure(store: BenchStore, batch: int) -> Cost:
    """The cost of a dispatch, in calls of so many; then everything is put back."""
    operations = store.operations
    calls = _QUEUES // 2 // batch
    batches, cost = store.measure([operations.dequeue(_TYPE, batch)] * calls)
    jobs = [job for taken in batches for job in taken.jobs]
    if len(jobs) != calls * batch:
        raise RuntimeError(f"{calls * batch - len(jobs)} jobs were not there.")
    store.run([operations.finish(_TYPE, job.queue_id, job.job_id, "") for job in jobs])
    grouped = store.client.exists(key_of(_TYPE, "limit:s:group"))
    options = JobOptions(group="group") if grouped else None
    store.fill(new_job(_TYPE, job.queue_id)._replace(options=options) for job in jobs)
    return Cost(cost.script / batch, cost.call / batch)


async def _share(here: Stand, level: Level) -> tuple[float, int]:
    """The share of a level's rate in percent, with many queues behind it, and early dispatches.

    By the store's clock: the ends of the leases tell when each job was dispatched.
    """
    queue_type = f"level{next(_numbers)}"
    count = int(_SECONDS * 1000 / _INTERVAL) + 200
    group = level.name or None
    async with AsyncSharQ(here.settings) as sq:
        await sq.set_limits(queue_type, group_id=group, interval=_INTERVAL)
        await sq.submit_many(
            [
                NewJob(
                    queue_type,
                    f"q{at % _QUEUES}",
                    f"j{at}",
                    PAYLOAD,
                    0,
                    -1,
                    None,
                    JobOptions(group=group) if group else None,
                )
                for at in range(max(count, _QUEUES))
            ]
        )
    socket = await connect(here)
    frame = {"op": "subscribe", "queue_type": queue_type, "credit": 10_000}
    await socket.write_message(json.dumps(frame))
    reading = asyncio.ensure_future(read_all(socket))
    await asyncio.sleep(_SECONDS)
    leases: Any = here.store.client.zrange(key_of(queue_type, "leases"), 0, -1, withscores=True)
    socket.close()
    await reading
    times = sorted(ends for _, ends in leases)
    early = sum(b - a < _INTERVAL for a, b in itertools.pairwise(times))
    return 100 * (len(times) - 1) * _INTERVAL / (times[-1] - times[0]), early


def _costs(costs: dict[str, list[tuple[Cost, Cost]]]) -> Table:
    columns = (
        Column("queues"),
        Column("µs, one a call", 1),
        Column("ratio", 2),
        Column(f"µs a job, {_BATCH} a call", 1),
        Column("ratio in batches", 2),
    )
    plain = costs["no limits"]
    rows = []
    for name, samples in costs.items():
        row: list[Any] = [name]
        for kind in (0, 1):
            row.append(median([each[kind].script for each in samples]))
            pairs = zip(samples, plain, strict=True)
            row.append(median([each[kind].script / base[kind].script for each, base in pairs]))
        rows.append(tuple(row))
    note = f"Store time in the script, {_QUEUES:,} free queues; ratios are taken in each round."
    return Table("A dispatch under limits", columns, rows, (note,))


def _shares(shares: dict[str, tuple[float, int]]) -> Table:
    columns = (Column("rate of"), Column("share %", 2), Column("early"))
    note = f"{_INTERVAL} ms, {_QUEUES:,} queues behind it, {_SECONDS:g} s, by the store's clock."
    return Table(
        "Share of a level's permitted rate",
        columns,
        [(name, share, early) for name, (share, early) in shares.items()],
        (note,),
    )


def _targets(
    blocked: list[tuple[Cost, Cost]],
    control: list[tuple[Cost, Cost]],
    beside: str,
    shares: dict[str, tuple[float, int]],
) -> list[Target]:
    pairs = list(zip(blocked, control, strict=True))
    ratio = median([each[0].script / base[0].script for each, base in pairs])
    # A larger store slows all of its scripts a little: that is no matter of limits.
    remark = "of that beside as many queues of another type"
    targets = [
        Target(
            "a dispatch of free queues",
            beside,
            *(1.1, ratio, "times"),
            at_most=True,
            remark=remark,
        ),
    ]
    for name, (share, early) in shares.items():
        case = f"rate of {name}, {_INTERVAL} ms"
        targets += [
            Target(case, "share", 99.0, share, "%"),
            Target(case, "early", 0, early, "", at_most=True),
        ]
    return targets


SUBJECT = Subject("levels", "dispatches under limits of groups and types, and their shares", run)
