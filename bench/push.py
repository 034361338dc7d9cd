"""Push: job cycles a second, beside the store's own ceiling and other queues."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import ceiling
from bench.highlights import Highlight
from bench.peers.failures import FAILURES, reason
from bench.peers.registry import BEANSTALKD, BULLMQ, PEERS
from bench.processes import ALWAYS, NO_LOG, Stand, stand
from bench.progress import Progress
from bench.push_cycles import QUEUES, Batches, batches, cycles
from bench.push_worker import CONCURRENCY, PREFETCH
from bench.report import Column, Table
from bench.rivals import ROUNDS, STORES, Rival, peers_table, setup_table
from bench.sending import IN_FRAMES, ONE_BY_ONE, Sending
from bench.series import Series
from bench.store import BenchStore
from bench.subject import Findings, Options, Subject
from bench.targets import Target

_CYCLES = "push, job cycles"
_JOBS = 40_000
_JOBS_DURABLE = 20_000
_JOBS_ALIKE = 4_000
"""Jobs that are sent as a peer sends them."""


@dataclass(slots=True)
class _Measured:
    """One series for each thing that is compared, round by round."""

    limited: Series = field(default_factory=Series)
    unlimited: Series = field(default_factory=Series)
    at_once: Series = field(default_factory=Series)
    durable: Series = field(default_factory=Series)
    ceiling: Series = field(default_factory=Series)
    driver: list[Series] = field(default_factory=lambda: [Series() for _ in range(3)])
    benchmark: list[Series] = field(default_factory=lambda: [Series() for _ in range(2)])
    without_benchmark: str = ""
    alike: dict[Sending, dict[str, Series]] = field(default_factory=dict)

    @property
    def by_sending(self) -> dict[Sending, dict[str, Series]]:
        """The cycles with limits, by how jobs are sent and by the durability of the store."""
        in_frames = dict(zip(STORES, (self.limited, self.durable), strict=True))
        return {IN_FRAMES: in_frames, **self.alike}


def run(progress: Progress, options: Options) -> Findings:
    rivals = [Rival(peer) for peer in PEERS] if options.peers else []
    measured = _Measured()
    for rival in rivals:
        if rival.peer.sending != IN_FRAMES:
            measured.alike[rival.peer.sending] = {store: Series() for store in STORES}
    progress.begin("push", 1)
    with ExitStack() as held:
        plain = held.enter_context(stand(**NO_LOG))
        durable = held.enter_context(stand(**ALWAYS))
        store = held.enter_context(BenchStore())
        for rival in rivals:
            rival.start(held, progress.say)
        progress.say("batch sizes")
        sent = batches(plain)
        beside = len(STORES) * (len(rivals) + len(measured.alike))
        progress.begin("push", 5 * options.rounds + beside * min(options.rounds, ROUNDS))
        for number in range(options.rounds):
            _round(progress, number, measured, plain, durable, store, ceiling.whole(sent))
            if number < ROUNDS:
                _send_alike(progress, measured, dict(zip(STORES, (plain, durable), strict=True)))
            for rival in rivals:
                if number < ROUNDS or rival.peer.sending == IN_FRAMES:
                    rival.compete(progress.step)
        progress.end()
    tables = [_cycles_table(measured, options.rounds), _ceiling_table(measured, sent)]
    if rivals:
        tables += [peers_table(measured.by_sending, rivals), setup_table(rivals)]
    return Findings(tables, _targets(measured, rivals), _highlights(measured))


def _round(
    progress: Progress,
    number: int,
    measured: _Measured,
    plain: Stand,
    durable: Stand,
    store: BenchStore,
    sizes: ceiling.Sizes,
) -> None:
    turns = [
        (measured.limited, "cycles", 1, PREFETCH),
        (measured.at_once, "cycles without a prefetch", 1, 0),
        (measured.unlimited, "cycles without limits", 0, PREFETCH),
    ]
    # The first and the last change places in every other round: neither has the warmer machine.
    for series, what, interval, prefetch in turns if number % 2 else reversed(turns):
        progress.step(what)
        series.add(cycles(plain, _JOBS, interval, prefetch))
    progress.step("the store's ceiling")
    times = ceiling.by_calls(store, sizes)
    for series, value in zip(measured.driver, times, strict=True):
        series.add(value)
    try:
        figures = ceiling.by_redis_benchmark(store, sizes)
    except FAILURES as error:
        measured.without_benchmark = reason(error)
    else:
        for series, value in zip(measured.benchmark, figures, strict=True):
            series.add(value)
        times = ceiling.Times(*figures, times.finish)
    measured.ceiling.add(times.ceiling)
    progress.step("cycles, always")
    measured.durable.add(cycles(durable, _JOBS_DURABLE, 1))


def _send_alike(progress: Progress, measured: _Measured, stands: dict[str, Stand]) -> None:
    """Measure SharQ with jobs sent as the peers send them."""
    for sending, by_store in measured.alike.items():
        for store, series in by_store.items():
            progress.step(f"cycles, jobs sent {sending.text}, {store}")
            series.add(cycles(stands[store], _JOBS_ALIKE, 1, sending=sending))


def _cycles_table(measured: _Measured, rounds: int) -> Table:
    rows = [
        (store, limit, prefetch, speed.median, speed.least, speed.most)
        for store, limit, prefetch, speed in (
            ("no log", "1 ms", str(PREFETCH), measured.limited),
            ("no log", "1 ms", "none", measured.at_once),
            ("no log", "none", str(PREFETCH), measured.unlimited),
            ("always", "1 ms", str(PREFETCH), measured.durable),
        )
    ]
    return Table(
        "Job cycles a second by push: enqueue, delivery, finish; one server, one worker process",
        (
            Column("store"),
            Column("limit"),
            Column("prefetch"),
            Column("cycles/s"),
            Column("least"),
            Column("most"),
        ),
        rows,
        (
            f"{_JOBS:,} jobs ({_JOBS_DURABLE:,} with always) over {QUEUES:,} queues, enqueued",
            f"{IN_FRAMES.text}; a worker with {CONCURRENCY} handlers and the prefetch of the row.",
            "A limit of 1 ms is kept and holds no job back, since the jobs of a queue come farther",
            f"apart. Medians of {rounds} rounds.",
        ),
    )


def _ceiling_table(measured: _Measured, sent: Batches) -> Table:
    sizes = ceiling.whole(sent)
    rows: list[tuple[str | float | None, ...]] = []
    benchmark = [*measured.benchmark, Series()]
    for at, step in enumerate(sizes._fields):
        own = measured.driver[at].median
        rows.append((step, sent[at], sizes[at], benchmark[at].median, own))
    driver = ceiling.redis_benchmark()
    if driver is None or measured.without_benchmark:
        driver = f"our own driver (redis-benchmark: {measured.without_benchmark})"
    ceiling_rate = measured.ceiling.median or 0.0
    return Table(
        "The store's own ceiling",
        (
            Column("step"),
            Column("jobs a call as sent", 1),
            Column("as measured"),
            Column("redis-benchmark µs a job", 2),
            Column("own driver µs a job", 2),
        ),
        rows,
        (
            f"The ceiling is {ceiling_rate:,.0f} cycles/s: a job's three calls and nothing",
            "else. Jobs a call are those of a push run, by the store's log of its calls. Enqueue",
            f"and dequeue are timed by {driver}. A finish needs the number of",
            "a lease, which redis-benchmark cannot take from an answer: our own driver sends",
            "packed calls over a pipelined socket, two writes ahead of the answers.",
        ),
    )


def _targets(measured: _Measured, rivals: list[Rival]) -> list[Target]:
    ceiling_rate = measured.ceiling.median
    return [
        _beside(measured, rivals, BULLMQ, 2),
        _beside(measured, rivals, BEANSTALKD, 1),
        Target(
            _CYCLES,
            "share of the store's ceiling",
            0.8,
            measured.limited.ratio_to(measured.ceiling),
            "",
            remark="" if ceiling_rate is None else f"ceiling: {ceiling_rate:,.0f}/s",
        ),
    ]


def _beside(measured: _Measured, rivals: list[Rival], name: str, wanted: float) -> Target:
    """The target of our ratio to a peer: each as it is sent fastest."""
    figure = f"ratio to {name}"
    rival = next((each for each in rivals if each.peer.name == name), None)
    if rival is None:
        return Target(_CYCLES, figure, wanted, None, "times", remark="--peers was not given")
    sending, speed = rival.peer.sending, rival.speeds["no log"]
    ratio = measured.limited.ratio_to(speed)
    if ratio is None:
        return Target(_CYCLES, figure, wanted, None, "times", remark=rival.missing)
    remark = f"{name}: {speed.median:,.0f}/s"
    if sending != IN_FRAMES:
        alike = measured.alike[sending]["no log"].ratio_to(speed) or 0.0
        remark += f", {sending.text}; SharQ: {IN_FRAMES.text}; with both {sending.text} {alike:.2f}"
    return Target(_CYCLES, figure, wanted, ratio, "times", remark=remark)


def _highlights(measured: _Measured) -> list[Highlight]:
    return [
        Highlight(f"Push: enqueue to finish, jobs sent {sending.text}", store, speed.median, "jobs")
        for sending, by_store in measured.by_sending.items()
        if sending in (IN_FRAMES, ONE_BY_ONE)
        for store, speed in by_store.items()
    ]


SUBJECT = Subject("push", "job cycles a second by push, beside the ceiling and other queues", run)
