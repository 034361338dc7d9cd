"""Bulks of dead letters that began here, carried out in the background."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sharq.engine import Engine
from sharq.errors import StoreError

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_LEAVE_WITHIN: Final = 1.0


class DeadBulks:
    """Goes on with bulks, from `open` to `close`, those of each type in a task.

    If the store is away, a task waits and goes on. What is not done when this server stops, it
    leaves to the sweep of another one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._open = False

    def open(self) -> None:
        """Take bulks on."""
        self._open = True

    def advance(self, queue_type: str) -> None:
        """A bulk of a type has begun: go on with it, in the running event loop."""
        if not self._open:
            return
        if queue_type in self._tasks:
            # Its last call may have been made before.
            self._again.add(queue_type)
            return
        self._tasks[queue_type] = asyncio.get_running_loop().create_task(self._run(queue_type))

    async def close(self) -> None:
        """Stop, in the middle of whatever is under way."""
        self._open = False
        tasks = dict(self._tasks)
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())
            await asyncio.gather(*map(self._leave, tasks))

    async def _run(self, queue_type: str) -> None:
        pause = _FIRST_PAUSE
        try:
            while True:
                self._again.discard(queue_type)
                try:
                    more = await self._step(queue_type)
                except StoreError as error:
                    if pause == _FIRST_PAUSE:
                        _log.warning("A bulk of dead letters waits for the store: %s", error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
                if not more and queue_type not in self._again:
                    return
        except Exception:
            _log.exception("A bulk of dead letters is left to the sweep: a bug")
        finally:
            del self._tasks[queue_type]
            self._again.discard(queue_type)

    async def _leave(self, queue_type: str) -> None:
        """Let others go on at once; without the store they do so when the claim is over."""
        engine = self._engine
        try:
            async with asyncio.timeout(_LEAVE_WITHIN):
                await engine.run(engine.flows.dead.leave(queue_type, engine.server_id))
        except (StoreError, TimeoutError) as error:
            _log.debug("A bulk of dead letters stays claimed for a while: %s", error)

    async def _step(self, queue_type: str) -> bool:
        engine = self._engine
        return await engine.run(engine.flows.dead.advance(queue_type, engine.server_id))
