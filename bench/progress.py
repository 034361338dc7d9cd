"""How far a run is."""

from __future__ import annotations

import sys

_BAR = 30


class Progress:
    """A bar on the standard error, or on no terminal a line for each subject."""

    def __init__(self) -> None:
        self._subject = ""
        self._total = 1
        self._done = 0
        self._live = sys.stderr.isatty()

    def begin(self, subject: str, total: int) -> None:
        """A subject of `total` steps begins, or the part of it whose steps can be counted."""
        if not self._live and subject != self._subject:
            print(f"{subject} …", file=sys.stderr, flush=True)
        self._subject, self._total, self._done = subject, total, 0

    def step(self, what: str) -> None:
        """The next step begins."""
        self.say(what)
        self._done += 1

    def say(self, what: str) -> None:
        """Tell what is done within a step."""
        if self._live:
            filled = min(_BAR, _BAR * self._done // self._total)
            bar = "#" * filled + "." * (_BAR - filled)
            sys.stderr.write(f"\r\x1b[K{f'{self._subject:8} [{bar}] {what}'[:100]}")
            sys.stderr.flush()

    def end(self) -> None:
        """The subject is done."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
