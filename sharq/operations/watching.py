"""What operators look at, and a recount: arguments checked, then calls of the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sharq.errors import StoreError
from sharq.identifiers import check_identifier, check_integer, check_job, check_queue, invalid
from sharq.observed import (
    Backlog,
    LeasePage,
    Sample,
    ShownJob,
    TotalsCorrected,
    TypeMetrics,
    WatchedQueues,
    at_pace,
)
from sharq.operations import sums
from sharq.operations.call import Call, Flow
from sharq.operations.cursors import QueueCursor, shard_cursor
from sharq.operations.operations import Operations
from sharq.operations.paging import shard_page
from sharq.operations.registry import Registry
from sharq.operations.spreading import Spreading
from sharq.operations.targets import target_of
from sharq.operations.watch_calls import Recounted
from sharq.results import JobStatus, Limits, QueueMetrics

MAX_LEASES: Final = 1000
"""Leases of a type that one page looks through, roughly, at most."""

_MOST_TYPES: Final = 5000
_PAGE: Final = 1000
_ROUNDS: Final = 5
_CURSOR: Final = re.compile("[0-9]{1,20}", re.ASCII)


class TypesListed(NamedTuple):
    """Names of types, how many `more` there are, and whether the registry could be read."""

    names: list[str]
    more: int
    complete: bool


class Watching:
    """The flows of those who look on."""

    def __init__(self, operations: Operations, spreading: Spreading, registry: Registry) -> None:
        self._operations = operations
        self._spreading = spreading
        self._registry = registry

    def types(self, most: int) -> Flow[TypesListed]:
        """Up to `most` types, those registered last, and how many more there are.

        Of very many types not all are looked at, nor counted. Where the registry of a cluster is
        away they are those that are known here.
        """
        ages: dict[str, int] = {}
        walk = self._registry.walk()
        while len(ages) < _MOST_TYPES and (page := (yield from walk.next())) is not None:
            ages.update(page.types)
        latest = sorted(ages, key=lambda name: (ages[name], name))[:most]
        return TypesListed(sorted(latest), len(ages) - len(latest), walk.complete)

    def metrics(self, queue_types: Sequence[str]) -> Flow[tuple[int, dict[str, TypeMetrics]]]:
        """The store's time in ms, and the metrics of types.

        A type whose node does not answer is left out; the failure is raised if none does.
        """
        operations = self._operations
        now, answers = yield from self._spreading.with_first(
            operations.ping(),
            queue_types,
            lambda name: [operations.type_metrics(name)],
            brief=self._registry.clustered,
        )
        if isinstance(now, StoreError) and self._registry.clustered:
            # A node that hangs was asked: by now it is known that it does.
            (now,) = yield [operations.ping()]
        metrics = {
            name: sums.type_metrics([part for (part,) in parts])
            for name, parts in zip(queue_types, answers, strict=True)
            if not isinstance(parts, StoreError)
        }
        if isinstance(now, StoreError):
            raise now
        failures = [each for each in answers if isinstance(each, StoreError)]
        if failures and not metrics:
            raise failures[0]
        return now, metrics

    def type(self, queue_type: str) -> Flow[tuple[int, TypeMetrics, Limits]]:
        """The store's time in ms, the metrics of a type, and its limits."""
        operations = self._operations
        whole = target_of(None, None)
        now, (parts,) = yield from self._spreading.with_first(
            operations.ping(),
            [queue_type],
            lambda name: [operations.type_metrics(name), operations.show_limits(name, whole)],
        )
        if isinstance(now, StoreError):
            raise now
        if isinstance(parts, StoreError):
            raise parts
        metrics, limits = zip(*parts, strict=True)
        return now, sums.type_metrics(metrics), sums.limits(limits)

    def queue(self, queue_type: str, queue_id: str) -> Flow[tuple[int, QueueMetrics, Limits]]:
        """The store's time in ms, the metrics of a queue, and its limits."""
        operations = self._operations
        now, metrics, limits = yield from self._spreading.together(
            queue_type,
            queue_id,
            lambda name: [
                operations.ping(),
                operations.queue_metrics(name, queue_id),
                operations.show_limits(name, target_of(queue_id, None)),
            ],
        )
        return now, metrics, limits

    def sample(self, queue_type: str, cursor: str | None, count: int) -> Flow[Sample]:
        """The backlogs of about `count` queues; None is the beginning."""
        name, page, following = yield from shard_page(
            self._spreading,
            queue_type,
            shard_cursor(cursor),
            lambda name, at: self._operations.sample_queues(name, at, count),
        )
        found: list[tuple[Backlog, str | None]] = []
        if page.names:
            found = yield self._operations.backlogs(name, page.names)
        groups = sorted({group for _, group in found if group is not None})
        intervals: dict[str | None, float] = {}
        if groups:
            intervals = yield self._operations.group_intervals(name, groups)
        queues = [at_pace(backlog, intervals.get(group)) for backlog, group in found]
        # All shards have about as many queues.
        total = page.total * len(self._spreading.shards.homes(queue_type))
        return Sample(None if following is None else str(following), total, queues)

    def queues(self, queue_type: str, first: int, queue_ids: list[str]) -> Flow[WatchedQueues]:
        """The `first` queues of the schedule, and others by their names, as they are now."""
        shards = self._spreading.shards

        def look(name: str) -> Call[WatchedQueues]:
            own = [each for each in queue_ids if shards.home(queue_type, each) == name]
            return self._operations.watch_queues(name, first, own)

        parts = yield from self._spreading.everywhere(queue_type, look)
        return sums.watched(first, queue_ids, parts)

    def share(self, queue_type: str, server_id: str, sample: bytes) -> Flow[bytes | None]:
        """Give a sample to other servers; None where this server is the one to take it."""
        # Where is all the same.
        return (
            yield from self._spreading.at_home(
                queue_type, "", lambda name: self._operations.share_sample(name, server_id, sample)
            )
        )

    def tell(self, server_id: str | None, message: bytes) -> Flow[None]:
        """Send a message to a server, or to all for None."""
        yield self._operations.tell_servers(server_id, message)

    def leases(self, queue_type: Any, queue_id: Any, cursor: Any, count: Any) -> Flow[LeasePage]:
        """Leased jobs of a queue, those among about `count` of its type.

        None of them may be of the queue, though there are more pages.
        """
        queue_type, queue_id = check_queue(queue_type, queue_id)
        if cursor is not None and not (isinstance(cursor, str) and _CURSOR.fullmatch(cursor)):
            raise invalid("cursor")
        check_integer("count", count, 1, MAX_LEASES)
        at = cursor or "0"
        return (
            yield from self._spreading.at_home(
                queue_type,
                queue_id,
                lambda name: self._operations.list_leases(name, queue_id, at, count),
            )
        )

    def job(self, queue_type: Any, queue_id: Any, job_id: Any) -> Flow[ShownJob]:
        """The state of a job, its payload, and the token of its lease."""
        names = queue_type, queue_id, job_id = check_job(queue_type, queue_id, job_id)
        operations = self._operations
        status: JobStatus
        status, (payload, n) = yield from self._spreading.together(
            queue_type,
            queue_id,
            lambda name: [
                operations.status(name, queue_id, job_id),
                operations.show_job(name, queue_id, job_id),
            ],
        )
        return ShownJob(status, payload, None if n is None else "/".join((*names, n)))

    def recount(self, queue_type: Any) -> Flow[TotalsCorrected]:
        """Count the waiting jobs of a type anew, and correct what its counters tell.

        The counting takes a page of queues after another. If jobs come or go meanwhile it begins
        anew, and after some rounds the result may be wrong by what has come and gone.
        """
        queue_type = check_identifier("queue_type", queue_type)
        # A type that turns out to be spread is counted in all its shards.
        yield from self._spreading.everywhere(queue_type, self._operations.type_metrics)
        parts: list[TotalsCorrected] = []
        for name in self._spreading.shards.homes(queue_type):
            part = yield from self._recount(name)
            parts.append(part)
        return sums.corrected(parts)

    def _recount(self, name: str) -> Flow[TotalsCorrected]:
        for _ in range(_ROUNDS):
            first, last, queues = yield from self._count(name)
            if first.mark == last.mark:
                break
        waiting = sum(count for count, _ in queues.values()) - last.waiting
        delayed = sum(late for _, late in queues.values()) - last.delayed
        yield self._operations.correct_totals(name, waiting, delayed)
        return TotalsCorrected(waiting, delayed, first.mark == last.mark)

    def _count(self, name: str) -> Flow[tuple[Recounted, Recounted, dict[str, tuple[int, int]]]]:
        """The first and the last page, and all queues."""
        queues: dict[str, tuple[int, int]] = {}
        first: Recounted | None = None
        cursor: QueueCursor | None = QueueCursor()
        while cursor is not None:
            page: Recounted = yield self._operations.recount(name, cursor, _PAGE)
            first = first or page
            cursor = page.cursor
            queues |= page.queues
        assert first is not None
        return first, page, queues
