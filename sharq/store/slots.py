"""Which node of a cluster serves a key. Pure."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

from hiredis import ReplyError

from sharq.errors import StoreError, UnexpectedReply
from sharq.operations.call import Anywhere, Call, Place
from sharq.settings.options import StoreSettings
from sharq.store.errors import store_error
from sharq.store.script_loading import pack

T = TypeVar("T")

SLOTS: Final = 16384

# Keys that are tried to find one of a single slot: one in three million finds none.
_MOST_TRIED: Final = 15 * SLOTS

# Where the slot of one is about to move, there is the other.
_CHOICE: Final = 2


class Node(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Range(NamedTuple):
    """The slots `first` to `last`, both included, and who serves them."""

    first: int
    last: int
    primary: Node
    replicas: tuple[Node, ...] = ()


class View(NamedTuple):
    """The map as one node sees it.

    A node that is not `ok` sees slots without a primary, or only a minority of the primaries: its
    map may be an old one. Each promotion and each move of a slot has a higher `epoch` than all
    before, of which nodes hear before they have the map of it; the one with that epoch as its
    `own_epoch` has it first. (Nodes that tell none have 0.)
    """

    ranges: list[Range]
    ok: bool
    epoch: int
    own_epoch: int


CLUSTER_SLOTS: Final[Call[list[Any]]] = Call(pack(b"CLUSTER", b"SLOTS"), b"", lambda reply: reply)

CLUSTER_INFO: Final[Call[Any]] = Call(pack(b"CLUSTER", b"INFO"), b"", lambda reply: reply)

MAP_QUESTIONS: Final = (CLUSTER_SLOTS, CLUSTER_INFO)
"""Ask a node for the map; `read_view` reads the answers."""


def seeds(settings: StoreSettings) -> tuple[Node, ...]:
    """The nodes that the settings name."""
    others = (each.rpartition(":") for each in settings.cluster_nodes)
    named = (Node(host.removeprefix("[").removesuffix("]"), int(port)) for host, _, port in others)
    return tuple(dict.fromkeys([Node(settings.host, settings.port), *named]))


def slot_of(key: bytes) -> int:
    """The slot of a key; if it has a hash tag, that decides."""
    _, begun, rest = key.partition(b"{")
    tag, ended, _ = rest.partition(b"}")
    return crc_hqx(tag if begun and ended and tag else key, 0) % SLOTS


def parse_slots(reply: Any, asked: Node) -> list[Range]:
    """Read the answer of CLUSTER SLOTS, given by the node `asked`. Raises UnexpectedReply.

    A node is ``[host, port, id, metadata]``. Without a host, it is the one that was asked. If the
    cluster prefers hostnames and this node has none, the host is ``?`` and the metadata have the
    address.

    Source: the documentation of the command CLUSTER SLOTS.
    """
    try:
        return [
            Range(int(first), int(last), *_nodes(nodes, asked)) for first, last, *nodes in reply
        ]
    except (TypeError, ValueError, UnicodeDecodeError) as error:
        raise UnexpectedReply(f"CLUSTER SLOTS was answered with {reply!r:.200}") from error


def read_view(replies: Sequence[Any], asked: Node) -> View:
    """Read the answers of the node `asked` to MAP_QUESTIONS. Raises `StoreError`.

    A store's user that may not ask for the epochs still gets the map.
    """
    slots, info = (
        store_error(str(reply)) if isinstance(reply, ReplyError) else reply for reply in replies
    )
    if isinstance(slots, StoreError):
        raise slots
    ranges = parse_slots(slots, asked)
    facts: dict[bytes, bytes] = {}
    if isinstance(info, bytes):
        facts = dict(line.split(b":", 1) for line in info.split() if b":" in line)
    try:
        epoch = int(facts.get(b"cluster_current_epoch", 0))
        own_epoch = int(facts.get(b"cluster_my_epoch", 0))
    except ValueError as error:
        raise UnexpectedReply(f"CLUSTER INFO was answered with {info!r:.200}") from error
    return View(ranges, facts.get(b"cluster_state", b"ok") == b"ok", epoch, own_epoch)


def _nodes(entries: Sequence[Any], asked: Node) -> tuple[Node, tuple[Node, ...]]:
    primary, *replicas = (_node(entry, asked) for entry in entries)
    return primary, tuple(replicas)


def _node(entry: Any, asked: Node) -> Node:
    host, port, *rest = entry
    if host == b"?":
        metadata = rest[1] if len(rest) > 1 else []
        host = dict(zip(metadata[::2], metadata[1::2], strict=True)).get(b"ip")
    return Node(host.decode() if host else asked.host, int(port))


class Topology:
    """The known map of a cluster: empty at first.

    `version` grows with each map. `primaries` are the nodes that serve slots, in the order of
    the slots, `replicas` those of each of them. `epoch` is that of the map. `seeds` are the nodes
    of the settings.
    """

    def __init__(self, *seeds: Node) -> None:
        self.version = 0
        self.primaries: tuple[Node, ...] = ()
        self.replicas: dict[Node, tuple[Node, ...]] = {}
        self.epoch = 0
        self.seeds = seeds
        self._numbers: dict[Node, tuple[int, ...]] = {}
        self._by_slot: list[Node | None] = []

    def learn(self, ranges: Sequence[Range], epoch: int = 0) -> None:
        """Replace the map."""
        by_slot: list[Node | None] = [None] * SLOTS
        for first, last, primary, _ in ranges:
            by_slot[first : last + 1] = [primary] * (last + 1 - first)
        self._by_slot = by_slot
        self.primaries = tuple(dict.fromkeys(each.primary for each in sorted(ranges)))
        self.replicas = {each.primary: each.replicas for each in ranges}
        self.epoch = epoch
        self._numbers = {}
        self.version += 1

    def by_slot(self, slot: int) -> Node | None:
        """Return the primary that serves a slot, None if there is none or no map yet."""
        return self._by_slot[slot] if self._by_slot else None

    def node(self, key: bytes) -> Node | None:
        """Return the primary that serves `key`, None if there is none or no map yet."""
        return self._by_slot[slot_of(key)] if self._by_slot else None

    def numbers_at(self, node: Node, place: Place) -> tuple[int, ...]:
        """The least numbers of keys that the primary `node` serves: two, in different slots.

        One if it serves a single slot, none if it serves none. All that ask for some of a map have
        the same `place`.
        """
        numbers = self._numbers.get(node)
        if numbers is None:
            numbers = self._numbers[node] = self._search(node, place)
        return numbers

    def number_at(self, node: Node, place: Place) -> int:
        """The least of them; 0 if there is none."""
        return next(iter(self.numbers_at(node, place)), 0)

    def fitted(self, call: Call[T], node: Node) -> Call[T]:
        """A call with a key that `node` serves, if it is one for any node."""
        if call.anywhere is None:
            return call
        return _with_key(call, call.anywhere, self.number_at(node, call.anywhere.key))

    def choices(self, call: Call[T], node: Node) -> list[Call[T]]:
        """Such a call with a key of each of one or two slots that `node` serves."""
        assert call.anywhere is not None, "it is one for any node"
        numbers = self.numbers_at(node, call.anywhere.key)
        return [_with_key(call, call.anywhere, number) for number in numbers]

    def _search(self, node: Node, place: Place) -> tuple[int, ...]:
        most = min(self._by_slot.count(node), _CHOICE)
        found: dict[int, int] = {}
        for number in range(_MOST_TRIED):
            if len(found) == most:
                break
            slot = slot_of(place(number))
            if self._by_slot[slot] == node:
                found.setdefault(slot, number)
        return tuple(found.values())


def _with_key(call: Call[T], anywhere: Anywhere, number: int) -> Call[T]:
    return call._replace(packed=anywhere.pack(number), key=anywhere.key(number))
