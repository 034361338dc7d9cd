"""How far a run is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich import progress

_BAR = 30


class Progress:
    """A bar on the standard error, or on no terminal a line for each subject.

    It is drawn when something is told, and never by a thread, which would be measured.
    """

    def __init__(self) -> None:
        self._subject = ""
        self._done = 0
        self._live = sys.stderr.isatty()
        self._drawn: progress.Progress | None = None
        self._task: progress.TaskID | None = None

    def begin(self, subject: str, total: int) -> None:
        """A subject of `total` steps begins, or the part of it whose steps can be counted."""
        if not self._live and subject != self._subject:
            print(f"{subject} …", file=sys.stderr, flush=True)
        self._subject, self._done = subject, 0
        if self._live:
            self.end()
            self._drawn = _bar()
            self._task = self._drawn.add_task(f"{subject:8}", total=total, what="")
            self._drawn.start()

    def step(self, what: str) -> None:
        """The next step begins."""
        self.say(what)
        self._done += 1

    def say(self, what: str) -> None:
        """Tell what is done within a step."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=self._done, what=what, refresh=True)

    def end(self) -> None:
        """The subject is done."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = self._task = None


def _bar() -> progress.Progress:
    # Not before: what is measured in this process is measured without it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(_BAR),
        TextColumn(
            "{task.fields[what]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
