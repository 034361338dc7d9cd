"""What it costs that somebody looks: ten viewers of a type with very many queues, beside none."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from statistics import median
from typing import Any, NamedTuple

from tornado.websocket import WebSocketClientConnection

from bench.processes import Stand, processor_time, stand
from bench.progress import Progress
from bench.push_stand import connect, disconnect
from bench.report import Column, Table
from bench.series import Series
from bench.store import StoreCalls, new_job
from bench.subject import Findings, Options, Subject
from bench.targets import Target

VIEWERS = 10
SIZES = (1_000, 100_000)
LARGEST = 1_000_000
_TOPICS = ("types", "type/bench", "workers")
_SECONDS = 10.0
_JOBS_A_SECOND = 20
_WANTED = 1.0
_numbers = itertools.count()


class Sample(NamedTuple):
    """Shares of a processor that store and server took (%), bytes a second to all viewers, and
    from an enqueue to its delivery to a worker of another type (ms).
    """

    store: float
    server: float
    bytes: float
    p50_ms: float
    p99_ms: float


def run(progress: Progress, options: Options) -> Findings:
    sizes = (*SIZES, LARGEST) if options.full else SIZES
    rounds = min(options.rounds, 3)
    progress.begin("viewers", len(sizes) * (1 + 2 * rounds))
    rows: list[tuple[Any, ...]] = []
    more: dict[int, float] = {}
    for size in sizes:
        with stand() as here:
            progress.step(f"filling {size:,} queues")
            calls = StoreCalls(here.store)
            calls.fill(new_job("bench", f"queue-{at}", 3_600_000) for at in range(size))
            calls.fill(new_job("bench", f"queue-{at}", 3_600_000) for at in range(0, size, 7))
            calls.close()
            series = {(count, name): Series() for count in (0, VIEWERS) for name in Sample._fields}
            for _ in range(rounds):
                for count in (0, VIEWERS):
                    progress.step(f"{size:,} queues, {count} viewers")
                    sample = asyncio.run(_measure(here, count))
                    for name, value in sample._asdict().items():
                        series[count, name].add(value)
        rows += [
            (size, count, *(series[count, name].median for name in Sample._fields))
            for count in (0, VIEWERS)
        ]
        more[size] = (series[VIEWERS, "store"].median or 0) - (series[0, "store"].median or 0)
    progress.end()
    table = Table(
        f"Somebody looks: {VIEWERS} viewers beside none",
        (
            Column("queues"),
            Column("viewers"),
            Column("store %", 2),
            Column("server %", 2),
            Column("bytes/s"),
            Column("enqueue to delivery p50 ms", 2),
            Column("p99 ms", 2),
        ),
        rows,
        (
            f"Shares of a processor over {_SECONDS:g} s, medians of {rounds} rounds in turn,",
            f"while {_JOBS_A_SECOND} jobs a second of another type are enqueued and delivered.",
            f"Each viewer watches {', '.join(_TOPICS)}.",
        ),
    )
    largest = max(more)
    target = Target(
        f"{VIEWERS} viewers of a type",
        f"the store's time, {largest:,} queues",
        _WANTED,
        more[largest],
        "%",
        at_most=True,
        remark="" if largest == LARGEST else "--full has a million",
    )
    return Findings([table], [target])


async def _measure(here: Stand, viewers: int) -> Sample:
    sockets = [await connect(here) for _ in range(viewers)]
    for socket in sockets:
        await socket.write_message(json.dumps({"op": "watch", "topics": _TOPICS}))
    got = [0]
    readers = [asyncio.ensure_future(_read(socket, got)) for socket in sockets]
    worker, producer = await connect(here), await connect(here)
    await _ask(worker, op="subscribe", queue_type="beside", credit=10)
    # The first looks have the whole of each topic.
    await asyncio.sleep(2)
    store, server, bytes_before = here.store.pid, here.server.pid, got[0]
    began, used = time.perf_counter(), (processor_time(store), processor_time(server))
    took = []
    while time.perf_counter() < began + _SECONDS:
        took.append(await _deliver(worker, producer))
        await asyncio.sleep(1 / _JOBS_A_SECOND)
    elapsed = time.perf_counter() - began
    now = processor_time(store), processor_time(server)
    for reader in readers:
        reader.cancel()
    for socket in (*sockets, worker, producer):
        await disconnect(socket)
    took.sort()
    shares = [100 * (after - before) / elapsed for before, after in zip(used, now, strict=True)]
    count = (got[0] - bytes_before) / elapsed
    return Sample(*shares, count, 1000 * median(took), 1000 * took[int(0.99 * len(took))])


async def _deliver(worker: WebSocketClientConnection, producer: WebSocketClientConnection) -> float:
    """Seconds from an enqueue to its delivery."""
    number = next(_numbers)
    job = {"queue_type": "beside", "queue_id": f"q{number % 100}", "job_id": f"j{number}"}
    frame = json.dumps({"op": "enqueue", "jobs": [{**job, "interval": 0, "payload": 1}]})
    began = time.perf_counter()
    await producer.write_message(frame)
    event = await _event(worker, "jobs")
    took = time.perf_counter() - began
    leases = [each["lease"] for each in event["jobs"]]
    await _ask(worker, op="finish", leases=leases)
    await _event(producer, "reply")
    return took


async def _read(socket: WebSocketClientConnection, got: list[int]) -> None:
    while (text := await socket.read_message()) is not None:
        got[0] += len(text)


async def _ask(socket: WebSocketClientConnection, **frame: Any) -> None:
    await socket.write_message(json.dumps(frame))
    await _event(socket, "reply")


async def _event(socket: WebSocketClientConnection, kind: str) -> dict[str, Any]:
    while True:
        text = await asyncio.wait_for(socket.read_message(), 30)
        if text is None:
            raise ConnectionError(f"closed with {socket.close_code}")
        event: dict[str, Any] = json.loads(text)
        if event["event"] == kind:
            return event


SUBJECT = Subject("viewers", "what it costs that somebody looks, by the number of queues", run)
