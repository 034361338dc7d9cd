"""Counting in cells of 64 bits: what is done for each request and each call of the store."""

from collections.abc import Callable, Iterable
from typing import Any, final

@final
class Cells:
    """Adds to cells, a writable buffer of unsigned 64-bit numbers."""

    def __init__(self, cells: memoryview) -> None: ...
    def add(self, at: int, count: int) -> None:
        """Add `count`, which is not negative, to a cell. Raises IndexError if there is none."""

@final
class Outcomes:
    """Counts outcomes in each block of `cells`; `places` has the cell in a block of those counted.

    `blocks` has the first cell of each block by its name, `enter` finds a place for a new name.
    """

    def __init__(
        self,
        cells: memoryview,
        blocks: dict[str, int],
        enter: Callable[[str], int],
        places: dict[str, int],
    ) -> None: ...
    def add(self, name: str, outcomes: Iterable[tuple[str, *tuple[Any, ...]]]) -> None:
        """Count outcomes, each the first field of a tuple. Raises IndexError for an empty one."""

@final
class Durations:
    """Counts durations in a histogram of each block of `cells`.

    `blocks` has the first cell of each block by its name, `enter` finds a place for a new name.
    `at` is where the histogram is in a block, `bounds` are its bounds in seconds, up to 16.
    `statuses` has the cell in a block that counts a status of HTTP, `other` is that of all others.
    """

    def __init__(
        self,
        cells: memoryview,
        blocks: dict[str, int],
        enter: Callable[[str], int],
        at: int,
        bounds: tuple[float, ...],
        statuses: dict[int, int] | None = None,
        other: int = 0,
    ) -> None: ...
    def add(self, name: str, seconds: float) -> None:
        """Count a duration; a negative one is none."""

    def add_answer(self, name: str, status: int, seconds: float) -> None:
        """Count a duration, and the status of what took it."""
