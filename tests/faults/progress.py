"""How far a run is, in one line on the standard error."""

from __future__ import annotations

import sys
import time
from typing import Final

_BAR: Final = 20
_PLAIN_EVERY: Final = 30.0


class Progress:
    """A bar that is drawn anew, or a plain line now and then where nobody looks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._live = sys.stderr.isatty()
        self._said_at = 0.0

    def show(self, elapsed: float, jobs: int, kills: int, faults: int, state: str) -> None:
        """Tell how far the run is."""
        part = min(1.0, elapsed / self._seconds)
        told = f"{_clock(elapsed)} of {_clock(self._seconds)}"
        what = f"{told}  {jobs:,} jobs  {kills} kills  {faults} faults  {state}"
        if self._live:
            filled = round(_BAR * part)
            bar = "#" * filled + "." * (_BAR - filled)
            sys.stderr.write(f"\r\x1b[K{f'[{bar}] {what}'[:110]}")
            sys.stderr.flush()
        elif time.monotonic() - self._said_at > _PLAIN_EVERY:
            self._said_at = time.monotonic()
            self.say(what)

    def say(self, what: str) -> None:
        """Tell something in a line of its own."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
        print(what, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
