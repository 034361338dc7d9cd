"""What a benchmark says: tables and targets for the terminal and for a file, and how far it is."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_BAR = 30

Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers are shown with `digits` behind the point."""

    name: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A result. Each row has a value for every column; None is not known. `notes` go below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as plain values, each row by the names of its columns."""
        names = [column.name for column in self.columns]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}

    def lines(self) -> list[str]:
        """The same as lines of text: words to the left, numbers to the right."""
        texts = [
            [_text(value, column) for value, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]
        cells = [[column.name for column in self.columns], *texts]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return [
            self.title,
            "",
            *(_aligned(row, widths, _words(self)) for row in cells),
            *([""] if self.notes else []),
            *(f"  {note}" for note in self.notes),
        ]


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


class Findings(NamedTuple):
    """What a subject has found out."""

    tables: list[Table]
    targets: list[Target]


class Progress:
    """A bar on the standard error, or on no terminal a line for each subject."""

    def __init__(self) -> None:
        self._subject = ""
        self._total = 1
        self._done = 0
        self._live = sys.stderr.isatty()

    def begin(self, subject: str, total: int) -> None:
        """A subject of `total` steps begins, or the part of it whose steps can be counted."""
        if not self._live and subject != self._subject:
            print(f"{subject} …", file=sys.stderr, flush=True)
        self._subject, self._total, self._done = subject, total, 0

    def step(self, what: str) -> None:
        """The next step begins."""
        self.say(what)
        self._done += 1

    def say(self, what: str) -> None:
        """Tell what is done within a step."""
        if self._live:
            filled = min(_BAR, _BAR * self._done // self._total)
            bar = "#" * filled + "." * (_BAR - filled)
            sys.stderr.write(f"\r\x1b[K{f'{self._subject:8} [{bar}] {what}'[:100]}")
            sys.stderr.flush()

    def end(self) -> None:
        """The subject is done."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Options:
    """How much is asked for.

    `rounds` that a median is taken of, `full` for the largest sizes, `peers` for other queues,
    too, which may have to be installed.
    """

    rounds: int
    full: bool
    peers: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is measured."""

    name: str
    about: str
    run: Callable[[Progress, Options], Findings]


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


def _words(table: Table) -> list[bool]:
    return [
        any(isinstance(row[index], str) for row in table.rows)
        for index in range(len(table.columns))
    ]


def _text(value: Cell, column: Column) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,.{column.digits}f}"


def _aligned(cells: Sequence[str], widths: Sequence[int], words: Sequence[bool]) -> str:
    parts = (
        f"{cell:<{width}}" if word else f"{cell:>{width}}"
        for cell, width, word in zip(cells, widths, words, strict=True)
    )
    return "  " + "  ".join(parts).rstrip()
