"""One server process: the event loop, its signals, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, Protocol

from sharq_server.app import SharQApplication
from sharq_server.http.access_log import AccessLog
from sharq_server.http.listener import Listener
from sharq_server.process import notify
from sharq_server.process.notify import Tell
from sharq_server.push.push import Push

_log = logging.getLogger(__name__)

GRACE: Final = 5.0
"""Seconds to wait for requests under way when the server stops."""

_LOOK_EVERY: Final = 0.02
_LAST_REQUESTS: Final = 1.0
"""Seconds, at least, for requests that came when the server was about to end."""

_LAST_TURNS: Final = 8
"""Turns of the loop to accept, read and answer what has reached the process."""

_LAST_MOMENT: Final = 0.05
"""Seconds that a client which has just connected has to send its request, and be told."""


class Server(Protocol):
    """The server that a process runs: a `SharQServer`."""

    @property
    def app(self) -> SharQApplication: ...

    @property
    def push(self) -> Push: ...

    async def start(self, *, upkeep: bool) -> None:
        """Start the work besides requests. Raises `EmbeddedStoreError`."""

    async def stop(self) -> None:
        """End it."""

    def reload(self) -> None:
        """Reload what can change while the server runs."""


class Process:
    """Serves on listening `sockets`, until it has to stop.

    `make_server` is called in the event loop. With `upkeep` it sweeps and keeps the embedded store.
    `lifeline` is, for one of several processes, the reading end of their pipe: it has a byte for
    each when all of them stop, and is closed at its other end when the parent is gone. A server
    that was told to stop goes on serving for `stop_delay` seconds, while it says that it stops to
    those who ask (`/deepstatus/`), and ends each connection with its next answer. `tell` is told
    that it serves, reloads and stops.
    """

    def __init__(
        self,
        make_server: Callable[[], Server],
        sockets: Sequence[socket.socket],
        access_log: AccessLog | None,
        *,
        upkeep: bool = True,
        lifeline: int | None = None,
        stop_delay: float = 0.0,
        tell: Tell = notify.to_nobody,
    ) -> None:
        self._make_server = make_server
        self._sockets = sockets
        self._access_log = access_log
        self._upkeep = upkeep
        self._lifeline = lifeline
        self._stop_delay = stop_delay
        self._tell = tell
        self._all_stop = False
        self._stops = 0
        self._stop = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    async def run(self) -> int:
        """Serve; the exit code is 0 unless requests under way were dropped by a second signal.

        SIGTERM stops gracefully, a second one at once; so does SIGINT, except for a worker (one
        with a `lifeline`): there the parent handles the terminal's signal. SIGHUP reopens the
        access log and reads the tokens and the certificate again. While it stops, new connections
        get "stopping", until requests under way are answered; after a `stop_delay`, when nobody
        should come any more, they are refused. If this is one of several processes
        and stops alone, the others take new connections. Raises `EmbeddedStoreError` and
        `ConfigError`.
        """
        # The present objects stay. A collector that checks them repeatedly takes noticeable time,
        # and finds nothing.
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        self._listen_to_signals()
        server = self._server = self._make_server()
        listener = server.app.make_listener()
        try:
            if not await self._started(server):
                return 0
            listener.add_sockets(self._sockets)
            if not self._stops:
                self._tell(notify.READY)
            await self._stop.wait()
            server.app.draining = True
            if self._others_go_on():
                listener.stop()
            elif self._stop_delay:
                await self._linger(server, listener)
            else:
                listener.drain()
            deadline = asyncio.get_running_loop().time() + GRACE
            begun, under_way = set(server.app.under_way), server.app.under_way
            async with asyncio.TaskGroup() as ends:
                ends.create_task(server.push.drain(GRACE, self._stop_at_once))
                ends.create_task(self._answered(lambda: begun & under_way, deadline))
            await self._accept_the_last(listener)
            deadline = max(deadline, asyncio.get_running_loop().time() + _LAST_REQUESTS)
            await self._answered(lambda: under_way - begun, deadline)
        finally:
            await listener.close_all_connections()
            await server.stop()
            if self._access_log is not None:
                self._access_log.close()
        return 1 if self._stop_at_once.is_set() else 0

    async def _started(self, server: Server) -> bool:
        """Start the server; False if it had to stop before."""
        starting = asyncio.ensure_future(server.start(upkeep=self._upkeep))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            return False
        await starting
        return True

    async def _answered(self, requests: Callable[[], AbstractSet[object]], deadline: float) -> None:
        """Wait until these requests are done, or their time is over."""
        loop = asyncio.get_running_loop()
        while (left := requests()) and not self._stop_at_once.is_set():
            if loop.time() > deadline:
                _log.warning("%d requests were not finished in time", len(left))
                return
            await asyncio.sleep(_LOOK_EVERY)

    async def _linger(self, server: Server, listener: Listener) -> None:
        """Serve until those who balance between servers have noticed, and close the port."""
        _log.info("Stopping in %g s; requests are served until then", self._stop_delay)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._stop_delay):
                await self._stop_at_once.wait()
        await server.push.end_polls()
        await self._accept_the_last(listener)

    async def _accept_the_last(self, listener: Listener) -> None:
        """Accept no more, but start requests that came before."""
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)
        # At the last moment: the system resets those that wait when a socket is closed.
        listener.accept_waiting()
        listener.stop()
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)
        if listener.connections:
            await asyncio.sleep(_LAST_MOMENT)

    def _others_go_on(self) -> bool:
        """Whether this process is one of several and stops alone: others take new clients."""
        if self._lifeline is not None and not self._all_stop:
            self._look_at_lifeline()
        return self._lifeline is not None and not self._all_stop

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        if self._lifeline is None:
            loop.add_signal_handler(signal.SIGINT, self._on_stop)
        else:
            os.set_blocking(self._lifeline, False)
            loop.add_reader(self._lifeline, self._on_lifeline)

    def _on_stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            self._tell(notify.STOPPING)
        self._stop.set()
        if self._stops > 1:
            self._stop_at_once.set()

    def _on_hangup(self) -> None:
        self._tell(notify.reloading())
        if self._access_log is not None:
            self._access_log.reopen()
        self._server.reload()
        self._tell(notify.READY)

    def _on_lifeline(self) -> None:
        assert self._lifeline is not None
        asyncio.get_running_loop().remove_reader(self._lifeline)
        # Its byte may have been read already: the other bytes are for others.
        if not self._all_stop and not self._look_at_lifeline():
            _log.warning("The parent process is gone")
            self._on_stop()

    def _look_at_lifeline(self) -> bool:
        """Find out whether all processes of the server stop; False if the parent is gone."""
        assert self._lifeline is not None
        try:
            word = os.read(self._lifeline, 1)
        except BlockingIOError:
            return True
        self._all_stop = True
        return word != b""
