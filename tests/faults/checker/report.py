"""What the checker has to say: how much was checked of each invariant, and what broke it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from tests.faults.checker.losses import Promotion
    from tests.faults.checker.served import Row

INVARIANTS: Final = {
    "I1": "nothing accepted is lost",
    "I2": "nothing is invented",
    "I3": "one lease, one holder",
    "I4": "rates of dispatches and starts",
    "I5": "the order of deliveries",
    "I6": "a finish is final",
    "I7": "requeue limits are exact",
    "I8": "liveness",
    "I9": "counters add up",
    "I10": "no leaks",
    "I11": "queues do not touch each other",
    "I12": "every reply is of its request",
    "I13": "credit, and one delivery for a job",
    "I14": "concurrency is not exceeded",
    "I15": "nothing while paused",
    "I16": "what limits allow is dispatched",
}

_KEPT: Final = 20
"""So many violations of an invariant are kept with their evidence; the others are counted."""

Evidence = msgspec.Struct | str | None


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach. `evidence`: the lines of the audit and the history that show it."""

    invariant: str
    message: str
    evidence: list[str]


@dataclass(slots=True)
class Tally:
    """The checks of one invariant: how many were made, and how many failed."""

    invariant: str
    checked: int = 0
    violated: int = 0
    first: list[Violation] = field(default_factory=list)

    def violate(self, message: str, *evidence: Evidence) -> None:
        """A check that was made has failed."""
        self.violated += 1
        if len(self.first) < _KEPT:
            self.first.append(Violation(self.invariant, message, list(_lines(evidence))))

    def expect(self, holds: bool, message: str, *evidence: Evidence) -> None:
        """Make a check."""
        self.checked += 1
        if not holds:
            self.violate(message, *evidence)


class Report:
    """The tallies of all invariants; what promotions have lost, and for how long faults of nodes
    have kept types from service.
    """

    def __init__(self) -> None:
        self.tallies = {name: Tally(name) for name in INVARIANTS}
        self.promotions: list[Promotion] = []
        self.outages: list[Row] = []

    def __getitem__(self, invariant: str) -> Tally:
        return self.tallies[invariant]

    @property
    def ok(self) -> bool:
        """Whether nothing was violated."""
        return not self.violated

    @property
    def violated(self) -> set[str]:
        """The invariants that do not hold."""
        return {name for name, tally in self.tallies.items() if tally.violated}

    @property
    def unchecked(self) -> set[str]:
        """The invariants of which nothing could be checked."""
        return {name for name, tally in self.tallies.items() if not tally.checked}

    def lines(self) -> Iterable[str]:
        """A line for each invariant, and below it the first breaches with their evidence."""
        for name, tally in self.tallies.items():
            yield (
                f"{name:4} {INVARIANTS[name]:36} {tally.checked:>9} checked,"
                f" {tally.violated} violated"
            )
            for violation in tally.first:
                yield f"       {violation.message}"
                yield from (f"         {line}" for line in violation.evidence)


def _lines(evidence: Iterable[Evidence]) -> Iterable[str]:
    for piece in evidence:
        if isinstance(piece, str):
            yield piece
        elif piece is not None:
            yield msgspec.json.encode(piece).decode()
