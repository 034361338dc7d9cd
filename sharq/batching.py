"""Operations of one turn of the event loop, sent together: many callers, few calls of the store.

A server has many clients at a time. Their requests of one turn leave as one script call for each
kind and type, which costs the store much less than a call each. This causes no delay: nothing would
leave before the end of the turn anyway. Each caller gets what it would have got alone.

While the store has little to do, a few requests are enough for a call, which leaves at once: so the
store works on the first while the others come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sharq._fastpath import Batch
from sharq.endings import finish_with
from sharq.errors import UnexpectedReply
from sharq.identifiers import check_leased
from sharq.operations.call import Flow
from sharq.operations.flows import MAX_TAKE, Flows
from sharq.operations.operations import BULK_SIZE
from sharq.results import Ended, Enqueued, Lease, NewJob, Told

OnEnqueued = Callable[[Enqueued | Exception], None]
OnEnded = Callable[[Ended | Exception], None]
OnTaken = Callable[[Batch | Exception, int, int], None]
"""Gets a batch and its part in it, `start` to `stop`; the part may be empty."""


_ENOUGH: Final = 8
_FEW_CALLS: Final = 3

Item = TypeVar("Item")
Done = TypeVar("Done")


class _Want(NamedTuple):
    most: int
    done: OnTaken


class _Group(Generic[Item, Done]):
    """The requests for one shard, each with its callback."""

    __slots__ = ("dones", "items")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.dones: list[Done] = []


class Batcher:
    """The requests of this turn.

    `begin` carries a flow out, in the running event loop: it sends the first call before it
    returns, and its result has to be awaited for the rest. Each `done` is called once, later, with
    the outcome or the error; it must not raise.
    """

    def __init__(
        self, flows: Flows, begin: Callable[[Flow[Any]], Coroutine[Any, Any, Any]]
    ) -> None:
        self._flows = flows
        self._shards = flows.shards
        self._begin = begin
        self._jobs: dict[str, _Group[NewJob, OnEnqueued]] = {}
        self._leases: dict[str, _Group[Lease, OnEnded]] = {}
        self._told: dict[str, _Group[Told, OnEnded]] = {}
        self._wanted: dict[str, list[_Want]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due = False

    def enqueue(self, job: NewJob, done: OnEnqueued) -> None:
        """Put a job at the tail of its queue."""
        name = self._shards.home(job.queue_type, job.queue_id)
        self._add(self._jobs, name, job, done, self._flows.submit_alike)

    def finish(
        self,
        queue_type: str,
        queue_id: str,
        job_id: str,
        lease: str | None,
        done: OnEnded,
        cost: int | None = None,
    ) -> None:
        """End a leased job for good; without its token, whichever lease holds it.

        `cost` is the real one, if it is told. Raises `BadArgumentException` at once.
        """
        meant = check_leased(queue_type, queue_id, job_id, lease)
        name = self._shards.home(queue_type, queue_id)
        if cost is None:
            self._add(self._leases, name, meant, done, self._flows.finish_alike)
        else:
            told = finish_with(cost).of(meant)
            self._add(self._told, name, told, done, self._flows.settle_alike)

    def take(self, queue_type: str, count: int, done: OnTaken) -> None:
        """Lease up to `count` jobs (1 to 100) of a type with a valid name."""
        wanted = self._wanted.get(queue_type)
        if wanted is None:
            wanted = self._wanted[queue_type] = []
        wanted.append(_Want(count, done))
        if len(wanted) == _ENOUGH and len(self._tasks) < _FEW_CALLS:
            del self._wanted[queue_type]
            self._take(queue_type, wanted)
        elif not self._due:
            self._end_of_turn()

    def _add(
        self,
        groups: dict[str, _Group[Item, Done]],
        name: str,
        item: Item,
        done: Done,
        flow: Callable[[str, list[Item]], Flow[Sequence[Any]]],
    ) -> None:
        group = groups.get(name)
        if group is None:
            group = groups[name] = _Group()
        group.items.append(item)
        group.dones.append(done)
        if len(group.items) == _ENOUGH and len(self._tasks) < _FEW_CALLS:
            del groups[name]
            self._send_group(name, group, flow)
        elif not self._due:
            self._end_of_turn()

    def _end_of_turn(self) -> None:
        self._due = True
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._due = False
        if self._jobs:
            jobs, self._jobs = self._jobs, {}
            self._send_groups(jobs, self._flows.submit_alike)
        if self._leases:
            leases, self._leases = self._leases, {}
            self._send_groups(leases, self._flows.finish_alike)
        if self._told:
            told, self._told = self._told, {}
            self._send_groups(told, self._flows.settle_alike)
        if self._wanted:
            wanted, self._wanted = self._wanted, {}
            for queue_type, wants in wanted.items():
                self._take(queue_type, wants)

    def _send_groups(
        self,
        groups: Mapping[str, _Group[Item, Done]],
        flow: Callable[[str, list[Item]], Flow[Sequence[Any]]],
    ) -> None:
        for name, group in groups.items():
            self._send_group(name, group, flow)

    def _send_group(
        self,
        name: str,
        group: _Group[Item, Any],
        flow: Callable[[str, list[Item]], Flow[Sequence[Any]]],
    ) -> None:
        for at in range(0, len(group.items), BULK_SIZE):
            items = group.items[at : at + BULK_SIZE]
            begun = self._begin(flow(name, items))
            self._start(self._each(name, items, group.dones[at : at + BULK_SIZE], flow, begun))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _each(
        self,
        name: str,
        items: list[Item],
        dones: Sequence[Any],
        flow: Callable[[str, list[Item]], Flow[Sequence[Any]]],
        begun: Awaitable[Sequence[Any]],
    ) -> None:
        try:
            outcomes = await begun
        except Exception as error:
            # An error in one queue must not affect the others. A script writes jobs after it has
            # read all that it needs; a finish reads nothing that belongs to one queue only.
            repeatable = flow == self._flows.submit_alike
            if repeatable and len(items) > 1 and isinstance(error, UnexpectedReply):
                for item, done in zip(items, dones, strict=True):
                    begun = self._begin(flow(name, [item]))
                    await self._each(name, [item], [done], flow, begun)
                return
            for done in dones:
                done(error)
            return
        for done, outcome in zip(dones, outcomes, strict=True):
            done(outcome)

    def _take(self, queue_type: str, wants: list[_Want]) -> None:
        """Calls for all requests for a type, with as many jobs in each as a call may take."""
        first, total = 0, 0
        for at, want in enumerate(wants):
            if total + want.most > MAX_TAKE:
                self._take_together(queue_type, wants[first:at], total)
                first, total = at, 0
            total += want.most
        self._take_together(queue_type, wants[first:], total)

    def _take_together(self, queue_type: str, wants: list[_Want], total: int) -> None:
        begun = self._begin(self._flows.take(queue_type, total, None))
        self._start(self._deal(queue_type, wants, begun))

    async def _deal(self, queue_type: str, wants: list[_Want], begun: Awaitable[Batch]) -> None:
        """Give each as many of the jobs as it wants, in their order."""
        try:
            batch = await begun
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
