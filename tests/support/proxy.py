"""A proxy between a client and a store, for all that can happen to a connection on its way.

It runs in a thread of its own, so that blocking clients and event loops can both be tested, and
listens on a port of loopback that stays the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

CERTIFICATES = Path(__file__).parent / "tls"
AUTHORITY = str(CERTIFICATES / "authority.pem")
CLIENT_CERTIFICATE = str(CERTIFICATES / "client.pem")
CLIENT_KEY = str(CERTIFICATES / "client.key")

_RESET = struct.pack("ii", 1, 0)

Address = str | tuple[str, int]


def server_context(*, client_certificates: bool = False) -> ssl.SSLContext:
    """TLS as the server "localhost" speaks it; with `client_certificates` it wants one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(AUTHORITY)
    return context


class Proxy:
    """Passes bytes on to `target` (a socket's path, or host and port) until it is told not to.

    `target` may be changed; connections that are open keep theirs. `delay` seconds pass before
    a reply goes on. `lose_reply_to`, where it is set, names a command: when it has been carried
    out, its reply vanishes and its connection with it. `accepted` counts connections,
    `requests` holds what came from clients.
    """

    host = "127.0.0.1"

    def __init__(self, target: Address, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay = 0.0
        self.lose_reply_to: bytes | None = None
        self.accepted = 0
        self.requests = bytearray()
        self.port = 0
        self._tls = tls
        self._drop_replies = False
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._make_gate)
        self.accept()

    def accept(self) -> None:
        """Take connections (again)."""
        self._run(self._listen)

    def refuse(self) -> None:
        """Take no connections, and cut those that are open."""
        self._run(self._stop_listening)
        self.cut()

    def cut(self) -> None:
        """Reset all connections; what is on its way is lost."""
        self._run(self._cut)

    def stall(self) -> None:
        """Let nothing pass any more; the connections stay open and new ones are taken."""
        self._run(self._close_gate)

    def resume(self) -> None:
        """Let everything pass again, what was held up first."""
        self._run(self._open_gate)

    def drop_replies(self, drop: bool = True) -> None:
        """Let requests pass, and no replies; or let them pass again."""
        self._drop_replies = drop

    def inject(self, data: bytes) -> None:
        """Send `data` to all clients as if it came from the store."""

        async def write() -> None:
            for connection in self._connections:
                connection.client.write(data)

        self._run(write)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def close(self) -> None:
        """End all connections and the thread."""
        if self._loop.is_closed():
            return
        self.refuse()
        self._run(self._end_tasks)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, action: Callable[[], Awaitable[None]]) -> None:
        async def act() -> None:
            await action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(10)

    async def _make_gate(self) -> None:
        self._gate = asyncio.Event()
        self._gate.set()

    async def _open_gate(self) -> None:
        self._gate.set()

    async def _close_gate(self) -> None:
        self._gate.clear()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._on_client, self.host, self.port, ssl=self._tls
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut(self) -> None:
        for connection in list(self._connections):
            connection.cut()
        while self._connections:
            await asyncio.sleep(0)

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)
        await self._loop.shutdown_asyncgens()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter]
        try:
            if isinstance(self.target, str):
                store = await asyncio.open_unix_connection(self.target)
            else:
                store = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, store[1])
        self._connections.add(connection)
        pumps = (
            asyncio.create_task(self._pass_requests(reader, connection)),
            asyncio.create_task(self._pass_replies(store[0], connection)),
        )
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            connection.close()
            self._connections.discard(connection)

    async def _pass_requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                self.requests += data
                await self._gate.wait()
                if self.lose_reply_to is not None and self.lose_reply_to in data:
                    connection.doomed = True
                connection.store.write(data)
                await connection.store.drain()

    async def _pass_replies(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._gate.wait()
                if connection.doomed:
                    connection.cut()
                elif self._drop_replies:
                    continue
                elif self.delay:
                    self._loop.call_later(self.delay, connection.client.write, data)
                else:
                    connection.client.write(data)
                    await connection.client.drain()


class _Connection:
    """The two ends of a connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, store: asyncio.StreamWriter) -> None:
        self.client = client
        self.store = store
        self.doomed = False

    def cut(self) -> None:
        end: Any = self.client.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.client.transport.abort()
        self.store.transport.abort()

    def close(self) -> None:
        self.client.close()
        self.store.close()
