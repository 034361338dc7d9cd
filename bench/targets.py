"""What the project wants of its figures, and what was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import Column, Table


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the project's targets: what was wanted of a figure, and what was reached.

    `wanted` is a bound from below, or with `at_most` from above; both are in `unit`. `reached` is
    None where it was not measured; `remark` then says why.
    """

    subject: str
    figure: str
    wanted: float
    reached: float | None
    unit: str
    at_most: bool = False
    remark: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None where it was not measured."""
        if self.reached is None:
            return None
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted

    @property
    def margin(self) -> float | None:
        """How many times better than wanted; below 1 it is missed. None where that says nothing."""
        if self.reached is None or not self.wanted or self.reached <= 0:
            return None
        return self.wanted / self.reached if self.at_most else self.reached / self.wanted

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "subject": self.subject,
            "figure": self.figure,
            "wanted": self.wanted,
            "at_most": self.at_most,
            "reached": self.reached,
            "unit": self.unit,
            "met": self.met,
            "margin": self.margin,
            "remark": self.remark,
        }


def summary(targets: Sequence[Target]) -> Table:
    """The targets as a table."""
    return Table(
        "Targets",
        (
            Column("subject"),
            Column("figure"),
            Column("wanted"),
            Column("reached"),
            Column("met"),
            Column("remark"),
        ),
        [
            (
                target.subject,
                target.figure,
                f"{'≤' if target.at_most else '≥'} {amount(target.wanted, target.unit)}",
                "-" if target.reached is None else amount(target.reached, target.unit),
                {True: "yes", False: "NO", None: "?"}[target.met],
                target.remark,
            )
            for target in targets
        ],
    )


def amount(value: float, unit: str) -> str:
    """A value with its unit, with three digits or more."""
    whole = value == round(value) or abs(value) >= 100
    digits = 0 if whole else 1 if abs(value) >= 10 and unit != "%" else 2
    return f"{value:,.{digits}f}{'' if unit.startswith('/') else ' '}{unit}".rstrip()
