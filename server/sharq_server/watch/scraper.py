"""Prometheus as a viewer: while it scrapes, the types whose queues it is told are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

from sharq.settings.tokens import UNLIMITED
from sharq_server.telemetry.top_queues import MOST_QUEUES, TopQueues
from sharq_server.watch.merging import Data
from sharq_server.watch.topics import TYPE, Topic
from sharq_server.watch.viewing import Viewing

_KEPT: Final = 120.0
"""Seconds after a scrape for which its types are looked at, so that the next one finds them."""

_PATIENCE: Final = 2.0
"""Seconds that a scrape waits for the first look at types."""


class Scraper:
    """Watches types through `viewing`, as the pages of the dashboard do.

    It takes what is shown when it is scraped, and gets no frames: it never reads.
    """

    grant: Final = UNLIMITED
    unread: Final = 1 << 62

    def __init__(self, viewing: Viewing, kept: float = _KEPT) -> None:
        self._viewing = viewing
        self._kept = kept
        self._leaving: asyncio.TimerHandle | None = None

    def send(self, text: bytes) -> None:
        """What is wrong with the store, other metrics tell."""

    async def tops(self, queue_types: Sequence[str]) -> dict[str, TopQueues]:
        """The first queues of each type; what is not known in time is left out."""
        self._viewing.watch(self, [Topic(TYPE, name) for name in queue_types])
        self._leave_after(self._kept)
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        tops = {}
        for name in queue_types:
            try:
                async with asyncio.timeout_at(deadline):
                    shown = await self._viewing.shown(Topic(TYPE, name))
            except TimeoutError:
                continue
            if shown is not None:
                tops[name] = tops_of(shown)
        return tops

    def _leave_after(self, seconds: float) -> None:
        """Watch no longer than that, unless there is another scrape."""
        self.close()
        loop = asyncio.get_running_loop()
        self._leaving = loop.call_later(seconds, self._viewing.leave, self)

    def close(self) -> None:
        """Forget when to leave."""
        if self._leaving is not None:
            self._leaving.cancel()


def tops_of(shown: Data) -> TopQueues:
    """The first queues in what the topic of a type shows.

    None is ready where the limits of the type hold all of them back.
    """
    at, queues, tops = shown["at"], shown["queues"], shown["tops"]
    ready = tops.get("oldest", ()) if shown["ready"] else ()
    return TopQueues(
        waiting={name: queues[name]["waiting"] for name in _first(tops.get("backlog", ()))},
        ready={name: max(0, at - queues[name]["due"]) / 1000 for name in _first(ready)},
    )


def _first(names: Sequence[str]) -> Sequence[str]:
    return [*islice(names, MOST_QUEUES)]
