"""`sharq top`: types, their top queues, rates and workers, live."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sharq.cli import printing, queue_tops, top_view, watching, words
from sharq.cli.keys import Keys
from sharq.cli.problems import DONE, INTERRUPTED
from sharq.cli.rest import Server, text_of
from sharq.cli.top_view import TYPES, WORKERS, topic_of
from sharq.cli.verb import Verb
from sharq.cli.watched import Data
from sharq.cli.watching import Watcher

if TYPE_CHECKING:
    from rich.live import Live

_TERMINATED: Final = 128 + signal.SIGTERM
_SETTLE: Final = 0.1
"""Seconds for what comes at the same time, before it is drawn."""

_STEPS: Final = {"up": -1, "shift-tab": -1, "k": -1, "down": 1, "tab": 1, "j": 1}
_TURNS: Final = {"left": -1, "h": -1, "right": 1, "l": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the type to begin with, and what to do instead of a live screen."""
    parser.add_argument(
        "type", metavar="TYPE", nargs="?", help="queue type to begin with; default: the fullest"
    )
    parser.add_argument(
        "--by",
        choices=queue_tops.ORDERS,
        default=queue_tops.ORDERS[0],
        help="the order of its queues (%(default)s)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="print it once and end, which is also done where there is no terminal",
    )


def run(server: Server, given: argparse.Namespace) -> int:
    """Show it live, or print it: once, or with --json a line for each change."""
    chosen = None if given.type is None else words.name("queue_type", given.type)
    if given.json and not given.once:
        asyncio.run(_print_lines(server, chosen))
    if given.once or given.json or not _is_live():
        return _print_once(server, chosen, given)
    return asyncio.run(_Screen(server, chosen, given.by).run())


def _is_live() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


# ---- without a screen ----


def _print_once(server: Server, chosen: str | None, given: argparse.Namespace) -> int:
    data = asyncio.run(_look(server, chosen))
    if given.json:
        printing.document(text_of(data))
        return DONE
    chosen = chosen or top_view.busiest(data)
    _print_part(top_view.types(data, chosen))
    if chosen is not None:
        printing.line("")
        _print_part(top_view.queues(data, chosen, given.by))
    printing.line("")
    _print_part(top_view.workers(data, None))
    for remark in () if chosen is None else top_view.remarks(data, chosen):
        printing.note(f"{chosen}: {remark}")
    return DONE


def _print_part(part: top_view.Part) -> None:
    printing.table([column.name for column in part.columns], part.rows)


async def _look(server: Server, chosen: str | None) -> dict[str, Data]:
    if chosen is None:
        data = await watching.look(server.channel, [TYPES])
        chosen = top_view.busiest(data)
    return await watching.look(server.channel, _topics(chosen))


async def _print_lines(server: Server, chosen: str | None) -> None:
    """Print all that is known, whenever it has changed, without end."""
    if chosen is None:
        chosen = top_view.busiest(await watching.look(server.channel, [TYPES]))
    news = asyncio.Event()
    watcher = Watcher(server.channel, news.set)
    watcher.watch(_topics(chosen))
    watching_it = asyncio.ensure_future(watcher.run())
    try:
        while True:
            await watching.either(news, watching_it)
            await asyncio.sleep(_SETTLE)
            news.clear()
            if watcher.trouble is not None:
                printing.note(f"No connection: {watcher.trouble}; trying again.")
            elif watcher.watched.complete:
                printing.document(text_of(watcher.watched.data))
                sys.stdout.flush()
    finally:
        await watching.end(watching_it)


# ---- the screen ----


class _Screen:
    """The live screen: a watcher, keys, and what is drawn of both."""

    def __init__(self, server: Server, chosen: str | None, order: str) -> None:
        self._place = server.root
        self._chosen = chosen
        self._order = order
        self._paused = False
        self._ended: int | None = None
        self._news = asyncio.Event()
        self._watcher = Watcher(server.channel, self._news.set)

    async def run(self) -> int:
        """Show it until somebody ends it; the exit code."""
        from rich.console import Console
        from rich.live import Live

        self._watch()
        live = Live(console=Console(), screen=True, auto_refresh=False)
        keys = Keys(sys.stdin, self._on_key)
        with self._signals(live, keys):
            watching_it = asyncio.ensure_future(self._watcher.run())
            try:
                # A server that cannot be reached, or says no, is told of without a screen.
                await watching.either(self._news, watching_it)
                keys.open()
                live.start()
                while self._ended is None:
                    self._choose()
                    self._draw(live)
                    await watching.either(self._news, watching_it)
                    await asyncio.sleep(_SETTLE)
                    self._news.clear()
            finally:
                live.stop()
                keys.close()
                await watching.end(watching_it)
        return self._ended

    def _draw(self, live: Live) -> None:
        from sharq.cli import top_screen

        watched = self._watcher.watched
        state = top_screen.State(
            self._place,
            watched.data,
            self._chosen,
            self._order,
            self._paused,
            self._watcher.trouble,
            tuple(watched.problems.values()),
        )
        width, height = live.console.size
        live.update(top_screen.draw(state, width, height), refresh=True)

    def _watch(self) -> None:
        self._watcher.watch(_topics(self._chosen))

    def _choose(self, step: int = 0) -> None:
        """Choose another type, or the first one."""
        data = self._watcher.watched.data
        known = top_view.names(data)
        if step and self._chosen in known:
            chosen: str | None = known[(known.index(self._chosen) + step) % len(known)]
        elif self._chosen is None or step:
            chosen = top_view.busiest(data) or self._chosen
        else:
            return
        if chosen != self._chosen:
            self._chosen = chosen
            self._watch()

    def _on_key(self, key: str) -> None:
        if key == "q":
            self._end(DONE)
        elif key == "p":
            self._paused = not self._paused
            if self._paused:
                self._watcher.rest()
            else:
                self._watcher.go_on()
        elif key in _STEPS and not self._paused:
            self._choose(_STEPS[key])
        elif key in _TURNS:
            at = queue_tops.ORDERS.index(self._order) + _TURNS[key]
            self._order = queue_tops.ORDERS[at % len(queue_tops.ORDERS)]
        self._news.set()

    def _end(self, code: int) -> None:
        self._ended = code
        self._news.set()

    @contextmanager
    def _signals(self, live: Live, keys: Keys) -> Iterator[None]:
        """End in good order by a signal, fit a terminal that changes, and leave it when stopped."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            live.stop()
            keys.close()
            os.kill(os.getpid(), signal.SIGSTOP)
            keys.open()
            live.start()
            self._news.set()

        actions = {
            signal.SIGINT: lambda: self._end(INTERRUPTED),
            signal.SIGTERM: lambda: self._end(_TERMINATED),
            signal.SIGWINCH: self._news.set,
            signal.SIGTSTP: stop,
        }
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)


def _topics(chosen: str | None) -> list[str]:
    return [TYPES, WORKERS] if chosen is None else [TYPES, WORKERS, topic_of(chosen)]


VERB: Final = Verb(
    "top",
    "show types, top queues, rates and workers, live",
    "Shows types, the top queues of one, rates and workers, as they change. Keys: q ends it, up, "
    "down and tab choose a type, left and right the order of its queues, p pauses. With --once, "
    "or without a terminal, it prints them once; with --json a line for each change.",
    add_arguments,
    run,
)
