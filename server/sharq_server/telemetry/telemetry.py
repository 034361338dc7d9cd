"""The metrics of one server process: it counts, and it tells what all of them have counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sharq.engine import Engine
from sharq_server.telemetry import fields
from sharq_server.telemetry.cells import Memory
from sharq_server.telemetry.fields import OTHER
from sharq_server.telemetry.formats import Form
from sharq_server.telemetry.meter import Meter, TypeUse
from sharq_server.telemetry.store_state import StoreStates
from sharq_server.telemetry.top_queues import LookAtTops, busiest
from sharq_server.telemetry.totals import total

Count = Callable[[], tuple[Sequence[int], Mapping[str, TypeUse]]]
"""The arguments of `Meter.publish`: how many there are now."""

_PUBLISH_EVERY: Final = 2.0
_WHILE_SCRAPED: Final = 300.0
"""Seconds after a scrape in which each process tells others how many there are."""


class Telemetry:
    """Counts in the slot `index` of `memory` what `engine` does, and what `meter` is told.

    `count` tells how many there are now in this process. `look_at_tops` tells the first queues of
    types, where they are wanted.
    """

    def __init__(
        self,
        engine: Engine,
        count: Count,
        memory: Memory | None = None,
        index: int = 0,
        look_at_tops: LookAtTops | None = None,
    ) -> None:
        self._engine = engine
        self._count = count
        self._look_at_tops = look_at_tops
        self._memory = Memory() if memory is None else memory
        self._slot = self._memory.slot(index)
        self.meter: Final = Meter(self._slot)
        self._states = StoreStates(engine, self._choose)
        self._publishing: asyncio.Task[None] | None = None
        engine.observe(self.meter)

    def start(self) -> None:
        """Let the other processes know, from now on, how many there are here."""
        if self._memory.processes > 1:
            self._publishing = asyncio.get_running_loop().create_task(self._publish())

    async def close(self) -> None:
        """End what runs. This process has no connections any more."""
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.wait({self._publishing})
        await self._states.close()
        self._slot.clear_gauges()

    async def scrape(self, form: Form) -> bytes:
        """What all processes have counted, and the state of the store, as a text."""
        # Imported where it is needed: a server that nobody scrapes is no slower to start.
        from sharq_server.telemetry.exposition import Scrape, written

        self.meter.on_scrape()
        states = await self._states.latest()
        tops = None
        if self._look_at_tops is not None:
            tops = await self._look_at_tops(busiest(states))
        self.meter.publish(*self._count())
        totals = total(self._memory, self._slot)
        scrape = Scrape(totals, states, self._engine.reached(), tops)
        # It takes some 10 ms with a hundred types, in which the loop goes on.
        return await asyncio.to_thread(written, scrape, form)

    def _choose(self, registered: Sequence[str]) -> Sequence[str]:
        types = total(self._memory, self._slot, registered).types
        return [name for name in types if name != OTHER]

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(_PUBLISH_EVERY)
            scraped_at = max(slot.cells[fields.SCRAPED_AT] for slot in self._memory.slots())
            if time.time() - scraped_at < _WHILE_SCRAPED:
                self.meter.publish(*self._count())
