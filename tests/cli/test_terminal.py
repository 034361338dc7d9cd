"""Tables on a terminal: nothing that a terminal acts on, and what is cut; and what is loaded."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.cli.command import Shell

EVIL = "[red]x[/red] \x1b]0;title\x07\x1b[31m \x9b5m \u202e"
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def without_style(text: str) -> str:
    return STYLE.sub("", text)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_keeps_to_the_terminal(sharq: Shell, kind: str, columns: int) -> None:
    sharq.bury(kind, ["a", "b" * 60], type="OSError", message=EVIL + "m" * 300)
    said = sharq.on_terminal("dead", "list", kind, columns=columns)
    assert said.code == 0
    text = without_style(said.out)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), ascii(text)
    assert max(map(len, text.splitlines())) <= columns
    # The names are whole, be it over several lines; of the error it is the beginning.
    assert len(re.findall("b", text)) >= 60
    assert "OSError" in text if columns == 200 else "…" in text


def test_an_error_is_whole_where_one_is_shown(sharq: Shell, kind: str) -> None:
    sharq.put(kind, "q", "j", {"text": EVIL})
    sharq.rest("POST", f"/dequeue/{kind}/")
    error = {"type": "E", "message": EVIL, "trace": "first\nsecond\x1b[2J"}
    sharq.rest("POST", f"/fail/{kind}/q/j/", {"retry": False, "error": error})
    for arguments in (["dead", "show", kind, "q", "j"], ["job", kind, "q", "j"]):
        text = without_style(sharq.on_terminal(*arguments, columns=200).out)
        assert "E: [red]x[/red] \\x1b]0;title\\x07\\x1b[31m \\x9b5m \\u202e" in text
        assert re.search(r"trace +first *\n +second\\x1b\[2J", text), text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), ascii(text)


def test_json_on_a_terminal_is_the_same_json(sharq: Shell, kind: str) -> None:
    payload = '{"a": "\x9b5m\u202e\x7f \\u001b[31m 😀", "n": 1.50}'
    sharq("enqueue", kind, "q", payload, "--interval", "0", "--job-id", "j")
    sharq.rest("POST", f"/dequeue/{kind}/")
    sharq.rest("POST", f"/fail/{kind}/q/j/", {"retry": False})
    show = ("dead", "show", kind, "q", "j", "--json")
    said = sharq.on_terminal(*show)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said.out), ascii(said.out)
    assert said.json == sharq.process(*show).json
    assert payload in sharq.process(*show).out
    assert "\\u009b5m\\u202e\\u007f" in said.out


def test_a_reason_is_no_markup(sharq: Shell, kind: str) -> None:
    sharq("limit", kind, "--burst", "2", "--reason", "[bold]why[/nothing]")
    assert "[bold]why[/nothing]" in sharq.on_terminal("limit", kind).out


@pytest.mark.parametrize("more", [{}, {"FORCE_COLOR": "1", "TERM": "xterm"}])
def test_a_pipe_gets_plain_columns(sharq: Shell, kind: str, more: dict[str, str]) -> None:
    sharq.bury(kind, ["j" * 100], queue="q" * 100, type="E", message="m" * 500)
    said = sharq.process("dead", "list", kind, COLUMNS="40", **more)
    assert said.rows[1][1:] == ["q" * 100, "j" * 100, "rejected", "1", f"E: {'m' * 500}"]
    assert re.fullmatch(r"[\x20-\x7e\t\n]*", said.out)


def test_no_color(sharq: Shell, kind: str) -> None:
    sharq.put(kind)
    plain = sharq.on_terminal("queue", kind, "q", NO_COLOR="1").out
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-9]", plain)
    assert without_style(plain) == without_style(sharq.on_terminal("queue", kind, "q").out)


def test_an_encoding_that_lacks_characters(sharq: Shell, kind: str) -> None:
    sharq("limit", kind, "--burst", "2", "--reason", "für Ångström")
    said = sharq.process("limit", kind, PYTHONIOENCODING="ascii")
    assert said.facts["reason"] == "f\\xfcr \\xc5ngstr\\xf6m"


def test_a_bar_is_drawn_on_the_standard_error_alone(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a"])
    said = sharq.on_terminal("dead", "retry", kind, "--all")
    assert said.code == 0
    assert "dead letters" in said.out
    assert without_style(said.out).rstrip().endswith("1 queued again.")
    sharq.bury(f"{kind}-b", ["b"])
    assert sharq.process("dead", "retry", f"{kind}-b", "--all") == (0, "1 queued again.\n", "")


@pytest.mark.parametrize(
    "code",
    [
        "import sharq",
        "import sharq, sharq.__main__",
        "import sharq.__main__\ntry: sharq.__main__.main(['--help'])\nexcept SystemExit: pass",
        "import sharq.__main__; sharq.__main__.main(['types', '--url', 'http://127.0.0.1:1'])",
    ],
)
def test_rich_and_shtab_are_loaded_where_they_are_used_alone(code: str) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys; print({{'rich', 'shtab'}} & {{*sys.modules}})",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.stdout.splitlines()[-1] == "set()"
