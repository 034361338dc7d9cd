"""What a run has come to: the faults, the invariants, and what has broken them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults.checker import Report
from tests.faults.checker.losses import Promotion
from tests.faults.checker.report import INVARIANTS
from tests.faults.checker.served import TARGET_MS, Row
from tests.faults.director import Outcome
from tests.faults.schedule import is_kill, is_of_node

_SHOWN: Final = 3
_LONGEST: Final = 400

FAULTS: Final = "history-harness.jsonl"
"""The file with the notes of the faults."""

VIOLATIONS: Final = "violations.txt"
"""The file of a run's folder with all that the checker has to say."""


def holds(report: Report) -> bool:
    """Whether every invariant was looked at, and none is violated."""
    return report.ok and not report.unchecked


def lines(outcome: Outcome, report: Report) -> Iterator[str]:
    """The faults and what became of the servers, then a line for each invariant."""
    yield (
        f"{outcome.jobs:,} jobs, {outcome.kills} kills, {outcome.others} other faults"
        + (f", {outcome.of_nodes} of nodes:" if outcome.of_nodes else ":")
    )
    every = outcome.faults.keys() | outcome.broken_off.keys()
    for kind in sorted(every, key=lambda kind: (is_of_node(kind), not is_kill(kind), kind)):
        off = outcome.broken_off[kind]
        more = f", broken off {off} times: see {FAULTS}" if off else ""
        yield f"  {kind:32} {outcome.faults[kind]:6}{more}"
    for kind, count in sorted(outcome.skipped.items()):
        yield f"  {kind:32}      0, skipped {count} times: only root can mount a tmpfs"
    if outcome.unpromoted:
        yield f"  {outcome.unpromoted} times no replica was promoted, and one should have been"
    if outcome.recoveries:
        times = len(outcome.recoveries)
        slowest = max(outcome.recoveries)
        yield f"  {times} times a server works after the store's return, in {slowest:.2f} s at most"
    start, end = outcome.memory
    yield f"  the store uses {start / 1e6:.1f} MB at the start, {end / 1e6:.1f} MB at the end"
    if report.outages:
        yield from _served(report.outages)
    if report.promotions:
        yield from _lost(report.promotions)
    yield from _invariants(report)


def _invariants(report: Report) -> Iterator[str]:
    for name, tally in report.tallies.items():
        verdict = "holds" if not tally.violated else f"VIOLATED {tally.violated} times"
        if not tally.checked:
            verdict = "NOT CHECKED"
        what = INVARIANTS[name]
        yield f"{name:4} {what:38} {tally.checked:>10,} checks  {verdict}"
        for violation in tally.first[:_SHOWN]:
            yield f"       {violation.message}"[:_LONGEST]


def _served(rows: list[Row]) -> Iterator[str]:
    """For how long the types of a node were not served, by fault."""
    yield "Without service, in seconds (median / longest), of a type of the node:"
    yield (
        f"  {'':22} {'faults':>6} {'in all':>13} {'since a node could: enqueue':>28}"
        f" {'dispatch':>13} {f'> {TARGET_MS / 1000:g} s':>7} {'others':>7}"
    )
    for row in rows:
        others = "-" if row.others is None else f"{row.others / 1000:.2f}"
        yield (
            f"  {row.kind:22} {row.count:>6} {_pair(row.gap):>13} {_pair(row.enqueue):>28}"
            f" {_pair(row.dispatch):>13} {row.late if row.enqueue else '-':>7} {others:>7}"
        )


def _pair(figures: tuple[float, float] | None) -> str:
    if figures is None:
        return "-"
    return " / ".join(f"{ms / 1000:.2f}" for ms in figures)


def _lost(promotions: list[Promotion]) -> Iterator[str]:
    """What promotions have lost, by fault."""
    yield "Acknowledged around promotions that may lose it, and lost:"
    for kind in sorted({promotion.kind for promotion in promotions}):
        of_kind = [promotion for promotion in promotions if promotion.kind == kind]
        lost = sum((promotion.lost for promotion in of_kind), Counter[str]())
        told = ", ".join(f"{count} {what}" for what, count in sorted(lost.items()) if count)
        some = sum(promotion.lost.total() > 0 for promotion in of_kind)
        yield (
            f"  {kind or 'nothing was done':22} {len(of_kind):>4} promotions,"
            f" {sum(each.exposed for each in of_kind):>7,} operations;"
            f" lost by {some}: {told or 'nothing'}"
        )


def write(folder: Path, report: Report) -> None:
    """Leave all violations with their evidence in the folder of the run."""
    (folder / VIOLATIONS).write_text("".join(f"{line}\n" for line in report.lines()))
