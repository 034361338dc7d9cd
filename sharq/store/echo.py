"""Finds out whether what the nodes of a cluster publish arrives where a subscription is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from sharq.errors import StoreError
from sharq.operations.call import Call
from sharq.store.script_loading import pack
from sharq.store.slots import Node

RunAt = Callable[[Node, Call[Any]], Awaitable[Any]]
"""Runs a call on a node. Raises `StoreError`."""

# No other message begins like this.
_MARK: Final = b"\0echo "

# One of the nodes that are asked may be the one that is cut off.
_WAYS: Final = 2


class Echo:
    """Messages to one's own `channel` by way of other nodes; `others` names them all."""

    def __init__(self, run_at: RunAt, others: Callable[[], Sequence[Node]], channel: bytes) -> None:
        self._run_at = run_at
        self._others = others
        self._channel = channel
        self._rounds = 0
        self._awaited = b""
        self._sending: list[asyncio.Task[bool]] = []

    def send(self, here: Collection[Node | None]) -> None:
        """Have nodes publish one, other than `here`, where the subscription is."""
        nodes = [each for each in self._others() if each not in here]
        if not nodes:
            return
        self._rounds += 1
        self._awaited = _MARK + os.urandom(8)
        words = (b"PUBLISH", self._channel, self._awaited)
        call: Call[Any] = Call(pack(*words), b"", lambda reply: reply)
        ways = {nodes[(self._rounds + at) % len(nodes)] for at in range(_WAYS)}
        self._sending = [asyncio.create_task(self._publish(way, call)) for way in ways]

    def takes(self, message: bytes) -> bool:
        """Tell whether a message that arrived is such a one, and note it."""
        if message == self._awaited:
            self._awaited = b""
        return message.startswith(_MARK)

    def missed(self) -> bool:
        """Tell whether the last one was published and has not arrived."""
        published = any(task.done() and task.result() for task in self._sending)
        missed = published and bool(self._awaited)
        self.end()
        return missed

    def end(self) -> None:
        """Wait for nothing any more."""
        for task in self._sending:
            task.cancel()
        self._sending = []
        self._awaited = b""

    async def _publish(self, way: Node, call: Call[Any]) -> bool:
        try:
            await self._run_at(way, call)
        except StoreError:
            return False
        return True
