"""What the shards of a type tell, made one: sums, and what comes first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, TypeVar

from sharq.observed import TotalsCorrected, TypeMetrics, WatchedQueue, WatchedQueues
from sharq.results import DeadBulk, DeadSummary, Limits, Pause

T = TypeVar("T")

RUNNING: Final = "running"
CANCELLED: Final = "cancelled"


def type_metrics(parts: Sequence[TypeMetrics]) -> TypeMetrics:
    """The figures of a type."""
    if len(parts) == 1:
        return parts[0]
    held_by, ready_in = _held([(each.held_by, each.ready_in) for each in parts])
    since = [each.oldest_ready for each in parts if each.oldest_ready is not None]
    return TypeMetrics(
        any(each.has_jobs for each in parts),
        _added(each.enqueue_counts for each in parts),
        _added(each.dequeue_counts for each in parts),
        _added(each.finish_counts for each in parts),
        held_by,
        ready_in,
        _dead([each.dead for each in parts]),
        sum(each.waiting for each in parts),
        sum(each.delayed for each in parts),
        sum(each.active for each in parts),
        sum(each.ready for each in parts),
        sum(each.held for each in parts),
        max(since, default=None),
        sum(each.early for each in parts),
    )


def limits(parts: Sequence[Limits]) -> Limits:
    """The pause of a type that is spread, which has no other limits."""
    if len(parts) == 1:
        return parts[0]
    held_by, ready_in = _held([(each.held_by, each.ready_in) for each in parts])
    return replace(
        parts[0],
        active=sum(each.active for each in parts),
        pause=_latest([each.pause for each in parts]),
        held_by=held_by,
        ready_in=ready_in,
    )


def watched(first: int, queue_ids: Sequence[str], parts: Sequence[WatchedQueues]) -> WatchedQueues:
    """The `first` queues of the schedules of all shards by their turns, and those with names."""
    if len(parts) == 1:
        return parts[0]
    foremost = sorted((queue for part in parts for queue in part.first), key=_turn)
    named = {queue.queue_id: queue for part in parts for queue in (*part.first, *part.named)}
    shown = {queue.queue_id for queue in foremost[:first]}
    others = dict.fromkeys(name for name in queue_ids if name in named and name not in shown)
    return WatchedQueues(foremost[:first], [named[name] for name in others])


def corrected(parts: Sequence[TotalsCorrected]) -> TotalsCorrected:
    """By how much the counts of all shards were corrected."""
    return TotalsCorrected(
        sum(each.waiting for each in parts),
        sum(each.delayed for each in parts),
        all(each.exact for each in parts),
    )


def bulk(parts: Sequence[DeadBulk | None]) -> DeadBulk | None:
    """The bulk that was begun last, in those shards that know it."""
    known = [each for each in parts if each is not None]
    if not known:
        return None
    latest = max(known, key=attrgetter("started")).id
    same = [each for each in known if each.id == latest]
    states = {each.state for each in same}
    most = [each.limit for each in same]
    return replace(
        same[0],
        state=RUNNING if RUNNING in states else CANCELLED if CANCELLED in states else same[0].state,
        started=min(each.started for each in same),
        moved=sum(each.moved for each in same),
        left=sum(each.left for each in same),
        conflicts=sum(each.conflicts for each in same),
        limit=None if None in most else sum(limit or 0 for limit in most),
    )


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A number in as many parts as there are weights, in their proportion; all of 0: evenly."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    done, parts, seen = 0, [], 0
    for weight in weights:
        seen += weight
        upto = total * seen // whole
        parts.append(upto - done)
        done = upto
    return parts


def _dead(parts: Sequence[DeadSummary]) -> DeadSummary:
    oldest = [each.oldest for each in parts if each.oldest is not None]
    return DeadSummary(
        sum(each.jobs for each in parts),
        sum(each.bytes for each in parts),
        min(oldest, default=None),
        sum(each.fallen_out for each in parts),
        sum(each.dropped for each in parts),
    )


def _added(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Counts by minute, the newest first; clocks of nodes may be in different minutes."""
    sums: dict[int, int] = {}
    for part in parts:
        for minute, count in part.items():
            sums[minute] = sums.get(minute, 0) + count
    return dict(sorted(sums.items(), reverse=True))


def _held(parts: Sequence[tuple[str | None, int | None]]) -> tuple[str | None, int | None]:
    """What holds a type back: of the shards with waiting jobs that which goes on first."""
    waiting = [part for part in parts if part[0] is not None]
    if not waiting:
        return parts[0]
    return min(waiting, key=lambda part: math.inf if part[1] is None else part[1])


def _latest(pauses: Sequence[Pause | None]) -> Pause | None:
    there = [each for each in pauses if each is not None]
    return max(there, key=lambda each: math.inf if each.until is None else each.until, default=None)


def _turn(queue: WatchedQueue) -> Any:
    return math.inf if queue.turn_in is None else queue.turn_in
