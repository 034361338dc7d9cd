"""Handing on: other servers are told what is next for types that nobody here has room for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sharq.engine import Engine
from sharq.errors import StoreError

_log: Final = logging.getLogger(__name__)


class HandingOn:
    """The types for which this server gives up its place: those of a turn of the loop together.

    `offered` tells how many jobs of a type this server still offers to its subscribers. Types are
    meant by their internal names.
    """

    def __init__(self, engine: Engine, offered: Callable[[str], int]) -> None:
        self._engine = engine
        self._offered = offered
        self._names: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str) -> None:
        """Give up the place for a type at the end of the turn."""
        if not self._names:
            asyncio.get_running_loop().call_soon(self._flush)
        self._names.add(name)

    def discard(self, name: str) -> None:
        """The type is asked for again."""
        self._names.discard(name)

    async def settled(self, name: str) -> None:
        """Wait until no place for a type is being given up.

        Calls are carried out in the order in which they are sent, but for those that are repeated,
        where the store lacks a script or takes no writes any more: a place that is taken later
        would be given up.
        """
        if (task := self._under_way.get(name)) is not None:
            await asyncio.wait({task})

    async def close(self) -> None:
        """Wait for the calls that are on their way."""
        self._flush()
        if self._under_way:
            await asyncio.wait(set(self._under_way.values()))

    def _flush(self) -> None:
        if not self._names:
            return
        offered = {name: self._offered(name) for name in sorted(self._names)}
        self._names.clear()
        task = asyncio.get_running_loop().create_task(self._tell_others(offered))
        self._under_way |= dict.fromkeys(offered, task)
        task.add_done_callback(self._on_told)

    def _on_told(self, task: asyncio.Task[None]) -> None:
        for name in [name for name, each in self._under_way.items() if each is task]:
            del self._under_way[name]

    async def _tell_others(self, offered: dict[str, int]) -> None:
        try:
            await self._engine.run(self._engine.flows.hand_on(offered, self._engine.server_id))
        except StoreError as error:
            # Other servers ask by themselves soon.
            _log.debug("Other servers were not woken for %d types: %s", len(offered), error)
