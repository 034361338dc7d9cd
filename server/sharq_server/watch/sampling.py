"""Takes the sample of a type's queues: a part in each second, by one server for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from sharq.engine import Engine
from sharq.errors import StoreFull
from sharq.observed import Backlog
from sharq_server.watch.tops import MOST, Tops

_PAGE: Final = 1000
_PAGES: Final = 10
"""Pages of a second, while a round is to be quick: so 100,000 queues take ten seconds."""

_SLOW_PAGE: Final = 1000
"""Queues of a second otherwise: they take the store 3 ms, where there are very many."""

_FEW: Final = 500
"""Pages of fewer queues, of the shards of a type that is spread, count as one page together."""

_PAUSE: Final = 0.02
"""Seconds between two pages, in which the store does something else."""

_encode = msgspec.json.Encoder().encode


class Sampler:
    """The first queues of one type."""

    def __init__(self, engine: Engine, queue_type: str) -> None:
        self._engine = engine
        self._queue_type = queue_type
        self._tops: Tops | None = None
        self._shown = b""

    async def look(self, at: int, grown: Iterable[Backlog]) -> dict[str, Any]:
        """The lists, at the store's time `at` (ms); `grown` queues are looked at, too.

        Raises `StoreError`.
        """
        engine, flows = self._engine, self._engine.flows.watching
        try:
            shared = await engine.run(flows.share(self._queue_type, engine.server_id, self._shown))
        except StoreFull:
            # Each server takes one of its own, then.
            shared = None
        if shared:
            self._tops, self._shown = None, b""
            told: dict[str, Any] = msgspec.json.decode(shared)
            return told
        # Where another server takes it, and has none to give yet, nobody is told that it is empty.
        tops = self._tops = self._tops or Tops()
        await self._walk(tops, at)
        tops.grown(grown)
        queues = await engine.run(flows.queues(self._queue_type, MOST, tops.candidates))
        shown = tops.shown(queues, at)
        self._shown = _encode(shown)
        return shown

    async def _walk(self, tops: Tops, at: int) -> None:
        """Look at the next pages, but not twice at a queue."""
        flows = self._engine.flows.watching
        pages = few = 0
        while pages < _PAGES:
            count = _PAGE if tops.hurries else _SLOW_PAGE
            sample = await self._engine.run(flows.sample(self._queue_type, tops.cursor, count))
            tops.add(sample, at)
            if sample.cursor is None:
                return
            few += len(sample.queues) + 1
            if few < _FEW:
                continue
            if not tops.hurries:
                return
            pages, few = pages + 1, 0
            await asyncio.sleep(_PAUSE)
