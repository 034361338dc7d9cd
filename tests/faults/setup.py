"""What a run is of: one store, a cluster or nodes under sentinels, and where its types lie.

A shard of a type has a name of its own, as inside of the product: ``wide:3.5:6``. Wherever the
harness speaks of types of the store, shards are types, by these names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from redis.crc import key_slot

from sharq.operations.sharding import is_shard, layout, type_of
from tests.faults.tenants import KINDS, SPREAD, TYPES

SINGLE: Final = "single"
CLUSTER: Final = "cluster"
SENTINEL: Final = "sentinel"

PRIMARIES: Final = 3
SHARDS: Final = 6
"""How many the type has that is spread."""

_SLOTS: Final = 16_384
_LEAST_RATE: Final = 80
"""Jobs a second that each primary has."""


class Setup(msgspec.Struct, frozen=True):
    """What a run is of.

    `replicas_acked` is that of servers and clients, and `min-replicas-to-write` of the nodes.
    `probes` are the types by which the harness sees whether the store is served, one of each
    primary.
    """

    kind: str = SINGLE
    prefix: str = "faults"
    replicas_acked: int = 0
    probes: tuple[str, ...] = ()

    @property
    def replicas(self) -> int:
        """How many replicas each primary has."""
        return {SINGLE: 0, CLUSTER: 1, SENTINEL: 2}[self.kind]

    @property
    def types(self) -> tuple[str, ...]:
        """All queue types."""
        return (*TYPES, *self.probes)

    @property
    def names(self) -> tuple[str, ...]:
        """All types, and the shards of the one that is spread."""
        return (*self.types, *layout(self.prefix, SPREAD, SHARDS))

    @property
    def tags(self) -> tuple[str, ...]:
        """All hash tags: that of the registry, and those of the types and shards."""
        return (self.prefix, *map(self.tag_of, self.names))

    def tag_of(self, name: str) -> str:
        """The hash tag that holds a type or a shard."""
        return f"{self.prefix}:{name.rpartition(':')[0] if is_shard(name) else name}"

    def names_in(self, slots: Iterable[range]) -> list[str]:
        """The types and shards in some slots; a type is also where a shard of it is."""
        ranges = list(slots)
        slots_of = {name: slot_of(self.tag_of(name)) for name in self.names}
        found = {name for name, slot in slots_of.items() if any(slot in each for each in ranges)}
        return sorted(found | set(map(type_of, found)))


def slot_of(tag: str) -> int:
    """The slot of a hash tag in a cluster."""
    return int(key_slot(f"{{{tag}}}".encode()))


def setup_of(kind: str, replicas_acked: int) -> Setup:
    """That of a run: in a cluster, with types on each of the primaries."""
    if kind == SINGLE:
        return Setup()
    if kind == SENTINEL:
        return Setup(kind, replicas_acked=replicas_acked, probes=("probe-0",))
    prefix = next(filter(_spreads, (f"faults{number}" for number in itertools.count(1))))
    names = [f"probe-{number}" for number in range(200)]
    probes = [
        next(name for name in names if _shard(f"{prefix}:{name}") == shard)
        for shard in range(PRIMARIES)
    ]
    return Setup(kind, prefix, replicas_acked, tuple(probes))


def _spreads(prefix: str) -> bool:
    """Whether each primary has as many types, and something to do."""
    rates: dict[int, list[float]] = {shard: [] for shard in range(PRIMARIES)}
    for kind in KINDS.values():
        if kind.name == SPREAD:
            continue
        rates[_shard(f"{prefix}:{kind.name}")].append(kind.rate)
    fewest = (len(KINDS) - 1) // PRIMARIES
    return all(len(each) >= fewest and sum(each) >= _LEAST_RATE for each in rates.values())


def _shard(tag: str) -> int:
    return slot_of(tag) * PRIMARIES // _SLOTS


def settings_of(setup: Setup) -> Mapping[str, Any]:
    """What the checker is told of a setup."""
    return {
        "kind": setup.kind,
        "replicas_acked": None if setup.kind == SINGLE else setup.replicas_acked,
        "probes": setup.probes,
    }
