"""A wheel as its user has it: in an environment of its own, outside of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Installation:
    """An environment without a compiler, with a wheel and whatever that requires."""

    def __init__(self, place: Path, wheel: Path) -> None:
        self._place = place
        self._python = place / "venv" / "bin" / "python"
        self._run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
        self.pip("install", wheel)

    def pip(self, verb: str, *arguments: str | Path) -> None:
        """Have pip install (wheels alone) or uninstall something."""
        only = {"install": ["--only-binary", ":all:"], "uninstall": ["--yes"]}[verb]
        pip = [sys.executable, "-m", "pip", "--python", self._python]
        self._run(*pip, verb, *only, *arguments)

    def run(self, *arguments: str | Path) -> str:
        """Run Python; what it printed."""
        return self._run(self._python, *arguments)

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(
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
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout
