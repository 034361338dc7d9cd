"""A result in the project's pages, so that nobody types figures.

All of it is the page bench/FIGURES.md; what users want to know stands in docs/performance.md,
between marks, with a graph beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import graph
from bench.targets import amount

_END = "<!-- bench: end -->"
_GRAPH = "latency.svg"
_MET = {True: "yes", False: "**no**", None: "not measured"}
_VERSIONS = (
    *("python", "store", "http load", "ceiling", "sharq", "tornado", "redis", "hiredis"),
    *("msgspec", "httptools", "uvloop"),
)


class Pages(NamedTuple):
    """Where the figures go: the page with all of them, and that for users."""

    figures: Path
    users: Path


PAGES = Pages(
    Path(__file__).parent / "FIGURES.md", Path(__file__).parents[1] / "docs" / "performance.md"
)


def write(result: dict[str, Any], pages: Pages = PAGES) -> None:
    """Put `result`, as a run of the benchmark writes it, into the pages, and draw the graph.

    Raises ValueError, and changes nothing, where the page for users lacks the place of a part.
    """
    text = placed(pages.users.read_text(encoding="utf-8"), result)
    pages.users.write_text(text, encoding="utf-8")
    pages.figures.write_text(figures(result), encoding="utf-8")
    if rows := _rows(result, "latency"):
        caption = f"{result['machine']['cpu']}, {result['machine']['cores']} cores"
        drawing = graph.draw(rows, f"{caption}, {result['taken'].partition(' ')[0]}.")
        pages.users.with_name(_GRAPH).write_text(drawing, encoding="utf-8")


def placed(text: str, result: dict[str, Any]) -> str:
    """`text` with each part of the figures in the place of what stands between its marks."""
    for name, part in _PARTS.items():
        begin = f"<!-- bench: {name} -->"
        before, found, rest = text.partition(begin)
        _, end, after = rest.partition(_END)
        if not found or not end:
            raise ValueError(f"there is no {begin} … {_END}")
        text = "".join(
            [before, begin, "\n\n", *(f"{line}\n" for line in part(result)), "\n", end, after]
        )
    return text


def figures(result: dict[str, Any]) -> str:
    """The targets, every table, and what they were taken on, as a page."""
    targets = result["targets"]
    measured = [target for target in targets if target["met"] is not None]
    missed = sum(not target["met"] for target in measured)
    lines = [
        "# Figures",
        "",
        "What one run measured, and what the project wants of it, as",
        "`./build.sh bench --document FILE` wrote it. [README.md](README.md) tells how it is",
        "measured and how to read it; for users there is",
        "[docs/performance.md](../docs/performance.md).",
        "",
        f"{_taken(result)} Rounds: {result['options']['rounds']}.",
        "",
        "## Targets",
        "",
        f"{missed} of {len(measured)} are missed.",
        "",
        *_table(
            ("subject", "figure", "wanted", "reached", "met", "remark"),
            [_target_cells(target) for target in targets],
        ),
    ]
    for tables in result["results"].values():
        for table in tables:
            rows = table["rows"]
            lines += ["", f"## {table['title']}", "", *_as_it_is(rows)]
            if table["notes"]:
                lines += ["", " ".join(table["notes"])]
    machine = result["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in machine.items() if name in _VERSIONS)
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


def _speed(result: dict[str, Any]) -> Iterable[str]:
    """What it does, and the graph."""
    yield _taken(result)
    yield ""
    yield from _table(
        ("what", "store", "a second", "p50", "p99"),
        [
            [
                each["what"],
                each["store"],
                "" if each["rate"] is None else f"{each['rate']:,.0f} {each['things']}",
                _ms(each["p50_ms"]),
                _ms(each["p99_ms"]),
            ]
            for what in dict.fromkeys(each["what"] for each in result["highlights"])
            for each in result["highlights"]
            if each["what"] == what
        ],
    )
    yield ""
    yield f"![p50 and p99 of the time from readiness to the handler, at rising rates]({_GRAPH})"


def _limit(result: dict[str, Any]) -> Iterable[str]:
    yield from _as_it_is(_rows(result, "limit"))


def _memory(result: dict[str, Any]) -> Iterable[str]:
    yield from _as_it_is(
        [{name: row[name] for name in ("what", "bytes each")} for row in _rows(result, "memory")]
    )


_PARTS: Mapping[str, Callable[[dict[str, Any]], Iterable[str]]] = {
    "speed": _speed,
    "limit": _limit,
    "memory": _memory,
}
"""The parts of the page for users, by the names in their marks."""


def _rows(result: dict[str, Any], subject: str) -> list[dict[str, Any]]:
    """The rows of a subject's first table; none where it was not measured."""
    tables = result["results"].get(subject)
    rows: list[dict[str, Any]] = tables[0]["rows"] if tables else []
    return rows


def _taken(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"Taken {result['taken']} in one run of {result['seconds']} s: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['system']}; fdatasync {machine['fdatasync_us']} µs."
    )


def _ms(value: float | None) -> str:
    return "" if value is None else amount(value, "ms")


def _target_cells(target: dict[str, Any]) -> list[str]:
    sign = "≤" if target["at_most"] else "≥"
    reached = target["reached"]
    return [
        target["subject"],
        target["figure"],
        f"{sign} {amount(target['wanted'], target['unit'])}",
        "" if reached is None else amount(reached, target["unit"]),
        _MET[target["met"]],
        target["remark"],
    ]


def _as_it_is(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["Not measured in this run."]
    return _table(tuple(rows[0]), [[_cell(value) for value in row.values()] for row in rows])


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else amount(value, "")


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(names), _row(["---"] * len(names)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
