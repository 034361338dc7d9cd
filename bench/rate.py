"""The share of its permitted rate that a queue gets; early dispatches, and early starts."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from tornado.websocket import WebSocketClientConnection

from bench import starts
from bench.processes import ALWAYS, EVERYSEC, NO_LOG, Stand, stand
from bench.progress import Progress
from bench.push_stand import connect, key_of
from bench.report import Column, Table
from bench.subject import Findings, Options, Subject
from bench.targets import Target
from sharq import AsyncSharQ

_SECONDS = 4.0
_MOST_CREDIT = 10_000
_CASES = ((1, 20), (50, 20), (1, 100), (50, 100))
_WANTED = 99.9
_TARGET_INTERVAL = 20
_STORES: dict[str, dict[str, Any]] = {"no log": NO_LOG, "everysec": EVERYSEC, "always": ALWAYS}
_numbers = itertools.count()


def run(progress: Progress, _options: Options) -> Findings:
    progress.begin("rate", len(_STORES) * len(_CASES) + len(starts.CASES))
    rows = []
    targets = []
    for name, settings in _STORES.items():
        with stand(**settings) as here:
            for queues, interval in _CASES:
                progress.step(f"{queues} at {interval} ms, {name}")
                share, early = asyncio.run(_share(here, queues, interval))
                rows.append((name, queues, interval, share, early))
                if interval == _TARGET_INTERVAL and name != "no log":
                    targets += _targets(name, queues, share, early)
    measured = {}
    with stand() as here:
        for prefetch, arguments in starts.CASES.items():
            progress.step(f"starts of handlers, prefetch {prefetch}")
            measured[prefetch] = starts.measure(here, arguments)
    progress.end()
    begun, aims = starts.findings(measured)
    table = Table(
        "Share of the permitted rate, with a backlog, one subscriber",
        (
            Column("store"),
            Column("queues"),
            Column("interval ms"),
            Column("share %", 2),
            Column("early"),
        ),
        rows,
        (f"By the store's clock, over {_SECONDS:g} s at most.",),
    )
    return Findings([table, begun], targets + aims)


def _targets(store: str, queues: int, share: float, early: int) -> list[Target]:
    subject = f"permitted rate, {_TARGET_INTERVAL} ms"
    case = f"{queues} queue{'s' * (queues > 1)}, {store}"
    return [
        Target(subject, f"share, {case}", _WANTED, share, "%"),
        Target(subject, f"early, {case}", 0, early, "", at_most=True),
    ]


async def _share(here: Stand, queues: int, interval: int) -> tuple[float, int]:
    """The share in percent, and how many dispatches came before their time.

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
    socket = await connect(here)
    frame = {"op": "subscribe", "queue_type": queue_type, "credit": _MOST_CREDIT}
    await socket.write_message(json.dumps(frame))
    reading = asyncio.ensure_future(read_all(socket))
    await asyncio.sleep(seconds)
    key = key_of(queue_type, "leases")
    leases: Any = here.store.client.zrange(key, 0, -1, withscores=True)
    socket.close()
    await reading
    times: dict[bytes, list[float]] = {}
    for member, ends in leases:
        times.setdefault(member.partition(b"/")[0], []).append(ends)
    shares = [(len(each) - 1) * interval / (each[-1] - each[0]) for each in times.values()]
    gaps = [b - a for each in times.values() for a, b in itertools.pairwise(each)]
    return 100 * sum(shares) / queues, sum(gap < interval for gap in gaps)


async def read_all(socket: WebSocketClientConnection) -> None:
    """Read until the socket is closed, and keep nothing."""
    while await socket.read_message() is not None:
        pass


SUBJECT = Subject("rate", "the share of its permitted rate, and early starts", run)
