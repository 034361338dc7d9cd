"""What the model remembers of jobs that have ended, of answers, and of what was counted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.model.names import JobName

BURIED = "buried"
"""The state in the mark of a job that became a dead letter."""


@dataclass(slots=True)
class Mark:
    """What became of a job: finished, dead, or `BURIED`. `faded`: its retention has passed once."""

    at: int
    n: str
    state: str
    faded: bool = False


@dataclass(slots=True)
class Answer:
    """What a dequeue with a request_id was answered, and until when that is kept."""

    ends: int
    jobs: list[tuple[JobName, str, int]]


@dataclass(slots=True)
class Minute:
    """The counts of one minute. `faded`: they may have been removed, so that nothing is known."""

    enqueued: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    dequeued: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    faded: bool = False
