"""How a producer sends its jobs: queues are compared only where it is the same."""

from __future__ import annotations

from typing import NamedTuple


class Sending(NamedTuple):
    """`jobs` go in one call, and up to `calls` are under way before the first is answered."""

    jobs: int
    calls: int

    @property
    def text(self) -> str:
        """The same in words."""
        jobs = "one by one" if self.jobs == 1 else f"{self.jobs} a call"
        return jobs if self.calls == 1 else f"{jobs}, {self.calls} calls at once"


IN_FRAMES = Sending(32, 24)
ONE_BY_ONE = Sending(1, 1)
