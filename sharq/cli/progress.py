"""A progress bar on the standard error, drawn by rich where that is a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """A bar of `what`, which is gone when the context is left; nothing where nobody sees it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._drawn: Progress | None = None
        self._task: TaskID | None = None

    def show(self, done: int, total: int | None) -> None:
        """Draw it; None is a total that is not known."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            self._drawn = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(show_speed=True),
                console=Console(stderr=True),
                transient=True,
                # What goes to the standard output stays there; errors are shown above the bar.
                redirect_stdout=False,
            )
            self._task = self._drawn.add_task(self._what, total=None)
            self._drawn.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn is not None:
            self._drawn.stop()
