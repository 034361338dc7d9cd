"""Tables: for the terminal as text, for a file as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
