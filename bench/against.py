"""Is this checkout slower than another one? Both are measured in turn, pair by pair.

What a machine does varies from minute to minute, so the runs of a pair follow one another at once,
in changing order, and each figure is compared within its pair.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.progress import Progress
from bench.report import Column, Table
from bench.series import Series

Figure = tuple[str, str, str]
"""The title of a table, the words of a row, and the name of a column."""

HERE = Path(__file__).parent.parent


class NoResultError(Exception):
    """A run has failed; the text is what it said."""


def compare(other: Path, subjects: Sequence[str], pairs: int, progress: Progress) -> Table:
    """Measure `subjects` in this checkout and in `other`, a folder, `pairs` times each.

    Both need their environments (``./build.sh lint`` makes one). Raises NoResultError.
    """
    here: dict[Figure, Series] = {}
    there: dict[Figure, Series] = {}
    progress.begin("pairs", 2 * pairs)
    for pair in range(pairs):
        sides = [(HERE, here), (other, there)]
        for checkout, series in sides if pair % 2 == 0 else reversed(sides):
            progress.step(f"pair {pair + 1}, {checkout}")
            for figure, value in figures(_measure(checkout, subjects)).items():
                series.setdefault(figure, Series()).add(value)
    progress.end()
    return ratios(here, there, pairs)


def figures(result: dict[str, Any]) -> dict[Figure, float]:
    """The numbers in the tables of a run (its JSON)."""
    found: dict[Figure, float] = {}
    for tables in result["results"].values():
        for table in tables:
            for row in table["rows"]:
                words = ", ".join(value for value in row.values() if isinstance(value, str))
                for name, value in row.items():
                    if isinstance(value, int | float):
                        found[table["title"], words, name] = value
    return found


def ratios(here: dict[Figure, Series], there: dict[Figure, Series], pairs: int) -> Table:
    """A row for each figure that both have and that is not always the same, as a target is."""
    rows = []
    for figure, mine in here.items():
        its = there.get(figure, Series())
        known = [
            a / b for a, b in zip(mine.values, its.values, strict=False) if a is not None and b
        ]
        if len(known) == pairs and {*mine.known, *its.known} != {mine.values[0]}:
            rows.append(
                (*figure, its.median, mine.median, mine.ratio_to(its), min(known), max(known))
            )
    return Table(
        f"This checkout beside the other one, {pairs} pairs",
        (
            *(Column("table"), Column("row"), Column("figure")),
            *(Column("the other", 2), Column("this", 2)),
            *(Column("ratio", 3), Column("least", 3), Column("most", 3)),
        ),
        rows,
        ("Medians; a ratio is taken within a pair, and least and most are its spread.",),
    )


def _measure(checkout: Path, subjects: Sequence[str]) -> dict[str, Any]:
    """One round of the subjects, in a process of the checkout's own; its files are removed."""
    results = checkout / "bench" / "results"
    before = {*results.glob("*.json")}
    command = [checkout / ".venv" / "bin" / "python", "-m", "bench", "--rounds", "1", *subjects]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    new = {*results.glob("*.json")} - before
    if done.returncode != 0 or len(new) != 1:
        raise NoResultError(f"{checkout}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    path = new.pop()
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for made in (path, path.with_suffix(".png")):
        made.unlink(missing_ok=True)
    return result
