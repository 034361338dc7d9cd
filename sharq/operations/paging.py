"""Pages of the queues of a type: of one shard after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from sharq.errors import StoreError, WrongKind
from sharq.identifiers import invalid
from sharq.operations.call import Call, Flow
from sharq.operations.cursors import QueueCursor, ShardCursor
from sharq.operations.spreading import Spreading

_AT_ONCE = 8
"""Shards that are asked together for a page."""

_TRIES = 5


class ShardPage(Protocol):
    """A page of one shard; its cursor is None at the end."""

    @property
    def cursor(self) -> QueueCursor | None: ...
    @property
    def names(self) -> list[str]: ...


P = TypeVar("P", bound=ShardPage)


class NamesPage(NamedTuple):
    """Names of queues; `cursor` is that of the next page, None at the end."""

    cursor: ShardCursor | None
    names: list[str]


def shard_page(
    spreading: Spreading,
    queue_type: str,
    at: ShardCursor,
    make_call: Callable[[str, QueueCursor], Call[P]],
) -> Flow[tuple[str, P, ShardCursor | None]]:
    """A page of one shard, with its internal name and the cursor of the next page."""
    for _ in range(_TRIES):
        names = spreading.shards.homes(queue_type)
        # Of a shard that is not known the last one is asked: it may be spread otherwise by now.
        name = names[min(at.shard, len(names) - 1)]
        try:
            page = yield make_call(name, at.at)
        except WrongKind as error:
            failure = error
            if not (yield from spreading.learn(queue_type, name)):
                break
            continue
        if at.shard >= len(names):
            raise invalid("cursor")
        return name, page, _next(at.shard, page, len(names))
    raise failure


def queue_page(
    spreading: Spreading,
    queue_type: str,
    at: ShardCursor,
    count: int,
    make_call: Callable[[str, QueueCursor], Call[P]],
) -> Flow[NamesPage]:
    """A page of about `count` queues, which may be of several shards."""
    _, page, following = yield from shard_page(spreading, queue_type, at, make_call)
    names = list(page.names)
    shards = spreading.shards.homes(queue_type)
    if len(shards) == 1:
        return NamesPage(following, names)
    while following is not None and len(names) < count:
        begun = following.shard
        asked = shards[begun : begun + _AT_ONCE]
        cursors = [following.at, *[QueueCursor()] * (len(asked) - 1)]
        answers = yield [make_call(*each) for each in zip(asked, cursors, strict=True)]
        for shard, answer in enumerate(answers, begun):
            if isinstance(answer, StoreError):
                # The next page begins there.
                return NamesPage(following, names)
            names += answer.names
            following = _next(shard, answer, len(shards))
            if following is None or following.shard == shard or len(names) >= count:
                break
    return NamesPage(following, names)


def _next(shard: int, page: ShardPage, shards: int) -> ShardCursor | None:
    if page.cursor is not None:
        return ShardCursor(shard, page.cursor)
    return ShardCursor(shard + 1) if shard + 1 < shards else None
