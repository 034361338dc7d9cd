"""What the figures were taken on: the machine, its disk, and the versions of everything."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.ceiling import redis_benchmark
from bench.http_load import generator
from tests.support.stores import store_binary

_PACKAGES = ("sharq", "tornado", "redis", "hiredis", "msgspec", "httptools", "uvloop")
_SYNCS = 50
_BUSY = 0.3


def facts() -> dict[str, Any]:
    """Names and values, in the order in which they are worth reading."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "fdatasync_us": round(fdatasync_us()),
        "load_before": round(os.getloadavg()[0], 2),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "store": _store(),
        "http load": generator(),
        "ceiling": redis_benchmark() or "no redis-benchmark",
        **{name: _version(name) for name in _PACKAGES},
    }


def warnings(known: dict[str, Any]) -> list[str]:
    """What makes the figures worse than they are."""
    if known["load_before"] > _BUSY * known["cores"]:
        return ["Something else keeps this machine busy: see load_before."]
    return []


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    named = re.search(r"model name\s*:\s*(.+)", text)
    return named[1] if named else platform.processor() or platform.machine()


def _store() -> str:
    text = subprocess.run(
        [store_binary(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    number = re.search(r"v=(\S+)", text)
    malloc = re.search(r"malloc=(\S+)", text)
    return (
        f"{text.split()[0]} {number[1] if number else '?'}, malloc {malloc[1] if malloc else '?'}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def fdatasync_us() -> float:
    """How long the disk of the temporary folder, where stores keep their data, takes to sync."""
    sync = getattr(os, "fdatasync", os.fsync)
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_SYNCS):
            file.write(b"x" * 256)
            file.flush()
            began = time.perf_counter()
            sync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6
