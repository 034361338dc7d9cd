"""What the store keeps of what it has accepted: looked at when a server starts, told in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError, ResponseError

from sharq import AsyncSharQ
from sharq.config import StoreSettings
from sharq.connection import address
from sharq.opening import redis_arguments

_log = logging.getLogger(__name__)

_TRY_AGAIN: Final = 5.0
_TIMEOUT: Final = 10.0
"""Seconds that the store has to answer."""

_UNLOGGED: Final = (
    "The store at {} keeps no log of its changes (appendonly no): when it ends, all that was"
    " accepted since its last snapshot is gone. Set appendonly yes and appendfsync always."
)
_LATE: Final = {
    "everysec": (
        "The store at {} forces its log to the disk once a second (appendfsync everysec): when its"
        " machine fails, what was accepted in the last two seconds may be gone. Set appendfsync"
        " always."
    ),
    "no": (
        "The store at {} leaves it to the system when its log is forced to the disk (appendfsync"
        " no): when its machine fails, what was accepted in the last half minute may be gone. Set"
        " appendfsync always."
    ),
}
_EVICTING: Final = (
    "The store at {} drops keys when its memory is full (maxmemory-policy {policy}), jobs and"
    " limits among them. Set maxmemory-policy noeviction."
)
_REPLICATED: Final = (
    "The store at {} has replicas, which follow with a delay: after a failover the last changes"
    " may be missing, so that accepted jobs are gone and finished ones come again."
    " min-replicas-to-write and min-replicas-max-lag bound how many."
)
_NOT_LOOKED: Final = "What the store at {} keeps could not be looked at ({command}: {reason})."


class Node(NamedTuple):
    """A node of the store: its INFO and its `appendfsync`, each an error where it is refused.

    `appendfsync` is None where it does not matter.
    """

    name: str
    info: Mapping[str, Any] | ResponseError
    appendfsync: str | ResponseError | None


def findings(nodes: Iterable[Node]) -> list[tuple[int, str]]:
    """Levels and lines for the log; nodes of which the same is to be told share one."""
    names: dict[tuple[int, str], list[str]] = {}
    for node in nodes:
        for finding in _findings(node):
            names.setdefault(finding, []).append(node.name)
    return [(level, line.replace("{}", ", ".join(of))) for (level, line), of in names.items()]


def _findings(node: Node) -> Iterable[tuple[int, str]]:
    info = node.info
    if isinstance(info, ResponseError):
        yield logging.INFO, _NOT_LOOKED.replace("{command}", "INFO").replace("{reason}", str(info))
        return
    if info.get("aof_enabled") == 0:
        yield logging.WARNING, _UNLOGGED
    elif isinstance(node.appendfsync, ResponseError):
        line = _NOT_LOOKED.replace("{command}", "CONFIG GET appendfsync")
        yield logging.INFO, line.replace("{reason}", str(node.appendfsync))
    elif node.appendfsync in _LATE:
        yield logging.WARNING, _LATE[node.appendfsync]
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield logging.WARNING, _EVICTING.replace("{policy}", str(policy))
    if info.get("role") == "master" and info.get("connected_slaves"):
        yield logging.WARNING, _REPLICATED


class DurabilityCheck:
    """Looks at the store of `sq` once, over a connection of its own."""

    def __init__(self, sq: AsyncSharQ) -> None:
        self._sq = sq

    async def run(self) -> None:
        """Look as soon as the store answers, and log what is to be known; raises nothing."""
        while True:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    nodes = await _look_at(self._sq.store_address)
                break
            except (RedisError, OSError, TimeoutError) as error:
                # The link tells that the store is away.
                _log.debug("The store cannot be looked at yet: %s", error)
            except Exception:
                _log.exception("To look at the store met a bug")
                return
            await asyncio.sleep(_TRY_AGAIN)
        for level, line in findings(nodes):
            _log.log(level, "%s", line)


async def _look_at(settings: StoreSettings) -> list[Node]:
    if not settings.clustered:
        async with Redis(**redis_arguments(settings)) as client:
            return [await _node(address(settings), client)]
    nodes = []
    async with _cluster(settings) as cluster:
        for primary in cluster.get_primaries():
            arguments = redis_arguments(settings) | {"host": primary.host, "port": primary.port}
            async with Redis(**arguments) as client:
                nodes.append(await _node(primary.name, client))
    return nodes


@asynccontextmanager
async def _cluster(settings: StoreSettings) -> AsyncIterator[RedisCluster]:
    cluster = RedisCluster(**redis_arguments(settings))
    try:
        yield await cluster.initialize()
    finally:
        await cluster.aclose()


async def _node(name: str, client: Redis) -> Node:
    try:
        info = await client.info()
    except ResponseError as error:
        return Node(name, error, None)
    if info.get("aof_enabled") != 1:
        return Node(name, info, None)
    try:
        return Node(name, info, (await client.config_get("appendfsync")).get("appendfsync"))
    except ResponseError as error:
        return Node(name, info, error)
