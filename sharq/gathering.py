"""Operations of one turn of the event loop, sent together: many callers, few calls of the store.

A server has many clients at a time. What they ask for within a turn leaves as one script call for
each kind and type, which costs the store a fraction of a call each. Nobody waits for it: the turn
would have ended before anything left. Each caller gets what it would have got alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from sharq._fastpath import Batch
from sharq.flows import MAX_TAKE, Flow, Flows
from sharq.results import Ended, Enqueued, Lease, NewJob

OnEnqueued = Callable[[Enqueued | Exception], None]
OnEnded = Callable[[Ended | Exception], None]
OnTaken = Callable[[Batch | Exception, int, int], None]
"""Told of a batch and which part of it is meant, `start` to `stop`; the part may be empty."""


class _Want(NamedTuple):
    most: int
    done: OnTaken


class Gathering:
    """What is asked for in this turn. `run` carries a flow out, in the running event loop.

    Each `done` is called once, later, with the outcome or with what went wrong; it must not raise.
    """

    def __init__(self, flows: Flows, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        self._flows = flows
        self._run = run
        self._jobs: list[NewJob] = []
        self._on_enqueued: list[OnEnqueued] = []
        self._leases: list[Lease] = []
        self._on_ended: list[OnEnded] = []
        self._wanted: dict[str, list[_Want]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due = False

    def enqueue(self, job: NewJob, done: OnEnqueued) -> None:
        """Put a job at the tail of its queue."""
        self._jobs.append(job)
        self._on_enqueued.append(done)
        if not self._due:
            self._end_of_turn()

    def finish(self, lease: Lease, done: OnEnded) -> None:
        """End a leased job for good; an empty `n` means whichever lease holds it."""
        self._leases.append(lease)
        self._on_ended.append(done)
        if not self._due:
            self._end_of_turn()

    def take(self, queue_type: str, count: int, done: OnTaken) -> None:
        """Lease up to `count` jobs of a type (1 to 100)."""
        wanted = self._wanted.get(queue_type)
        if wanted is None:
            wanted = self._wanted[queue_type] = []
        wanted.append(_Want(count, done))
        if not self._due:
            self._end_of_turn()

    def _end_of_turn(self) -> None:
        self._due = True
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._due = False
        if self._jobs:
            jobs, self._jobs = self._jobs, []
            dones, self._on_enqueued = self._on_enqueued, []
            self._start(self._each(self._enqueued(jobs), dones))
        if self._leases:
            leases, self._leases = self._leases, []
            ends, self._on_ended = self._on_ended, []
            self._start(self._each(self._flows.finish_leases(leases), ends))
        if self._wanted:
            wanted, self._wanted = self._wanted, {}
            for queue_type, wants in wanted.items():
                self._take(queue_type, wants)

    def _enqueued(self, jobs: list[NewJob]) -> Flow[list[Any]]:
        if len(jobs) == 1:
            return _alone(self._flows.submit(jobs[0]))
        return self._flows.submit_many(jobs)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _each(self, flow: Flow[list[Any]], dones: Sequence[Callable[[Any], None]]) -> None:
        try:
            outcomes = await self._run(flow)
        except Exception as error:
            outcomes = [error] * len(dones)
        for done, outcome in zip(dones, outcomes, strict=True):
            done(outcome)

    def _take(self, queue_type: str, wants: list[_Want]) -> None:
        """Calls for all that is wanted of a type, as many jobs in each as a call may take."""
        first, total = 0, 0
        for at, want in enumerate(wants):
            if total + want.most > MAX_TAKE:
                self._start(self._deal(queue_type, wants[first:at], total))
                first, total = at, 0
            total += want.most
        self._start(self._deal(queue_type, wants[first:], total))

    async def _deal(self, queue_type: str, wants: list[_Want], total: int) -> None:
        """Lease `total` jobs, and give each as many as it wants, in their order."""
        try:
            batch = await self._run(self._flows.take(queue_type, total, None))
        except Exception as error:
            for want in wants:
                want.done(error, 0, 0)
            return
        start = 0
        for at, want in enumerate(wants):
            stop = min(start + want.most, len(batch))
            if start == stop and batch and batch.wait_us == 0:
                # The answer was full before all were served: there may be more.
                self._take(queue_type, wants[at:])
                return
            want.done(batch, start, stop)
            start = stop


def _alone(flow: Flow[Any]) -> Flow[list[Any]]:
    return [(yield from flow)]
