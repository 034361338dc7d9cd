"""Whether a run was good. Pure: figures in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

_FEWEST = 6
"""Samples that a trend is told from, at least."""


class Verdict(NamedTuple):
    """One thing that was looked at."""

    what: str
    good: bool
    figures: str


class Trend(NamedTuple):
    """How a size went: medians of the first and the last quarter, and the slope an hour between."""

    start: float
    end: float
    an_hour: float


def trend(points: Sequence[tuple[float, float]]) -> Trend | None:
    """The trend of (seconds, size); None where there are too few to tell."""
    if len(points) < _FEWEST:
        return None
    quarter = max(2, len(points) // 4)
    first, last = points[:quarter], points[-quarter:]
    start, end = median(size for _, size in first), median(size for _, size in last)
    seconds = median(at for at, _ in last) - median(at for at, _ in first)
    return Trend(start, end, (end - start) / seconds * 3600)


def memory(what: str, points: Sequence[tuple[float, float]], share: float, kib: float) -> Verdict:
    """Whether memory (KiB) is flat: it grows by less than `share` of itself and `kib` together."""
    found = trend(points)
    if found is None:
        return Verdict(what, True, "too short a run to tell")
    growth = found.end - found.start
    figures = (
        f"{found.start / 1024:.1f} → {found.end / 1024:.1f} MiB, "
        f"{found.an_hour / 1024:+.1f} MiB an hour"
    )
    return Verdict(what, growth <= share * found.start + kib, figures)


def back(what: str, before: int, after: int, allowance: int = 0) -> Verdict:
    """Whether a number is back where it was."""
    return Verdict(what, after <= before + allowance, f"{before:,} before, {after:,} after")


def none_of(what: str, found: Sequence[str]) -> Verdict:
    """Whether nothing was found; else the first few things."""
    return Verdict(what, not found, "none" if not found else "; ".join(found[:5]))


def within(what: str, figure_ms: float, bound_ms: float) -> Verdict:
    """Whether a time is within its bound."""
    return Verdict(what, figure_ms <= bound_ms, f"{figure_ms:.1f} ms, at most {bound_ms:g} ms")
