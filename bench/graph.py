"""The graph of docs/performance.md, as SVG: latency by push at rising rates.

It brings its own ground and follows the reader's light or dark scheme, so that it can be read on a
page of either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 620, 70, 330
_LEAST_REACH = 3.0
"""How many times its middle the end of an axis is at least."""

_LINE = 16
"""Pixels from one line of text to the next."""

_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #59636e }
  .ground { fill: #ffffff } .title { fill: #1f2328; font-size: 15px; font-weight: 600 }
  .grid { stroke: #d1d9e0 } .line { fill: none; stroke-width: 2.5 } .p50 { stroke-dasharray: 5 4 }
  .s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } text.s0, circle.s0 { fill: #0969da }
  text.s1, circle.s1 { fill: #bc4c00 } text.s0, text.s1 { stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .ground { fill: #0d1117 } .title { fill: #f0f6fc }
    .grid { stroke: #3d444d } .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e }
    text.s0, circle.s0 { fill: #58a6ff } text.s1, circle.s1 { fill: #f0883e }
  }
"""


class Line(NamedTuple):
    """A line of the graph: its points, jobs a second and ms, and the store and share it is for."""

    store: str
    share: str
    points: Sequence[tuple[float, float]]


def lines_of(rows: Sequence[dict[str, Any]]) -> list[Line]:
    """The lines that rows of the table of latencies give."""
    return [
        Line(
            store,
            share,
            [
                (row["dispatches/s"], row[f"{share} ms"])
                for row in rows
                if row["store"] == store and row["dispatches/s"] is not None
            ],
        )
        for store in dict.fromkeys(row["store"] for row in rows)
        for share in ("p99", "p50")
    ]


def draw(rows: Sequence[dict[str, Any]], caption: str) -> str:
    """The graph of the rows of the table of latencies, with a caption of when and where."""
    lines = lines_of(rows)
    across = _Axis([x for line in lines for x, _ in line.points], _LEFT, _RIGHT)
    up = _Axis([y for line in lines for _, y in line.points], _BOTTOM, _TOP)
    title = "Push: from the time a job may go until its handler begins"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(_LEFT, 24, title, "title"),
        _text(_LEFT, 24 + _LINE + 2, f"ms, both axes logarithmic. {caption}"),
    ]
    for value in up.ticks:
        y = up.place(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{value:g}", anchor="end"))
    for value in across.ticks:
        x = across.place(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {_BOTTOM}v5"/>')
        parts.append(_text(x, _BOTTOM + 20, f"{value:,g}", anchor="middle"))
    middle = (_LEFT + _RIGHT) / 2
    parts.append(_text(middle, _BOTTOM + 40, "jobs handed out a second", anchor="middle"))
    parts += _curves(lines, across, up)
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """A logarithmic axis that has all values; `first` and `last` are its ends in pixels."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        middle = math.sqrt(min(values) * max(values))
        reach = max(1.25 * max(values) / middle, _LEAST_REACH)
        self._least, self._most = middle / reach, middle * reach
        self._first, self._last = first, last

    def place(self, value: float) -> float:
        share = math.log(value / self._least) / math.log(self._most / self._least)
        return self._first + share * (self._last - self._first)

    @property
    def ticks(self) -> list[float]:
        """The round values within it."""
        decades = range(math.floor(math.log10(self._least)), math.ceil(math.log10(self._most)))
        values = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        return [value for value in values if self._least <= value <= self._most]


def _curves(lines: Sequence[Line], across: _Axis, up: _Axis) -> list[str]:
    parts = []
    stores = list(dict.fromkeys(line.store for line in lines))
    # Labels that would cover each other are moved apart, downwards.
    free = -math.inf
    for line in sorted(lines, key=lambda line: -line.points[-1][1]):
        kind = f"s{stores.index(line.store)}"
        places = [(across.place(x), up.place(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line {line.share} {kind}" points="{path}"/>')
        parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        free = max(free + _LINE, places[-1][1] + 4)
        parts.append(_text(_RIGHT + 10, free, f"{line.share}, {line.store}", kind))
    return parts


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'
