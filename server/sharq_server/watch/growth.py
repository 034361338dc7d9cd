"""Queues that grow, by the answers of enqueues at this server: so that a sample need not find them.

Only types that somebody watches are followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sharq.observed import Backlog
from sharq.results import QUEUED, Enqueued, NewJob
from sharq_server.watch.following import Following
from sharq_server.watch.tops import first_of

_MOST: Final = 500
"""Queues that are kept until the less important ones are dropped."""

Backlogs = dict[str, Backlog]


class Growth(Following[[Sequence[NewJob], Sequence[Enqueued]], Backlogs]):
    """Follows the enqueues of types."""

    def take(self, asker: str, queue_type: str) -> list[Backlog]:
        """The longest of those that have grown since the last time."""
        return list(first_of(self.found(asker, queue_type)).values())

    def _nothing(self) -> Backlogs:
        return {}

    def _with(
        self, found: Backlogs, jobs: Sequence[NewJob], outcomes: Sequence[Enqueued]
    ) -> Backlogs:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome.outcome == QUEUED:
                queue_id = job.queue_id
                found[queue_id] = Backlog(queue_id, outcome.length + 1, job.interval or None)
        return first_of(found) if len(found) > _MOST else found
