"""Figures of several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Series:
    """Figures of one case, one a round; a round may have none (None)."""

    values: list[float | None] = field(default_factory=list)

    def add(self, value: float | None) -> None:
        self.values.append(value)

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def median(self) -> float | None:
        return statistics.median(self.known) if self.known else None

    @property
    def least(self) -> float | None:
        return min(self.known, default=None)

    @property
    def most(self) -> float | None:
        return max(self.known, default=None)

    def ratio_to(self, other: Series) -> float | None:
        """The median over the rounds that have both of how many times the other's value it is."""
        pairs = zip(self.values, other.values, strict=False)
        ratios = [mine / its for mine, its in pairs if mine is not None and its]
        return statistics.median(ratios) if ratios else None


def median(values: Sequence[float]) -> float:
    """The middle of several rounds."""
    return statistics.median(values)
