"""How many jobs a worker takes ahead of those that it works on. Pure."""

from __future__ import annotations

from typing import Final

SOON: Final = 1.0
"""Seconds within which a job that waits has to be able to begin."""


class Window:
    """Up to `most` jobs ahead: as many as can be expected to begin soon.

    It opens by one with each handler that is quick, and closes by half with each that is slow. A
    job that could not begin in time closes it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0

    def ended(self, seconds: float) -> None:
        """A handler has ended, after so many seconds."""
        if seconds <= SOON:
            self.size = min(self._most, self.size + 1)
        else:
            self.size //= 2

    def close(self) -> None:
        """What was taken ahead had to be given back."""
        self.size = 0
