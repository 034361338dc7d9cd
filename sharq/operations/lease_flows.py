"""The flows of leases: how their holders end them, or let them last longer; and of cancels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sharq.endings import Ending, EndingLease, fail_with, finish_with, release_with
from sharq.errors import StoreError
from sharq.identifiers import MAX_INTERVAL, check_integer, check_leased, find_lease
from sharq.operations.call import Call, Flow
from sharq.operations.operations import BULK_SIZE, Operations
from sharq.results import INVALID, Ended, Extended, Lease, Told

T = TypeVar("T")


class _OfType(Protocol):
    @property
    def queue_type(self) -> str: ...


L = TypeVar("L", bound=_OfType)

_NOT_ENDED = Ended(INVALID)
_NOT_EXTENDED = Extended(INVALID, 0)


class LeaseFlows:
    """The part of `Flows` that ends leases, one or many of any types."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations

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
        queue_type = meant.queue_type
        if not ending.is_plain:
            outcomes: list[Ended] = yield self.operations.settle(queue_type, [ending.of(meant)])
        elif ending.finishes:
            outcomes = [(yield self.operations.finish(*meant))]
        else:
            outcomes = yield self.operations.release(
                queue_type, [meant], ending.delay, ending.counted
            )
        return outcomes[0]

    def extend_job(
        self, queue_type: Any, queue_id: Any, job_id: Any, by: Any, lease: Any
    ) -> Flow[Extended]:
        """Let a lease end later."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        check_integer("by", by, 1, MAX_INTERVAL)
        outcomes: list[Extended] = yield self.operations.extend(meant.queue_type, [meant], by)
        return outcomes[0]

    def cancel_job(self, queue_type: Any, queue_id: Any, job_id: Any, lease: Any) -> Flow[Ended]:
        """Remove a waiting job, or a leased one by its lease."""
        meant = check_leased(queue_type, queue_id, job_id, lease)
        outcomes: list[Ended] = yield self.operations.cancel(meant.queue_type, [meant])
        return outcomes[0]

    def cancel_many(self, jobs: Sequence[Lease | None]) -> Flow[list[Ended | StoreError]]:
        """Remove jobs as `cancel_job` does; the outcome or the failure of each, in order.

        None stands for an invalid one. An empty `n` means that no lease was given.
        """
        return (yield from self._of_types(jobs, self.operations.cancel, _NOT_ENDED))

    def finish_many(
        self, leases: Sequence[Any], cost: Any = None
    ) -> Flow[list[Ended | StoreError]]:
        """End leased jobs for good; the outcome or the failure of each, in order."""
        return (yield from self.end_many(leases, finish_with(cost)))

    def finish_alike(self, queue_type: str, leases: Sequence[Lease]) -> Flow[list[Ended]]:
        """End up to `BULK_SIZE` leased jobs of one type; an empty `n` means any lease."""
        if len(leases) == 1:
            ended: Ended = yield self.operations.finish(*leases[0])
            return [ended]
        outcomes: list[Ended] = yield self.operations.finish_many(queue_type, list(leases))
        return outcomes

    def settle_alike(self, queue_type: str, told: Sequence[Told]) -> Flow[list[Ended]]:
        """End up to `BULK_SIZE` leases of one type, with what their holders tell."""
        outcomes: list[Ended] = yield self.operations.settle(queue_type, list(told))
        return outcomes

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

        return (yield from self._of_types(meant, settle, _NOT_ENDED))

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
        return (yield from self._of_types(leases, make_call, not_valid))

    def _of_types(
        self,
        leases: Sequence[L | None],
        make_call: Callable[[str, list[L]], Call[list[T]]],
        not_valid: T,
    ) -> Flow[list[T | StoreError]]:
        """The same for leases; those of a type together, `BULK_SIZE` in each call."""
        results: list[T | StoreError] = [not_valid] * len(leases)
        by_type: dict[str, list[tuple[int, L]]] = {}
        for index, lease in enumerate(leases):
            if lease is not None:
                by_type.setdefault(lease.queue_type, []).append((index, lease))
        chunks = [
            (queue_type, meant[at : at + BULK_SIZE])
            for queue_type, meant in by_type.items()
            for at in range(0, len(meant), BULK_SIZE)
        ]
        calls = [make_call(name, [lease for _, lease in chunk]) for name, chunk in chunks]
        answers = (yield calls) if calls else []
        for (_, chunk), answer in zip(chunks, answers, strict=True):
            failed = isinstance(answer, StoreError)
            for at, (index, _) in enumerate(chunk):
                results[index] = answer if failed else answer[at]
        return results
