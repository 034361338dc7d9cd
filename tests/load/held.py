"""Connections that are held, and take part in the work: each shows that it is alive."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from tests.load.ledger import Ledger
from tests.load.wire import Peer, Place

_OPENING = 32
"""Connections that are opened at a time."""

_BETWEEN_REQUESTS = (20.0, 50.0)
_WAITS = (20.0, 28.0)
_AFTER_TROUBLE = 1.0
_MOST_PATIENCE = 5

Talk = Callable[[Peer], Awaitable[None]]


class Crowd:
    """Holds connections to a server; `held` is how many there are by now.

    Two in five ask for something now and then, one in four is in long polls of `poll_types`, and
    the others subscribe to `push_types`. Whoever is given a job finishes it.
    """

    def __init__(
        self, place: Place, ledger: Ledger, poll_types: list[str], push_types: list[str]
    ) -> None:
        self.held = 0
        self._place = place
        self._ledger = ledger
        self._poll_types = poll_types
        self._push_types = push_types
        self._opening = asyncio.Semaphore(_OPENING)

    async def hold(self, number: int) -> None:
        """Hold connection `number` for ever; where it ends that is noted, and another is opened."""
        kind, begin, go_on = self._talk(number)
        while True:
            try:
                async with AsyncExitStack() as held:
                    async with self._opening:
                        peer = await Peer.connect(self._place)
                        held.callback(peer.close)
                        await begin(peer)
                    held.enter_context(self._present())
                    await go_on(peer)
            except (OSError, EOFError, TimeoutError) as error:
                self._ledger.troubles[f"{kind}: {type(error).__name__} {error}".strip()] += 1
            await asyncio.sleep(_AFTER_TROUBLE * (1 + random.random()))

    def _talk(self, number: int) -> tuple[str, Talk, Talk]:
        round_, place = divmod(number, 20)
        if place < 8:
            return "idle", self._ask, self._ask_now_and_then
        if place < 13:
            at = round_ * 5 + place - 8
            queue_type = self._poll_types[at % len(self._poll_types)]
            return "long poll", _nothing, self._polling(queue_type)
        at = round_ * 7 + place - 13
        queue_type = self._push_types[at % len(self._push_types)]
        return "subscriber", _subscribing(queue_type), self._listen

    @contextmanager
    def _present(self) -> Iterator[None]:
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def _ask_now_and_then(self, peer: Peer) -> None:
        while True:
            await asyncio.sleep(random.uniform(*_BETWEEN_REQUESTS))
            await self._ask(peer)

    async def _ask(self, peer: Peer) -> None:
        since = time.monotonic()
        answer = await peer.ask("GET", "/")
        self._ledger.asked.add(time.monotonic() - since)
        if answer.status != 200:
            self._ledger.troubles[f"a request now and then was answered {answer.status}"] += 1

    def _polling(self, queue_type: str) -> Talk:
        async def poll(peer: Peer) -> None:
            troubles = 0
            while True:
                wait = random.uniform(*_WAITS)
                answer = await peer.ask("GET", f"/dequeue/{queue_type}/?wait={wait:.3f}")
                if answer.status == 200:
                    await self._finish(peer, queue_type, answer.body)
                if answer.status in (200, 404):
                    troubles = 0
                    continue
                # As clients should: the more often it fails, the longer until the next attempt.
                troubles = min(troubles + 1, _MOST_PATIENCE)
                self._ledger.troubles[f"a long poll was answered {answer.status}"] += 1
                await asyncio.sleep(_AFTER_TROUBLE * 2**troubles * random.random())

        return poll

    async def _finish(self, peer: Peer, queue_type: str, job: dict[str, Any]) -> None:
        job_id = job["job_id"]
        self._ledger.delivered(job_id)
        path = f"/finish/{queue_type}/{job['queue_id']}/{job_id}/"
        answer = await peer.ask("POST", path, json.dumps({"lease": job["lease"]}).encode())
        self._ledger.ended(job_id, "success" if answer.status == 200 else answer.status)

    async def _listen(self, peer: Peer) -> None:
        finishing: dict[int, list[str]] = {}
        numbers = itertools.count()
        async for frame in peer.frames():
            if frame["event"] == "jobs":
                number = next(numbers)
                finishing[number] = self._take(peer, number, frame["jobs"])
            elif "results" in frame:
                jobs = finishing.pop(frame["id"])
                for job_id, how in zip(jobs, frame["results"], strict=True):
                    self._ledger.ended(job_id, how)
            elif frame["event"] not in ("welcome", "reply"):
                self._ledger.troubles[f"a subscriber was told {frame['event']}"] += 1

    def _take(self, peer: Peer, number: int, jobs: list[dict[str, Any]]) -> list[str]:
        job_ids = [job["job_id"] for job in jobs]
        for job_id in job_ids:
            self._ledger.delivered(job_id)
        peer.send(op="finish", leases=[job["lease"] for job in jobs], id=number)
        return job_ids


async def _nothing(_peer: Peer) -> None:
    """A long poll begins with its first request."""


def _subscribing(queue_type: str) -> Talk:
    async def subscribe(peer: Peer) -> None:
        await peer.upgrade()
        peer.send(op="subscribe", queue_type=queue_type, credit=10)

    return subscribe
