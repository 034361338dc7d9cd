"""Carries out flows beside each other, and waits for them only for a while: see `Apart`."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from sharq.errors import StoreError
from sharq.operations.call import Apart, Flow
from sharq.store.fork_lock import ForkLock

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BUG: Final = "A bug in what nobody waits for"


class Tasks:
    """Carries them out as tasks of the event loop; `run` carries one out."""

    def __init__(self, run: Callable[[Flow[None]], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self._under_way: set[asyncio.Task[None]] = set()

    async def carry_out(self, apart: Apart) -> None:
        """Begin all, and wait; raises what one of those has raised that have ended."""
        tasks = [self._begin(flow) for flow in apart]
        for flow in apart.loose:
            self._begin(flow).add_done_callback(_look_at)
        if not tasks:
            return
        done, late = await asyncio.wait(tasks, timeout=apart.patience)
        for task in late:
            task.add_done_callback(_look_at)
        for task in done:
            task.result()

    async def cancel(self) -> None:
        """End those that are under way in this event loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._under_way if task.get_loop() is loop]
        self._under_way.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, flow: Flow[None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(flow))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


def _look_at(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error(_BUG, exc_info=error)


class Threads:
    """Carries them out in threads of their own, which end by themselves."""

    def __init__(self, run: Callable[[Flow[None]], None]) -> None:
        self._run = run
        self._turn = ForkLock()

    def in_turn(self, flow: Flow[T]) -> Flow[T]:
        """The same flow, which takes no step while another one does."""
        step: Callable[[], Any] = partial(flow.send, None)
        while True:
            with self._turn:
                try:
                    request = step()
                except StopIteration as stop:
                    result: T = stop.value
                    return result
            try:
                step = partial(flow.send, (yield request))
            except StoreError as error:
                step = partial(flow.throw, error)

    def carry_out(self, apart: Apart) -> None:
        """Begin all, and wait; raises what one of those has raised that have ended."""
        ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        for flow in apart.loose:
            self._begin(flow, _tell_bug)
        for flow in apart:
            self._begin(flow, ended.put)
        until = time.monotonic() + apart.patience
        for _ in apart:
            try:
                error = ended.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if error is not None:
                raise error

    def _begin(self, flow: Flow[None], tell: Callable[[Exception | None], None]) -> None:
        def carry_out() -> None:
            try:
                self._run(self.in_turn(flow))
            except Exception as error:
                tell(error)
            else:
                tell(None)

        threading.Thread(target=carry_out, daemon=True).start()


def _tell_bug(error: Exception | None) -> None:
    if error is not None:
        _log.error(_BUG, exc_info=error)
