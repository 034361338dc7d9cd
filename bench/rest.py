"""Requests a second over HTTP, beside a constant answer, Tornado's hello and the original."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.highlights import Highlight
from bench.http_load import generator, load
from bench.load import Order, Outcome
from bench.peers import original
from bench.peers.failures import FAILURES, reason
from bench.processes import ALWAYS, NO_LOG, serving, stand
from bench.progress import Progress
from bench.report import Column, Table
from bench.series import Series
from bench.store import StoreCalls, refilling
from bench.subject import Findings, Options, Subject
from bench.targets import Target

_QUEUES = 1_000
_MANY = 100_000
_DEPTH = 20
_DEPTH_OF_MANY = 2
_SECONDS = 1
_SECONDS_OF_ORIGINAL = 8
_ROUNDS_OF_ORIGINAL = 2

_ENQUEUE = "enqueue"
_CYCLE = f"dequeue + finish, {_QUEUES:,} queues"
_WIDE = f"dequeue + finish, {_MANY:,} queues"
_STORES: dict[str, dict[str, Any]] = {"no log": NO_LOG, "always": ALWAYS}

Key = tuple[str, str, str]
"""Whose server, what it is asked for, and the store's durability."""

_CONSTANT: Key = ("httptools", "constant answer", "")
_HELLO: Key = ("Tornado", "hello world", "")


@dataclass(slots=True)
class _Case:
    """A server under one kind of load; `refill` puts back the jobs that were taken."""

    order: Order
    rounds: int
    refill: Callable[[int], None] | None = None
    speeds: Series = field(default_factory=Series)
    p50_ms: Series = field(default_factory=Series)
    p99_ms: Series = field(default_factory=Series)
    busy: Series = field(default_factory=Series)


def run(progress: Progress, options: Options) -> Findings:
    with ExitStack() as held:
        progress.begin("rest", 1)
        constant = held.enter_context(serving("bench.constant")).port
        hello = held.enter_context(serving("bench.hello")).port
        cases: dict[Key, _Case] = {
            _CONSTANT: _Case(Order("enqueue", constant, _SECONDS), options.rounds),
            _HELLO: _Case(Order("hello", hello, _SECONDS), options.rounds),
        }
        for store, settings in _STORES.items():
            progress.say(f"filling queues, {store}")
            cases |= _ours(held, store, settings, options.rounds)
        without = "--peers was not given"
        if options.peers:
            try:
                progress.say("the original's server")
                cases |= _originals(held, progress, options.rounds)
                without = ""
            except FAILURES as error:
                without = reason(error)
        progress.begin("rest", sum(case.rounds for case in cases.values()))
        for number in range(options.rounds):
            for key, case in cases.items():
                if number < case.rounds:
                    progress.step(" ".join(key))
                    without = _measure(key, case) or without
        progress.end()
    return Findings(
        [_table(cases, options.rounds, without)], _targets(cases, without), _highlights(cases)
    )


def _ours(held: ExitStack, store: str, settings: dict[str, Any], rounds: int) -> dict[Key, _Case]:
    here = held.enter_context(stand(**settings))
    cases = {("SharQ", _ENQUEUE, store): _Case(Order("enqueue", here.port, _SECONDS), rounds)}
    wanted = {_CYCLE: ("bench", _QUEUES, _DEPTH, here)}
    if settings is NO_LOG:
        # Queues by the hundred thousand have a store of their own.
        wanted[_WIDE] = ("wide", _MANY, _DEPTH_OF_MANY, held.enter_context(stand(**settings)))
    for what, (queue_type, queues, depth, at) in wanted.items():
        calls = StoreCalls(at.store)
        held.callback(calls.close)
        refill = refilling(calls, queue_type, queues)
        refill(queues * depth)
        order = Order("cycle", at.port, _SECONDS, queue_type, queues)
        cases[("SharQ", what, store)] = _Case(order, rounds, refill)
    return cases


def _originals(held: ExitStack, progress: Progress, rounds: int) -> dict[Key, _Case]:
    installed = original.prepare(progress.say)
    cases: dict[Key, _Case] = {}
    for store, settings in _STORES.items():
        there = held.enter_context(original.served(installed, **settings))
        there.fill("bench", _QUEUES, _DEPTH, 1)
        order = Order("enqueue", there.port, _SECONDS)
        cases[("original", _ENQUEUE, store)] = _Case(order, rounds)
        order = Order("cycle", there.port, _SECONDS)
        cases[("original", _CYCLE, store)] = _Case(order, rounds)
    progress.say("filling the original's queues")
    there = held.enter_context(original.served(installed, **NO_LOG))
    there.fill("wide", _MANY, _DEPTH_OF_MANY, 1)
    order = Order("cycle", there.port, _SECONDS_OF_ORIGINAL, "wide", _MANY)
    cases[("original", _WIDE, "no log")] = _Case(order, min(rounds, _ROUNDS_OF_ORIGINAL))
    return cases


def _measure(key: Key, case: _Case) -> str:
    """Measure a case once; why that could not be done, of the original, else nothing."""
    try:
        outcome: Outcome = load(case.order)
    except FAILURES as error:
        if key[0] != "original":
            raise
        case.speeds.add(None)
        return f"{key[1]}: {reason(error)}"
    if outcome.others and key[0] != "original":
        raise RuntimeError(f"{' '.join(key)}: the server answered {outcome.others}")
    case.speeds.add(outcome.answers)
    case.p50_ms.add(outcome.p50_ms)
    case.p99_ms.add(outcome.p99_ms)
    case.busy.add(100 * outcome.busy)
    if case.refill is not None:
        case.refill(int(outcome.answers * case.order.seconds / 2))
    return ""


def _ratio(cases: dict[Key, _Case], mine: Key, other: Key) -> float | None:
    if mine not in cases or other not in cases:
        return None
    return cases[mine].speeds.ratio_to(cases[other].speeds)


def _table(cases: dict[Key, _Case], rounds: int, without: str) -> Table:
    rows = []
    for key, case in cases.items():
        whose, what, store = key
        rows.append(
            (
                whose,
                what,
                store,
                case.speeds.median,
                case.speeds.least,
                case.speeds.most,
                case.p50_ms.median,
                case.p99_ms.median,
                _ratio(cases, key, _CONSTANT),
                _ratio(cases, key, _HELLO),
                _ratio(cases, key, ("original", what, store)) if whose == "SharQ" else None,
                case.busy.median,
            )
        )
    return Table(
        f"REST, one server process, {Order('', 0, 0).connections} keep-alive connections",
        (
            Column("server"),
            Column("what"),
            Column("store"),
            Column("requests/s"),
            Column("least"),
            Column("most"),
            Column("p50 ms", 2),
            Column("p99 ms", 2),
            Column("times constant", 2),
            Column("times hello", 2),
            Column("times original", 1),
            Column("load busy %"),
        ),
        rows,
        (
            f"Load by {generator()}; medians of {rounds} rounds of {_SECONDS} s, all in turn;",
            f"ratios are taken in each round. With {_MANY:,} queues the original has",
            f"{_ROUNDS_OF_ORIGINAL} rounds of {_SECONDS_OF_ORIGINAL} s. A dequeue and a finish",
            "are two requests. p50 and p99 are those of a request under that load. The constant",
            "answer is what httptools on uvloop gives to enqueues without looking at them.",
            "Where the load is busy near 100 %, it and not the server sets the figure.",
            *([f"The original: {without}."] if without else [f"The original: {original.SETUP}."]),
        ),
    )


def _targets(cases: dict[Key, _Case], without: str) -> list[Target]:
    def mine(what: str) -> Key:
        return ("SharQ", what, "no log")

    def target(what: str, other: Key, of: str, wanted: float) -> Target:
        ratio = _ratio(cases, mine(what), other)
        speed = cases[mine(what)].speeds.median or 0
        remark = f"{speed:,.0f}/s" if ratio is not None else without or "no figure"
        return Target("REST " + what, f"ratio to {of}", wanted, ratio, "times", remark=remark)

    targets = []
    for what in (_ENQUEUE, _CYCLE):
        targets.append(target(what, _CONSTANT, "a constant answer", 0.5))
        targets.append(target(what, ("original", what, "no log"), "the original", 12))
        targets.append(target(what, _HELLO, "hello world", 5))
    targets.append(target(_WIDE, ("original", _WIDE, "no log"), "the original", 200))
    targets.append(target(_WIDE, mine(_CYCLE), f"{_QUEUES:,} queues", 1))
    return targets


def _highlights(cases: dict[Key, _Case]) -> list[Highlight]:
    return [
        Highlight(
            f"REST: {what}",
            store,
            case.speeds.median,
            "requests",
            case.p50_ms.median,
            case.p99_ms.median,
        )
        for (whose, what, store), case in cases.items()
        if whose == "SharQ"
    ]


SUBJECT = Subject("rest", "requests a second over HTTP", run)
