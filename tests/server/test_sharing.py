"""How a type's jobs are shared out among many subscribers, in a backlog and after it."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.server.subscriber import Subscriber
from tests.server.support import Rest

pytestmark = pytest.mark.gen_test(timeout=90)

SUBSCRIBERS = 8
BACKLOG = 1600
FEWEST_FRAMES = BACKLOG // 64


async def enqueue(rest: Rest, count: int, run: str) -> None:
    jobs = [
        {
            "queue_type": "t",
            "queue_id": f"q{at}",
            "job_id": f"{run}{at}",
            "interval": 0,
            "payload": at,
        }
        for at in range(count)
    ]
    for at in range(0, count, 100):
        await rest.post("/enqueue/", {"jobs": jobs[at : at + 100]})


async def shares(clients: list[Subscriber], count: int) -> tuple[Counter[int], int]:
    """How many of so many jobs each gets, and in how many frames all of them come."""
    had: Counter[int] = Counter()
    frames = 0
    # A frame that has come is answered before the answer to a later one.
    while had.total() < count:
        for at, each in enumerate(clients):
            await each.ask(op="ping")
            came = [event for event in each.events if event["event"] == "jobs"]
            each.events = [event for event in each.events if event["event"] != "jobs"]
            had[at] += sum(len(event["jobs"]) for event in came)
            frames += len(came)
    assert had.total() == count
    return had, frames


async def test_a_backlog_goes_to_all_in_few_frames_and_a_burst_after_it_to_each(
    http_port: int, http_server: object, rest: Rest
) -> None:
    await enqueue(rest, BACKLOG, "backlog")
    async with AsyncExitStack() as held:
        clients = [
            await held.enter_async_context(await Subscriber.connect(http_port))
            for _ in range(SUBSCRIBERS)
        ]
        first: Any = [each.send(op="subscribe", queue_type="t", credit=1000) for each in clients]
        had, frames = await shares(clients, BACKLOG)
        for each, frame_id in zip(clients, first, strict=True):
            assert (await each.answer(frame_id))["event"] == "reply"
        assert max(had.values()) <= 3 * min(had.values())
        assert frames < 4 * FEWEST_FRAMES
        await enqueue(rest, SUBSCRIBERS, "burst")
        had, _ = await shares(clients, SUBSCRIBERS)
        assert set(had.values()) == {1}
