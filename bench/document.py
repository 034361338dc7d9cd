"""The tables of a result in docs/performance.md, between two marks, so that nobody types them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.targets import amount

PATH = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN = "<!-- figures: begin; made by ./build.sh bench --document FILE -->"
END = "<!-- figures: end -->"

_MET = {True: "yes", False: "**no**", None: "not measured"}


def write(result: dict[str, Any], path: Path = PATH) -> None:
    """Put the figures of `result`, as a run of the benchmark writes it, into the document.

    Raises ValueError where the document has no place for them.
    """
    path.write_text(placed(path.read_text(encoding="utf-8"), result), encoding="utf-8")


def placed(text: str, result: dict[str, Any]) -> str:
    """`text` with the figures in the place of what stands between the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} … {END}")
    return "".join([before, BEGIN, "\n\n", figures(result), "\n", END, after])


def figures(result: dict[str, Any]) -> str:
    """The targets, every table, and what they were taken on, as Markdown."""
    machine = result["machine"]
    lines = [
        f"Taken {result['taken']} in one run of {result['seconds']} s: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['system']}; fdatasync {machine['fdatasync_us']} µs.",
        "",
        *_table(
            ("subject", "figure", "wanted", "reached", "met", "remark"),
            [_target_cells(target) for target in result["targets"]],
        ),
    ]
    for tables in result["results"].values():
        for table in tables:
            lines += ["", f"### {table['title']}", ""]
            rows = table["rows"]
            names = tuple(rows[0]) if rows else ()
            lines += _table(names, [[_cell(value) for value in row.values()] for row in rows])
            if table["notes"]:
                lines += ["", " ".join(table["notes"])]
    versions = ", ".join(f"{name} {value}" for name, value in machine.items() if name in _VERSIONS)
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


_VERSIONS = (
    *("python", "store", "http load", "ceiling", "sharq", "tornado", "redis", "hiredis"),
    *("msgspec", "httptools", "uvloop"),
)


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


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else amount(value, "")


def _table(names: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    return [_row(list(names)), _row(["---"] * len(names)), *map(_row, rows)]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
