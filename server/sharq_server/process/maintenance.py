"""Work besides requests: the sweep, and watching the embedded store."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sharq import EmbeddedStore
from sharq.engine import Engine
from sharq.errors import EmbeddedStoreError, StoreError

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 0.25
_LONGEST_PAUSE: Final = 5.0


class Sweep:
    """Returns jobs whose leases have run out to their queues.

    Of several servers on a store one does it, every `interval` seconds. No error ends it: if the
    store is away, the sweep logs that once and keeps trying, every `interval` seconds. After each
    sweep without a failure `on_swept` is called.
    """

    def __init__(self, engine: Engine, interval: float, on_swept: Callable[[], None]) -> None:
        self._engine = engine
        self._interval = interval
        self._on_swept = on_swept
        self._failing = False

    async def run(self) -> None:
        """Sweep, without end."""
        while True:
            pause = await self._sweep()
            await asyncio.sleep(pause)

    async def _sweep(self) -> float:
        """Sweep what is due; returns the seconds until the next sweep."""
        pause = self._interval
        try:
            pause = await self._engine.sweep_when_due()
        except StoreError as error:
            # The types of other nodes go on.
            pause = min(pause, self._engine.sweep_pause())
            if not self._failing:
                _log.warning("Expired jobs are not taken back: %s", error)
            self._failing = True
        except Exception:
            if not self._failing:
                _log.exception("Expired jobs are not taken back: a bug in the sweep")
            self._failing = True
        else:
            if self._failing:
                _log.info("Expired jobs are taken back again")
            self._failing = False
            self._on_swept()
        return pause


class StoreKeeper:
    """Holds the embedded store, and starts it again when it has died.

    `join` returns a hold on the running store, or on a new one; it blocks, but ends when its event
    is set.
    """

    def __init__(self, join: Callable[[threading.Event], EmbeddedStore]) -> None:
        self._join = join
        self._stopped = asyncio.Event()
        self._given_up = threading.Event()

    async def begin(self) -> None:
        """Join the store. Raises `EmbeddedStoreError`."""
        try:
            self._store = await asyncio.to_thread(self._join, self._given_up)
        except asyncio.CancelledError:
            self._given_up.set()
            raise

    async def run(self) -> None:
        """Watch the store from `begin` on until `stop`, then leave it."""
        while not await self._stops_within(_LOOK_EVERY):
            if not self._store.alive():
                _log.error("The embedded store has died; it is started again")
                await self._join_again()
        await self._leave()

    def stop(self) -> None:
        """Let `run` end."""
        self._given_up.set()
        self._stopped.set()

    async def _join_again(self) -> None:
        pause = _LOOK_EVERY
        while True:
            try:
                store = await asyncio.to_thread(self._join, self._given_up)
            except EmbeddedStoreError as error:
                if self._stopped.is_set():
                    return
                _log.error("The embedded store does not start: %s", error)
            else:
                await self._leave()
                self._store = store
                return
            if await self._stops_within(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _leave(self) -> None:
        try:
            await asyncio.to_thread(self._store.leave)
        except EmbeddedStoreError as error:
            _log.error("The embedded store was not left properly: %s", error)

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self._stopped.is_set()
