"""How safely the store keeps its data: what there is to say about it. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sharq.results import Keeping


class Statement(NamedTuple):
    """Something to say of the store: a level of the log, what is so, and what to do about it.

    `{}` stands for the places of the nodes. `fine`: it is as well as it can be. `passes`: it may
    pass by itself, without another configuration.
    """

    level: int
    found: str
    do: str
    fine: bool = False
    passes: bool = False

    @property
    def line(self) -> str:
        """The same for the log."""
        return f"{self.found} {self.do}".rstrip()


_UNLOGGED: Final = Statement(
    logging.WARNING,
    "The store at {} keeps no log of its changes (appendonly no): when it ends, all changes"
    " since its last snapshot are lost.",
    "Set appendonly yes and appendfsync always.",
)
_LATE: Final = {
    "everysec": Statement(
        logging.WARNING,
        "The store at {} forces its log to the disk once a second (appendfsync everysec): when its"
        " machine fails, the changes of the last two seconds may be lost.",
        "Set appendfsync always.",
    ),
    "no": Statement(
        logging.WARNING,
        "The store at {} leaves it to the system when its log is forced to the disk (appendfsync"
        " no): when its machine fails, the changes of the last half minute may be lost.",
        "Set appendfsync always.",
    ),
}
_EVICTING: Final = Statement(
    logging.WARNING,
    "The store at {} drops keys when its memory is full (maxmemory-policy {policy}), also jobs"
    " and limits.",
    "Set maxmemory-policy noeviction.",
)
_REPLICATED: Final = Statement(
    logging.WARNING,
    "The store at {} has replicas, which follow with a delay: after a failover the last changes"
    " may be missing: accepted jobs may be lost, and finished ones come again.",
    "Set replicas_acked, so that nothing is acknowledged before replicas have it.",
)
_BEYOND: Final = Statement(
    logging.WARNING,
    "The store at {} has more replicas ({replicas}) than replicas_acked ({acked}): after a failover"
    " to one that lacks the last changes, accepted jobs may be lost, and finished ones come again.",
    "Set replicas_acked to the number of replicas.",
)
_TOO_FEW: Final = Statement(
    logging.ERROR,
    "The store at {} has fewer replicas ({replicas}) than replicas_acked ({acked}): nothing that"
    " changes something is acknowledged.",
    "Look whether the replicas run and follow it (INFO replication), or lower replicas_acked.",
    passes=True,
)
_BOUNDED: Final = Statement(
    logging.INFO,
    "The store at {} has replicas, which follow with a delay: after a failover the last changes"
    " may be missing. min-replicas-to-write limits how many.",
    "",
    fine=True,
)
_FOLLOWING: Final = Statement(
    logging.ERROR,
    "The store at {} is a replica, and takes no writes.",
    "Set host and port to the primary, or sentinels and sentinel_service to follow it.",
)
_UNSETTLED: Final = Statement(
    logging.ERROR,
    "The store at {} is a node of a cluster, and serves a part of the keys alone.",
    "Set clustered = true.",
)
_NOT_LOOKED: Final = Statement(
    logging.INFO, "What the store at {} keeps could not be checked ({command}: {reason}).", ""
)


def statements(nodes: Iterable[Keeping]) -> list[Statement]:
    """What there is to say; nodes of which the same is said share a statement."""
    names: dict[Statement, list[str]] = {}
    for node in nodes:
        for statement in _statements(node):
            names.setdefault(statement, []).append(node.where)
    return [
        statement._replace(found=statement.found.replace("{}", ", ".join(of)))
        for statement, of in names.items()
    ]


def findings(nodes: Iterable[Keeping]) -> list[tuple[int, str]]:
    """The same as levels and lines for the log."""
    return [(each.level, each.line) for each in statements(nodes)]


def evictions(nodes: Iterable[Keeping]) -> list[str]:
    """Of the lines those about keys that the store may drop: jobs and limits."""
    evicting = [node for node in nodes if node.eviction != "noeviction"]
    return [
        _of_policy(node.eviction).line.replace("{}", node.where)
        for node in {node.where: node for node in evicting}.values()
    ]


def answering(nodes: Sequence[Keeping]) -> Sequence[Keeping]:
    """The nodes, if all have answered. Raises the `StoreError` of the first that has not."""
    for node in nodes:
        if node.trouble is not None:
            raise node.trouble
    return nodes


def _statements(node: Keeping) -> Iterable[Statement]:
    if node.refused is not None:
        command, reason = node.refused
        found = _NOT_LOOKED.found.replace("{command}", command).replace("{reason}", reason)
        yield _NOT_LOOKED._replace(found=found)
    if not node.logs:
        yield _UNLOGGED
    elif node.appendfsync in _LATE:
        yield _LATE[node.appendfsync]
    if node.eviction != "noeviction":
        yield _of_policy(node.eviction)
    if node.unsettled:
        yield _UNSETTLED
    elif node.follows:
        yield _FOLLOWING
    yield from _of_replicas(node)


def _of_replicas(node: Keeping) -> Iterable[Statement]:
    if not node.acked:
        followed = _BOUNDED if node.bounded else _REPLICATED
        said = followed if node.replicas else None
    elif node.follows or (node.refused is not None and node.refused[0] == "INFO"):
        said = None
    else:
        said = _TOO_FEW if node.replicas < node.acked else None
        said = _BEYOND if node.replicas > node.acked else said
    if said is not None:
        found = said.found.replace("{replicas}", str(node.replicas))
        yield said._replace(found=found.replace("{acked}", str(node.acked)))


def _of_policy(policy: str) -> Statement:
    return _EVICTING._replace(found=_EVICTING.found.replace("{policy}", policy))
