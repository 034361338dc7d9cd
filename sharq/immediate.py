"""Blocking calls for code that awaits: nothing is ever waited for in an event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from sharq.blocking_engine import SyncEngine
from sharq.operations.call import Flow
from sharq.operations.flows import Flows

T = TypeVar("T")


class Immediate:
    """A `sharq.engine.Carrier` whose coroutines block; for those that `carry_out` drives."""

    def __init__(self, engine: SyncEngine) -> None:
        self._engine = engine

    @property
    def flows(self) -> Flows:
        return self._engine.flows

    async def run(self, flow: Flow[T]) -> T:
        return self._engine.run(flow)

    async def ping(self) -> None:
        self._engine.ping()


def carry_out(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in this thread; returns or raises as it does.

    It may let others have their turn (``asyncio.sleep(0)``). Raises RuntimeError if it waits for
    anything.
    """
    try:
        while True:
            if work.send(None) is not None:
                work.close()
                raise RuntimeError("it waits for an event loop, and there is none")
    except StopIteration as stop:
        result: T = stop.value
        return result
