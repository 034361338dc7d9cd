"""Scenarios of connections that end, and of what the client does on the next one."""

from __future__ import annotations

import asyncio
from typing import Final

from sharq.conform.parties import Cut, NotSeen, Wrong
from sharq.conform.scenario import Scenario
from sharq.conform.stage import Stage
from sharq.conform.steady import SETTLE, check_once

_REFUSING: Final = 2.0
_MOST_ATTEMPTS: Final = 25
_DRAINING_MS: Final = 3000
_SILENT_HEARTBEAT: Final = 0.5


async def reconnect(stage: Stage) -> str:
    peer = await stage.ready()
    peer.cut()
    await stage.returns(peer)
    (job,) = await stage.deal()
    await stage.over(job)
    return "it connected again, subscribed and worked"


async def backoff(stage: Stage) -> str:
    peer = await stage.ready()
    before = len(stage.refused)
    stage.refuses = True
    peer.cut()
    await asyncio.sleep(_REFUSING)
    stage.refuses = False
    attempts = len(stage.refused) - before
    if attempts > _MOST_ATTEMPTS:
        raise Wrong(f"it tried {attempts} times in {_REFUSING:g} s")
    await stage.returns(peer)
    return f"it tried {attempts} times in {_REFUSING:g} s, and came back"


async def lost_reply(stage: Stage) -> str:
    (job,) = await stage.deal(answers=[Cut()])
    if not await stage.until(lambda: bool(job.ends)):
        raise Wrong("the lease was not ended")
    await stage.returns(job.ends[0].peer)
    if not await stage.until(lambda: len(job.ends) > 1):
        raise Wrong(f"it did not repeat its `{job.ends[0].op}`, of which the answer was lost")
    await asyncio.sleep(SETTLE)
    check_once(job, ends=2)
    return f"it repeated its `{job.ends[0].op}` with the same lease"


async def carry(stage: Stage) -> str:
    (job,) = await stage.deal(work_ms=1000)
    peer = job.peer
    await asyncio.sleep(0.1)
    if job.over:
        raise NotSeen("it did not work for `work_ms` of the payload, 1000 ms")
    peer.cut()
    after = await stage.returns(peer)
    await stage.over(job)
    check_once(job)
    named = " and named the lease in `subscribe`" if job.lease in after.carried else ""
    return f"it finished the job on the next connection{named}"


async def draining(stage: Stage) -> str:
    (job,) = await stage.deal(work_ms=600)
    peer = job.peer
    peer.draining = True
    peer.send("draining", after_ms=_DRAINING_MS)
    await stage.until(lambda: job.over or not peer.open, _DRAINING_MS / 1000)
    early = stage.peer is not None
    if peer.open:
        peer.close(1012)
    await stage.returns(peer)
    await stage.over(job)
    check_once(job, ends=2)
    (following,) = await stage.deal()
    await stage.over(following)
    return f"it moved to another connection{', before the close' if early else ''}"


async def silence(stage: Stage) -> str:
    """A connection on which nothing comes any more, though it is open."""
    peer = await stage.ready()
    stage.heartbeat = _SILENT_HEARTBEAT
    peer.cut()
    peer = await stage.returns(peer)
    stage.clear()
    peer.mute = True
    pings = peer.pings
    limit = 2 * _SILENT_HEARTBEAT + stage.patience / 2
    if not await stage.until(lambda: not peer.open or stage.peer is not peer, limit):
        if peer.pings > pings:
            raise NotSeen("its library pings by itself, and is answered by the one here")
        peer.mute = False
        peer.cut()
        raise Wrong(f"it stayed for {limit:g} s, with a `heartbeat` of {_SILENT_HEARTBEAT:g} s")
    await stage.returns(peer)
    return "it left a connection that was silent for two heartbeats"


RETURNING: Final = (
    Scenario(
        "reconnect",
        True,
        "connects again after a loss",
        "When a connection ends, open the next one and subscribe again.",
        reconnect,
    ),
    Scenario(
        "backoff",
        True,
        "waits between attempts to connect, and does not give up",
        "Wait a random time below a bound that begins at 50 ms and doubles, up to 30 s. A refusal "
        "(503) is such a failed attempt.",
        backoff,
    ),
    Scenario(
        "lost_reply",
        True,
        "repeats a finish of which the answer was lost, and does not run the job again",
        "Keep each finish until it is answered, and send it again on the next connection, with the "
        "same lease. `already_finished` is success.",
        lost_reply,
    ),
    Scenario(
        "carry",
        False,
        "takes the leases of running handlers to the next connection",
        "Let handlers run on when a connection is lost; name their leases in `subscribe`, and "
        "finish them there.",
        carry,
    ),
    Scenario(
        "draining",
        True,
        "moves when the server is about to stop",
        "On `draining` open another connection and subscribe there. End your jobs on the old one "
        "until the server closes it, then on the new one.",
        draining,
    ),
    Scenario(
        "silence",
        False,
        "leaves a connection on which nothing comes",
        "When nothing has come for two heartbeats, the connection is lost. Where pings are not "
        "seen, send a `ping` frame each heartbeat.",
        silence,
    ),
)
