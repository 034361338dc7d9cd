"""How many jobs a worker prefetches. Pure."""

from __future__ import annotations

from typing import Final

SOON: Final = 1.0
"""Seconds within which a waiting job has to start."""


class Window:
    """Up to `most` jobs: as many as can be expected to start soon.

    It opens by one with each quick handler, and halves with each slow one. A job that could not
    start in time closes it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0

    def ended(self, seconds: float) -> None:
        """A handler has ended, after `seconds`."""
        if seconds <= SOON:
            self.size = min(self._most, self.size + 1)
        else:
            self.size //= 2

    def close(self) -> None:
        """A prefetched job had to be given back."""
        self.size = 0
