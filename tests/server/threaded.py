"""Servers in a thread, plain or with TLS, for tests that are many and need none of their own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tornado.netutil import bind_sockets

from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.process.event_loop import loop_factory
from tests.support.stores import PrivateStore

PLAIN, TLS = "plain", "tls"

_CERTIFICATES = Path(__file__).parent.parent / "support" / "tls"
_TRUSTING = ssl.create_default_context(cafile=str(_CERTIFICATES / "authority.pem"))


def secured(connection: socket.socket) -> ssl.SSLSocket:
    """TLS on a connection to the server of that way."""
    return _TRUSTING.wrap_socket(connection, server_hostname="localhost")


class Servers:
    """Servers in a thread, one for each of the `ways`, with keys of its own.

    They serve until the end of the `with`. `limits` are options of the listener, `sharq` those of
    the section.
    """

    def __init__(
        self,
        store: PrivateStore,
        prefix: str,
        limits: Mapping[str, Any] | None = None,
        ways: Sequence[str] = (PLAIN, TLS),
        **sharq: Any,
    ) -> None:
        self.ports: dict[str, int] = {}
        self.prefixes = {way: f"{prefix}-{way}" for way in ways}
        self._store = store
        self._limits = limits or {}
        self._sharq = {"enable_requeue_script": False, **sharq}
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._began.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve())
        finally:
            self._began.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        stoppers: list[Callable[[], None]] = []
        closers: list[Callable[[], Any]] = []
        for way in self.prefixes:
            redis = {
                "conn_type": "unix_sock",
                "unix_socket_path": self._store.socket_path,
                "key_prefix": self.prefixes[way],
            }
            files = {"tls_certificate": str(_CERTIFICATES / "server.pem")}
            files["tls_key"] = str(_CERTIFICATES / "server.key")
            server = SharQServer(
                Settings.from_mapping(
                    {
                        "redis": redis,
                        "sharq-server": {"allowed_hosts": "a"} | (files if way == TLS else {}),
                        "sharq": self._sharq,
                    }
                )
            )
            await server.start()
            await server.sq.ping()
            sockets = bind_sockets(0, "127.0.0.1")
            self.ports[way] = sockets[0].getsockname()[1]
            listener = server.app.make_listener(**self._limits)
            listener.add_sockets(sockets)
            stoppers.append(listener.stop)
            closers += [listener.close_all_connections, server.stop]
        self._began.set()
        await self._end.wait()
        for stop in stoppers:
            stop()
        for close in closers:
            await close()
