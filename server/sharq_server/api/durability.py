"""How safely the store keeps its data: what there is to say about it. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from sharq.results import Keeping

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


def evictions(nodes: Iterable[Keeping]) -> list[str]:
    """Of the findings those about keys that the store may drop: jobs and limits."""
    policies = {node.where: node.eviction for node in nodes if node.eviction != "noeviction"}
    return [_EVICTING.format(where, policy=policy) for where, policy in policies.items()]
