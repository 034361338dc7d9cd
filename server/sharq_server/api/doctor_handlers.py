"""The route of the doctor."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from sharq.engine import Carrier
from sharq.errors import StoreError, StoreUnavailable
from sharq_server.api import bodies, doctor, shown_replies
from sharq_server.api.doctor import Finding
from sharq_server.api.handlers import Request
from sharq_server.api.replies import Reply

_LOOKS: Final = 5
_SHARE: Final = 0.05
"""Of the interval of the sweep, between two looks: together more than a claim leaves free."""

_LONGEST_PAUSE: Final = 1.0


async def findings(engine: Carrier, request: Request) -> Reply:
    """What is wrong, and what to do; also where the store is what is wrong."""
    bodies.only_parameters(request.query)
    found: list[Finding] = []
    try:
        nodes = await request.exchange.look_at_store()
        if not nodes:
            raise StoreUnavailable("Its nodes are not known yet.")
        found += doctor.of_store(nodes)
        silent = [node.where for node in nodes if node.trouble is not None]
        if len(silent) < len(nodes):
            refusals = doctor.of_writes(await engine.try_writes(), silent)
            found += refusals or await _of_sweep(engine, request)
    except StoreError as error:
        found = [*doctor.of_store(error)]
    found += doctor.of_server(request.exchange.facts)
    return shown_replies.findings(found, time.time_ns() // 1_000_000)


async def _of_sweep(engine: Carrier, request: Request) -> list[Finding]:
    swept = await _is_swept(engine, request)
    enabled = engine.flows.settings.enable_requeue_script
    return [doctor.of_sweep(swept, enabled, request.exchange.facts)]


async def _is_swept(engine: Carrier, request: Request) -> bool:
    """Whether some server sweeps: in a round is a moment in which none has claimed it."""
    pause = min(engine.flows.settings.job_requeue_interval / 1000 * _SHARE, _LONGEST_PAUSE)
    for _ in range(_LOOKS if request.exchange.waits else 1):
        if await engine.run(engine.flows.is_swept()):
            return True
        if request.exchange.waits:
            await asyncio.sleep(pause)
    return False
