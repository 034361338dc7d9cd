"""Which event loop the connections of an object belong to, and when they have to be dropped."""

from __future__ import annotations

import asyncio
import os
from typing import Final

_inherited: Final[list[object]] = []
"""Objects that a forked child has of its parent's event loops: freeing them would disturb those."""


class OwnLoop:
    """The event loop of an object; none until it is bound to one."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def is_running(self) -> bool:
        """Whether the running event loop is this one."""
        return asyncio.get_running_loop() is self._loop

    def settle(self, in_use: bool, belongings: object) -> bool:
        """Bind to the running event loop; returns whether there was another one before.

        Then the `belongings` of the former loop are dropped: it has ended, or is that of this
        forked child's parent. Raises RuntimeError if it may still run and they are in use.
        """
        loop, process = asyncio.get_running_loop(), os.getpid()
        former, forked = self._loop, process != self._process
        if loop is former and not forked:
            return False
        if former is not None:
            if forked:
                _inherited.append((former, belongings))
            elif in_use and not former.is_closed():
                raise RuntimeError(
                    "AsyncSharQ is in use in another event loop. Close it there, or make another."
                )
        self._loop, self._process = loop, process
        return former is not None
