"""Operations on a real store, one at a time, with a clock in the test's hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeVar

import hiredis

from sharq.errors import StoreError
from sharq.operations.call import Call, Flow
from sharq.operations.operations import Operations
from sharq.operations.scripts import Scripts
from sharq.settings.options import QueueSettings

T = TypeVar("T")

CLOCK_KEY = "{clock}us"

STARTED_AT = 1_800_000_000_000_000
"""Where the injected clock starts, in µs."""

# Expiry is put off by an hour: the keys of a test live by its clock, not by the store's, and what
# has run out must be treated as gone all the same.
INJECTED_CLOCK = f"""
local now_us = tonumber(redis.call('GET', '{CLOCK_KEY}'))
local now = math.floor(now_us / 1000)
local function expire(key, ms)
  redis.call('PEXPIRE', key, ms + 3600000)
end

local function set_for(key, value, ms)
  redis.call('SET', key, value)
  expire(key, ms)
end
"""

CLOCKED_SCRIPTS = Scripts({"clock": INJECTED_CLOCK})


class DirectStore:
    """A connection to the store on `socket_path`: commands, and calls of operations."""

    def __init__(self, socket_path: str, timeout: float = 20) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(socket_path)
        self._reader = hiredis.Reader()

    def close(self) -> None:
        self._socket.close()

    def command(self, *words: str | bytes | float) -> Any:
        """Run one command; an error reply is raised."""
        return self._reply_to(hiredis.pack_command(words))

    def run(self, call: Call[T]) -> T:
        """Run one call of an operation and parse its reply."""
        return call.parse(self._reply_to(call.packed))

    def load(self, scripts: Scripts) -> None:
        """Load those that the store does not have."""
        there = self.command("SCRIPT", "EXISTS", *scripts.by_digest)
        for source, known in zip(scripts.by_digest.values(), there, strict=True):
            if not known:
                self.command("SCRIPT", "LOAD", source)

    def _reply_to(self, packed: bytes) -> Any:
        self._socket.sendall(packed)
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionResetError("the store has closed the connection")
            self._reader.feed(data)
        if isinstance(reply, Exception):
            raise reply
        return reply


class ClockedQueue:
    """The operations of one deployment by an injected clock, which stands still between them.

    `operations` makes calls, `run` runs one. `now` is in ms.
    """

    def __init__(
        self, store: DirectStore, prefix: str = "sharq", settings: QueueSettings | None = None
    ) -> None:
        store.load(CLOCKED_SCRIPTS)
        self.store = store
        self.operations = Operations(
            prefix, settings or QueueSettings(), CLOCKED_SCRIPTS, draw=lambda: SEED
        )
        self._set_clock(STARTED_AT)

    @property
    def now(self) -> int:
        return self._now_us // 1000

    @property
    def now_us(self) -> int:
        return self._now_us

    def advance(self, ms: float) -> None:
        """Move the clock; a negative step moves it back."""
        self._set_clock(self._now_us + round(ms * 1000))

    def run(self, call: Call[T]) -> T:
        return self.store.run(call)

    def _set_clock(self, us: int) -> None:
        self._now_us = us
        self.store.command("SET", CLOCK_KEY, us)


SEED = "5eed"
"""What backoffs are drawn from."""


def follow(flow: Flow[T], run: Callable[[Call[Any]], Any]) -> T:
    """Do what a flow asks for, a call at a time, with `run`."""
    try:
        wanted = next(flow)
        while True:
            if isinstance(wanted, list):
                wanted = flow.send([run(call) for call in wanted])
                continue
            try:
                result = run(wanted)
            except StoreError as error:
                wanted = flow.throw(error)
            else:
                wanted = flow.send(result)
    except StopIteration as end:
        result: T = end.value
        return result
