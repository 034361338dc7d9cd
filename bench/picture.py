"""A picture of a result: how far each target was reached, and what other queues do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from bench.targets import amount

_SCALE = 2
_WIDTH = 1_180
_LABEL = 400
_VALUE = 230
_ROW = 24
_EDGE = 24
_TITLE = 44
_LEAST, _MOST = 0.1, 100.0
_JUST_MET = 1.2
"""The length of a bar whose target is 0, and which is neither better nor worse by any factor."""

_PAPER = "#ffffff"
_INK = "#1f2933"
_FAINT = "#7b8794"
_GRID = "#e4e7eb"
_MET = "#2f9e6e"
_MISSED = "#d64545"
_OURS = "#2166b0"
_OTHERS = "#9fb3c8"

_BARS = (
    ("rest", "REST, ", ("server", "what", "store"), "requests/s", "server"),
    ("push", "Job cycles a second, other queues", ("queue",), "no log", "queue"),
    ("library", "Core library", ("library", "store"), "all", "library"),
)
"""Tables with absolute figures: subject, title, what names a bar, its value, and whose it is."""


class _Bar(NamedTuple):
    label: str
    length: float
    colour: str
    text: str


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw `result`, as a run of the benchmark writes it, as a PNG at `path`."""
    panels = _panels(result)
    rows = sum(len(bars) for _, _, bars, _ in panels)
    height = 2 * _EDGE + _TITLE + len(panels) * (_TITLE + _EDGE) + rows * _ROW
    image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _PAPER)
    sheet = _Sheet(ImageDraw.Draw(image))
    machine = result["machine"]
    sheet.text(_EDGE, _EDGE, "SharQ benchmark", 20)
    facts = f"{result['taken']}   {machine['cpu']}, {machine['cores']} cores   {machine['store']}"
    sheet.text(_EDGE, _EDGE + 28, facts, 12, _FAINT)
    top = _EDGE + _TITLE + _EDGE
    for title, marks, bars, zero in panels:
        top = _panel(sheet, top, title, marks, bars, zero)
    image.save(path)


_Panel = tuple[str, dict[float, str], list[_Bar], float]
"""Title, marks by place, bars, and the place where bars begin; places are shares of the width."""


def _panels(result: dict[str, Any]) -> list[_Panel]:
    panels: list[_Panel] = []
    if result["targets"]:
        marks = {_place(each): f"{each:g}" for each in (0.1, 0.5, 1, 2, 10, 100)}
        bars = [_target_bar(target) for target in result["targets"]]
        title = "Targets: how many times better than wanted (1 is the target, right is better)"
        panels.append((title, marks, bars, _place(1)))
    for subject, title, names, value, whose in _BARS:
        for table in result["results"].get(subject, ()):
            if table["title"].startswith(title) and len(table["rows"]) > 1:
                bars = _figure_bars(table["rows"], names, value, whose)
                panels.append((table["title"], {}, bars, 0.0))
    return panels


def _target_bar(target: dict[str, Any]) -> _Bar:
    sign = "at most" if target["at_most"] else "at least"
    label = f"{target['subject']}: {target['figure']}"
    wanted = amount(target["wanted"], target["unit"])
    if target["reached"] is None:
        return _Bar(label, math.nan, _FAINT, f"not measured ({sign} {wanted})")
    margin = target["margin"]
    if margin is None:
        margin = _JUST_MET if target["met"] else 1 / _JUST_MET
    text = f"{amount(target['reached'], target['unit'])} ({sign} {wanted})"
    return _Bar(label, _place(margin), _MET if target["met"] else _MISSED, text)


def _place(margin: float) -> float:
    """Where a ratio lies on the axis, from 0 to 1: its logarithm."""
    inside = min(max(margin, _LEAST), _MOST)
    return math.log(inside / _LEAST) / math.log(_MOST / _LEAST)


def _figure_bars(
    rows: list[dict[str, Any]], names: tuple[str, ...], value: str, whose: str
) -> list[_Bar]:
    most = max(row[value] or 0 for row in rows)
    bars = []
    for row in rows:
        label = ", ".join(str(row[name]) for name in names if row[name])
        colour = _OURS if row[whose] == "SharQ" else _OTHERS
        if row[value] is None:
            bars.append(_Bar(label, math.nan, colour, "not measured"))
        else:
            bars.append(_Bar(label, row[value] / most, colour, f"{row[value]:,.0f}/s"))
    return bars


# The typeface that comes with the library lacks them.
_SPELLED = str.maketrans({"µ": "u", "→": "to", "…": "..."})


class _Sheet:
    """Draws in units of which a pixel is a half."""

    def __init__(self, drawing: ImageDraw.ImageDraw) -> None:
        self._drawing = drawing

    def text(
        self, x: float, y: float, text: str, size: int, colour: str = _INK, anchor: str = "la"
    ) -> None:
        font = ImageFont.load_default(size * _SCALE)
        spelled = text.translate(_SPELLED)
        self._drawing.text((x * _SCALE, y * _SCALE), spelled, colour, font, anchor)

    def width(self, text: str, size: int) -> float:
        return ImageFont.load_default(size * _SCALE).getlength(text.translate(_SPELLED)) / _SCALE

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        corners = [each * _SCALE for each in (left, top, right, bottom)]
        self._drawing.rectangle(corners, fill=colour)


def _panel(
    sheet: _Sheet, top: float, title: str, marks: dict[float, str], bars: list[_Bar], zero: float
) -> float:
    """Draw a panel; where the next one begins."""
    left, right = _EDGE + _LABEL, _WIDTH - _EDGE - _VALUE
    span = right - left
    sheet.text(_EDGE, top, title, 14)
    top += _TITLE if marks else _TITLE - 16
    bottom = top + len(bars) * _ROW
    for place, text in marks.items():
        x = left + place * span
        bold = place == zero
        sheet.box(x, top - 4, x + (1.5 if bold else 0.5), bottom, _INK if bold else _GRID)
        sheet.text(x, top - 6, text, 11, _INK if bold else _FAINT, "ms")
    for at, bar in enumerate(bars):
        middle = top + (at + 0.5) * _ROW
        label = bar.label
        while sheet.width(label, 12) > _LABEL - 12:
            label = label[:-2].rstrip(" .") + "."
        sheet.text(left - 10, middle, label, 12, _INK, "rm")
        if not math.isnan(bar.length):
            ends = sorted((left + zero * span, left + bar.length * span))
            sheet.box(ends[0], middle - 7, max(ends[1], ends[0] + 1), middle + 7, bar.colour)
        known = not math.isnan(bar.length)
        sheet.text(right + 12, middle, bar.text, 12, _INK if known else _FAINT, "lm")
    return bottom + _EDGE
