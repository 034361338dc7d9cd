"""What is asked and changed of queues and jobs by their names, and what a type has: flows."""

from __future__ import annotations

from typing import Any

from sharq.identifiers import (
    check_identifier,
    check_integer,
    check_interval,
    check_job,
    check_queue,
    invalid,
)
from sharq.observed import TypeMetrics
from sharq.operations import sums
from sharq.operations.call import Flow
from sharq.operations.cursors import ShardCursor, job_cursor, shard_cursor
from sharq.operations.lease_flows import LeaseFlows
from sharq.operations.operations import PAGE_SIZE
from sharq.operations.paging import NamesPage, queue_page
from sharq.results import Cleared, JobPage, JobStatus, QueueMetrics, QueuePage

MAX_JOBS = 100
"""Jobs that one page has, at most."""

MAX_QUEUES = 1000
"""Queues that one page of a listing is asked for, at most."""


class QueueFlows(LeaseFlows):
    """A part of `Flows`."""

    def job_status(self, queue_type: Any, queue_id: Any, job_id: Any) -> Flow[JobStatus]:
        """The state of a job."""
        queue_type, queue_id, job_id = check_job(queue_type, queue_id, job_id)
        return (
            yield from self.spreading.at_home(
                queue_type, queue_id, lambda name: self.operations.status(name, queue_id, job_id)
            )
        )

    def set_interval(self, queue_type: Any, queue_id: Any, interval: Any) -> Flow[bool]:
        """Set a queue's interval; enqueues no longer change it."""
        interval = check_interval("interval", interval)
        queue_type, queue_id = check_queue(queue_type, queue_id)
        return (
            yield from self.spreading.at_home(
                queue_type,
                queue_id,
                lambda name: self.operations.set_interval(name, queue_id, interval),
            )
        )

    def reset_interval(self, queue_type: Any, queue_id: Any) -> Flow[bool]:
        """Let enqueues set a queue's interval again."""
        queue_type, queue_id = check_queue(queue_type, queue_id)
        return (
            yield from self.spreading.at_home(
                queue_type, queue_id, lambda name: self.operations.reset_interval(name, queue_id)
            )
        )

    def clear(self, queue_type: Any, queue_id: Any, purge_all: Any) -> Flow[Cleared]:
        """Remove the waiting jobs of a queue, with `purge_all` its leases too."""
        queue_type, queue_id = check_queue(queue_type, queue_id)
        if not isinstance(purge_all, bool):
            raise invalid("purge_all")
        return (
            yield from self.spreading.at_home(
                queue_type, queue_id, lambda name: self.operations.clear(name, queue_id, purge_all)
            )
        )

    def queue_length(self, queue_type: Any, queue_id: Any) -> Flow[int]:
        """The number of waiting jobs of a queue."""
        queue_type = check_identifier("queue_type", queue_type)
        queue_id = check_identifier("queue_id", queue_id)
        return (
            yield from self.spreading.at_home(
                queue_type, queue_id, lambda name: self.operations.queue_length(name, queue_id)
            )
        )

    def queue_metrics(self, queue_type: Any, queue_id: Any) -> Flow[QueueMetrics]:
        """Lengths, rate and counts of a queue."""
        queue_type, queue_id = check_queue(queue_type, queue_id)
        return (
            yield from self.spreading.at_home(
                queue_type, queue_id, lambda name: self.operations.queue_metrics(name, queue_id)
            )
        )

    def type_metrics(self, queue_type: Any) -> Flow[TypeMetrics]:
        """What holds a type back, and its counts."""
        queue_type = check_identifier("queue_type", queue_type)
        parts = yield from self.spreading.everywhere(queue_type, self.operations.type_metrics)
        return sums.type_metrics(parts)

    def queue_ids(self, queue_type: Any) -> Flow[list[str]]:
        """The queues of a type that have waiting or leased jobs, each once."""
        queue_type = check_identifier("queue_type", queue_type)
        names: dict[str, None] = {}
        cursor: ShardCursor | None = ShardCursor()
        while cursor is not None:
            page = yield from self._queue_page(queue_type, cursor, PAGE_SIZE, "")
            cursor = page.cursor
            names.update(dict.fromkeys(page.names))
        return list(names)

    def queue_page(
        self, queue_type: Any, cursor: Any, count: Any, prefix: Any = None
    ) -> Flow[QueuePage]:
        """The queues of a type, among about `count`, whose names begin with `prefix`, if any.

        None of them may do so, though there are more pages.
        """
        queue_type = check_identifier("queue_type", queue_type)
        at = shard_cursor(cursor)
        check_integer("count", count, 1, MAX_QUEUES)
        start = "" if prefix is None else check_identifier("prefix", prefix)
        page = yield from self._queue_page(queue_type, at, count, start)
        return QueuePage(page.names, None if page.cursor is None else str(page.cursor))

    def _queue_page(
        self, queue_type: str, at: ShardCursor, count: int, prefix: str
    ) -> Flow[NamesPage]:
        return (
            yield from queue_page(
                self.spreading,
                queue_type,
                at,
                count,
                lambda name, at: self.operations.list_queues(name, at, count, prefix),
            )
        )

    def job_page(self, queue_type: Any, queue_id: Any, cursor: Any, count: Any) -> Flow[JobPage]:
        """Waiting jobs of a queue, up to `count`."""
        queue_type, queue_id = check_queue(queue_type, queue_id)
        start = job_cursor(cursor)
        check_integer("count", count, 1, MAX_JOBS)
        return (
            yield from self.spreading.at_home(
                queue_type,
                queue_id,
                lambda name: self.operations.list_jobs(name, queue_id, start, count),
            )
        )
