"""A wheel as its user has it: in an environment of its own, outside of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Installation:
    """An environment without a compiler, with a wheel and whatever that requires.

    `extras` are of the wheel, such as "[server]"; `others` are further requirements.
    """

    def __init__(
        self, place: Path, wheel: Path, extras: str = "", others: Sequence[str] = ()
    ) -> None:
        self._place = place
        self._python = place / "venv" / "bin" / "python"
        self._run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
        self.pip("install", f"sharq{extras} @ {wheel.as_uri()}", *others)

    def pip(self, verb: str, *arguments: str | Path) -> None:
        """Have pip install (wheels alone) or uninstall something."""
        only = {"install": ["--only-binary", ":all:"], "uninstall": ["--yes"]}[verb]
        pip = [sys.executable, "-m", "pip", "--python", self._python]
        self._run(*pip, verb, *only, *arguments)

    def run(self, *arguments: str | Path) -> str:
        """Run Python; what it printed."""
        return self._run(self._python, *arguments)

    def fails(self, *arguments: str | Path) -> tuple[int, str]:
        """Run a command of the environment that does not succeed: its exit code and output."""
        name, *rest = arguments
        done = self._start(self._python.with_name(str(name)), *rest)
        assert done.returncode != 0, done.stdout
        return done.returncode, done.stdout

    def _run(self, *command: str | Path) -> str:
        done = self._start(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def _start(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            check=False,
            cwd=self._place,
            env={**os.environ, "PATH": str(self._python.parent), "CC": "/bin/false"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
