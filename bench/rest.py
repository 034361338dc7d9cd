"""Requests a second over HTTP, beside a handler of Tornado's that only says hello."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import NamedTuple

from bench.load import INTERVAL, QUEUE_TYPE, QUEUES, Order, Outcome
from bench.processes import serving
from bench.report import Column, Options, Progress, Subject, Table, median
from bench.store import PAYLOAD
from tests.support.stores import PrivateStore

CONNECTIONS = 32
_WARM_UP = 0.2
_SECONDS = 1.0
_DEPTH = 20
_BULK = 1_000

_NO_LOG = "store without a log"
_ALWAYS = "embedded, fsync always"


class _Case(NamedTuple):
    what: str
    store: str
    kind: str
    port: int


def run(progress: Progress, options: Options) -> list[Table]:
    with ExitStack() as held:
        cases = [_Case("hello world", "", "hello", held.enter_context(serving("bench.hello")))]
        for store, server in ((_NO_LOG, _without_log()), (_ALWAYS, _embedded())):
            port = held.enter_context(server)
            _fill(port)
            cases.append(_Case("enqueue", store, "enqueue", port))
            cases.append(_Case("dequeue + finish", store, "cycle", port))
        progress.begin("rest", options.rounds * len(cases))
        samples: dict[_Case, list[Outcome]] = {case: [] for case in cases}
        for _ in range(options.rounds):
            for case in cases:
                progress.step(f"{case.what} {case.store}")
                samples[case].append(_load(case))
        progress.end()
    return [_table(samples, options.rounds)]


@contextmanager
def _without_log() -> Iterator[int]:
    """A server on a store that writes nothing to the disk, as peers are usually measured."""
    with PrivateStore() as store:
        settings = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        with serving("sharq_server", "--port", "0", **settings) as port:
            yield port


@contextmanager
def _embedded() -> Iterator[int]:
    """A server as it comes: each answer is on the disk."""
    with (
        tempfile.TemporaryDirectory(prefix="sharq-bench-") as folder,
        serving("sharq_server", "--port", "0", "--data-dir", f"{folder}/data") as port,
    ):
        yield port


def _fill(port: int) -> None:
    """Put jobs into every queue, so that none is empty while the first ones are taken."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for depth in range(_DEPTH * QUEUES // _BULK):
        jobs = [
            {
                "queue_type": QUEUE_TYPE,
                "queue_id": f"queue-{number % QUEUES}",
                "job_id": f"first-{depth}-{number}",
                "interval": INTERVAL,
                "payload": json.loads(PAYLOAD),
            }
            for number in range(_BULK)
        ]
        connection.request("POST", "/enqueue/", json.dumps({"jobs": jobs}))
        response = connection.getresponse()
        if response.status != 200 or b"failure" in (body := response.read()):
            raise RuntimeError(f"The server answered {response.status}: {body[:200]!r}")
    connection.close()


def _load(case: _Case) -> Outcome:
    order = Order(case.kind, case.port, CONNECTIONS, _WARM_UP, _SECONDS)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(order)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    outcome = Outcome(**json.loads(done.stdout))
    if outcome.others:
        raise RuntimeError(f"{case.what}: the server answered {outcome.others}")
    return outcome


def _table(samples: dict[_Case, list[Outcome]], rounds: int) -> Table:
    columns = (
        Column("what"),
        Column("store"),
        Column("requests/s"),
        Column("least"),
        Column("most"),
        Column("of hello", 2),
        Column("load busy %"),
    )
    rows = []
    hello = next(iter(samples.values()))
    for case, outcomes in samples.items():
        speeds = [each.answers for each in outcomes]
        ratios = [
            each.answers / beside.answers for each, beside in zip(outcomes, hello, strict=True)
        ]
        busy = 100 * median([each.busy for each in outcomes])
        rows.append((*case[:2], median(speeds), min(speeds), max(speeds), median(ratios), busy))
    return Table(
        f"REST, one server process, {CONNECTIONS} keep-alive connections, {QUEUES:,} ready queues",
        columns,
        rows,
        (
            f"Medians of {rounds} rounds of {_SECONDS:g} s, all in turn; ratios are taken in each",
            "round. A dequeue and a finish are two requests.",
            "Where the load is busy near 100 %, it and not the server sets the figure.",
            "Target: 9 times hello world, on a store without a log.",
        ),
    )


SUBJECT = Subject("rest", "requests a second over HTTP", run)
