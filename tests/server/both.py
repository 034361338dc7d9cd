"""Both ways of HTTP at once, for tests that are many and need no server of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from tornado.netutil import bind_sockets

from sharq.settings.options import LANE, TORNADO
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.process.loops import loop_factory
from tests.support.stores import PrivateStore


class Pair:
    """Two servers in a thread, each with an own way of HTTP and keys of its own.

    They serve until the end of the `with`. `limits` are options of the listener, `sharq` those of
    the section.
    """

    def __init__(
        self,
        store: PrivateStore,
        prefix: str,
        limits: Mapping[str, Any] | None = None,
        **sharq: Any,
    ) -> None:
        self.ports: dict[str, int] = {}
        self.prefixes = {way: f"{prefix}-{way}" for way in (LANE, TORNADO)}
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
        for way in (LANE, TORNADO):
            redis = {
                "conn_type": "unix_sock",
                "unix_socket_path": self._store.socket_path,
                "key_prefix": self.prefixes[way],
            }
            server = SharQServer(
                Settings.from_mapping(
                    {
                        "redis": redis,
                        "sharq-server": {"http": way, "allowed_hosts": "a"},
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
