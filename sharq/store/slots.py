"""Which node of a cluster serves a key. Pure."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sharq.errors import UnexpectedReply
from sharq.operations.call import Call
from sharq.store.script_loading import pack

_SLOTS: Final = 16384


class Node(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Range(NamedTuple):
    """The slots `first` to `last`, both included, and the primary that serves them."""

    first: int
    last: int
    primary: Node


CLUSTER_SLOTS: Final[Call[list[Any]]] = Call(pack(b"CLUSTER", b"SLOTS"), b"", lambda reply: reply)
"""Asks a node for the map; `parse_slots` reads the answer."""


def slot_of(key: bytes) -> int:
    """The slot of a key; if it has a hash tag, that decides."""
    _, begun, rest = key.partition(b"{")
    tag, ended, _ = rest.partition(b"}")
    return crc_hqx(tag if begun and ended and tag else key, 0) % _SLOTS


def parse_slots(reply: Any, asked: Node) -> list[Range]:
    """Read the answer of CLUSTER SLOTS, given by the node `asked`. Raises UnexpectedReply.

    A node is ``[host, port, id, metadata]``. Without a host, it is the one that was asked. If the
    cluster prefers hostnames and this node has none, the host is ``?`` and the metadata have the
    address.

    Source: the documentation of the command CLUSTER SLOTS.
    """
    try:
        return [
            Range(int(first), int(last), _node(primary, asked))
            for first, last, primary, *_ in reply
        ]
    except (TypeError, ValueError, UnicodeDecodeError) as error:
        raise UnexpectedReply(f"CLUSTER SLOTS was answered with {reply!r:.200}") from error


def _node(entry: Any, asked: Node) -> Node:
    host, port, *rest = entry
    if host == b"?":
        metadata = rest[1] if len(rest) > 1 else []
        host = dict(zip(metadata[::2], metadata[1::2], strict=True)).get(b"ip")
    return Node(host.decode() if host else asked.host, int(port))


class Topology:
    """The known map of a cluster: empty at first.

    `version` grows with each map. `primaries` are the nodes that serve slots, in the order of
    the slots. `seed` is the node of the settings.
    """

    def __init__(self, seed: Node) -> None:
        self.version = 0
        self.primaries: tuple[Node, ...] = ()
        self.seed = seed
        self._by_slot: list[Node | None] = []

    def learn(self, ranges: Sequence[Range]) -> None:
        """Replace the map."""
        by_slot: list[Node | None] = [None] * _SLOTS
        for first, last, primary in ranges:
            by_slot[first : last + 1] = [primary] * (last + 1 - first)
        self._by_slot = by_slot
        self.primaries = tuple(dict.fromkeys(primary for _, _, primary in sorted(ranges)))
        self.version += 1

    def node(self, key: bytes) -> Node | None:
        """Return the primary that serves `key`, None if there is none or no map yet."""
        return self._by_slot[slot_of(key)] if self._by_slot else None
