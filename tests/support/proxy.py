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
    a reply goes on. `accepted` counts connections, `requests` holds what came from clients.
    """

    host = "127.0.0.1"

    def __init__(self, target: Address, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay = 0.0
        self.accepted = 0
        self.requests = bytearray()
        self.port = 0
        self._tls = tls
        self._drop_replies = False
        self._losses: list[bytes] = []
        self._connections: set[_Connection] = set()
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
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

    def swallow(self) -> None:
        """Let the connections that are open carry nothing any more, and new ones all."""

        async def swallow() -> None:
            for connection in self._connections:
                connection.swallowed = True

        self._run(swallow)

    def resume(self) -> None:
        """Let everything pass again, what was held up first."""
        self._run(self._open_gate)

    def drop_replies(self, drop: bool = True) -> None:
        """Let requests pass, and no replies; or let them pass again."""
        self._drop_replies = drop

    def lose_replies_to(self, command: bytes, times: int) -> None:
        """Once the store has carried `command` out, lose its reply and the connection with it."""
        self._losses += [command] * times

    def lose_nothing(self) -> None:
        """Take back what `lose_replies_to` has not come to yet."""
        self._losses.clear()

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
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._loop.add_reader(self._listener, self._take_client, self._listener)

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _take_client(self, listener: socket.socket) -> None:
        end, _ = listener.accept()
        end.setblocking(False)
        self.accepted += 1
        task = self._loop.create_task(self._serve(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before it began closes nothing.
        task.add_done_callback(lambda done: end.close() if done.cancelled() else None)

    async def _cut(self) -> None:
        for connection in list(self._connections):
            connection.cut()
        while self._connections:
            await asyncio.sleep(0)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        # Transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    async def _serve(self, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            reader, client = await self._open_client(end)
            try:
                replies, store = await self._open_target()
            except BaseException:
                client.transport.abort()
                raise
            connection = _Connection(client, store)
            self._connections.add(connection)
            pumps = (
                asyncio.create_task(self._pass_requests(reader, connection)),
                asyncio.create_task(self._pass_replies(replies, connection)),
            )
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                connection.close()
            finally:
                for pump in pumps:
                    pump.cancel()
                if not connection.client.is_closing():
                    connection.cut()
                self._connections.discard(connection)

    async def _open_client(
        self, end: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, end, ssl=self._tls
            )
        except BaseException:
            end.close()
            raise
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    async def _open_target(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, str):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _pass_requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if connection.swallowed:
                    continue
                self.requests += data
                await self._gate.wait()
                lost = next((command for command in self._losses if command in data), None)
                if lost is not None:
                    self._losses.remove(lost)
                    connection.doomed = True
                connection.store.write(data)
                await connection.store.drain()

    async def _pass_replies(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._gate.wait()
                if connection.doomed:
                    connection.cut()
                elif self._drop_replies or connection.swallowed:
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
        self.swallowed = False

    def cut(self) -> None:
        end: Any = self.client.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.client.transport.abort()
        self.store.transport.abort()

    def close(self) -> None:
        self.client.close()
        self.store.close()
