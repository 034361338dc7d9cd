"""What subscribers that wait for jobs cost the store: nothing but the server's own upkeep."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.processes import Stand, stand
from bench.progress import Progress
from bench.push_stand import connect, disconnect
from bench.report import Column, Table
from bench.subject import Findings, Options, Subject

_SUBSCRIBERS = 2_000
_SECONDS = 5.0


def run(progress: Progress, _options: Options) -> Findings:
    progress.begin("idle", 1)
    with stand() as here:
        progress.step(f"{_SUBSCRIBERS:,} subscribers")
        calls, pings = asyncio.run(_wait(here))
    progress.end()
    table = Table(
        f"Store commands a second with {_SUBSCRIBERS:,} idle subscribers",
        (Column("scripts/s", 2), Column("pings/s", 2)),
        [(calls, pings)],
    )
    return Findings([table], [])


async def _wait(here: Stand) -> tuple[float, float]:
    """Script calls and pings a second while nothing happens."""
    sockets = []
    for _ in range(_SUBSCRIBERS):
        socket = await connect(here)
        await socket.write_message('{"op":"subscribe","queue_type":"idle","credit":1}')
        sockets.append(socket)
    here.store.client.config_resetstat()
    await asyncio.sleep(_SECONDS)
    stats: Any = here.store.client.info("commandstats")
    for socket in sockets:
        await disconnect(socket)
    counts = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return counts.get("evalsha", 0) / _SECONDS, counts.get("ping", 0) / _SECONDS


SUBJECT = Subject("idle", "what waiting subscribers cost the store", run)
