"""The names of queues and jobs, and how a difference between the model and an answer is told."""

from __future__ import annotations

from typing import NamedTuple


class QueueName(NamedTuple):
    """Where a queue is."""

    queue_type: str
    queue_id: str


class JobName(NamedTuple):
    """Where a job is."""

    queue_type: str
    queue_id: str
    job_id: str

    @property
    def queue(self) -> QueueName:
        return QueueName(self.queue_type, self.queue_id)


class GroupName(NamedTuple):
    """Where a group is."""

    queue_type: str
    group: str


def expect(what: str, got: object, wanted: object = True) -> None:
    """Raise AssertionError unless the two are equal."""
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, expected {wanted!r}")
