"""`sharq completion`: its scripts, in real shells on terminals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from sharq.cli import dead, verbs
from sharq.cli.completion import SHELLS
from tests.cli.command import Shell
from tests.cli.terminal import STYLE, Terminal
from tests.support.parts import find
from tests.support.stores import wait_for

# How each shell begins without the files of the machine, and reads the script.
COMMANDS: Final = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
BEGINNINGS: Final = {
    "bash": "bind 'set enable-bracketed-paste off'; PS1='> '; source script",
    "zsh": "PS1='> '; cp script _sharq; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u",
    "fish": "function fish_prompt; echo -n '> '; end; source script",
}


def test_every_verb_and_option_is_in_every_script(sharq: Shell) -> None:
    for shell in SHELLS:
        said = sharq("completion", shell)
        assert (said.code, said.err) == (0, "")
        words = set(re.findall(r"[\w-]+", said.out))
        assert {verb.name for verb in (*verbs.VERBS, *dead.VERBS)} <= words
        assert {"worker", "forward", "sweep", "token", "completion", "dead"} <= words
        options = {"json", "interval", "dry-run", "max-queued-length", "once", "secret-file", "by"}
        assert options <= {word.lstrip("-") for word in words}


def test_a_shell_that_is_not_known(sharq: Shell) -> None:
    said = sharq("completion", "cmd")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)


@pytest.fixture(
    params=[
        "bash",
        *(pytest.param(name, marks=pytest.mark.needs(name)) for name in ("zsh", "fish")),
    ]
)
def shell(request: pytest.FixtureRequest, sharq: Shell, tmp_path: Path) -> Iterator[Terminal]:
    """A shell that has read its script."""
    name: str = request.param
    (tmp_path / "script").write_text(sharq.process("completion", name).out)
    (tmp_path / "a-config.conf").touch()
    (tmp_path / "sharq").write_text("#!/bin/sh\n")
    (tmp_path / "sharq").chmod(0o700)
    command = [find(COMMANDS[name][0]) or name, *COMMANDS[name][1:]]
    environ = {
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "INPUTRC": os.devnull,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    with Terminal(command, environ, columns=100, lines=50, cwd=tmp_path) as terminal:
        terminal.type(f"{BEGINNINGS[name]}; echo re''ady\n".encode())
        wait_for("the script is read", lambda: "\nready" in plain(terminal), 15)
        yield terminal


def plain(terminal: Terminal) -> str:
    """What the terminal shows, roughly."""
    text = STYLE.sub("", terminal.text).replace("\r", "\n")
    return re.sub(r"\x1b(?:[\[?][0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])|\x07", "", text)


def completed(terminal: Terminal, typed: str, *words: str) -> None:
    """Type something and the tab key, and see the words come."""
    before = len(plain(terminal))
    terminal.type(f"{typed}\t\t".encode())

    def all_came() -> bool:
        shown = plain(terminal)[before:].replace(typed, "", 1)
        return all(re.search(rf"(?<![\w-]){re.escape(word)}", shown) for word in words)

    wait_for(f"{typed!r} becomes {words}", all_came, 15)
    # The line is emptied. Ctrl-C would drop what is typed next, too.
    terminal.type(b"\x15")


CASES: Final[Sequence[tuple[str, tuple[str, ...]]]] = (
    (
        "sharq ",
        ("completion", "doctor", "enqueue", "forward", "limit", "queues", "tail", "top", "worker"),
    ),
    ("sharq dead ", ("cancel", "delete", "list", "progress", "retry", "show")),
    ("sharq queues sms --by ", ("backlog", "drain", "oldest")),
    (
        "sharq limit --",
        ("--burst", "--concurrency", "--dry-run", "--interval", "--reset", "--json"),
    ),
    ("sharq dead list --reason ", ("exhausted", "expired", "rejected")),
    ("sharq completion ", ("bash", "fish", "zsh")),
    ("sharq sweep --config ", ("a-config.conf", "script")),
)


def test_it_completes(shell: Terminal) -> None:
    for typed, words in CASES:
        completed(shell, typed, *words)
