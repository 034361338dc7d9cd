"""The proxies of a run, in a process of their own: python -m tests.faults.proxy.

Orders are `{"gate": name, "do": …}` with:
`open` (and `target`, a socket's path or a port of loopback; answered by the port of the gate),
`cut` (resets all connections), `stall` and `resume` (nothing passes, the connections stay), and
`lose` and `keep` (requests pass; their replies do not, and the connection ends with the first).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from tests.faults.control import orders, report

_RESET = struct.pack("ii", 1, 0)


class Gate:
    """One proxy: where it leads, and what is done to what passes."""

    def __init__(self, target: str | int) -> None:
        self.target = target
        self.stalled = False
        self.losing = False
        self.pairs: set[_Client] = set()

    async def listen(self) -> int:
        """Take connections; the port."""
        server = await asyncio.get_running_loop().create_server(
            lambda: _Client(self), "127.0.0.1", 0, backlog=512
        )
        port: int = server.sockets[0].getsockname()[1]
        return port

    def do(self, what: str) -> None:
        """Carry out an order."""
        if what == "cut":
            for pair in tuple(self.pairs):
                pair.reset()
        elif what in ("stall", "resume"):
            self.stalled = what == "stall"
            for pair in tuple(self.pairs):
                pair.heed_stall()
        else:
            self.losing = what == "lose"


class _End(asyncio.Protocol):
    """One end of a connection through a gate."""

    transport: asyncio.Transport | None = None
    other: _End | None = None
    full = False

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.heed_stall()

    def heed_stall(self) -> None:
        """Read or do not read, by what the gate and the other end allow."""
        if self.transport is None or self.transport.is_closing():
            return
        other = self.other
        ready = other is not None and other.transport is not None and not other.full
        if ready and not self.gate.stalled:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.full = True
        if self.other is not None:
            self.other.heed_stall()

    def resume_writing(self) -> None:
        self.full = False
        if self.other is not None:
            self.other.heed_stall()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def abort(self) -> None:
        """Reset this end."""
        if self.transport is None:
            return
        end: Any = self.transport.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class _Client(_End):
    """The client's end, which opens the way to the target."""

    asked_under_loss = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.gate.pairs.add(self)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    def data_received(self, data: bytes) -> None:
        self.asked_under_loss = self.asked_under_loss or self.gate.losing
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gate.pairs.discard(self)
        super().connection_lost(exc)

    def heed_stall(self) -> None:
        super().heed_stall()
        if self.other is not None:
            _End.heed_stall(self.other)

    def reset(self) -> None:
        """Reset both ends."""
        self.abort()
        if self.other is not None:
            self.other.abort()

    async def _open(self) -> None:
        loop, target = asyncio.get_running_loop(), self.gate.target
        far = _Target(self.gate, self)
        try:
            if isinstance(target, str):
                await loop.create_unix_connection(lambda: far, target)
            else:
                await loop.create_connection(lambda: far, "127.0.0.1", target)
        except OSError:
            self.abort()
            return
        self.other = far
        if self.transport is None or self.transport.is_closing():
            far.abort()
        else:
            self.heed_stall()


class _Target(_End):
    """The end of the target, which answers."""

    def __init__(self, gate: Gate, client: _Client) -> None:
        super().__init__(gate)
        self.other = client
        self._client = client

    def data_received(self, data: bytes) -> None:
        if self._client.asked_under_loss:
            self._client.reset()
        else:
            super().data_received(data)


async def main() -> None:
    """Do what is ordered until the harness is gone."""
    gates: dict[str, Gate] = {}
    async for order in orders():
        name, what = order["gate"], order["do"]
        if what == "open":
            gates[name] = Gate(order["target"])
            report(gate=name, port=await gates[name].listen())
        else:
            gates[name].do(what)


if __name__ == "__main__":
    asyncio.run(main())
