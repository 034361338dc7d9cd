"""What a benchmark says: tables for the terminal and for a file, and how far it has come."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_BAR = 30


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
    rows: Sequence[Sequence[str | float | None]]
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


class Progress:
    """A bar on the standard error, or on no terminal a line for each subject."""

    def __init__(self) -> None:
        self._subject = ""
        self._total = 1
        self._done = 0
        self._live = sys.stderr.isatty()

    def begin(self, subject: str, total: int) -> None:
        """A subject of `total` steps begins."""
        self._subject, self._total, self._done = subject, total, 0
        if not self._live:
            print(f"{subject} …", file=sys.stderr, flush=True)

    def step(self, what: str) -> None:
        """The next step begins."""
        if self._live:
            filled = _BAR * self._done // self._total
            bar = "#" * filled + "." * (_BAR - filled)
            sys.stderr.write(f"\r\x1b[K{self._subject:8} [{bar}] {what}"[:100])
            sys.stderr.flush()
        self._done += 1

    def end(self) -> None:
        """The subject is done."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Options:
    """How much is asked for: `rounds` that a median is taken of, `full` for the largest sizes."""

    rounds: int
    full: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is measured; `run` makes its tables."""

    name: str
    about: str
    run: Callable[[Progress, Options], list[Table]]


def median(values: Sequence[float]) -> float:
    """The middle of several rounds."""
    return statistics.median(values)


def _words(table: Table) -> list[bool]:
    return [
        any(isinstance(row[index], str) for row in table.rows)
        for index in range(len(table.columns))
    ]


def _text(value: str | float | None, column: Column) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,.{column.digits}f}"


def _aligned(cells: Sequence[str], widths: Sequence[int], words: Sequence[bool]) -> str:
    parts = (
        f"{cell:<{width}}" if word else f"{cell:>{width}}"
        for cell, width, word in zip(cells, widths, words, strict=True)
    )
    return "  " + "  ".join(parts).rstrip()
