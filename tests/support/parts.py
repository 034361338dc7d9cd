"""Programs and libraries that some tests need, besides Python and a compiler."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from typing import Final

PARTS: Final[Mapping[str, str]] = {
    "apache2": "apache2",
    "caddy": "caddy",
    "chromium": "chromium",
    "gevent": "",
    "haproxy": "haproxy",
    "java": "javac",
    "nginx": "nginx",
    "redis-benchmark": "redis-benchmark",
    "wrk": "wrk",
}
"""The parts by the name that a test's marker has, and the command of each; a library has none."""


def missing(part: str) -> bool:
    """Whether the machine does not have it. Raises KeyError: there is no such part."""
    if command := PARTS[part]:
        return shutil.which(command) is None
    return importlib.util.find_spec(part) is None
