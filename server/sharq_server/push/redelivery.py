"""Leases on their way back: of jobs that could not be delivered, or are not wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from sharq.engine import Engine
from sharq.errors import StoreError

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Redelivery:
    """Releases leases, and keeps trying while the store is away.

    A lease that has ended meanwhile needs no release.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[bool, list[str]] = {False: [], True: []}
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def add(self, leases: Sequence[str], *, count_requeue: bool = False) -> None:
        """Release `leases`, those of one loop turn together; by default no requeue is spent."""
        self._waiting[count_requeue].extend(leases)
        if self._task is None and leases:
            self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def busy(self) -> bool:
        """Whether leases are on their way back."""
        return self._task is not None

    async def close(self) -> None:
        """Wait for the releases under way; if the store is away, try once more only."""
        self._closing = True
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while any(self._waiting.values()):
            failed = await self._release()
            if failed is None:
                pause = _FIRST_PAUSE
                continue
            if self._closing:
                count = sum(len(leases) for leases in self._waiting.values())
                _log.warning("%d jobs stay leased until their leases end: %s", count, failed)
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._task = None

    async def _release(self) -> StoreError | None:
        """Release all waiting leases; failed ones wait again. Returns the last failure, if any."""
        failure: StoreError | None = None
        for counted in (False, True):
            leases, self._waiting[counted] = self._waiting[counted], []
            if not leases:
                continue
            outcomes = await self._engine.run(self._engine.flows.give_back_many(leases, counted))
            for lease, outcome in zip(leases, outcomes, strict=True):
                if isinstance(outcome, StoreError):
                    failure = outcome
                    self._waiting[counted].append(lease)
        return failure
