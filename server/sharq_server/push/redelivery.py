"""Leases on their way back: of jobs that could not be delivered, or are not wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from sharq.engine import Engine
from sharq.errors import StoreError

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Redelivery:
    """Releases leases, and keeps trying while the store is away, or a node of it.

    A lease that has ended meanwhile needs no release. `place_of` names the node of a lease: what
    goes to a node that hangs keeps back nothing that goes to others.
    """

    def __init__(self, engine: Engine, place_of: Callable[[str], str | None] | None = None) -> None:
        self._engine = engine
        self._place_of = place_of
        self._lanes: dict[str | None, _Lane] = {}

    def add(self, leases: Sequence[str], *, count_requeue: bool = False) -> None:
        """Release `leases`, those of one loop turn together; by default no requeue is spent."""
        if self._place_of is None:
            self._add(None, leases, count_requeue)
            return
        by_place: dict[str | None, list[str]] = {}
        for lease in leases:
            by_place.setdefault(self._place_of(lease), []).append(lease)
        for place, some in by_place.items():
            self._add(place, some, count_requeue)

    @property
    def busy(self) -> bool:
        """Whether leases are on their way back."""
        return any(lane.busy for lane in self._lanes.values())

    async def close(self) -> None:
        """Wait for the releases under way; if the store is away, try once more only."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    def _add(self, place: str | None, leases: Sequence[str], counted: bool) -> None:
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane(self._engine)
        lane.add(leases, counted)


class _Lane:
    """The leases of one node."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[bool, list[str]] = {False: [], True: []}
        self._failed: dict[bool, list[str]] = {False: [], True: []}
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def add(self, leases: Sequence[str], counted: bool) -> None:
        self._waiting[counted].extend(leases)
        self._more.set()
        if self._task is None and leases:
            self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def busy(self) -> bool:
        return self._task is not None

    async def close(self) -> None:
        self._closing = True
        self._more.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause, again_at = _FIRST_PAUSE, 0.0
        failure: StoreError | None = None
        while any(self._waiting.values()) or any(self._failed.values()):
            self._more.clear()
            if loop.time() >= again_at or self._closing:
                for counted, leases in self._failed.items():
                    self._waiting[counted] += leases
                self._failed = {False: [], True: []}
            failure = await self._release() or failure
            if not any(self._failed.values()):
                pause, failure = _FIRST_PAUSE, None
                continue
            if self._closing:
                count = sum(len(leases) for leases in self._failed.values())
                _log.warning("%d jobs stay leased until their leases end: %s", count, failure)
                break
            if loop.time() >= again_at:
                again_at, pause = loop.time() + pause, min(pause * 2, _LONGEST_PAUSE)
            # What comes meanwhile may be for another node.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(again_at):
                    await self._more.wait()
        self._task = None

    async def _release(self) -> StoreError | None:
        """Release all waiting leases; returns the last failure, if any."""
        failure: StoreError | None = None
        for counted in (False, True):
            leases, self._waiting[counted] = self._waiting[counted], []
            if not leases:
                continue
            outcomes = await self._engine.run(self._engine.flows.give_back_many(leases, counted))
            for lease, outcome in zip(leases, outcomes, strict=True):
                if isinstance(outcome, StoreError):
                    failure = outcome
                    self._failed[counted].append(lease)
        return failure
