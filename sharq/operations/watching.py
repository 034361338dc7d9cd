"""What operators look at, and a recount: arguments checked, then calls of the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

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
from sharq.operations.call import Call, Flow
from sharq.operations.cursors import QueueCursor, queue_cursor
from sharq.operations.operations import Operations
from sharq.operations.targets import target_of
from sharq.operations.watch_calls import Recounted
from sharq.results import JobStatus, Limits, QueueMetrics

MAX_LEASES: Final = 1000
"""Leases of a type that one page looks through, roughly, at most."""

_MOST_TYPES: Final = 5000
_PAGE: Final = 1000
_ROUNDS: Final = 5
_CURSOR: Final = re.compile("[0-9]{1,20}", re.ASCII)


class Watching:
    """The flows of those who look on."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def types(self, most: int) -> Flow[tuple[list[str], int]]:
        """Up to `most` types, those registered last, and how many more there are.

        Of very many types not all are looked at, nor counted.
        """
        ages: dict[str, int] = {}
        cursor = ""
        while cursor != "0" and len(ages) < _MOST_TYPES:
            page = yield self._operations.list_types(cursor or "0")
            cursor = page.cursor
            ages.update(page.types)
        latest = sorted(ages, key=lambda name: (ages[name], name))[:most]
        return sorted(latest), len(ages) - len(latest)

    def metrics(self, queue_types: Sequence[str]) -> Flow[tuple[int, dict[str, TypeMetrics]]]:
        """The store's time in ms, and the metrics of types.

        A type whose node does not answer is left out; the failure is raised if none does.
        """
        calls = [self._operations.type_metrics(name) for name in queue_types]
        now, *answers = yield [self._operations.ping(), *calls]
        metrics = {
            name: answer
            for name, answer in zip(queue_types, answers, strict=True)
            if not isinstance(answer, StoreError)
        }
        if isinstance(now, StoreError):
            raise now
        if answers and not metrics:
            raise answers[0]
        return now, metrics

    def type(self, queue_type: str) -> Flow[tuple[int, TypeMetrics, Limits]]:
        """The store's time in ms, the metrics of a type, and its limits."""
        operations = self._operations
        now, metrics, limits = yield from _all(
            [
                operations.ping(),
                operations.type_metrics(queue_type),
                operations.show_limits(queue_type, target_of(None, None)),
            ]
        )
        return now, metrics, limits

    def queue(self, queue_type: str, queue_id: str) -> Flow[tuple[int, QueueMetrics, Limits]]:
        """The store's time in ms, the metrics of a queue, and its limits."""
        operations = self._operations
        now, metrics, limits = yield from _all(
            [
                operations.ping(),
                operations.queue_metrics(queue_type, queue_id),
                operations.show_limits(queue_type, target_of(queue_id, None)),
            ]
        )
        return now, metrics, limits

    def sample(self, queue_type: str, cursor: str | None, count: int) -> Flow[Sample]:
        """The backlogs of about `count` queues; None is the beginning."""
        page = yield self._operations.sample_queues(queue_type, queue_cursor(cursor), count)
        found: list[tuple[Backlog, str | None]] = []
        if page.names:
            found = yield self._operations.backlogs(queue_type, page.names)
        groups = sorted({group for _, group in found if group is not None})
        intervals: dict[str | None, float] = {}
        if groups:
            intervals = yield self._operations.group_intervals(queue_type, groups)
        queues = [at_pace(backlog, intervals.get(group)) for backlog, group in found]
        return Sample(page.cursor, page.total, queues)

    def queues(self, queue_type: str, first: int, queue_ids: list[str]) -> Flow[WatchedQueues]:
        """The `first` queues of the schedule, and others by their names, as they are now."""
        queues: WatchedQueues = yield self._operations.watch_queues(queue_type, first, queue_ids)
        return queues

    def share(self, queue_type: str, server_id: str, sample: bytes) -> Flow[bytes | None]:
        """Give a sample to other servers; None where this server is the one to take it."""
        shared: bytes | None = yield self._operations.share_sample(queue_type, server_id, sample)
        return shared

    def tell(self, server_id: str | None, message: bytes) -> Flow[None]:
        """Send a message to a server, or to all for None."""
        yield self._operations.tell_servers(server_id, message)

    def leases(self, queue_type: Any, queue_id: Any, cursor: Any, count: Any) -> Flow[LeasePage]:
        """Leased jobs of a queue, those among about `count` of its type.

        None of them may be of the queue, though there are more pages.
        """
        queue = check_queue(queue_type, queue_id)
        if cursor is not None and not (isinstance(cursor, str) and _CURSOR.fullmatch(cursor)):
            raise invalid("cursor")
        check_integer("count", count, 1, MAX_LEASES)
        page: LeasePage = yield self._operations.list_leases(*queue, cursor or "0", count)
        return page

    def job(self, queue_type: Any, queue_id: Any, job_id: Any) -> Flow[ShownJob]:
        """The state of a job, its payload, and the token of its lease."""
        names = check_job(queue_type, queue_id, job_id)
        operations = self._operations
        status: JobStatus
        status, (payload, n) = yield from _all(
            [operations.status(*names), operations.show_job(*names)]
        )
        return ShownJob(status, payload, None if n is None else "/".join((*names, n)))

    def recount(self, queue_type: Any) -> Flow[TotalsCorrected]:
        """Count the waiting jobs of a type anew, and correct what its counters tell.

        The counting takes a page of queues after another. If jobs come or go meanwhile it begins
        anew, and after some rounds the result may be wrong by what has come and gone.
        """
        queue_type = check_identifier("queue_type", queue_type)
        for _ in range(_ROUNDS):
            first, last, queues = yield from self._count(queue_type)
            if first.mark == last.mark:
                break
        waiting = sum(count for count, _ in queues.values()) - last.waiting
        delayed = sum(late for _, late in queues.values()) - last.delayed
        yield self._operations.correct_totals(queue_type, waiting, delayed)
        return TotalsCorrected(waiting, delayed, first.mark == last.mark)

    def _count(
        self, queue_type: str
    ) -> Flow[tuple[Recounted, Recounted, dict[str, tuple[int, int]]]]:
        """The first and the last page, and all queues."""
        queues: dict[str, tuple[int, int]] = {}
        first: Recounted | None = None
        cursor: QueueCursor | None = QueueCursor()
        while cursor is not None:
            page: Recounted = yield self._operations.recount(queue_type, cursor, _PAGE)
            first = first or page
            cursor = page.cursor
            queues |= page.queues
        assert first is not None
        return first, page, queues


def _all(calls: list[Call[Any]]) -> Flow[list[Any]]:
    """The answers of calls that leave together. Raises the first failure."""
    answers = yield calls
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return list(answers)
