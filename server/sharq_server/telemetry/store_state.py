"""The gauges that only the store can tell: one call for each queue type."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from sharq.engine import Carrier
from sharq.errors import StoreError
from sharq.observed import TypeMetrics
from sharq_server.telemetry.fields import MOST_NAMED

Choose = Callable[[Sequence[str]], Sequence[str]]
"""From the registered types to those that are told by name."""

_EVERY: Final = 1.0
"""Seconds between two readings, at least."""

_PATIENCE: Final = 2.0
"""Seconds that a scrape waits for the store."""


class StoreState(NamedTuple):
    """What is told of a type; None is not known.

    `waiting`, `delayed`, `active` and `dead` are jobs, `ready` and `held` queues, `oldest_ready` is
    in seconds.
    """

    waiting: int | None = None
    delayed: int | None = None
    active: int | None = None
    dead: int | None = None
    ready: int | None = None
    held: int | None = None
    oldest_ready: float | None = None
    early: int | None = None


def state_of(metrics: TypeMetrics) -> StoreState:
    """What is told of a type, by what the store tells."""
    oldest = metrics.oldest_ready
    return StoreState(
        waiting=metrics.waiting,
        delayed=metrics.delayed,
        active=metrics.active,
        dead=metrics.dead.jobs,
        ready=metrics.ready,
        held=metrics.held,
        oldest_ready=0.0 if oldest is None else oldest / 1000,
        early=metrics.early,
    )


async def read_states(carrier: Carrier, choose: Choose) -> dict[str, StoreState]:
    """The state of each type that is told by name. Raises `StoreError`."""
    flows = carrier.flows.watching
    names, *_ = await carrier.run(flows.types(MOST_NAMED))
    _, types = await carrier.run(flows.metrics(choose(names)))
    return {name: state_of(metrics) for name, metrics in types.items()}


class StoreStates:
    """The states as they were at most a second ago, for all who ask at the same time."""

    def __init__(
        self, carrier: Carrier, choose: Choose, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._carrier = carrier
        self._choose = choose
        self._clock = clock
        self._read_at = float("-inf")
        self._states: Mapping[str, StoreState] = {}
        self._reading: asyncio.Task[None] | None = None

    async def latest(self) -> Mapping[str, StoreState]:
        """The states; none if the store does not answer in time."""
        if self._reading is None and self._clock() >= self._read_at + _EVERY:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_PATIENCE)
        return {} if self._reading is not None else self._states

    async def close(self) -> None:
        """End a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        self._read_at = self._clock()
        try:
            self._states = await read_states(self._carrier, self._choose)
        except StoreError:
            # What the store told before would look like its state now.
            self._states = {}
        finally:
            self._reading = None
