"""The scenario of a client that is stopped, where the stage has started it."""

from __future__ import annotations

import asyncio
from typing import Final

from sharq.conform.parties import NotSeen, Wrong
from sharq.conform.scenario import Scenario
from sharq.conform.stage import Stage

_NORMAL: Final = (1000, 1005)


async def stop(stage: Stage) -> str:
    if stage.client is None:
        raise NotSeen("it was not started by `sharq conform -- COMMAND`")
    if stage.client.returncode is not None:
        raise NotSeen("the client has ended before")
    (job,) = await stage.deal(work_ms=400)
    await asyncio.sleep(0.1)
    stage.client.terminate()
    if not await stage.until(lambda: stage.exited is not None):
        raise Wrong(f"it still runs {stage.patience:g} s after SIGTERM")
    if not job.over:
        raise Wrong("it left a running job behind")
    if job.peer.code not in _NORMAL:
        raise Wrong(f"it did not close the websocket (code {job.peer.code})")
    if stage.exited:
        raise Wrong(f"its exit code was {stage.exited}")
    return f"it ended its job by `{job.ends[0].op}` and closed"


STOPPING: Final = Scenario(
    "stop",
    False,
    "ends in good order at SIGTERM",
    "Set the credit of the connection to 0, let running handlers end, wait for the answers, close "
    "with 1000.",
    stop,
)
