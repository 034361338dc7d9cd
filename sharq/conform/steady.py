"""Scenarios on a connection that stays: frames, jobs, credit, heartbeat."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

from sharq.conform.parties import Job, NotSeen, Wrong
from sharq.conform.scenario import Scenario
from sharq.conform.stage import LIMITS, PROTOCOL, Stage

SETTLE: Final = 0.6
"""Seconds in which a client that does too much is waited for."""

_MOST_AT_ONCE: Final = 100
_ROUNDS: Final = 3


async def connect(stage: Stage) -> str:
    if not await stage.until(lambda: bool(stage.peers)):
        if stage.exited is not None:
            raise Wrong(f"it ended, with the exit code {stage.exited}" + _last_mistake(stage))
        raise Wrong("no websocket was opened" + _last_mistake(stage))
    offered = stage.peers[0].protocols
    if offered and PROTOCOL not in offered:
        raise Wrong(f"it offers {', '.join(offered)}, and not {PROTOCOL}")
    return "a websocket was opened" + (f" with {PROTOCOL}" if offered else "")


async def subscribe(stage: Stage) -> str:
    if not stage.peers:
        raise NotSeen("the client is not connected")
    if not await stage.until(lambda: stage.peer is not None):
        if stage.excess:
            raise Wrong(f"it asked for a credit of {stage.excess[0]}")
        if any("notify" in peer.modes for peer in stage.peers):
            raise Wrong("it subscribes with the mode `notify`; only `deliver` is played here")
        raise Wrong("no `subscribe` with a credit came" + _last_mistake(stage))
    peer = await stage.ready()
    return ", ".join(f"{kind} with a credit of {peer.asked(kind)}" for kind in peer.credits)


def _last_mistake(stage: Stage) -> str:
    return f": {stage.mistakes[-1]}" if stage.mistakes else ""


async def finish(stage: Stage) -> str:
    (job,) = await stage.deal()
    await stage.over(job)
    if job.ends[0].op != "finish":
        raise Wrong(f"it sent `{job.ends[0].op}` for a job that was to succeed")
    return "the job was finished with its lease"


async def unknown(stage: Stage) -> str:
    peer = await stage.ready()
    peer.send("weather", temperature=21, wind={"from": "west"})
    (job,) = await stage.deal(odd={"weather": "fine", "wind": [1, 2]})
    await stage.over(job)
    if not peer.open:
        raise Wrong("it closed the connection")
    return "an unknown event and unknown fields were ignored"


async def credit(stage: Stage) -> str:
    """Fill the credit, as often as an increment would need to be told from a new limit."""
    if stage.excess:
        raise Wrong(
            f"it asked for a credit of {stage.excess[0]}; {LIMITS['max_credit']} is allowed"
        )
    peer = await stage.ready()
    asked, grown = sum(map(peer.asked, peer.credits)), 0
    most = asked
    for _ in range(_ROUNDS):
        kind = next(each for each in peer.credits if peer.asked(each))
        number = min(stage.room(peer, kind), _MOST_AT_ONCE) or 1
        await stage.over(*await stage.deal(number))
        await asyncio.sleep(SETTLE / 3)
        now = sum(map(peer.asked, peer.credits))
        grown += now - asked >= number
        asked, most = now, max(most, now)
    if stage.excess:
        raise Wrong(
            f"it asked for a credit of {stage.excess[0]}; {LIMITS['max_credit']} is allowed"
        )
    if grown == _ROUNDS:
        raise Wrong(f"its credit grew by each job that it ended, to {asked}")
    return f"up to {most} at a time were asked for, and worked on"


async def duplicate(stage: Stage) -> str:
    (job,) = await stage.deal(work_ms=200)
    stage.send_jobs(job.peer, [job])
    await stage.over(job)
    await asyncio.sleep(SETTLE)
    check_once(job)
    return "the second delivery was ignored"


def check_once(job: Job, ends: int = 1) -> None:
    """Raise `Wrong` if a job was run or ended more often than there was a reason for."""
    if job.runs > 1:
        raise Wrong(f"its handler ran {job.runs} times")
    if len(job.ends) > ends:
        raise Wrong(f"the lease was ended {len(job.ends)} times")


async def ping(stage: Stage) -> str:
    peer = await stage.ready()
    before = peer.pongs
    peer.wire.ping(b"conform")
    if not await stage.until(lambda: peer.pongs > before):
        raise Wrong("no pong came")
    return "a ping was answered"


async def extend(stage: Stage) -> str:
    (job,) = await stage.deal(lease_ms=1200, work_ms=2400)
    while not job.over:
        left = job.until - time.monotonic()
        if left <= 0:
            raise Wrong("the lease ran out while the handler worked")
        await stage.until(lambda: job.over, left)
    if not job.extensions:
        raise NotSeen("it did not work for `work_ms` of the payload, 2400 ms")
    return f"the lease was extended {job.extensions} times, and the job finished"


async def fail(stage: Stage) -> str:
    (job,) = await stage.deal(fail=True)
    await stage.over(job)
    end = job.ends[0]
    if end.op == "finish":
        raise NotSeen("the handler did not fail, though the payload has `fail`")
    if end.op == "release":
        raise Wrong("it sent `release`: what has failed is not known then")
    if not end.error:
        raise Wrong("its `fail` has no `error`")
    return "it sent `fail` with the error"


async def frames(stage: Stage) -> str:
    total = sum(peer.frames for peer in stage.peers)
    if not total:
        raise NotSeen("no frame came")
    if stage.mistakes:
        more = f" (and {len(stage.mistakes) - 1} more)" if len(stage.mistakes) > 1 else ""
        raise Wrong(json.dumps(stage.mistakes[0], ensure_ascii=False)[1:-1] + more)
    return f"{total} frames were valid"


FIRST: Final = (
    Scenario(
        "connect",
        True,
        "opens a websocket at `/ws/`",
        "Ask for an upgrade, and offer the subprotocol `sharq.v1.json`.",
        connect,
    ),
    Scenario(
        "subscribe",
        True,
        "subscribes to a type with a credit",
        "After `welcome` send `subscribe` with `queue_type` and `credit`: how many jobs you work "
        "on at a time.",
        subscribe,
    ),
    Scenario(
        "finish",
        True,
        "finishes a job with the lease that came with it",
        "Send `finish` with the `lease` of the job, unchanged.",
        finish,
    ),
    Scenario(
        "unknown",
        True,
        "ignores events and fields that it does not know",
        "Read the fields that you need; ignore other fields and other events.",
        unknown,
    ),
    Scenario(
        "credit",
        True,
        "works on as many jobs as its credit says, and sets a credit as a limit",
        "Ask for as many as you can work on at once. A credit is absolute: do not add to it for "
        "each job that has ended.",
        credit,
    ),
    Scenario(
        "duplicate",
        True,
        "runs a lease once, also if it is delivered twice",
        "Keep the leases that you hold in a set; a lease that is in it already is no new job.",
        duplicate,
    ),
    Scenario(
        "ping",
        True,
        "answers the pings of the websocket",
        "Read from the socket all the time, outside your handlers.",
        ping,
    ),
    Scenario(
        "extend",
        False,
        "extends the lease of a job that takes longer",
        "When half of the lease is over and the handler still runs, send `extend`.",
        extend,
    ),
    Scenario(
        "fail",
        False,
        "tells why a job has failed",
        "Send `fail` with an `error`: its `type`, `message` and `trace`.",
        fail,
    ),
)
LAST: Final = (
    Scenario(
        "frames",
        True,
        "sends valid frames alone",
        "A frame is one text message with a JSON object that has `op` and the fields of this op, "
        "no others; leases are those that came with jobs.",
        frames,
    ),
)
