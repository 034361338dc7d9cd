"""The allocator of a store: mimalloc where it is installed, else glibc's, set up for its load.

A store's memory comes and goes in small pieces. glibc caches 7 free ones of each size for a thread,
and searches its bins when these are used up: with 100,000 queues that is a third of the time of a
dequeue. Pieces cached for one size cannot be used for others, so only sizes up to 256 bytes are
cached, 20 MB at most. See tcache_count and tcache_max in glibc's manual, "Memory Allocation
Tunables"; other allocators ignore them.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

_log = logging.getLogger(__name__)

_PACKAGE: Final = "cmeel-mimalloc"
_LIBRARY: Final = "libmimalloc.so.3"
_TUNABLES: Final = "glibc.malloc.tcache_count=8192:glibc.malloc.tcache_max=256"
_TIMEOUT: Final = 5.0


def environment() -> dict[str, str]:
    """The environment for a store: this process's, and how glibc's allocator is set up."""
    if mimalloc() is not None:
        return dict(os.environ)
    tunables = [os.environ.get("GLIBC_TUNABLES", ""), _TUNABLES]
    return {**os.environ, "GLIBC_TUNABLES": ":".join(filter(None, tunables))}


def preloading() -> list[str]:
    """What goes before the command of a store, so that it alone has mimalloc."""
    library = mimalloc()
    if library is None:
        return []
    others = os.environ.get("LD_PRELOAD", "")
    return ["/usr/bin/env", f"LD_PRELOAD={library} {others}".rstrip()]


@lru_cache(maxsize=1)
def mimalloc() -> str | None:
    """The path of the library; None if it is not installed, or cannot be loaded: that is logged."""
    if sys.platform != "linux":
        return None
    try:
        found = distribution(_PACKAGE)
    except PackageNotFoundError:
        return None
    paths = [str(found.locate_file(file)) for file in found.files or () if file.name == _LIBRARY]
    reason = f"there is no {_LIBRARY} in it"
    for path in paths:
        # The system's loader takes a list with spaces or colons between.
        if any(each in path for each in " :"):
            reason = f"its path has a space or a colon ({path})"
            continue
        try:
            tried = subprocess.run(
                ["/usr/bin/env", f"LD_PRELOAD={path}", "/bin/sh", "-c", ":"],
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = str(error)
            continue
        complaint = tried.stderr.decode(errors="replace").strip()
        if tried.returncode == 0 and not complaint:
            return path
        reason = complaint.partition("\n")[0] or f"programs end with {_code(tried.returncode)}"
    _log.warning("The store starts without %s: %s", _PACKAGE, reason)
    return None


def _code(code: int) -> str:
    """An exit code in words."""
    return signal.Signals(-code).name if code < 0 else str(code)
