"""What a run has come to: the faults, the invariants, and what has broken them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults.checker import Report
from tests.faults.checker.report import INVARIANTS
from tests.faults.director import Outcome
from tests.faults.schedule import is_kill

_SHOWN: Final = 3
_LONGEST: Final = 400

VIOLATIONS: Final = "violations.txt"
"""The file of a run's folder with all that the checker has to say."""


def holds(report: Report) -> bool:
    """Whether every invariant was looked at, and none is violated."""
    return report.ok and not report.unchecked


def lines(outcome: Outcome, report: Report) -> Iterator[str]:
    """The faults and what became of the servers, then a line for each invariant."""
    yield f"{outcome.jobs:,} jobs, {outcome.kills} kills, {outcome.others} other faults:"
    kinds = sorted(outcome.faults, key=lambda kind: (not is_kill(kind), kind))
    for kind, count in ((kind, outcome.faults[kind]) for kind in kinds):
        yield f"  {kind:32} {count:6}"
    for kind, count in sorted(outcome.skipped.items()):
        yield f"  {kind:32}      0, skipped {count} times: only root can mount a tmpfs"
    if outcome.recoveries:
        times = len(outcome.recoveries)
        slowest = max(outcome.recoveries)
        yield f"  {times} times a server works after the store's return, in {slowest:.2f} s at most"
    start, end = outcome.memory
    yield f"  the store uses {start / 1e6:.1f} MB at the start, {end / 1e6:.1f} MB at the end"
    for name, tally in report.tallies.items():
        verdict = "holds" if not tally.violated else f"VIOLATED {tally.violated} times"
        if not tally.checked:
            verdict = "NOT CHECKED"
        what = INVARIANTS[name]
        yield f"{name:4} {what:38} {tally.checked:>10,} checks  {verdict}"
        for violation in tally.first[:_SHOWN]:
            yield f"       {violation.message}"[:_LONGEST]


def write(folder: Path, report: Report) -> None:
    """Leave all violations with their evidence in the folder of the run."""
    (folder / VIOLATIONS).write_text("".join(f"{line}\n" for line in report.lines()))
