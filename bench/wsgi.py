"""What the API costs under web servers that speak WSGI, beside the lane and the original's server.

One process each, over stores alike. Web servers that are not installed are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.http_load import generator, load
from bench.load import Order
from bench.peers import original
from bench.peers.failures import FAILURES, reason
from bench.processes import NO_LOG, stand
from bench.progress import Progress
from bench.report import Column, Table
from bench.series import Series
from bench.store import StoreCalls, refilling
from bench.subject import Findings, Options, Subject
from tests.server.wsgi.web_servers import WebServer
from tests.support.parts import find
from tests.support.stores import PrivateStore

_LANE: Final = "the lane"
_ORIGINAL: Final = "the original"
_WEB_SERVERS: Final = {
    "gunicorn, threads": "gunicorn",
    "gunicorn, gevent": "gevent",
    "waitress": "waitress",
    "uwsgi, keep-alive": "uwsgi",
}
"""Web servers by the names that tests give them, and what each needs."""

_QUEUES: Final = 1_000
_DEPTH: Final = 20
_SECONDS: Final = 1
_KINDS: Final = {"enqueue": "enqueue", "cycle": "dequeue + finish"}


@dataclass(slots=True)
class _Case:
    order: Order
    refill: Callable[[int], None] | None = None
    speeds: Series = field(default_factory=Series)
    p50_ms: Series = field(default_factory=Series)
    p99_ms: Series = field(default_factory=Series)


def run(progress: Progress, options: Options) -> Findings:
    with ExitStack() as held:
        progress.begin("wsgi", 1)
        cases: dict[tuple[str, str], _Case] = {}
        for name in (_LANE, *filter(_is_there, _WEB_SERVERS)):
            progress.say(f"starting {name}")
            cases |= _ours(held, name)
        without = "--peers was not given"
        if options.peers:
            try:
                cases |= _originals(held, progress)
                without = ""
            except FAILURES as error:
                without = reason(error)
        progress.begin("wsgi", len(cases) * options.rounds)
        for _ in range(options.rounds):
            for key, case in cases.items():
                progress.step(", ".join(key))
                _measure(case)
        progress.end()
    return Findings([_table(cases, options.rounds, without)], [])


def _is_there(name: str) -> bool:
    needed = _WEB_SERVERS[name]
    return bool(find(needed) or find_spec(needed))


def _ours(held: ExitStack, name: str) -> dict[tuple[str, str], _Case]:
    if name == _LANE:
        here = held.enter_context(stand(**NO_LOG))
        store, port = here.store, here.port
    else:
        store = held.enter_context(PrivateStore(**NO_LOG))
        home = Path(held.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        place = "sharq_server.wsgi:application"
        port = held.enter_context(WebServer(name, place, home, settings)).port
    calls = StoreCalls(store)
    held.callback(calls.close)
    refill = refilling(calls, "bench", _QUEUES)
    refill(_QUEUES * _DEPTH)
    return {
        (name, "enqueue"): _Case(Order("enqueue", port, _SECONDS)),
        (name, "cycle"): _Case(Order("cycle", port, _SECONDS), refill),
    }


def _originals(held: ExitStack, progress: Progress) -> dict[tuple[str, str], _Case]:
    progress.say("starting the original")
    installed = original.prepare(progress.say)
    there = held.enter_context(original.served(installed, **NO_LOG))
    there.fill("bench", _QUEUES, _DEPTH, 1)
    return {(_ORIGINAL, kind): _Case(Order(kind, there.port, _SECONDS)) for kind in _KINDS}


def _measure(case: _Case) -> None:
    outcome = load(case.order)
    case.speeds.add(outcome.answers)
    case.p50_ms.add(outcome.p50_ms)
    case.p99_ms.add(outcome.p99_ms)
    if case.refill is not None:
        case.refill(int(outcome.answers * case.order.seconds / 2))


def _table(cases: dict[tuple[str, str], _Case], rounds: int, without: str) -> Table:
    rows = []
    for (name, kind), case in cases.items():
        theirs = cases.get((_ORIGINAL, kind))
        rows.append(
            (
                name,
                _KINDS[kind],
                case.speeds.median,
                case.speeds.least,
                case.speeds.most,
                case.p50_ms.median,
                case.p99_ms.median,
                case.speeds.ratio_to(cases[(_LANE, kind)].speeds),
                None if theirs is None else case.speeds.ratio_to(theirs.speeds),
            )
        )
    return Table(
        "The REST API behind web servers that speak WSGI, one process each",
        (
            Column("server"),
            Column("what"),
            Column("requests/s"),
            Column("least"),
            Column("most"),
            Column("p50 ms", 2),
            Column("p99 ms", 2),
            Column("times the lane", 2),
            Column("times the original", 2),
        ),
        rows,
        (
            f"Load by {generator()}, {Order('', 0, 0).connections} connections; medians of",
            f"{rounds} rounds of {_SECONDS} s, all in turn; ratios within a round. A dequeue",
            "and a finish are two requests. Stores without a log. gunicorn with 8 threads keeps",
            "connections open, as do gevent and waitress, and uWSGI with --http-keepalive.",
            *([f"The original: {without}."] if without else [f"The original: {original.SETUP}."]),
        ),
    )


SUBJECT = Subject("wsgi", "requests a second behind web servers that speak WSGI", run)
