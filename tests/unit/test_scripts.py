"""How a script is put together from its includes, and what it is known by."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

import pytest

import sharq
from sharq import Settings
from sharq.deployment import Deployment
from sharq.operations.scripts import ScriptError, Scripts, audited, expand
from tests.support.cases import cases
from tests.support.lua_source import free_names

FOLDER = Path(sharq.__file__).parent / "lua"
INCLUDES = {
    "one": "-- The first.\nlocal one = 1\n",
    "two": "local two = one + 1\n",
    "greedy": "--@include one\nlocal greedy = one\n",
}


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_a_script_without_includes_stays_as_it_is() -> None:
    assert expand("return 1\n", INCLUDES) == "return 1\n"


def test_includes_take_the_place_of_the_line_in_the_order_of_their_names() -> None:
    text = "local a = 0\n--@include two one\nreturn two\n"
    assert lines(expand(text, INCLUDES)) == [
        "local a = 0",
        "local two = one + 1",
        "local one = 1",
        "return two",
    ]


def test_comments_are_left_out() -> None:
    text = "-- What it does.\n-- KEYS: a\n--@include one\n  -- why\nreturn one -- here\n"
    assert lines(expand(text, INCLUDES)) == ["local one = 1", "return one -- here"]


def test_a_comment_that_speaks_of_includes_is_none() -> None:
    assert expand("-- see --@include one\nreturn 1\n", INCLUDES) == "return 1\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("--@include one three\n", "there is no include 'three'"),
        ("--@include one two one\n", "the include 'one' is named twice"),
        ("--@include one\nif one then\n  --@include one\nend\n", "'one' is named twice"),
        ("--@include greedy\n", "the include 'greedy' has includes"),
    ],
)
def test_what_does_not_fit_together_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ScriptError, match=complaint):
        expand(text, INCLUDES)


def test_there_is_a_script_for_each_file() -> None:
    assert set(Scripts().digests) == {path.stem for path in FOLDER.glob("*.lua")}


def test_a_script_is_known_by_the_digest_of_its_text() -> None:
    scripts = Scripts()
    for digest in scripts.digests.values():
        assert hashlib.sha1(scripts.by_digest[digest].encode()).hexdigest() == digest


def test_no_two_scripts_are_the_same() -> None:
    scripts = Scripts()
    assert len(scripts.by_digest) == len(scripts.digests)


def test_nothing_is_left_to_be_included() -> None:
    assert [text for text in Scripts().by_digest.values() if "@include" in text] == []


def test_clients_share_the_scripts_until_one_reads_them_again() -> None:
    first, second = Deployment.read(Settings()), Deployment.read(Settings())
    assert first.scripts is second.scripts
    again = first.with_new_scripts()
    assert again.scripts is not first.scripts
    assert again.scripts.by_digest == first.scripts.by_digest
    assert Deployment.read(Settings()).scripts is second.scripts


def test_an_override_takes_the_place_of_an_include() -> None:
    plain, other = Scripts(), Scripts({"clock": "local now, now_us = 5, 5000\n"})
    users = {
        path.stem for path in FOLDER.glob("*.lua") if " clock" in path.read_text().partition("@")[2]
    }
    assert "ping" in users
    assert users == {
        name for name, digest in plain.digests.items() if other.digests[name] != digest
    }
    assert lines(other.by_digest[other.digests["ping"]]) == [
        "local now, now_us = 5, 5000",
        "return now",
    ]


def test_an_override_of_nothing_is_refused() -> None:
    with pytest.raises(ScriptError, match="there is no include 'clokc' to override"):
        Scripts({"clokc": ""})


AUDIT = "local function note(...)\n  redis.log(script, ...)\nend\nlocal audit = note\n"


def test_no_audit_is_left_in_what_the_store_gets() -> None:
    assert [text for text in Scripts().by_digest.values() if "audit" in text or "@" in text] == []


def test_an_audit_adds_its_calls_and_its_head_and_nothing_else() -> None:
    plain, audited = Scripts(), Scripts(audit=AUDIT)
    changed = set()
    for name, digest in audited.digests.items():
        text = audited.by_digest[digest]
        if text.startswith(f"local script = '{name}'\n{AUDIT}"):
            changed.add(name)
            text = text.removeprefix(f"local script = '{name}'\n{AUDIT}\n")
            text = re.sub(r"^ *(?:audit|note)\(.*\)\n", "", text, flags=re.MULTILINE)
        assert text == plain.by_digest[plain.digests[name]]
    assert {"enqueue", "finish_many", "requeue"} <= changed
    assert changed.isdisjoint({"status", "ping", "list_types"})


def test_an_audit_is_told_the_time_and_what_its_lines_name() -> None:
    lines = "  --@note 'a', b,\n  --@ 'c', d\n--@audit\n--@audit 'e', f\n"
    assert audited(f"{lines}return\n") == (
        "  note(now, 'a', b, 'c', d)\naudit()\naudit(now, 'e', f)\nreturn\n"
    )


@cache
def with_an_audit() -> Scripts:
    return Scripts(audit=AUDIT)


@cases("name", [path.stem for path in FOLDER.glob("*.lua")])
def test_an_audited_script_uses_no_name_that_it_has_not_declared(name: str) -> None:
    scripts = with_an_audit()
    assert free_names(scripts.by_digest[scripts.digests[name]]) == []
