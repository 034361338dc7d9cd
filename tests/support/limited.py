"""Short words for limits and pauses, on the queues of one type."""

from __future__ import annotations

from typing import Any

from sharq.operations.targets import Target
from sharq.results import REMOVE, Enqueued, JobOptions, LimitValues, NewJob
from tests.support.hands import TYPE, Hands


def job(job_id: str, queue_id: str = "q", *, interval: float = 0, **options: Any) -> NewJob:
    """A job with options: those of `JobOptions`."""
    return NewJob(TYPE, queue_id, job_id, b"1", interval, -1, None, JobOptions(**options))


def put(queue: Hands, *jobs: NewJob) -> list[Enqueued]:
    """Enqueue jobs in one call."""
    return queue.run(queue.operations.enqueue(TYPE, jobs))


def limit(queue: Hands, kind: Any, name: str = "", **changes: Any) -> None:
    """Set limits of a level: those of `LimitValues`, or their texts."""
    call = queue.operations.set_limits(TYPE, Target(kind, name), LimitValues(**changes))
    assert queue.run(call)


def pause(queue: Hands, kind: Any, name: str = "", ms: int | None = None) -> None:
    """Pause a level for `ms`, or until it is resumed."""
    assert queue.run(queue.operations.pause(TYPE, Target(kind, name), ms, "closed", "api"))


def resume(queue: Hands, kind: Any, name: str = "") -> None:
    """End the pause of a level."""
    assert queue.run(queue.operations.pause(TYPE, Target(kind, name), REMOVE, "", "api"))
