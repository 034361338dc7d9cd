"""Keys are spelled in one place: neither a script nor another module makes one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cases import cases
from tests.support.source_tree import ROOT, sources

KEYS = ROOT / "sharq" / "codec" / "keys.pxi"
SUFFIXES = re.findall(r'b"(:\w+:?)"', KEYS.read_text("utf-8"))
SUFFIX = re.compile("|".join(s if s[-1] == ":" else rf"{s}\b" for s in SUFFIXES))
TAG = re.compile("[{}]")


def strings(source: str) -> Iterator[str]:
    """What is in quotes in Python or Cython, apart from docstrings."""
    token = r'''""".*?"""|#[^\n]*|(["'])((?:\\.|(?!\1)[^\\\n])*)\1'''
    for match in re.finditer(token, source, re.S):
        yield match[2] or ""


def lua_strings(source: str) -> Iterator[str]:
    token = r"""--\[\[.*?\]\]|--[^\n]*|(["'])((?:\\.|(?!\1).)*)\1|\[\[(.*?)\]\]"""
    for match in re.finditer(token, source, re.S):
        yield match[2] or match[3] or ""


def spelled_keys(source: str) -> list[str]:
    return [text for text in strings(source) if SUFFIX.search(text)]


def spelled_in_lua(source: str) -> list[str]:
    return [text for text in lua_strings(source) if SUFFIX.search(text) or TAG.search(text)]


@cases("path", sorted((ROOT / "sharq" / "lua").rglob("*.lua")), ids=lambda path: path.stem)
def test_lua_spells_no_key(path: Path) -> None:
    assert spelled_in_lua(path.read_text(encoding="utf-8")) == []


def test_keys_are_spelled_in_one_place() -> None:
    spelled = {path for _, path in sources() if spelled_keys(path.read_text(encoding="utf-8"))}
    assert spelled == {KEYS}


@pytest.mark.parametrize(
    "source",
    [
        "redis.call('GET', '{' .. prefix .. rest)",
        "redis.call('GET', start .. prefix .. '}:n')",
        "local key = tag .. ':q:' .. queue_id",
        'local key = tag .. ":ready"',
        "local key = tag .. [[:leases]]",
        "local note = 'it''s' -- not a comment's '\nlocal key = tag .. ':j:' .. queue_id",
    ],
)
def test_a_key_spelled_in_lua_is_seen(source: str) -> None:
    assert len(spelled_in_lua(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "-- KEYS: '{prefix:type}:ready'\nlocal out = {KEYS[1]}",
        "--[[ tag .. ':q:' ]] redis.call('HSET', KEYS[1], ':c', 1)",
        "local key = ARGV[1] .. queue_id",
    ],
)
def test_lua_without_keys_passes(source: str) -> None:
    assert spelled_in_lua(source) == []


@pytest.mark.parametrize(
    "source",
    [
        'key = tag + b":void"',
        "key = f'{tag}:q:{queue_id}'",
        'def f():\n    """A key."""\n    return b"{p:mail}:held"  # ":ready"',
        r"""quote = "\"" + ":x:r-1" """,
    ],
)
def test_a_key_spelled_elsewhere_is_seen(source: str) -> None:
    assert len(spelled_keys(source)) == 1


@pytest.mark.parametrize(
    "source",
    ['"""Such as ":ready"."""', '# ":void"', 'text = "ready: " + ":readyness"', "a[1:c]"],
)
def test_what_is_no_key_passes(source: str) -> None:
    assert spelled_keys(source) == []
