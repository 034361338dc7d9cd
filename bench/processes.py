"""Servers under load, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_STOP_TIMEOUT = 30.0


@contextmanager
def serving(module: str, *arguments: str, **settings: str) -> Iterator[int]:
    """Run a module that prints its URL at the end of its first line; the port it listens on.

    `settings` are environment variables; no other one that would configure SharQ is passed on.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SHARQ_")}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environ | settings,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        try:
            first = process.stdout.readline().decode()
            if "http://" not in first:
                process.wait()
                log.seek(0)
                raise RuntimeError(f"{module} did not start: {log.read().decode()}")
            port = urlsplit(first.split()[-1]).port
            assert port is not None
            yield port
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT)
            process.stdout.close()
