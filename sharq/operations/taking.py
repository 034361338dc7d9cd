"""A dequeue of a spread type: it collects jobs over the shards, the longest ready first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sharq._fastpath import Batch, joined
from sharq.errors import StoreError, WrongKind
from sharq.heads import NEVER, Ask, Heads
from sharq.operations.call import PATIENCE, Brief, Call, Flow
from sharq.operations.expiry import Expiry
from sharq.operations.known_heads import KnownHeads
from sharq.operations.operations import Operations
from sharq.operations.sharding import MAX_SHARDS
from sharq.operations.spreading import Spreading

_SPARE_ROUNDS = 10
_TRIES = 5

_SOON = 0.25
"""Seconds that shards are waited for where others can be asked instead."""


class _Dequeue:
    """A dequeue of up to `count` jobs, over the heads of a type's shards.

    `tripped` is a shard that is of another kind, before anything was taken.
    """

    def __init__(
        self,
        operations: Operations,
        heads: Heads,
        count: int,
        request_id: str | None,
        damaged: Mapping[str, StoreError],
        clustered: bool,
    ) -> None:
        self._clustered = clustered
        self._operations = operations
        self._heads = heads
        self._rounds = count + _SPARE_ROUNDS
        self._request_id = request_id
        self._failed = set(damaged)
        self._answered: set[str] = set()
        self._left = count
        self._given: Counter[str] = Counter()
        self._short = False
        self._full = False
        self.failure = next(iter(damaged.values()), None)
        self.tripped: tuple[str, WrongKind] | None = None
        self.batches: list[Batch] = []
        self.wait_us: int | None = 0

    def carry_out(self) -> Flow[None]:
        if self._request_id is not None:
            answers = yield from self._ask(self._heads.look())
            if self.tripped or any(answer.repeats for answer in answers):
                return
        for _ in range(self._rounds):
            asks = self._next_asks()
            if not asks:
                break
            yield from self._ask(asks)
            if self.tripped and not self.batches:
                return
        if self._left > 0 and not self._full:
            self.wait_us = self._heads.wait_us()

    def _ask(self, asks: Sequence[Ask]) -> Flow[list[Batch]]:
        """Ask shards; returns the answers of those that have given any."""
        heads = self._heads
        waiting = [ask.name for ask in asks]

        def reading(name: str, parse: Callable[[Any], Batch], reply: Any) -> Batch:
            batch = parse(reply)
            # At once: the answer of another shard may be long in coming.
            heads.answered(name, batch)
            waiting.remove(name)
            return batch

        calls: list[Call[Batch]] = []
        for name, wanted, age in asks:
            known = self._given[name]
            call = self._operations.dequeue(name, wanted, self._request_id, age, known)
            calls.append(call._replace(parse=partial(reading, name, call.parse)))
            heads.asked(name)
        answers: list[Batch] = []
        try:
            request = self._brief(asks, calls) if self._clustered else calls
            for ask, answer in zip(asks, (yield request), strict=True):
                if isinstance(answer, StoreError):
                    if ask.name in waiting:
                        waiting.remove(ask.name)
                        heads.failed(ask.name)
                    self._note_failure(ask.name, answer)
                else:
                    answers.append(answer)
                    self._note(ask, answer)
        finally:
            for name in waiting:
                heads.given_up(name)
        return answers

    def _may_hang(self, name: str) -> bool:
        return name not in self._answered and self._heads.is_doubted(name)

    def _brief(self, asks: Sequence[Ask], calls: list[Call[Batch]]) -> list[Call[Batch]]:
        """Calls that take nothing are not worth a long wait: others may have jobs."""
        if any(ask.age != NEVER for ask in asks):
            return calls
        if len(asks) > 1:
            return Brief(calls, _SOON, insists=True)
        return Brief(calls, PATIENCE if self._heads.is_suspect(asks[0].name) else _SOON)

    def _note(self, ask: Ask, answer: Batch) -> None:
        self._answered.add(ask.name)
        self._left -= len(answer)
        if self._request_id is not None:
            self._given[ask.name] += len(answer)
        if ask.age != NEVER and len(answer) < ask.wanted:
            self._short = True
        if answer:
            # It has more of what it was asked for where the answer would have become too large.
            head = answer.head_ms
            more = head is not None and head >= ask.age
            self._full = self._full or (more and len(answer) < ask.wanted)
            self.batches.append(answer)

    def _note_failure(self, name: str, error: StoreError) -> None:
        self._failed.add(name)
        if isinstance(error, WrongKind):
            self.tripped = name, error
        if self.failure is None or error.outcome_unknown:
            self.failure = error

    def _next_asks(self) -> list[Ask]:
        """The next calls; none if there is enough, or nothing."""
        if self._left <= 0 or self._full:
            return []
        asks = self._heads.ask(self._left, several=self._short, without=self._failed)
        if self._clustered and len(asks) == 1 and self._may_hang(asks[0].name):
            # What takes nothing can be given up.
            asks = [Ask(asks[0].name, 1, NEVER)]
        if self.batches:
            # Jobs do not wait for a shard that holds up.
            asks = [ask for ask in asks if not self._heads.is_suspect(ask.name)]
        return asks


class Taking:
    """The dequeues of spread types, over their `heads`. `reclaiming` tells when a dequeue of the
    library first takes back the expired leases of a shard, None that it never does. In a store that
    is `clustered`, shards may be silent while others are not.
    """

    def __init__(
        self,
        operations: Operations,
        spreading: Spreading,
        heads: KnownHeads,
        reclaiming: Expiry | None,
        clustered: bool = False,
    ) -> None:
        self._clustered = clustered
        self._operations = operations
        self._spreading = spreading
        self._heads = heads
        self._reclaiming = reclaiming

    def take(self, queue_type: str, count: int, request_id: str | None) -> Flow[Batch]:
        """Lease up to `count` jobs of a type.

        With a `request_id` all shards are asked first whether they have given jobs for it: then
        these are the answer.
        """
        damaged: dict[str, StoreError] = {}
        for _ in range(MAX_SHARDS + _TRIES):
            heads = self._heads.of(queue_type)
            if self._reclaiming is not None:
                yield from self._reclaim(self._reclaiming, heads)
            dequeue = _Dequeue(self._operations, heads, count, request_id, damaged, self._clustered)
            yield from dequeue.carry_out()
            if dequeue.batches or dequeue.tripped is None:
                break
            name, error = dequeue.tripped
            if not (yield from self._spreading.learn(queue_type, name)):
                damaged[name] = error
        if dequeue.failure is not None and not dequeue.batches:
            raise dequeue.failure
        return joined(queue_type, dequeue.batches, dequeue.wait_us)

    def _reclaim(self, reclaiming: Expiry, heads: Heads) -> Flow[None]:
        due = [name for name in heads.names if reclaiming.due(name)]
        calls = [self._operations.requeue(name) for name in due]
        if not calls:
            return
        answers = yield Brief(calls, _SOON, insists=True) if self._clustered else calls
        for name, swept in zip(due, answers, strict=True):
            reclaiming.note(name, swept)
