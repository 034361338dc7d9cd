"""docs/guarantees.md: its rules are the checker's, its sums add up, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.checker.report import INVARIANTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()


def number(text: str) -> int:
    return int(text.replace(",", ""))


def anchors(path: Path) -> set[str]:
    return {
        re.sub(r"[^a-z0-9 _-]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in path.read_text().splitlines()
        if line.startswith("#")
    }


def test_every_invariant_of_the_checker_is_told_and_has_its_checks() -> None:
    told = re.findall(r"^\| (I\d+) \| ", PAGE, re.M)
    checked = dict(re.findall(r"\| (I\d+) [a-z ]+ \| ([\d,]+) \| 0 ", PAGE))
    assert told == list(INVARIANTS)
    assert set(checked) == set(INVARIANTS)
    assert all(number(count) > 0 for count in checked.values())


def test_the_faults_add_up() -> None:
    text = PAGE.replace("\n", " ")
    kills = re.search(r"([\d,]+) times a process was killed with -9: ([^.]+)\.", text)
    faults = re.search(r"([\d,]+) other faults: ([^.]+)\.", text)
    assert kills is not None
    assert faults is not None
    for total, parts in (kills.groups(), faults.groups()):
        counts = re.findall(r"\b\d+\b", parts)
        assert sum(map(number, counts)) == number(total)


def test_every_link_leads_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", PAGE):
        path = ROOT / "docs" / target
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), (target, anchor)


def test_no_page_promises_without_a_condition() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text()
        assert not re.search(r"\bprove[sd]?\b|\bproof\b", text, re.I), name
        for at in re.finditer(r"[Nn]othing that was accepted is lost", text):
            assert "as long as its store keeps" in text[at.start() : at.end() + 60]
    readme = (ROOT / "README.md").read_text()
    assert "docs/guarantees.md" in readme.partition("\n## ")[0]
