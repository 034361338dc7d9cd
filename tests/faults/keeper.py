"""Sees to it that nothing outlives the harness, not even where the harness itself is killed.

A process of its own, which reads from its standard input what has to go: lines `group <pid>`,
`ended <pid>`, `mount <folder>`. When the input ends, the process groups that are left are killed
and the folders unmounted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Self


class Reconnector:
    """The harness's end of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, start_new_session=True
        )

    def begins(self, group: int) -> None:
        """A process group is there."""
        self._tell(f"group {group}")

    def ends(self, group: int) -> None:
        """A process group is gone."""
        self._tell(f"ended {group}")

    def mounted(self, folder: str) -> None:
        """A file system is to be unmounted at the end."""
        self._tell(f"mount {folder}")

    def close(self) -> None:
        """Have all that is left ended."""
        self._process.communicate(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


def main() -> None:
    """Wait for the end of the harness, then clear up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    mounts: list[str] = []
    for line in sys.stdin:
        word, _, what = line.strip().partition(" ")
        if word == "group":
            groups.add(int(what))
        elif word == "ended":
            groups.discard(int(what))
        else:
            mounts.append(what)
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for folder in mounts:
        subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
