"""docs/guarantees.md: its rules are the checker's, and each was checked, or is said to be newer."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.checker.report import INVARIANTS

PAGE = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()


def test_every_invariant_of_the_checker_is_told_and_has_its_checks() -> None:
    told = re.findall(r"^\| (I\d+) \| ", PAGE, re.M)
    checked = dict(re.findall(r"\| (I\d+) [a-z ]+ \| ([\d,]+) \| 0 ", PAGE))
    assert told == list(INVARIANTS)
    newer = re.search(r"Newer than this hour: ([^.]+)\.", PAGE)
    unchecked = re.findall(r"I\d+", newer[1]) if newer else []
    assert sorted([*checked, *unchecked]) == sorted(INVARIANTS)
    assert all(int(count.replace(",", "")) > 0 for count in checked.values())
