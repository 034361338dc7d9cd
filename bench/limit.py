"""What a limit costs where it decides when jobs go: processor time a job, and the rate it permits.

Jobs come at a steady rate, which is also what their queues permit. Without a limit each goes at
once; with one others always wait before it, so that it goes when its queue's time has come.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tornado.websocket import WebSocketClientConnection

from bench.processes import Stand, processor_time, stand
from bench.progress import Progress
from bench.push_cycles import frames
from bench.push_stand import connect, key_of, worker
from bench.report import Column, Table
from bench.sending import IN_FRAMES
from bench.series import Series
from bench.subject import Findings, Options, Subject
from bench.targets import Target

RATE = 1_000
"""Jobs a second, and queues, each of which permits about one."""

BACKLOG = 3
_WAITING = 0.95
"""The share of the queues that still have a backlog at the end of a measurement that counts."""

_SETTLES = 1.0
SECONDS = 3.0
_ROUNDS = 3
_INTERVAL = 1_000
_SPREAD = 0.1
"""Intervals differ by so much of it: otherwise queues that were filled together stay in step."""

_COMES = {"32 at a time": 32, "one by one": 1}
_LIMITS = {"none": False, "decides": True}
_PARTS = ("server", "store", "worker")
_WANTED_SHARE = 99.9
_WANTED_TIMES = 1.1
_numbers = itertools.count()

Key = tuple[str, str]
"""How jobs come, and whether a limit decides when they go."""


class _Sample(NamedTuple):
    """Jobs a second, µs of processor time a job by `_PARTS`, share of the permitted rate in %."""

    rate: float
    micros: list[float]
    share: float | None


@dataclass(slots=True)
class _Case:
    """The same of several rounds."""

    rate: Series = field(default_factory=Series)
    micros: list[Series] = field(default_factory=lambda: [Series() for _ in _PARTS])
    whole: Series = field(default_factory=Series)
    share: Series = field(default_factory=Series)

    def add(self, sample: _Sample) -> None:
        self.rate.add(sample.rate)
        for series, value in zip(self.micros, sample.micros, strict=True):
            series.add(value)
        self.whole.add(sum(sample.micros))
        self.share.add(sample.share)


def run(progress: Progress, options: Options) -> Findings:
    rounds = min(options.rounds, _ROUNDS)
    cases: dict[Key, _Case] = {(comes, limit): _Case() for comes in _COMES for limit in _LIMITS}
    progress.begin("limit", rounds * len(cases))
    with stand() as here:
        for _ in range(rounds):
            for (comes, limit), case in cases.items():
                progress.step(f"{comes}, limit {limit}")
                case.add(measure(here, _COMES[comes], _LIMITS[limit]))
    progress.end()
    return Findings([_table(cases, rounds)], _targets(cases))


def interval_of(queue: int) -> int:
    """The interval of a queue by its number, in ms."""
    width = int(2 * _SPREAD * _INTERVAL) + 1
    # 37 and the width share no factor: neighbours differ, and each interval is as frequent.
    return _INTERVAL - width // 2 + queue * 37 % width


def measure(here: Stand, size: int, limited: bool) -> _Sample:
    """Run a worker while jobs come `size` at a time; `limited`: limits decide when they go."""
    queue_type = f"limit{next(_numbers)}"
    with worker(here, queue_type, "--receipts") as told:
        processes = (here.server.pid, here.store.pid, told["pid"])
        window = asyncio.run(_steady(here, queue_type, size, limited, processes))
    within = [each for each in told["receipts"] if window.began <= each[1] < window.ended]
    if not within:
        raise RuntimeError("The worker began no job.")
    seconds = (window.ended - window.began) / 1e6
    return _Sample(
        len(within) / seconds,
        [used * 1e6 / len(within) for used in window.used],
        share_of(within) if limited else None,
    )


class _Window(NamedTuple):
    """A time in µs since the epoch, and the processor time that processes used in it."""

    began: int
    ended: int
    used: list[float]


async def _steady(
    here: Stand, queue_type: str, size: int, limited: bool, processes: Sequence[int]
) -> _Window:
    """Enqueue jobs at a steady rate, and look at a part of that time."""
    socket = await connect(here)
    interval = interval_of if limited else _none
    count = int(2 * (_SETTLES + SECONDS) * RATE)
    written = frames(queue_type, count, interval, size, RATE)
    if limited:
        for frame in frames(queue_type, BACKLOG * RATE, interval, IN_FRAMES.jobs, RATE):
            await socket.write_message(frame)
            await socket.read_message()
    coming = asyncio.ensure_future(_come(socket, written, size))
    answers = asyncio.ensure_future(_read_all(socket))
    await asyncio.sleep(_SETTLES)
    before, began = [processor_time(pid) for pid in processes], time.time_ns()
    await asyncio.sleep(SECONDS)
    after, ended = [processor_time(pid) for pid in processes], time.time_ns()
    waiting = here.store.client.zcard(key_of(queue_type, "ready"))
    if not coming.cancel():
        await coming
    socket.close()
    await answers
    if limited and waiting < _WAITING * RATE:
        raise RuntimeError(
            f"The limit did not decide: only {waiting:,} of {RATE:,} queues had jobs waiting. "
            f"Can this machine do {RATE:,} jobs a second?"
        )
    used = [late - early for early, late in zip(before, after, strict=True)]
    return _Window(began // 1000, ended // 1000, used)


def _none(_queue: int) -> int:
    return 0


async def _come(socket: WebSocketClientConnection, written: Sequence[str], size: int) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at, frame in enumerate(written):
        await asyncio.sleep(max(0.0, began + at * size / RATE - loop.time()))
        await socket.write_message(frame)


async def _read_all(socket: WebSocketClientConnection) -> None:
    while await socket.read_message() is not None:
        pass


def share_of(receipts: Sequence[tuple[str, int]]) -> float:
    """The share in percent of their permitted rates that queues got, by when handlers began, µs."""
    times: dict[str, list[int]] = {}
    for queue_id, at in receipts:
        times.setdefault(queue_id, []).append(at)
    shares = [
        (len(each) - 1)
        * interval_of(int(queue_id.rpartition("-")[2]))
        * 1000
        / (each[-1] - each[0])
        for queue_id, each in times.items()
        if len(each) > 1
    ]
    if not shares:
        raise RuntimeError("No queue had two jobs.")
    return 100 * sum(shares) / len(shares)


def _table(cases: Mapping[Key, _Case], rounds: int) -> Table:
    return Table(
        f"What a limit costs: processor time a job at {RATE:,} jobs a second, by push",
        (
            Column("jobs come"),
            Column("limit"),
            Column("jobs/s"),
            *(Column(f"{part}, µs") for part in _PARTS),
            Column("all, µs"),
            Column("times no limit", 2),
            Column("share of the permitted rate %", 2),
        ),
        [
            (
                *key,
                case.rate.median,
                *(series.median for series in case.micros),
                case.whole.median,
                case.whole.ratio_to(cases[key[0], "none"].whole) if _LIMITS[key[1]] else None,
                case.share.median,
            )
            for key, case in cases.items()
        ],
        (
            f"{RATE:,} queues; with a limit that decides each has an interval of about",
            f"{_INTERVAL:,} ms and {BACKLOG} jobs that wait when the next one comes. Without a",
            "limit a job goes when it comes. The share is by the times at which handlers began.",
            f"Medians of {rounds} rounds of {SECONDS:g} s, in turn, ratios within a round.",
        ),
    )


def _targets(cases: Mapping[Key, _Case]) -> list[Target]:
    subject = "a limit's cost, where it decides"
    together, alone = ((cases[comes, "none"], cases[comes, "decides"]) for comes in _COMES)
    ratio = together[1].whole.ratio_to(together[0].whole)
    return [
        Target(
            subject,
            "share of the permitted rate",
            _WANTED_SHARE,
            together[1].share.median,
            "%",
        ),
        Target(
            subject,
            "processor time of a job that came alone, to that without",
            _WANTED_TIMES,
            alone[1].whole.ratio_to(alone[0].whole),
            "times",
            at_most=True,
            remark="" if ratio is None else f"{ratio:.2f} times where jobs come 32 at a time",
        ),
    ]


SUBJECT = Subject("limit", "what a limit costs where it decides when jobs go", run)
