"""Scenarios of a server that says no: leases that are over, a store that is away."""

from __future__ import annotations

import asyncio
from typing import Final

from sharq.conform.parties import Answer, Job, NotSeen, Refuse, Wrong
from sharq.conform.scenario import Scenario
from sharq.conform.stage import Stage
from sharq.conform.steady import SETTLE

_AWAY: Final = "store_unavailable"
_HURRY: Final = 0.05
"""Seconds between two repetitions, under which a client asks too often."""


async def over(stage: Stage) -> str:
    for code in ("not_active", "stale_lease"):
        (job,) = await stage.deal(answers=[code])
        await stage.over(job)
        await asyncio.sleep(2 * SETTLE)
        if len(job.ends) > 1:
            raise Wrong(f"it sent `{job.ends[1].op}` again after {code}")
    await _goes_on(stage)
    return "not_active and stale_lease were taken as an end"


async def expired(stage: Stage) -> str:
    (job,) = await stage.deal(answers=["not_active"], work_ms=300)
    job.peer.send("expired", leases=[job.lease])
    job.over = True
    await asyncio.sleep(SETTLE)
    await _goes_on(stage)
    return "it went on after `expired`"


async def refused(stage: Stage) -> str:
    return await _repeated(stage, Refuse(_AWAY), "an `error` with a code of the store")


async def result(stage: Stage) -> str:
    return await _repeated(stage, _AWAY, "a result with a code of the store")


async def _repeated(stage: Stage, no: Answer, what: str) -> str:
    (job,) = await stage.deal(answers=[no, no])
    await stage.until(lambda: bool(job.ends))
    if not job.ends:
        raise Wrong("the lease was not ended at all")
    await stage.until(lambda: job.over)
    if not job.over:
        raise Wrong(f"it did not repeat its `{job.ends[0].op}` after {what}")
    _check_pace(job)
    await asyncio.sleep(SETTLE)
    if len(job.ends) > 3:
        raise Wrong("it went on repeating after success")
    return f"it repeated after {what}, until it was done"


def _check_pace(job: Job) -> None:
    pairs = zip(job.ends, job.ends[1:], strict=False)
    least = min((later.at - end.at for end, later in pairs), default=_HURRY)
    if least < _HURRY:
        raise Wrong(f"it repeats within {round(least * 1000)} ms")


async def paused(stage: Stage) -> str:
    (job,) = await stage.deal(work_ms=100)
    peer = job.peer
    stage.paused = True
    peer.send("paused", code=_AWAY)
    await asyncio.sleep(1)
    if not peer.open:
        raise Wrong("it closed the connection")
    _check_pace(job)
    stage.paused = False
    peer.send("resumed")
    await stage.over(job)
    await _goes_on(stage)
    return "it waited for `resumed`, and went on"


async def _goes_on(stage: Stage) -> None:
    """Raise `Wrong` if the client does not take another job."""
    try:
        (job,) = await stage.deal()
        await stage.over(job)
    except (Wrong, NotSeen) as error:
        raise Wrong(f"it does not work on the next job: {error}") from None


REFUSING: Final = (
    Scenario(
        "over",
        True,
        "takes a refused finish as the end: the lease was over",
        "After `not_active` or `stale_lease` forget the lease, and go on. Another worker may have "
        "the job.",
        over,
    ),
    Scenario(
        "expired",
        True,
        "goes on when a lease has expired",
        "Drop the jobs that `expired` names; take others.",
        expired,
    ),
    Scenario(
        "refused",
        True,
        "repeats a finish that the store could not take",
        "Keep a finish until it is answered by a result. After an `error` with a code of the store "
        "send it again, half a second later.",
        refused,
    ),
    Scenario(
        "result",
        True,
        "repeats a finish whose result is a code of the store",
        "Look at each of `results`. One with a code of the store is not final: send this lease "
        "again, half a second later.",
        result,
    ),
    Scenario(
        "paused",
        True,
        "stays connected while the store is away",
        "On `paused` wait for `resumed`; then repeat what was refused meanwhile.",
        paused,
    ),
)
