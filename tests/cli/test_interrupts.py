"""Ctrl-C before a command has begun: while it is imported, and before it heeds it itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sharq_commands
from tests.support.source_tree import ROOT

# Begins a command as its script does; where a module is imported, it waits for the signal.
_BEGIN = """
import sys

class Halt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            print("here", flush=True)
            sys.stdin.readline()

sys.meta_path.insert(0, Halt())
{ignore}
from sharq_commands import {command}

sys.argv = [{command!r}, "--help"]
sys.exit({command}())
"""
_IGNORE = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def halted(command: str, module: str, ignore: str = "") -> Iterator[subprocess.Popen[str]]:
    """A command that is about to import a module."""
    text = _BEGIN.format(command=command, module=module, ignore=ignore)
    with subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("sharq", "sharq.client"),
        ("sharq", "sharq.cli.verbs"),
        ("sharq_server", "sharq.client"),
        ("sharq_server", "sharq_server.process.serving"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_still_imported_ends_quietly(
    command: str, module: str, number: signal.Signals
) -> None:
    with halted(command, module) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (-number, "", "")


def test_one_in_the_background_goes_on() -> None:
    with halted("sharq", "sharq.client", _IGNORE) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate("\n", timeout=30)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("usage: sharq")


def test_a_command_that_does_not_heed_it_yet_ends_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unheeding.py").write_text("def main():\n    raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert sharq_commands._run("unheeding") == 130


def test_the_commands_begin_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {
        "sharq": "sharq_commands:sharq",
        "sharq-server": "sharq_commands:sharq_server",
    }
