"""A gate between a client and a store, for all that can happen to a connection on its way.

It runs in a thread of its own, so that blocking clients and event loops can both be tested.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from tests.support.gate import Address, Gate

CERTIFICATES = Path(__file__).parent / "tls"
AUTHORITY = str(CERTIFICATES / "authority.pem")
CLIENT_CERTIFICATE = str(CERTIFICATES / "client.pem")
CLIENT_KEY = str(CERTIFICATES / "client.key")


def server_context(*, client_certificates: bool = False) -> ssl.SSLContext:
    """TLS as the server "localhost" speaks it; with `client_certificates` it wants one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(AUTHORITY)
    return context


class Proxy:
    """A `Gate` to `target` in a thread; its methods return when they are carried out."""

    def __init__(self, target: Address, tls: ssl.SSLContext | None = None) -> None:
        self._gate = Gate(target, tls)
        self._gate.requests = bytearray()
        self._loop = asyncio.SelectorEventLoop()  # whatever loops the test has
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.accept()

    @property
    def host(self) -> str:
        """The address that it listens on from the next `accept` on."""
        return self._gate.host

    @host.setter
    def host(self, host: str) -> None:
        self._gate.host = host

    @property
    def port(self) -> int:
        return self._gate.port

    @property
    def target(self) -> Address:
        """Where new connections lead."""
        return self._gate.target

    @target.setter
    def target(self, target: Address) -> None:
        self._gate.target = target

    @property
    def delay(self) -> float:
        """Seconds before a reply goes on."""
        return self._gate.delay

    @delay.setter
    def delay(self, delay: float) -> None:
        self._gate.delay = delay

    @property
    def accepted(self) -> int:
        """How many connections there have been."""
        return self._gate.accepted

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._gate.connections)

    @property
    def requests(self) -> bytearray:
        """What came from clients."""
        assert self._gate.requests is not None
        return self._gate.requests

    def accept(self) -> None:
        """Take connections (again)."""
        self._call(self._gate.accept)

    def refuse(self) -> None:
        """Take no connections, and cut those that are open."""
        self._run(self._gate.refuse())

    def cut(self) -> None:
        """Reset all connections; what is on its way is lost."""
        self._run(self._gate.cut())

    def stall(self) -> None:
        """Let nothing pass any more; the connections stay open and new ones are taken."""
        self._call(self._gate.stall)

    def swallow(self) -> None:
        """Let the connections that are open carry nothing any more, and new ones all."""
        self._call(self._gate.swallow)

    def resume(self) -> None:
        """Let everything pass again, what was held up first."""
        self._call(self._gate.resume)

    def drop_replies(self, drop: bool = True) -> None:
        """Let requests pass, and no replies; or let them pass again."""
        self._gate.drops_replies = drop

    def lose_replies_to(self, command: bytes, times: int) -> None:
        """Once the store has carried `command` out, lose its reply and the connection with it."""
        self._gate.losses += [command] * times

    def lose_nothing(self) -> None:
        """Take back what `lose_replies_to` has not come to yet."""
        self._gate.losses.clear()

    def inject(self, data: bytes) -> None:
        """Send `data` to all clients as if it came from the store."""
        self._call(lambda: self._gate.inject(data))

    def close(self) -> None:
        """End all connections and the thread."""
        if self._loop.is_closed():
            return
        self._run(self._gate.end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _call(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        self._run(act())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
