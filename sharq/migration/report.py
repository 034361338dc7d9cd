"""What a migration has done, or would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

SLOWEST: Final = 10
"""Queues that a report names with their drain times, at most."""

_MOST_NAMES: Final = 100


class Drain(NamedTuple):
    """How long (ms) a queue's waiting jobs take at its interval, from now on."""

    ms: int
    queue_type: str
    queue_id: str
    jobs: int
    interval: int


@dataclass(slots=True)
class Report:
    """Counts by what became of jobs.

    `jobs` wait in the target now, `leases` are leased there, `requeued` had a lease and wait.
    `copied` were copied by an earlier run and are left alone. `rejects` has how many could not
    come, by reason. `doubtful` names leases that were over with -1 requeues left. `leftovers` are
    fields of the original that belong to no job, `ghosts` entries of queues without jobs. `in_use`
    tells that the original's servers have gone on.
    """

    dry_run: bool = False
    jobs: int = 0
    leases: int = 0
    requeued: int = 0
    copied: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    doubtful: list[str] = field(default_factory=list)
    leftovers: int = 0
    ghosts: int = 0
    in_use: bool = False
    seconds: float = 0.0
    queues: set[tuple[bytes, bytes]] = field(default_factory=set)
    slowest: list[Drain] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many jobs could not come."""
        return self.rejects.total()

    def note_doubtful(self, name: str) -> None:
        """Name a lease, unless there are very many."""
        if len(self.doubtful) < _MOST_NAMES:
            self.doubtful.append(name)

    def note_drain(self, drain: Drain) -> None:
        """Keep it among the slowest."""
        self.slowest.append(drain)
        if len(self.slowest) > 100 * SLOWEST:
            self.cut()

    def cut(self) -> None:
        """Keep only the slowest queues."""
        self.slowest = sorted(self.slowest, reverse=True)[:SLOWEST]

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "dry_run": self.dry_run,
            "queues": len(self.queues),
            "jobs": self.jobs,
            "leases": self.leases,
            "requeued": self.requeued,
            "copied_before": self.copied,
            "rejected": dict(self.rejects),
            "doubtful": self.doubtful,
            "leftovers": self.leftovers,
            "ghosts": self.ghosts,
            "in_use": self.in_use,
            "seconds": round(self.seconds, 3),
            "slowest": [drain._asdict() for drain in self.slowest],
        }
