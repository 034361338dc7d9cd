"""Programs and libraries that some tests need, besides Python and a compiler."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PARTS: Final[Mapping[str, str]] = {
    "apache2": "apache2",
    "caddy": "caddy",
    "celery": "",
    "chromium": "chromium",
    "curl": "curl",
    "django": "",
    "fastapi": "",
    "fish": "fish",
    "flask": "",
    "gevent": "",
    "haproxy": "haproxy",
    "java": "javac",
    "nginx": "nginx",
    "node": "node",
    "php": "php",
    # The original, where the benchmarks' peers are installed.
    "original": str(Path(__file__).parents[2] / ".peers" / "original" / "bin" / "python"),
    "promtool": "promtool",
    "playwright": "",
    "redis-benchmark": "redis-benchmark",
    "redis-cli": "redis-cli",
    "redis-server": "redis-server",
    "systemd-analyze": "systemd-analyze",
    "uvicorn": "uvicorn",
    "uwsgi": "uwsgi",
    "wrk": "wrk",
    "zsh": "zsh",
}
"""The parts by the name that a test's marker has, and the command of each; a library has none."""

NODE_OPTIONS: Final = ("--no-warnings", "--experimental-websocket")
"""With these Node.js has a WebSocket from version 20 on; from 22 on they change nothing."""


def find(command: str) -> str | None:
    """The path of a command, of the environment or of the machine; None if there is none."""
    places = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    return shutil.which(command, path=os.pathsep.join(places))


def missing(part: str) -> bool:
    """Whether the machine does not have it. Raises KeyError: there is no such part."""
    if command := PARTS[part]:
        return find(command) is None
    return importlib.util.find_spec(part) is None
