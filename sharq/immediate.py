"""Blocking calls for code that awaits: nothing is ever waited for in an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from sharq.blocking_engine import SyncEngine
from sharq.errors import StoreError
from sharq.operations.call import Flow
from sharq.operations.flows import Flows

T = TypeVar("T")


class Immediate:
    """A `sharq.engine.Carrier` whose coroutines block; for those that `carry_out` drives.

    `note` gets the failure of the store, or None when it has answered.
    """

    def __init__(
        self, engine: SyncEngine, note: Callable[[StoreError | None], None] = lambda _: None
    ) -> None:
        self._engine = engine
        self._note = note

    @property
    def flows(self) -> Flows:
        return self._engine.flows

    async def run(self, flow: Flow[T]) -> T:
        return self._told(lambda: self._engine.run(flow))

    async def try_writes(self) -> Mapping[str, StoreError | None]:
        told = self._told(self._engine.try_writes)
        failures = [error for error in told.values() if error is not None]
        self._note(failures[0] if failures else None)
        return told

    def _told(self, work: Callable[[], T]) -> T:
        try:
            result = work()
        except StoreError as error:
            self._note(error)
            raise
        self._note(None)
        return result


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
