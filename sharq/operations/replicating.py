"""Waits for replicas, whatever `replicas_acked` is: for changes that a promotion must not lose."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from sharq.errors import StoreDenied, StoreError, StoreUnavailable, UnexpectedReply
from sharq.operations.call import Call, Flow
from sharq.operations.shard_calls import ShardOperations

T = TypeVar("T")

PATIENCE: Final = 1000
"""How long the replicas of a node have, ms: all calls of a process to that node wait as long."""

_log = logging.getLogger(__name__)


class Unconfirmed(StoreUnavailable):
    """Replicas have not confirmed a change in time."""


def replicas(operations: ShardOperations, names: Sequence[str]) -> Flow[Mapping[str, int]]:
    """How many replicas the nodes of these shards have now; 0 where the store does not tell."""
    answers = yield [operations.replicas_of(name) for name in names]
    counts = {}
    for name, answer in zip(names, answers, strict=True):
        if _is_refused(answer):
            answer = 0
        elif isinstance(answer, StoreError):
            raise answer
        counts[name] = answer
    return counts


def replicated(operations: ShardOperations, name: str, write: Call[T], replicas: int) -> Flow[T]:
    """The answer of a `write` to the node of a shard, when so many replicas have it.

    Raises `Unconfirmed` if they do not have it in time: it is at the node then.
    """
    if not replicas:
        written: T = yield write
        return written
    # Over one connection, since each waits for what it has written itself.
    answer, confirmed = yield [write, operations.replicated(name, replicas, PATIENCE)]
    if isinstance(answer, StoreError):
        raise answer
    if not confirmed or (isinstance(confirmed, StoreError) and not _is_refused(confirmed)):
        raise Unconfirmed
    result: T = answer
    return result


def _is_refused(answer: object) -> bool:
    """Whether the store's user may not ask, or the store knows no such question."""
    refused = isinstance(answer, StoreDenied | UnexpectedReply)
    if refused:
        _log.warning("Replicas are not waited for: %s", answer)
    return refused
