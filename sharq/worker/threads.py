"""Threads for plain handlers. They do not keep the process from ending."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class NoThread(Exception):
    """The system cannot start another thread."""


class Threads:
    """Up to `most` threads, each started when all others are busy.

    The executor of the standard library waits for its threads when the process ends, even if a
    handler never returns.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0
        self._idle = 0
        self._work: deque[Callable[[], None]] = deque()
        self._change = threading.Condition()
        self._closed = False

    def run(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Call `function` in a thread; the future is done, in the running loop, when it ends.

        Raises `NoThread` if no thread can be started for it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            error: BaseException | None = None
            result = None
            try:
                result = function(*arguments)
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                # The loop has ended before the handler has.
                return

        with self._change:
            if self._idle <= len(self._work) and self._started < self._most:
                self._start()
            self._work.append(work)
            self._change.notify()
        return future

    def close(self) -> None:
        """Let idle threads end, and start no waiting work."""
        with self._change:
            self._closed = True
            self._work.clear()
            self._change.notify_all()

    def _start(self) -> None:
        name = f"sharq-handler_{self._started + 1}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError as error:
            raise NoThread(str(error)) from None
        self._started += 1

    def _serve(self) -> None:
        while True:
            with self._change:
                while not self._work:
                    if self._closed:
                        return
                    self._idle += 1
                    self._change.wait()
                    self._idle -= 1
                work = self._work.popleft()
            work()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
