"""Which queues of a type have the most to do: from a sample, taken page by page. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sharq.observed import Backlog, Sample, WatchedQueue, WatchedQueues, at_pace
from sharq_server.watch.merging import known

MOST: Final = 50
"""Queues that a list of the first ones has, at most."""

_QUICK: Final = 100_000
"""Queues of a type whose rounds may be quick, at most."""

_NOTHING: Final = "nothing"
"""What holds a queue back that may go."""

_SPARE: Final = 20
"""Queues that are looked at again besides, since some of the first ones may be gone by then."""


class _Round(NamedTuple):
    """A walk over the queues of a type: how many were looked at, of how many, since when (ms)."""

    looked: int
    total: int
    since: int


class Tops:
    """The first queues of one type, by the length of their backlog and by the time it takes.

    A round walks over all queues in pages; what it has found is shown until the next one has found
    other queues.
    """

    def __init__(self) -> None:
        self._last: _Round | None = None
        self._few = False
        self._kept: dict[str, Backlog] = {}
        self._begin()

    def _begin(self) -> None:
        self.cursor: str | None = None
        self._since = 0
        self._looked = 0
        self._total = 0
        self._found: dict[str, Backlog] = {}

    def add(self, sample: Sample, at: int) -> None:
        """A page of the round has come, at `at` (ms); after the last one the next round begins."""
        self._since = self._since or at
        self._looked += len(sample.queues)
        self._total = max(sample.total, self._total, self._looked)
        self._found = first_of({**self._found, **{q.queue_id: q for q in sample.queues}})
        if sample.cursor is not None:
            self.cursor = sample.cursor
            return
        self._last = _Round(self._looked, self._looked, self._since)
        self._kept = self._found
        self._begin()

    def grown(self, queues: Iterable[Backlog]) -> None:
        """Queues that have grown meanwhile."""
        # They are told with their own intervals: that of a group is known from the sample.
        for queue in queues:
            known = self._found.get(queue.queue_id) or self._kept.get(queue.queue_id)
            self._found[queue.queue_id] = at_pace(queue, known and known.interval)
        self._found = first_of(self._found)

    @property
    def hurries(self) -> bool:
        """Whether the first queues are not known yet, or no longer: then a round is to be quick."""
        return self._total <= _QUICK and (self._last is None or self._few)

    @property
    def candidates(self) -> list[str]:
        """The queues that may be among the first ones, to look at them as they are now."""
        return list({**self._kept, **self._found})

    def shown(self, queues: WatchedQueues, at: int) -> dict[str, Any]:
        """The lists, from queues as they are at the time `at` (ms)."""
        by_name = {queue.queue_id: queue for queue in (*queues.first, *queues.named)}
        backlog = heapq.nlargest(MOST, by_name.values(), key=lambda queue: queue.waiting)
        slow = [queue for queue in by_name.values() if queue.drained_in != 0]
        drain = heapq.nlargest(MOST, slow, key=_end_of)
        ready = [queue for queue in by_name.values() if queue.held_by == _NOTHING]
        oldest = heapq.nsmallest(MOST, ready, key=lambda queue: queue.turn_in or 0)
        told = {queue.queue_id for queue in (*backlog, *drain, *oldest)}
        self._few = len(by_name) < min(MOST, self._last.total if self._last else 0)
        looked = self._last or _Round(self._looked, self._total, self._since)
        return {
            "queues": {name: _row(by_name[name], at) for name in sorted(told)},
            "tops": {
                "backlog": [queue.queue_id for queue in backlog],
                "oldest": [queue.queue_id for queue in oldest],
                "drain": [queue.queue_id for queue in drain],
            },
            "looked": {"queues": looked.looked, "of": looked.total, "since": looked.since},
        }


def first_of(queues: dict[str, Backlog]) -> dict[str, Backlog]:
    """Those of them that may be among the first ones."""
    most = MOST + _SPARE
    if len(queues) <= most:
        return queues
    longest = heapq.nlargest(most, queues.values(), key=lambda queue: queue.waiting)
    slowest = heapq.nlargest(most, queues.values(), key=_time_of)
    return {queue.queue_id: queue for queue in (*longest, *slowest)}


def _time_of(queue: Backlog) -> float:
    """How long its interval alone makes a queue's jobs wait, in ms."""
    return queue.waiting * (queue.interval or 0)


def _end_of(queue: WatchedQueue) -> tuple[float, int]:
    """When its last job goes (ms from now); of those that nothing ends, the longer one is first."""
    return math.inf if queue.drained_in is None else queue.drained_in, queue.waiting


def _row(queue: WatchedQueue, at: int) -> dict[str, Any]:
    return known(
        waiting=queue.waiting,
        active=queue.active,
        interval=queue.interval,
        due=None if queue.turn_in is None else at + queue.turn_in,
        group=queue.group,
        held_by=queue.held_by,
        drained_in=queue.drained_in,
    )
