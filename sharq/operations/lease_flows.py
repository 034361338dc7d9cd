"""The flows of leases: how their holders end them, or let them last longer; and of cancels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from sharq.endings import Ending, EndingLease, fail_with, finish_with, release_with
from sharq.errors import StoreError, WrongKind
from sharq.identifiers import MAX_INTERVAL, check_integer, check_leased, find_lease
from sharq.operations.call import Call, Flow
from sharq.operations.operations import Operations
from sharq.operations.pausing import pause_from_worker
from sharq.operations.sharding import type_of
from sharq.operations.spreading import Spreading, unfailed
from sharq.operations.targets import TYPE
from sharq.results import DEAD, INVALID, SUCCESS, Ended, Extended, Lease, Told

T = TypeVar("T")

_DONE = (SUCCESS, DEAD)
_NOT_ENDED = Ended(INVALID)
_NOT_EXTENDED = Extended(INVALID, 0)


class _ToldOf(NamedTuple):
    queue_type: str
    told: Told

    @property
    def queue_id(self) -> str:
        return self.told.queue_id


class LeaseFlows:
    """The part of `Flows` that ends leases, one or many of any types."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.spreading = Spreading(operations)
        self.shards = self.spreading.shards

    def finish_job(
        self, queue_type: Any, queue_id: Any, job_id: Any, lease: Any, cost: Any = None
    ) -> Flow[Ended]:
        """End a leased job for good."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        return (yield from self.end_job(meant, finish_with(cost)))

    def release_job(
        self,
        queue_type: Any,
        queue_id: Any,
        job_id: Any,
        lease: Any,
        delay: Any,
        count_requeue: Any,
        **more: Any,
    ) -> Flow[Ended]:
        """Give a leased job back. `more`: see `release_with`."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        return (yield from self.end_job(meant, release_with(delay, count_requeue, **more)))

    def fail_job(
        self, queue_type: Any, queue_id: Any, job_id: Any, lease: Any, **told: Any
    ) -> Flow[Ended]:
        """End a lease because its job failed. `told`: see `fail_with`."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        return (yield from self.end_job(meant, fail_with(**told)))

    def end_job(self, meant: Lease, ending: Ending) -> Flow[Ended]:
        """End a lease; an empty `n` means any."""
        operations, (queue_type, queue_id, job_id, n) = self.operations, meant
        at_home = self.spreading.at_home
        if ending.is_plain and ending.finishes:
            return (
                yield from at_home(
                    queue_type, queue_id, lambda name: operations.finish(name, queue_id, job_id, n)
                )
            )

        def end(name: str) -> Call[list[Ended]]:
            if ending.is_plain:
                return operations.release(name, [meant], ending.delay, ending.counted)
            return operations.settle(name, [ending.of(meant)])

        outcomes = yield from at_home(queue_type, queue_id, end)
        if ending.pauses_others:
            yield from self._pause_others([EndingLease(meant, ending)], outcomes)
            outcomes = unfailed(outcomes)
        return outcomes[0]

    def extend_job(
        self, queue_type: Any, queue_id: Any, job_id: Any, by: Any, lease: Any
    ) -> Flow[Extended]:
        """Let a lease end later."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        check_integer("by", by, 1, MAX_INTERVAL)
        outcomes = yield from self.spreading.at_home(
            meant.queue_type, meant.queue_id, lambda name: self.operations.extend(name, [meant], by)
        )
        return outcomes[0]

    def cancel_job(self, queue_type: Any, queue_id: Any, job_id: Any, lease: Any) -> Flow[Ended]:
        """Remove a waiting job, or a leased one by its lease."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        outcomes = yield from self.spreading.at_home(
            meant.queue_type, meant.queue_id, lambda name: self.operations.cancel(name, [meant])
        )
        return outcomes[0]

    def cancel_many(self, jobs: Sequence[Lease | None]) -> Flow[list[Ended | StoreError]]:
        """Remove jobs as `cancel_job` does; the outcome or the failure of each, in order.

        None stands for an invalid one. An empty `n` means that no lease was given.
        """
        return (yield from self.spreading.of_items(jobs, self.operations.cancel, _NOT_ENDED))

    def finish_many(
        self, leases: Sequence[Any], cost: Any = None
    ) -> Flow[list[Ended | StoreError]]:
        """End leased jobs for good; the outcome or the failure of each, in order."""
        return (yield from self.end_many(leases, finish_with(cost)))

    def finish_alike(
        self, name: str, leases: Sequence[Lease]
    ) -> Flow[Sequence[Ended | StoreError]]:
        """End up to `BULK_SIZE` leased jobs of one shard; an empty `n` means any lease.

        Their type may turn out to be spread otherwise: then each succeeds or fails alone.
        """
        try:
            if len(leases) == 1:
                ended: Ended = yield self.operations.finish(name, *leases[0][1:])
                return [ended]
            outcomes: list[Ended] = yield self.operations.finish_many(name, list(leases))
            return outcomes
        except WrongKind:
            if not (yield from self.spreading.learn(type_of(name), name)):
                raise
        return (yield from self.spreading.of_items(leases, self.operations.finish_many, _NOT_ENDED))

    def settle_alike(self, name: str, told: Sequence[Told]) -> Flow[Sequence[Ended | StoreError]]:
        """End up to `BULK_SIZE` leases of one shard, with what their holders tell.

        It pauses no others. The rest is as for `finish_alike`.
        """
        try:
            outcomes: list[Ended] = yield self.operations.settle(name, list(told))
            return outcomes
        except WrongKind:
            if not (yield from self.spreading.learn(type_of(name), name)):
                raise
        homeless = [_ToldOf(type_of(name), each) for each in told]

        def settle(name: str, chunk: list[_ToldOf]) -> Call[list[Ended]]:
            return self.operations.settle(name, [each.told for each in chunk])

        return (yield from self.spreading.of_items(homeless, settle, _NOT_ENDED))

    def release_many(
        self, leases: Sequence[Any], delay: Any, count_requeue: Any, **more: Any
    ) -> Flow[list[Ended | StoreError]]:
        """Give leased jobs back; the outcome or the failure of each, in order.

        `more`: see `release_with`.
        """
        return (yield from self.end_many(leases, release_with(delay, count_requeue, **more)))

    def give_back_many(
        self, leases: Sequence[str], counted: bool
    ) -> Flow[list[Ended | StoreError]]:
        """Give leased jobs back, for a server whose client is gone; results as of `release_many`.

        With `counted` each of them spends a requeue.
        """

        def give_back(queue_type: str, chunk: list[Lease]) -> Call[list[Ended]]:
            return self.operations.give_back(queue_type, chunk, counted)

        return (yield from self._with_leases(leases, give_back, _NOT_ENDED))

    def end_many(self, leases: Sequence[Any], ending: Ending) -> Flow[list[Ended | StoreError]]:
        """End leases in one way; the outcome or the failure of each, in order."""
        if not ending.is_plain:
            return (yield from self.settle_many([(lease, ending) for lease in leases]))
        if ending.finishes:
            return (yield from self._with_leases(leases, self.operations.finish_many, _NOT_ENDED))

        def release(queue_type: str, chunk: list[Lease]) -> Call[list[Ended]]:
            return self.operations.release(queue_type, chunk, ending.delay, ending.counted)

        return (yield from self._with_leases(leases, release, _NOT_ENDED))

    def settle_many(
        self, leases: Sequence[tuple[Any, Ending | None]]
    ) -> Flow[list[Ended | StoreError]]:
        """End leases, each in its way; the outcome or the failure of each, in order.

        None stands for an ending that is not valid.
        """
        meant = [EndingLease.of(token, ending) for token, ending in leases]

        def settle(queue_type: str, chunk: list[EndingLease]) -> Call[list[Ended]]:
            return self.operations.settle(queue_type, [each.told for each in chunk])

        outcomes = yield from self.spreading.of_items(meant, settle, _NOT_ENDED)
        if any(each is not None and each.ending.pauses_others for each in meant):
            yield from self._pause_others(meant, outcomes)
        return outcomes

    def extend_many(self, leases: Sequence[Any], by: Any) -> Flow[list[Extended | StoreError]]:
        """Let leases end later; the outcome or the failure of each, in order."""
        check_integer("by", by, 0, MAX_INTERVAL)

        def extend(queue_type: str, chunk: list[Lease]) -> Call[list[Extended]]:
            return self.operations.extend(queue_type, chunk, by)

        return (yield from self._with_leases(leases, extend, _NOT_EXTENDED))

    def _with_leases(
        self,
        tokens: Sequence[Any],
        make_call: Callable[[str, list[Lease]], Call[list[T]]],
        not_valid: T,
    ) -> Flow[list[T | StoreError]]:
        """Calls for leases of any types, by their tokens."""
        leases = [find_lease(token) for token in tokens]
        return (yield from self.spreading.of_items(leases, make_call, not_valid))

    def _pause_others(self, meant: Sequence[EndingLease | None], outcomes: list[Any]) -> Flow[None]:
        """Pause the other shards of types, where a worker's pause is one of the whole type.

        The outcome of a lease is the failure, if that fails: then not all may be paused.
        """
        if not self.shards:
            return
        for at, (each, outcome) in enumerate(zip(meant, list(outcomes), strict=True)):
            if each is None or not isinstance(outcome, Ended):
                continue
            _, ending = each
            if ending.pause is None or ending.scope != TYPE or outcome.outcome not in _DONE:
                continue
            if self.shards.is_spread(each.queue_type):
                try:
                    yield from pause_from_worker(self.spreading, each.queue_type, ending.pause)
                except StoreError as error:
                    outcomes[at] = error
