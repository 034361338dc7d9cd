"""Puts peers into a folder of their own, `.peers/`, each Python one in its own environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.peers.failures import Missing

FOLDER = Path(__file__).parents[2] / ".peers"
_TIMEOUT = 300.0

Say = Callable[[str], None]


def environment(name: str, packages: Sequence[str], say: Say, alone: Sequence[str] = ()) -> Path:
    """The Python of an environment with `packages`, made now where it is not there.

    `alone` are installed after them without what they ask for. Raises `Missing`.
    """
    home = FOLDER / name
    python = home / "bin" / "python"
    if not _is_complete(home, (*packages, *alone)):
        say(f"installing {name}")
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(home)])
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input"]
        _run([*install, *packages])
        if alone:
            _run([*install, "--no-deps", *alone])
        _complete(home, (*packages, *alone))
    return python


def modules(name: str, packages: Sequence[str], say: Say) -> Path:
    """The folder of npm `packages`, installed now where it is not there. Raises `Missing`."""
    home = FOLDER / name
    if not _is_complete(home, packages):
        npm = program("npm")
        say(f"installing {name}")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), *packages])
        _complete(home, packages)
    return home / "node_modules"


def program(name: str) -> str:
    """The path of a program of the system. Raises `Missing`."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def python_versions(python: Path, packages: Sequence[str]) -> str:
    """Names and versions of installed packages, as one line."""
    code = (
        "import importlib.metadata as m, sys; "
        "print(', '.join(f'{name} {m.version(name)}' for name in sys.argv[1:]))"
    )
    return _output([str(python), "-I", "-c", code, *packages])


def module_versions(folder: Path, packages: Sequence[str]) -> str:
    """The same for npm packages in `folder`."""
    versions = [
        f"{name} {json.loads((folder / name / 'package.json').read_text())['version']}"
        for name in packages
    ]
    return ", ".join([*versions, f"node {_output(['node', '--version']).removeprefix('v')}"])


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _run(command: Sequence[str]) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        subprocess.run(
            command, env=environ, capture_output=True, text=True, check=True, timeout=_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        lines = f"{error.stdout}\n{error.stderr}".strip().splitlines()
        raise Missing(f"cannot be installed: {lines[-1][:100] if lines else error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"cannot be installed: {error}") from error


def _is_complete(home: Path, packages: Sequence[str]) -> bool:
    try:
        return (home / "complete").read_text() == _stamp(packages)
    except OSError:
        return False


def _complete(home: Path, packages: Sequence[str]) -> None:
    (home / "complete").write_text(_stamp(packages))


def _stamp(packages: Sequence[str]) -> str:
    return "\n".join([sys.version, *packages])
