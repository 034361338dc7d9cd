"""Calls to the shards of types: where they go, and what is learned when a type is spread otherwise.

A process takes a type for unsharded until the store tells otherwise. The keys of a layout that is
not in use are closed: a call there fails with `WrongKind` before it changes anything. Then the
process reads how the type is spread, and repeats the call where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from sharq.errors import (
    LayoutChanging,
    Sharded,
    SharqException,
    StoreError,
    WrongKind,
)
from sharq.operations.call import Brief, Call, Flow
from sharq.operations.layouts import Layout, read_layout
from sharq.operations.operations import BULK_SIZE, Operations
from sharq.operations.shard_calls import CLOSED, OPEN
from sharq.operations.sharding import Shards, is_shard, layout, type_of

T = TypeVar("T")

_TRIES = 5


class _OfQueue(Protocol):
    @property
    def queue_type(self) -> str: ...
    @property
    def queue_id(self) -> str: ...


Q = TypeVar("Q", bound=_OfQueue)


def being_changed(queue_type: str) -> LayoutChanging:
    """The error while the number of shards of a type is being changed."""
    return LayoutChanging(f"The number of shards of `{queue_type}` is being changed.")


def sharded(queue_type: str, what: str) -> Sharded:
    """The error for what needs one place that decides, in a type that is spread."""
    return Sharded(f"`{queue_type}` is spread over shards, and {what} need one place that decides.")


class Spreading:
    """The calls of one process to types that may be spread. `shards` is what it knows of them."""

    def __init__(self, operations: Operations, shards: Shards | None = None) -> None:
        self.operations = operations
        self.shards = Shards(operations.prefix) if shards is None else shards

        self.touched: Callable[[str], None] | None = None
        """Is told of shards where a job may have become ready by what this process did."""

    # Learning

    def learn(self, queue_type: str, used: str) -> Flow[bool]:
        """Find out why a call at the shard `used` has met a key of another kind.

        True: the call may be repeated, where `shards` says now. False: its keys are damaged. Raises
        `StoreUnavailable` while the number of shards is being changed.
        """
        for _ in range(_TRIES):
            now = yield from self.look(queue_type)
            news = self.shards.learn(queue_type, now.shards)
            if news or used not in self.shards.homes(queue_type):
                return True
            # A change that was given up has closed it.
            opened: int = yield self.operations.open_shard(used, now.generation)
            if opened != CLOSED:
                return opened != OPEN
        raise being_changed(queue_type)

    def look(self, queue_type: str) -> Flow[Layout]:
        """How a type is spread by the store; a change that was given up is taken back before.

        Raises `StoreUnavailable` while it is being changed.
        """
        for _ in range(_TRIES):
            known = yield self.operations.known_shards(queue_type)
            found = read_layout(known.text)
            if found.wanted is None:
                return found
            if not found.is_given_up(known.now):
                break
            yield from self.take_back(queue_type, known.text, found)
        raise being_changed(queue_type)

    def take_back(self, queue_type: str, text: str, change: Layout) -> Flow[bool]:
        """End a change, whose text is there, without a change; whether it was still there."""
        known = yield self.operations.note_shards(queue_type, text, change.stable)
        if known.text != change.stable:
            return False
        yield from self.open_all(queue_type, change.shards, change.generation)
        return True

    def open_all(self, queue_type: str, count: int, generation: int) -> Flow[None]:
        """Open all shards of a layout. One that does not answer is opened by who meets it."""
        names = layout(self.operations.prefix, queue_type, count)
        yield [self.operations.open_shard(name, generation) for name in names]

    # Calls

    def tell(self, name: str) -> None:
        """Tell that a job may have become ready in a shard; not of a type that is not spread."""
        if self.touched is not None and is_shard(name):
            self.touched(name)

    def at(self, name: str, make_call: Callable[[str], Call[T]]) -> Flow[T]:
        """A call at a shard by its internal name. Raises `WrongKind` if it is in use no more."""
        queue_type = type_of(name)
        for _ in range(_TRIES):
            try:
                answer: T = yield make_call(name)
                return answer
            except WrongKind as error:
                failure = error
            if not (yield from self.learn(queue_type, name)):
                break
            if name not in self.shards.homes(queue_type):
                break
        raise failure

    def at_home(
        self, queue_type: str, queue_id: str, make_call: Callable[[str], Call[T]]
    ) -> Flow[T]:
        """A call where a queue lives, whose internal name `make_call` gets."""
        for _ in range(_TRIES):
            name = self.shards.home(queue_type, queue_id)
            try:
                answer: T = yield make_call(name)
                self.tell(name)
                return answer
            except WrongKind as error:
                failure = error
            if not (yield from self.learn(queue_type, name)):
                break
        raise failure

    def together(
        self, queue_type: str, queue_id: str, make_calls: Callable[[str], list[Call[Any]]]
    ) -> Flow[list[Any]]:
        """Calls that leave together where a queue lives. Raises the first failure."""
        for _ in range(_TRIES):
            name = self.shards.home(queue_type, queue_id)
            answers: list[Any] = yield make_calls(name)
            tripped = next((each for each in answers if isinstance(each, WrongKind)), None)
            if tripped is None or not (yield from self.learn(queue_type, name)):
                break
        return unfailed(answers)

    def everywhere(self, queue_type: str, make_call: Callable[[str], Call[T]]) -> Flow[list[T]]:
        """A call at each shard of a type, in their order. Raises the first failure."""
        names = self.shards.homes(queue_type)
        if len(names) == 1:
            try:
                return [(yield make_call(queue_type))]
            except WrongKind:
                if not (yield from self.learn(queue_type, queue_type)):
                    raise
        (answers,) = yield from self.of_types([queue_type], make_call)
        if isinstance(answers, StoreError):
            raise answers
        return answers

    def of_types(
        self,
        queue_types: Sequence[str],
        make_call: Callable[[str], Call[T]],
        *,
        brief: bool = False,
    ) -> Flow[list[list[T] | StoreError]]:
        """The same for types: of each what its shards answer, or the first failure.

        With `brief` those are failures whose node does not answer soon: see `Brief`.
        """
        _, answers = yield from self.with_first(
            None, queue_types, lambda name: [make_call(name)], brief=brief
        )
        return [
            parts if isinstance(parts, StoreError) else [answer for (answer,) in parts]
            for parts in answers
        ]

    def with_first(
        self,
        first: Call[Any] | None,
        queue_types: Sequence[str],
        make_calls: Callable[[str], list[Call[Any]]],
        *,
        brief: bool = False,
    ) -> Flow[tuple[Any, list[list[list[Any]] | StoreError]]]:
        """The same with several calls to each shard, whose answers are a list; they leave together
        with a `first` one, whose answer or failure comes before.
        """
        results: dict[str, list[list[Any]] | StoreError] = {}
        left = list(dict.fromkeys(queue_types))
        answer: Any = None
        for attempt in range(_TRIES):
            shards = [(each, name) for each in left for name in self.shards.homes(each)]
            chunks = [make_calls(name) for _, name in shards]
            calls = [call for chunk in chunks for call in chunk]
            ahead = [first] if attempt == 0 and first is not None else []
            if not ahead and not calls:
                break
            calls = [*ahead, *calls]
            answers = yield Brief(calls) if brief else calls
            if ahead:
                answer, *answers = answers
            following = iter(answers)
            results |= {queue_type: [] for queue_type in left}
            tripped: dict[str, tuple[str, WrongKind]] = {}
            for (queue_type, name), chunk in zip(shards, chunks, strict=True):
                told = [next(following) for _ in chunk]
                parts = results[queue_type]
                failure = next((each for each in told if isinstance(each, StoreError)), None)
                if isinstance(failure, WrongKind):
                    tripped.setdefault(queue_type, (name, failure))
                if not isinstance(parts, StoreError):
                    results[queue_type] = failure or [*parts, told]
            left = []
            if tripped and attempt + 1 < _TRIES:
                verdicts = yield from self._learn_all(list(tripped.values()))
                for queue_type, verdict in zip(tripped, verdicts, strict=True):
                    if verdict is None:
                        left.append(queue_type)
                    else:
                        results[queue_type] = verdict
        return answer, [results[queue_type] for queue_type in queue_types]

    def of_items(
        self,
        items: Sequence[Q | None],
        make_call: Callable[[str, list[Q]], Call[list[T]]],
        missing: T,
        refuse: Callable[[Q], SharqException | None] | None = None,
    ) -> Flow[list[Any]]:
        """Calls for items of any types, at the homes of their queues, `BULK_SIZE` in each.

        Of each item the result or the failure, in order: `missing` in the place of None, and what
        `refuse` says of one in a type that is spread.
        """
        results: list[Any] = [missing] * len(items)
        left = [at for at, item in enumerate(items) if item is not None]
        for attempt in range(_TRIES):
            if not left:
                break
            by_home = self._by_home(items, left, results, refuse)
            chunks = [
                (name, indices[at : at + BULK_SIZE])
                for name, indices in by_home.items()
                for at in range(0, len(indices), BULK_SIZE)
            ]
            calls = [
                make_call(name, [item for at in chunk if (item := items[at]) is not None])
                for name, chunk in chunks
            ]
            answers = (yield calls) if calls else []
            tripped: dict[str, WrongKind] = {}
            for (name, chunk), answer in zip(chunks, answers, strict=True):
                if isinstance(answer, WrongKind):
                    tripped[name] = answer
                failed = isinstance(answer, StoreError)
                for place, at in enumerate(chunk):
                    results[at] = answer if failed else answer[place]
                self.tell(name)
            left = []
            if tripped and attempt + 1 < _TRIES:
                verdicts = yield from self._learn_all(list(tripped.items()))
                for name, verdict in zip(tripped, verdicts, strict=True):
                    for at in by_home[name]:
                        if not isinstance(results[at], WrongKind):
                            continue
                        if verdict is None:
                            left.append(at)
                        else:
                            results[at] = verdict
                left.sort()
        return results

    def _by_home(
        self,
        items: Sequence[Any],
        indices: Iterable[int],
        results: list[Any],
        refuse: Callable[[Any], SharqException | None] | None,
    ) -> dict[str, list[int]]:
        by_home: dict[str, list[int]] = {}
        if not self.shards:
            for at in indices:
                by_home.setdefault(items[at].queue_type, []).append(at)
            return by_home
        for at in indices:
            item = items[at]
            if refuse is not None and self.shards.is_spread(item.queue_type):
                refusal = refuse(item)
                if refusal is not None:
                    results[at] = refusal
                    continue
            name = self.shards.home(item.queue_type, item.queue_id)
            by_home.setdefault(name, []).append(at)
        return by_home

    def _learn_all(self, tripped: Sequence[tuple[str, WrongKind]]) -> Flow[list[StoreError | None]]:
        """What to answer for each of these shards; None: its calls are to be repeated."""
        verdicts: list[StoreError | None] = []
        for name, error in tripped:
            try:
                news = yield from self.learn(type_of(name), name)
            except StoreError as failure:
                verdicts.append(failure)
            else:
                verdicts.append(None if news else error)
        return verdicts


def unfailed(answers: Iterable[Any]) -> list[Any]:
    """The answers, if none of them is a failure; raises the first one."""
    answers = list(answers)
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return answers
