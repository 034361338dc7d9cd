"""Whether those who watch a type hold back those who work on it: latency and rate beside them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from bench.processes import another, stand
from bench.progress import Progress
from bench.push_stand import disconnect
from bench.report import Column, Table
from bench.series import Series
from bench.subject import Findings, Options, Subject
from bench.targets import Target

WATCHERS = (0, 1, 10)
_ROUNDS = 3
_JOBS = 40
_PAUSE = 0.01
_INTERVAL_MS = 50
_BACKLOG = 41
_PATIENCE = 20.0
_numbers = itertools.count()


class Sample(NamedTuple):
    """What a worker saw beside some watchers: from the enqueue to the job, in ms, and jobs/s."""

    push_ms: float
    poll_ms: float
    rate: float


async def measure(ports: Sequence[int], watchers: int) -> Sample:
    """Watch, work and enqueue at servers on one store, of which there are two or more.

    The watchers are told and fetch nothing, spread over all servers. The worker is at the first
    one, who enqueues at the last.
    """
    queue_type = f"watched{next(_numbers)}"
    sockets = [await _connect(ports[at % len(ports)]) for at in range(watchers)]
    for socket in sockets:
        await _ask(socket, op="subscribe", queue_type=queue_type, mode="notify", credit=1000)
    worker, producer = await _connect(ports[0]), await _connect(ports[-1])
    try:
        polled = [await _poll(ports[0], producer, queue_type) for _ in range(_JOBS)]
        await _ask(worker, op="subscribe", queue_type=queue_type, credit=10)
        pushed = [await _push(worker, producer, queue_type) for _ in range(_JOBS)]
        rate = await _rate(worker, producer, queue_type)
    finally:
        for socket in (*sockets, worker, producer):
            await disconnect(socket)
    return Sample(median(pushed) * 1000, median(polled) * 1000, rate)


async def _push(
    worker: WebSocketClientConnection, producer: WebSocketClientConnection, queue_type: str
) -> float:
    """Seconds from an enqueue to the worker."""
    await asyncio.sleep(_PAUSE)
    began = time.perf_counter()
    await _enqueue(producer, queue_type, 1)
    event = await _event(worker, "jobs")
    took = time.perf_counter() - began
    await _finish(worker, event["jobs"])
    return took


async def _poll(port: int, producer: WebSocketClientConnection, queue_type: str) -> float:
    """Seconds from an enqueue to the answer of a long poll that waits for it."""
    url = f"http://127.0.0.1:{port}/dequeue/{queue_type}/?wait={_PATIENCE:.0f}"
    answer = asyncio.ensure_future(
        AsyncHTTPClient().fetch(url, request_timeout=2 * _PATIENCE, raise_error=True)
    )
    await asyncio.sleep(2 * _PAUSE)
    began = time.perf_counter()
    await _enqueue(producer, queue_type, 1)
    job = json.loads((await answer).body)
    took = time.perf_counter() - began
    await _finish(producer, [job])
    return took


async def _rate(
    worker: WebSocketClientConnection, producer: WebSocketClientConnection, queue_type: str
) -> float:
    """Jobs a second that the worker has of a queue with a backlog."""
    await _enqueue(producer, queue_type, _BACKLOG, _INTERVAL_MS)
    times: list[float] = []
    while len(times) < _BACKLOG:
        jobs = (await _event(worker, "jobs"))["jobs"]
        times += [time.perf_counter()] * len(jobs)
        await _finish(worker, jobs)
    return (len(times) - 1) / (times[-1] - times[0])


async def _enqueue(
    producer: WebSocketClientConnection, queue_type: str, count: int, interval: int = 0
) -> None:
    queue_id = f"q{next(_numbers)}"
    jobs = [
        {
            "queue_type": queue_type,
            "queue_id": queue_id,
            "job_id": f"j{at}",
            "interval": interval,
            "payload": at,
        }
        for at in range(count)
    ]
    await _ask(producer, op="enqueue", jobs=jobs)


async def _finish(socket: WebSocketClientConnection, jobs: Sequence[dict[str, Any]]) -> None:
    # The answer comes among the other events, where nobody waits for it.
    leases = [job["lease"] for job in jobs]
    await socket.write_message(json.dumps({"op": "finish", "leases": leases}))


async def _connect(port: int) -> WebSocketClientConnection:
    socket = await websocket_connect(f"ws://127.0.0.1:{port}/ws/")
    await _event(socket, "welcome")
    return socket


async def _ask(socket: WebSocketClientConnection, **frame: Any) -> None:
    """Send a frame and wait for its answer."""
    frame_id = next(_numbers)
    await socket.write_message(json.dumps({**frame, "id": frame_id}))
    while (await _event(socket, "reply")).get("id") != frame_id:
        pass


async def _event(socket: WebSocketClientConnection, kind: str) -> dict[str, Any]:
    """The next event of a kind; others are passed over."""
    while True:
        text = await asyncio.wait_for(socket.read_message(), _PATIENCE)
        if text is None:
            raise ConnectionError(f"closed with {socket.close_code}")
        event: dict[str, Any] = json.loads(text)
        if event["event"] == "error":
            raise RuntimeError(str(event))
        if event["event"] == kind:
            return event


def run(progress: Progress, options: Options) -> Findings:
    rounds = min(options.rounds, _ROUNDS)
    progress.begin("watchers", rounds * len(WATCHERS))
    series = {(count, name): Series() for count in WATCHERS for name in Sample._fields}
    with stand() as here, another(here) as other:
        for _ in range(rounds):
            for count in WATCHERS:
                progress.step(f"beside {count} watchers")
                sample = asyncio.run(measure((here.port, other), count))
                for name, value in sample._asdict().items():
                    series[count, name].add(value)
    progress.end()
    table = Table(
        "A worker beside watchers that fetch nothing",
        (
            Column("watchers"),
            Column("push, ms", 2),
            Column("long poll, ms", 2),
            Column("jobs/s", 2),
        ),
        [(count, *(series[count, name].median for name in Sample._fields)) for count in WATCHERS],
        (
            "From the enqueue at one server to the worker at another one, and what the worker",
            f"has of a queue of {1000 // _INTERVAL_MS} a second; the watchers are at both.",
            f"Medians of {rounds} rounds with {_JOBS} jobs each.",
        ),
    )
    most = WATCHERS[-1]
    share = series[most, "rate"].ratio_to(series[0, "rate"])
    target = Target(
        "watchers hold nobody back",
        f"rate beside {most}",
        95,
        None if share is None else share * 100,
        "%",
        remark="of the rate without",
    )
    return Findings([table], [target])


SUBJECT = Subject("watchers", "latency and rate beside subscribers that only watch", run)
