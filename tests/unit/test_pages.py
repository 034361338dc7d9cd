"""Pages for people who work on SharQ name files and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md", "docs/decisions.md")
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


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    names = set(NAMED.findall((ROOT / page).read_text()))
    assert sorted(name for name in names if not is_there(name)) == []


def test_a_file_that_is_not_there_is_seen() -> None:
    assert NAMED.findall("see `sharq/gone.py`") == ["sharq/gone.py"]
    assert not is_there("sharq/gone.py")
    assert is_there("sharq/operations/flows.py")
    assert is_there("flows.py")


def test_links_between_pages_lead_somewhere() -> None:
    links = [
        (page, target)
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    ]
    assert len(links) > 20
    assert [(page.name, to) for page, to in links if not (page.parent / to).exists()] == []
