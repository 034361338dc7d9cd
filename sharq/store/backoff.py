"""How long to wait before the next attempt to connect. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Growing delays with full jitter, in seconds.

    The first attempt after a reset is made at once; then the bound of the delay doubles from
    `first` up to `most`, and the delay is anywhere below the bound, so that many clients do not
    come back in step. `uniform` gives numbers in [0, 1).

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """

    __slots__ = ("_bound", "_first", "_most", "_uniform")

    def __init__(
        self,
        first: float = 0.05,
        most: float = 1.0,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._most = most
        self._uniform = uniform
        self._bound = 0.0

    def next(self) -> float:
        """Return the delay before the next attempt."""
        delay = self._bound * self._uniform()
        self._bound = min(self._most, self._bound * 2 or self._first)
        return delay

    def slow(self) -> float:
        """Return a delay for what will not mend itself soon: between half and all of `most`."""
        self._bound = self._most
        return self._most * (1 + self._uniform()) / 2

    def reset(self) -> None:
        """Start again: the next attempt is made at once."""
        self._bound = 0.0
