"""`sharq tail`: the jobs of a type that servers hand out, live."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sharq.cli import printing, watching, words
from sharq.cli.problems import DONE, Refused
from sharq.cli.rest import Server, text_of
from sharq.cli.verb import Verb
from sharq.cli.watched import Data, Watched
from sharq.cli.watching import Watcher
from sharq.cli.words import NOTHING, visible

COLUMNS: Final = ("UTC", "queue", "job", "how", "attempt", "worker")
_GAP: Final = "  "
_DAY: Final = 86_400_000
_INVALID: Final = "invalid_argument"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the type."""
    parser.add_argument("type", metavar="TYPE", help="queue type")


def run(server: Server, given: argparse.Namespace) -> int:
    """Print a line for each job until it is ended. Raises `Refused` and `NoAnswer`."""
    queue_type = words.name("queue_type", given.type)
    lines: _Lines = _JsonLines() if given.json else _TextLines()
    try:
        asyncio.run(_follow(server, queue_type, lines))
    except Refused as refused:
        if refused.word != _INVALID:
            raise
        told = f"The server cannot be followed: it is older than this command ({_INVALID})."
        raise Refused(told, refused.status, _INVALID) from None
    return DONE


async def _follow(server: Server, queue_type: str, lines: _Lines) -> None:
    news, heard = asyncio.Event(), _Heard()
    watcher = Watcher(server.channel, news.set, heard)
    watcher.watch([f"tail/{queue_type}"])
    following = asyncio.ensure_future(watcher.run())
    notes = _Notes(queue_type)
    try:
        while True:
            await watching.either(news, following)
            news.clear()
            notes.tell(watcher)
            for told in heard.taken():
                lines.print(told["jobs"], told["more"])
                sys.stdout.flush()
    finally:
        await watching.end(following)


class _Heard(Watched):
    """Keeps all that is told until it is taken, not only the last of it."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[Data] = []

    def take(self, event: Mapping[str, Any]) -> bool:
        if event.get("topic") in self.topics and "data" in event:
            self._told.append(event["data"])
        return super().take(event)

    def taken(self) -> list[Data]:
        """What was told since the last time."""
        told, self._told = self._told, []
        return told


class _Notes:
    """What is the matter with the connection and the store, said when it changes."""

    def __init__(self, queue_type: str) -> None:
        self._queue_type = queue_type
        self._trouble: str | None = None
        self._begun = False

    def tell(self, watcher: Watcher) -> None:
        """Say what is new."""
        trouble = next(iter(watcher.watched.problems.values()), None)
        if watcher.trouble is not None:
            trouble = f"No connection: {watcher.trouble}; trying again"
        elif trouble is None and not watcher.watched.complete:
            return
        if trouble is not None:
            if trouble != self._trouble:
                printing.note(f"{trouble}.")
        elif self._trouble is not None:
            printing.note("It goes on; what was handed out meanwhile may not be shown.")
        elif not self._begun and sys.stdout.isatty():
            printing.note(
                f"Jobs of {self._queue_type} that are handed out from now on; Ctrl-C ends it."
            )
        self._begun = self._begun or trouble is None
        self._trouble = trouble


class _Lines:
    """Prints what is handed out."""

    def print(self, jobs: Sequence[Data], more: int) -> None:
        """Print jobs, and how many more there were."""
        raise NotImplementedError


class _JsonLines(_Lines):
    """An object a line: a job, or a count of `more` jobs."""

    def print(self, jobs: Sequence[Data], more: int) -> None:
        for each in (*jobs, {"more": more}) if more else jobs:
            printing.document(text_of(each))


class _TextLines(_Lines):
    """Columns, on a terminal as wide as what they had to hold so far, elsewhere with tabs."""

    def __init__(self) -> None:
        self._widths = [len("00:00:00.000"), *map(len, COLUMNS[1:])]
        self._named = False

    def print(self, jobs: Sequence[Data], more: int) -> None:
        rows = [tuple(map(visible, _row(each))) for each in jobs]
        if jobs and not self._named:
            self._named = True
            rows.insert(0, COLUMNS)
        for row in rows:
            if sys.stdout.isatty():
                self._widths = [max(pair) for pair in zip(self._widths, map(len, row), strict=True)]
                cells = [cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)]
                print(_GAP.join(cells).rstrip())
            else:
                print("\t".join(row))
        if more:
            sys.stdout.flush()
            printing.note(f"… {more:,} more")


def _row(job: Data) -> tuple[str, ...]:
    return (
        _time_of_day(job["at"]),
        job["queue_id"],
        job["job_id"],
        job["how"],
        str(job["attempt"]),
        job.get("worker", NOTHING),
    )


def _time_of_day(at: int) -> str:
    seconds, rest = divmod(at % _DAY, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{rest:03}"


VERB: Final = Verb(
    "tail",
    "show the jobs of a type that are handed out, live",
    "Shows the jobs of a type as servers hand them out, until it is ended: when, from which queue, "
    "how (rest, bulk, push, wait: to a long poll, fetch: by the frame `dequeue`), at which attempt "
    "and to which worker. At most 100 a second are shown, the others are counted. Not seen are "
    "jobs that a program takes from the store itself, with the library, and those of servers "
    "under WSGI.",
    add_arguments,
    run,
)
