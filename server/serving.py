"""One server process: the event loop, its signals, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Sequence
from typing import Final

from sharq.config import Settings
from sharq_server.accesslog import AccessLog
from sharq_server.service import SharQServer

_log = logging.getLogger(__name__)

GRACE: Final = 5.0
"""Seconds that requests under way are waited for when the server stops."""

_LOOK_EVERY: Final = 0.02


class Process:
    """Serves on `sockets`, which listen already, until it is told to stop.

    With `upkeep` it sweeps and keeps the embedded store. `lifeline` is the reading end of a
    pipe, closed at its other end when this process is not wanted any more.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[socket.socket],
        access_log: AccessLog | None,
        *,
        upkeep: bool = True,
        lifeline: int | None = None,
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._access_log = access_log
        self._upkeep = upkeep
        self._lifeline = lifeline
        self._stops = 0
        self._stop = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    async def run(self) -> int:
        """Serve; the exit code is 0 unless requests under way were given up on demand.

        SIGTERM stops gracefully, a second one at once; so does SIGINT, but for a worker (one with
        a `lifeline`): there the terminal's signal is the parent's to handle. SIGHUP reopens the
        access log and reads the tokens and the certificate again. Raises `EmbeddedStoreError` and
        `ConfigError`.
        """
        # What is there by now stays. A collector that looks at it again and again takes a part of
        # the time that shows, and finds nothing.
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        self._listen_to_signals()
        server = self._server = SharQServer(self._settings, self._access_log)
        listener = server.app.make_listener()
        try:
            if not await self._started(server):
                return 0
            listener.add_sockets(self._sockets)
            await self._stop.wait()
            server.app.draining = True
            listener.stop()
            async with asyncio.TaskGroup() as ends:
                ends.create_task(server.push.drain(GRACE, self._stop_at_once))
                ends.create_task(self._drain(server))
        finally:
            await listener.close_all_connections()
            await server.stop()
            if self._access_log is not None:
                self._access_log.close()
        return 1 if self._stop_at_once.is_set() else 0

    async def _started(self, server: SharQServer) -> bool:
        """Start the server; False where it was told to stop before that was done."""
        starting = asyncio.ensure_future(server.start(upkeep=self._upkeep))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            return False
        await starting
        return True

    async def _drain(self, server: SharQServer) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GRACE
        while server.app.under_way and not self._stop_at_once.is_set():
            if loop.time() > deadline:
                _log.warning("%d requests did not end in time", len(server.app.under_way))
                return
            await asyncio.sleep(_LOOK_EVERY)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        if self._lifeline is None:
            loop.add_signal_handler(signal.SIGINT, self._on_stop)
        else:
            loop.add_reader(self._lifeline, self._on_lifeline)

    def _on_stop(self) -> None:
        self._stops += 1
        self._stop.set()
        if self._stops > 1:
            self._stop_at_once.set()

    def _on_hangup(self) -> None:
        if self._access_log is not None:
            self._access_log.reopen()
        self._server.reload()

    def _on_lifeline(self) -> None:
        assert self._lifeline is not None
        asyncio.get_running_loop().remove_reader(self._lifeline)
        _log.warning("The parent process is gone")
        self._on_stop()
