"""What calls of the store did, told to an observer: a server that counts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Protocol, TypeVar

from sharq._fastpath import Batch, enqueued
from sharq.errors import StoreError
from sharq.observed import Growing
from sharq.operations import replies
from sharq.operations.call import Call
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.operations.sharding import type_of
from sharq.results import Ended, Enqueued, Lease, NewJob, Swept, Told
from sharq.settings.options import QueueSettings

T = TypeVar("T")

_MOST_TYPES: Final = 1024

SCRIPT: Final = slice(26, 62)
"""Where a packed call of a script has most of its digest, however many digits its size has."""

_MOST_DIGITS: Final = 5


class Observer(Protocol):
    """Is told each outcome once, when its answer is read; it must not raise.

    An answer that nobody waits for any more is not read.
    """

    @property
    def growing(self) -> Mapping[str, Growing]:
        """Who else is told of enqueues, by their type."""

    def on_enqueued(self, queue_type: str, outcomes: Sequence[Enqueued]) -> None:
        """Jobs were put into queues of a type, or refused."""

    def on_dispatched(self, queue_type: str, count: int, ready_ms: int | None) -> None:
        """Jobs of a type were leased, one at least, for which the first one's queue was ready
        `ready_ms`; None is not known.
        """

    def on_ended(self, queue_type: str, how: str, outcome: Ended) -> None:
        """A lease was to end. `how` is as in `Told`, or "disconnect": its holder is gone."""

    def on_swept(self, queue_type: str, swept: Swept) -> None:
        """Leases of a type that had run out were taken back, if there were any."""

    def on_round_claimed(self) -> None:
        """This server makes the next round of the sweep."""

    def on_answer(self, script: str, seconds: float) -> None:
        """The store has answered a call of a script, `seconds` after it was sent."""

    def on_failure(self, error: StoreError) -> None:
        """A call has failed for good."""


class ObservedOperations(Operations):
    """The operations of one deployment, whose outcomes `observer` is told."""

    def __init__(
        self, prefix: str, settings: QueueSettings, scripts: Scripts, observer: Observer
    ) -> None:
        super().__init__(prefix, settings, scripts)
        self.observer: Final = observer
        self._growing = observer.growing
        # Of the most frequent operations: made once for a type, as long as it is in use.
        self._enqueues = lru_cache(_MOST_TYPES)(partial(_reading_enqueues, observer))
        self._batches = lru_cache(_MOST_TYPES)(partial(_reading_batches, observer))
        self._finishes = lru_cache(_MOST_TYPES)(partial(_reading_finishes, observer))

    def finish_many(self, queue_type: str, leases: list[Lease]) -> Call[list[Ended]]:
        return self._ending(queue_type, "finish", super().finish_many(queue_type, leases))

    def release(
        self, queue_type: str, leases: list[Lease], delay: int, counted: bool
    ) -> Call[list[Ended]]:
        call = super().release(queue_type, leases, delay, counted)
        return self._ending(queue_type, "release", call)

    def give_back(self, queue_type: str, leases: list[Lease], counted: bool) -> Call[list[Ended]]:
        call = super().release(queue_type, leases, 0, counted)
        return self._ending(queue_type, "disconnect", call)

    def settle(self, queue_type: str, told: list[Told]) -> Call[list[Ended]]:
        observer = self.observer
        of_type = type_of(queue_type)

        def tell(outcomes: list[Ended]) -> None:
            for each, outcome in zip(told, outcomes, strict=True):
                observer.on_ended(of_type, each.how, outcome)

        return _told(super().settle(queue_type, told), tell)

    def requeue(self, queue_type: str) -> Call[Swept]:
        observer = self.observer
        of_type = type_of(queue_type)
        return _told(super().requeue(queue_type), lambda swept: observer.on_swept(of_type, swept))

    def claim_sweep(self, hold: int, place: int = 0) -> Call[bool]:
        observer = self.observer

        def tell(claimed: bool) -> None:
            if claimed:
                observer.on_round_claimed()

        return _told(super().claim_sweep(hold, place), tell)

    def _reads_enqueue(
        self, queue_type: str, jobs: Sequence[NewJob]
    ) -> Callable[[Any], list[Enqueued]]:
        queue_type = type_of(queue_type)
        read = self._enqueues(queue_type)
        growing = self._growing.get(queue_type) if self._growing else None
        return read if growing is None else _growing(read, jobs, growing)

    def _reads_batch(self, queue_type: str) -> Callable[[Any], Batch]:
        return self._batches(type_of(queue_type))

    def _reads_finish(self, queue_type: str) -> Callable[[Any], Ended]:
        return self._finishes(type_of(queue_type))

    def _ending(self, queue_type: str, how: str, call: Call[list[Ended]]) -> Call[list[Ended]]:
        observer = self.observer
        queue_type = type_of(queue_type)

        def tell(outcomes: list[Ended]) -> None:
            for outcome in outcomes:
                observer.on_ended(queue_type, how, outcome)

        return _told(call, tell)


def names_in_calls(digests: Mapping[str, str]) -> dict[bytes, str]:
    """The names of scripts by what is at `SCRIPT` in the packed calls that run them.

    `digests` maps a name to its SHA-1.
    """
    return {
        (b"*%b\r\n$7\r\nEVALSHA\r\n$40\r\n%b" % (b"0" * size, digest.encode()))[SCRIPT]: name
        for name, digest in digests.items()
        for size in range(1, _MOST_DIGITS + 1)
    }


def _reading_enqueues(observer: Observer, queue_type: str) -> Callable[[Any], list[Enqueued]]:
    on_enqueued = observer.on_enqueued

    def read(reply: list[Any]) -> list[Enqueued]:
        outcomes = enqueued(reply)
        on_enqueued(queue_type, outcomes)
        return outcomes

    return read


def _growing(
    read: Callable[[Any], list[Enqueued]], jobs: Sequence[NewJob], growing: Growing
) -> Callable[[Any], list[Enqueued]]:
    def read_and_tell(reply: list[Any]) -> list[Enqueued]:
        outcomes = read(reply)
        growing(jobs, outcomes)
        return outcomes

    return read_and_tell


def _reading_batches(observer: Observer, queue_type: str) -> Callable[[Any], Batch]:
    on_dispatched = observer.on_dispatched

    def read(reply: list[Any]) -> Batch:
        batch = Batch(queue_type, reply)
        count = len(batch)
        if count:
            on_dispatched(queue_type, count, batch.ready_ms)
        return batch

    return read


def _reading_finishes(observer: Observer, queue_type: str) -> Callable[[Any], Ended]:
    on_ended = observer.on_ended

    def read(reply: bytes) -> Ended:
        outcome = replies.ended(reply)
        on_ended(queue_type, "finish", outcome)
        return outcome

    return read


def _told(call: Call[T], tell: Callable[[T], None]) -> Call[T]:
    """The call, whose result is told when its answer is read."""
    parse = call.parse

    def read(reply: Any) -> T:
        result = parse(reply)
        tell(result)
        return result

    return call._replace(parse=read)
