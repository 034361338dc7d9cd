"""The server as an object: settings, library, application and upkeep, started and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from sharq import AsyncSharQ, EmbeddedStore
from sharq.engine import Engine
from sharq.settings.options import EMBEDDED
from sharq.settings.reading import Settings
from sharq_server.app import SharQApplication
from sharq_server.http.access_log import AccessLog
from sharq_server.process.health import HealthCheck
from sharq_server.process.maintenance import StoreKeeper, Sweep
from sharq_server.push.push import Push
from sharq_server.telemetry.cells import Memory
from sharq_server.telemetry.meter import TypeUse
from sharq_server.telemetry.telemetry import Telemetry
from sharq_server.telemetry.top_queues import TopQueues

_log = logging.getLogger(__name__)

_LOOK_AT_TOKENS: Final = 1.0
"""Seconds between two checks whether the token file has changed."""


class SharQServer:
    """The REST API over a store.

    `app` is the Tornado application, `sq` the library, for programs that embed the server, and
    `config` the settings; `engine` is the base of both. The maintenance and the connection to the
    store begin with `start`, or automatically with `app.listen` and with the first request.
    `config` may be the path of a configuration file, a settings object, or None for the environment
    and the defaults. One of several processes counts in the slot `index` of their common `memory`.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Settings | None = None,
        access_log: AccessLog | None = None,
        *,
        memory: Memory | None = None,
        index: int = 0,
    ) -> None:
        self.engine = Engine.for_server(config)
        self.sq = AsyncSharQ.over(self.engine)
        self.config: Settings = self.engine.settings
        tops = self._look_at_tops if self.config.server.metrics_top_queues else None
        self.telemetry = Telemetry(self.engine, self._count, memory, index, tops)
        self.push = Push(self.engine, self.telemetry.meter)
        self.app = SharQApplication(self.engine, self.push, self.telemetry, access_log, self.begin)
        self._begun = False
        self._starting: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._keeper: StoreKeeper | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._health: HealthCheck | None = None
        self._checking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start in the background, in the running event loop; a failure is logged.

        Does nothing if `start` or `begin` was called before.
        """
        if not self._begun:
            starting = self._start_task(upkeep=True)
            starting.add_done_callback(_on_begun)
            self.app.wait_for(starting)

    async def start(self, *, upkeep: bool = True) -> None:
        """Join the embedded store where one is configured, and begin to connect to the store.

        With `upkeep` this server sweeps, if its settings say so, keeps the embedded store alive,
        and logs warnings about the store's durability; of several on one store, one should. If a
        start is under way, this waits for it. Raises `EmbeddedStoreError`.
        """
        await asyncio.shield(self._starting or self._start_task(upkeep=upkeep))

    async def stop(self) -> None:
        """End the maintenance, close the connection to the store and leave the embedded one."""
        for task in (self._starting, self._sweeping, self._watching, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self.app.dead_bulks.close()
        await self.push.close()
        await self.telemetry.close()
        await self.engine.aclose()
        if self._keeper is not None and self._keeping is not None:
            self._keeper.stop()
            await self._keeping
        self._starting = self._sweeping = self._watching = self._keeping = self._keeper = None
        self._checking = self._health = None

    def reload(self) -> None:
        """Read again what can change while the server runs: the tokens and the certificate."""
        self.app.credentials.reload()
        if self.app.certificate is not None:
            self.app.certificate.reload()
        if self._health is not None:
            self._health.look_at_certificate()

    def _start_task(self, *, upkeep: bool) -> asyncio.Task[None]:
        self._begun = True
        self._starting = asyncio.get_running_loop().create_task(self._start(upkeep))
        return self._starting

    async def _start(self, upkeep: bool) -> None:
        self.push.start()
        self.app.dead_bulks.open()
        await self.engine.start()
        self.telemetry.start()
        if self.config.server.token_file is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch_tokens())
        app = self.app
        self._health = HealthCheck(self.engine, app.certificate, app.warnings, speaks=upkeep)
        loop = asyncio.get_running_loop()
        self._checking = loop.create_task(self._health.run())
        if not upkeep:
            return
        if self.config.redis.conn_type == EMBEDDED:
            self._keeper = StoreKeeper(partial(EmbeddedStore.of, self.config.redis))
            await self._keeper.begin()
            self._keeping = loop.create_task(self._keeper.run())
        if self.config.sharq.enable_requeue_script:
            interval = self.config.sharq.job_requeue_interval / 1000
            sweep = Sweep(self.engine, interval, self.telemetry.meter.on_swept_all)
            self._sweeping = loop.create_task(sweep.run())

    def _count(self) -> tuple[tuple[int, int], dict[str, TypeUse]]:
        """The connections of this process by their kind, and its subscribers."""
        websockets = len(self.push.sessions)
        return (max(0, len(self.app.connections) - websockets), websockets), self.push.count()

    async def _look_at_tops(self, queue_types: Sequence[str]) -> Mapping[str, TopQueues]:
        return await self.push.scraper.tops(queue_types) if self.push.started else {}

    async def _watch_tokens(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_TOKENS)
            self.app.credentials.refresh()


def _on_begun(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        _log.error("The server could not start", exc_info=error)


def setup_server(config_path: str | os.PathLike[str] | Settings | None = None) -> SharQServer:
    """A server for the caller's event loop, with its requeue loop.

    ``setup_server("sharq.conf").app.listen(8080)`` serves as soon as the loop runs; if it runs
    already, the requeue loop begins at once. `SharQServer.stop` ends all this.

    Raises `ConfigError`.
    """
    server = SharQServer(config_path)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return server
    server.begin()
    return server
