"""Every page of the project: its links lead somewhere, and the files that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.cases import cases

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for folder in (".", "docs", "bench") for path in (ROOT / folder).glob("*.md"))


def anchors(path: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }


def test_all_pages_are_looked_at() -> None:
    names = {path.name for path in PAGES}
    assert {"README.md", "ARCHITECTURE.md", "performance.md", "FIGURES.md"} <= names


@cases("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text("utf-8")):
        if not re.match(r"\w+:", target):
            path = page.parent / target if target else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), (target, anchor)


# ---- files that pages name ----

# Pages that name files of the sources.
NAMING = ("ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md", "docs/decisions.md")
FILES = [
    path
    for folder in ("sharq", "server", "tests", "bench", "docs", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
]
# A file of the sources in a page: a path from the root, or the end of one.
NAMED = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|pyi|pyx|pxi|lua|sh))`")


def is_there(name: str) -> bool:
    return (ROOT / name).is_file() or any(str(path).endswith(f"/{name}") for path in FILES)


@pytest.mark.parametrize("page", NAMING)
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    names = set(NAMED.findall((ROOT / page).read_text()))
    assert sorted(name for name in names if not is_there(name)) == []


def test_a_file_that_is_not_there_is_seen() -> None:
    assert NAMED.findall("see `sharq/gone.py`") == ["sharq/gone.py"]
    assert not is_there("sharq/gone.py")
    assert is_there("sharq/operations/flows.py")
    assert is_there("flows.py")
