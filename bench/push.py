"""Push: how soon a worker has a ready job, its share of a rate, and jobs a second."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from bench.processes import serving
from bench.report import Column, Options, Progress, Subject, Table, median
from bench.store import PAYLOAD
from sharq import AsyncSharQ, Settings
from tests.support.stores import PrivateStore

QUEUES = 1_000
_RATE = 1_000
_FRAME = 32
_UNDER_WAY = 24
_JOBS = 60_000
_SECONDS = 5.0
_IDLE = 2_000
_MOST_CREDIT = 10_000
_EVERY: dict[str, dict[str, Any]] = {
    "no log": {},
    "everysec": {"appendonly": True, "appendfsync": "everysec"},
    "always": {"appendonly": True, "appendfsync": "always"},
}
_numbers = itertools.count()


class Stand:
    """A store, a server process on it, and a library of our own."""

    def __init__(self, store: PrivateStore, port: int) -> None:
        self.store = store
        self.port = port
        address = {"conn_type": "unix_sock", "unix_socket_path": store.socket_path}
        self.settings = Settings.from_mapping({"redis": address})

    async def connect(self) -> WebSocketClientConnection:
        """A subscriber that was welcomed."""
        url = f"ws://127.0.0.1:{self.port}/ws/"
        socket = await websocket_connect(url, max_message_size=1 << 26)
        await socket.read_message()
        return socket

    @contextmanager
    def worker(self, queue_type: str, *arguments: str) -> Iterator[dict[str, Any]]:
        """A worker process; what it tells at its end is in the mapping."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.push_worker", str(self.port), queue_type, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        told: dict[str, Any] = {}
        try:
            yield told
        finally:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
            told |= json.loads(output)


@contextmanager
def stand(**options: Any) -> Iterator[Stand]:
    with PrivateStore(**options) as store:
        settings = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        with serving("sharq_server", "--port", "0", **settings) as port:
            yield Stand(store, port)


async def latency(here: Stand, queue_type: str) -> None:
    """Enqueue evenly, over all queues in turn; each is empty when its job comes."""
    async with AsyncSharQ(here.settings) as sq:
        began = time.monotonic()
        for at in range(int(_RATE * _SECONDS)):
            due = began + at / _RATE
            while (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left if left > 0.002 else 0)
            payload = b"%d" % round(time.time() * 1e6)
            job = sq.new_job(payload, 10, f"j{next(_numbers)}", f"q{at % QUEUES}", queue_type)
            await sq.submit(job)


def _latency_row(what: str, here: Stand, *arguments: str) -> tuple[Any, ...]:
    queue_type = f"latency{next(_numbers)}"
    with here.worker(queue_type, *arguments) as told:
        time.sleep(1.5)
        asyncio.run(latency(here, queue_type))
        time.sleep(2.5 if arguments else 0.5)
    times = told["latencies"]
    return (what, told["done"], *(1000 * times[int(len(times) * part)] for part in (0.5, 0.99)))


async def share(here: Stand, queues: int, interval: int) -> tuple[float, int]:
    """The part of the permitted rate that one subscriber gets, and the dispatches that were early.

    Both by the store's own clock: the ends of the leases tell when each job was dispatched.
    """
    queue_type = f"share{next(_numbers)}"
    seconds = min(_SECONDS, 0.8 * _MOST_CREDIT * interval / 1000 / queues)
    count = int(seconds * 1000 / interval) + 5
    async with AsyncSharQ(here.settings) as sq:
        await sq.submit_many(
            [
                sq.new_job(b"1", interval, f"j{at}", f"q{queue}", queue_type)
                for at in range(count)
                for queue in range(queues)
            ]
        )
        key = b"{sharq_server:%b}:leases" % queue_type.encode()
    socket = await here.connect()
    frame = {"op": "subscribe", "queue_type": queue_type, "credit": _MOST_CREDIT}
    await socket.write_message(json.dumps(frame))
    reading = asyncio.ensure_future(_read_all(socket))
    await asyncio.sleep(seconds)
    leases: Any = here.store.client.zrange(key, 0, -1, withscores=True)
    socket.close()
    await reading
    times: dict[bytes, list[float]] = {}
    for member, ends in leases:
        times.setdefault(member.partition(b"/")[0], []).append(ends)
    shares = [(len(each) - 1) * interval / (each[-1] - each[0]) for each in times.values()]
    gaps = [b - a for each in times.values() for a, b in itertools.pairwise(each)]
    return 100 * sum(shares) / queues, sum(gap < interval for gap in gaps)


async def _read_all(socket: WebSocketClientConnection) -> None:
    while await socket.read_message() is not None:
        pass


async def cycles(here: Stand, queue_type: str) -> float:
    """Enqueue jobs in frames, and wait until all have been finished: jobs a second."""
    payload = json.loads(PAYLOAD)
    frames = []
    for _ in range(_JOBS // _FRAME):
        jobs = [
            {
                "queue_type": queue_type,
                "queue_id": f"q{number % QUEUES}",
                "job_id": f"job-{number:032}",
                "interval": 1,
                "payload": payload,
            }
            for number in itertools.islice(_numbers, _FRAME)
        ]
        frames.append(json.dumps({"op": "enqueue", "jobs": jobs}))
    socket = await here.connect()
    began = time.monotonic()
    under_way = 0
    for frame in frames:
        socket.write_message(frame)
        under_way += 1
        if under_way == _UNDER_WAY:
            await socket.read_message()
            under_way -= 1
    for _ in range(under_way):
        await socket.read_message()
    key = b"{sharq_server:%b}:" % queue_type.encode()
    while here.store.client.exists(key + b"ready", key + b"leases"):
        await asyncio.sleep(0.01)
    socket.close()
    return len(frames) * _FRAME / (time.monotonic() - began)


def _cycles(here: Stand) -> float:
    queue_type = f"cycles{next(_numbers)}"
    with here.worker(queue_type):
        time.sleep(1.5)
        return asyncio.run(cycles(here, queue_type))


async def idle(here: Stand) -> tuple[float, float]:
    """Script calls and pings a second while nothing happens."""
    sockets = []
    for _ in range(_IDLE):
        socket = await here.connect()
        await socket.write_message('{"op":"subscribe","queue_type":"idle","credit":1}')
        sockets.append(socket)
    here.store.client.config_resetstat()
    await asyncio.sleep(_SECONDS)
    stats: Any = here.store.client.info("commandstats")
    for socket in sockets:
        socket.close()
    counts = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return counts.get("evalsha", 0) / _SECONDS, counts.get("ping", 0) / _SECONDS


def run(progress: Progress, options: Options) -> list[Table]:
    progress.begin("push", 3 + 12 + 2 * options.rounds)
    with stand() as here:
        progress.step("latency")
        latencies = [_latency_row("push", here)]
        progress.step("latency of a poller")
        latencies.append(_latency_row("polling every second", here, "--poll", "1"))
        progress.step("idle subscribers")
        calls, pings = asyncio.run(idle(here))
    rates = []
    speeds: dict[str, list[float]] = {}
    for name, store_options in _EVERY.items():
        with stand(**store_options) as here:
            for queues, interval in ((1, 20), (50, 20), (1, 100), (50, 100)):
                progress.step(f"share of the rate, {queues} at {interval} ms, {name}")
                rates.append((name, queues, interval, *asyncio.run(share(here, queues, interval))))
            if name != "everysec":
                for _ in range(options.rounds):
                    progress.step(f"cycles, {name}")
                    speeds.setdefault(name, []).append(_cycles(here))
    progress.end()
    return [
        Table(
            f"Ready to worker, {_RATE:,} jobs a second over {QUEUES:,} queues",
            (Column("worker"), Column("jobs"), Column("p50 ms", 2), Column("p99 ms", 2)),
            latencies,
            (
                "From just before the enqueue is sent to the handler's start, so that the way to",
                "the store is in it. Store without a log. Target: p50 1 ms, p99 5 ms.",
            ),
        ),
        Table(
            "Share of the permitted rate, with a backlog, one subscriber",
            (
                Column("store"),
                Column("queues"),
                Column("interval ms"),
                Column("share %", 2),
                Column("early"),
            ),
            rates,
            ("By the store's clock. Target: 99 %, and none early.",),
        ),
        Table(
            "Job cycles a second: enqueue, delivery, finish; one server, one worker process",
            (Column("store"), Column("cycles/s"), Column("least"), Column("most")),
            [(name, median(each), min(each), max(each)) for name, each in speeds.items()],
            (
                f"{_JOBS:,} jobs over {QUEUES:,} limited queues, enqueued in frames of {_FRAME};",
                f"medians of {options.rounds} rounds. Target: 20,000 without a log.",
            ),
        ),
        Table(
            f"Store commands a second with {_IDLE:,} idle subscribers",
            (Column("scripts/s", 2), Column("pings/s", 2)),
            [(calls, pings)],
        ),
    ]


SUBJECT = Subject("push", "jobs to workers over websockets", run)
