"""What a server looks at by itself: how its store keeps data, and when its certificate ends.

At its start it looks for jobs of the original, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from sharq.engine import Engine
from sharq.errors import StoreError
from sharq.results import Keeping
from sharq_server.api.durability import answering, evictions, findings
from sharq_server.api.warnings import Warnings
from sharq_server.security.certificates import Certificate

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 3600.0
_TRY_AGAIN: Final = 1.0
_TIMEOUT: Final = 10.0
"""Seconds for the store's answer."""


class HealthCheck:
    """Looks at the store of `engine` over separate connections, and at a certificate.

    What is to be told goes into `warnings`, and with `speaks` into the log, once for as long as it
    is the same. `looked` is set when the store has been looked at, `looked_beside` when the
    original was looked for.
    """

    def __init__(
        self,
        engine: Engine,
        certificate: Certificate | None,
        warnings: Warnings,
        *,
        speaks: bool,
    ) -> None:
        self._engine = engine
        self._certificate = certificate
        self._warnings = warnings
        self._speaks = speaks
        self._said: set[str] = set()
        self.looked = asyncio.Event()
        self.looked_beside = asyncio.Event()

    async def run(self) -> None:
        """Look now, and each hour; raises nothing."""
        await self._look()
        if self._speaks:
            await self._look_for_the_original()
        self.looked_beside.set()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self._look()

    async def _look(self) -> None:
        self.look_at_certificate()
        await self._look_at_store()
        self.looked.set()

    def look_at_certificate(self) -> None:
        """Look whether the certificate ends soon."""
        line = None if self._certificate is None else self._certificate.warning
        self._warnings.set("certificate", () if line is None else (line,))
        if line is not None:
            self._say(logging.WARNING, line)

    async def _look_at_store(self) -> None:
        nodes: Sequence[Keeping] = ()
        while not nodes:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    nodes = answering(await self._engine.look_at_store())
            except (StoreError, TimeoutError) as error:
                # The link logs that the store is away.
                _log.debug("The store cannot be checked yet: %s", error)
            except Exception:
                _log.exception("A bug while checking the store")
                return
            if not nodes:
                await asyncio.sleep(_TRY_AGAIN)
        self._warnings.set("store", evictions(nodes))
        for level, line in findings(nodes):
            self._say(level, line)

    async def _look_for_the_original(self) -> None:
        try:
            found = await self._engine.run(self._engine.flows.has_original())
        except StoreError as error:
            _log.debug("Keys of the original are not looked for: %s", error)
            return
        if found:
            prefix = self._engine.settings.redis.key_prefix
            self._say(
                logging.INFO,
                f"The original SHARQ has keys with the prefix {prefix} in this store:"
                " `sharq migrate` moves its jobs here.",
            )

    def _say(self, level: int, line: str) -> None:
        if self._speaks and line not in self._said:
            self._said.add(line)
            _log.log(level, "%s", line)
