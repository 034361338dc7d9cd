"""How safely the store keeps its data: checked when a server starts, and logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from sharq.engine import Engine
from sharq.errors import StoreError
from sharq.results import Keeping

_log = logging.getLogger(__name__)

_TRY_AGAIN: Final = 1.0
_TIMEOUT: Final = 10.0
"""Seconds for the store's answer."""

_UNLOGGED: Final = (
    "The store at {} keeps no log of its changes (appendonly no): when it ends, all changes"
    " since its last snapshot are lost. Set appendonly yes and appendfsync always."
)
_LATE: Final = {
    "everysec": (
        "The store at {} forces its log to the disk once a second (appendfsync everysec): when its"
        " machine fails, the changes of the last two seconds may be lost. Set appendfsync"
        " always."
    ),
    "no": (
        "The store at {} leaves it to the system when its log is forced to the disk (appendfsync"
        " no): when its machine fails, the changes of the last half minute may be lost. Set"
        " appendfsync always."
    ),
}
_EVICTING: Final = (
    "The store at {} drops keys when its memory is full (maxmemory-policy {policy}), also jobs"
    " and limits. Set maxmemory-policy noeviction."
)
_REPLICATED: Final = (
    "The store at {} has replicas, which follow with a delay: after a failover the last changes"
    " may be missing: accepted jobs may be lost, and finished ones come again."
    " min-replicas-to-write and min-replicas-max-lag limit how many."
)
_NOT_LOOKED: Final = "What the store at {} keeps could not be checked ({command}: {reason})."


def findings(nodes: Iterable[Keeping]) -> list[tuple[int, str]]:
    """Levels and lines for the log; nodes with the same finding share a line."""
    names: dict[tuple[int, str], list[str]] = {}
    for node in nodes:
        for finding in _findings(node):
            names.setdefault(finding, []).append(node.where)
    return [(level, line.replace("{}", ", ".join(of))) for (level, line), of in names.items()]


def _findings(node: Keeping) -> Iterable[tuple[int, str]]:
    if node.refused is not None:
        command, reason = node.refused
        line = _NOT_LOOKED.replace("{command}", command)
        yield logging.INFO, line.replace("{reason}", reason)
    if not node.logs:
        yield logging.WARNING, _UNLOGGED
    elif node.appendfsync in _LATE:
        yield logging.WARNING, _LATE[node.appendfsync]
    if node.eviction != "noeviction":
        yield logging.WARNING, _EVICTING.replace("{policy}", node.eviction)
    if node.replicas:
        yield logging.WARNING, _REPLICATED


class DurabilityCheck:
    """Checks the store of `engine` once, over separate connections."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self) -> None:
        """Check as soon as the store answers, and log the findings; raises nothing."""
        nodes: list[Keeping] = []
        while not nodes:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    nodes = await self._engine.look_at_store()
            except (StoreError, TimeoutError) as error:
                # The link logs that the store is away.
                _log.debug("The store cannot be checked yet: %s", error)
            except Exception:
                _log.exception("A bug while checking the store")
                return
            if not nodes:
                await asyncio.sleep(_TRY_AGAIN)
        for level, line in findings(nodes):
            _log.log(level, "%s", line)
