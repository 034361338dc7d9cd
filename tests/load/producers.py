"""The measured load: jobs that are enqueued at a steady rate."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time

from tests.load.ledger import Ledger
from tests.load.wire import Peer, Place

_PRODUCERS = 4
_QUEUES = 100
_PAUSE_AFTER_TROUBLE = 0.5


class Producers:
    """Enqueue `rate` jobs a second into queues of the types, over a few connections."""

    def __init__(self, place: Place, ledger: Ledger, queue_types: list[str], rate: float) -> None:
        self._place = place
        self._ledger = ledger
        self._queue_types = queue_types
        self._between = _PRODUCERS / rate
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Go on until cancelled; a request under way is still waited for."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_PRODUCERS):
                group.create_task(self._produce())

    async def _produce(self) -> None:
        while True:
            try:
                peer = await Peer.connect(self._place)
                try:
                    await self._feed(peer)
                finally:
                    peer.close()
            except (OSError, EOFError, TimeoutError) as error:
                self._ledger.troubles[f"enqueue: {type(error).__name__} {error}".strip()] += 1
                await asyncio.sleep(_PAUSE_AFTER_TROUBLE)

    async def _feed(self, peer: Peer) -> None:
        due = time.monotonic() + random.random() * self._between
        while True:
            # A producer that is late does not catch up in a burst.
            due = max(due + self._between, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            enqueuing = asyncio.ensure_future(self._enqueue(peer))
            try:
                await asyncio.shield(enqueuing)
            except asyncio.CancelledError:
                await enqueuing
                raise

    async def _enqueue(self, peer: Peer) -> None:
        number = next(self._numbers)
        job_id = f"job-{number}"
        queue_type = random.choice(self._queue_types)
        path = f"/enqueue/{queue_type}/queue-{number % _QUEUES}/"
        body = json.dumps({"job_id": job_id, "interval": 0, "payload": {"number": number}})
        began = time.monotonic()
        self._ledger.sending(job_id)
        answer = await peer.ask("POST", path, body.encode())
        self._ledger.answered(job_id, began, answer.status)
