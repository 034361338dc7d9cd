"""What a process knows of the heads of the shards of all types: see `sharq.heads`. Pure."""

from __future__ import annotations

from collections.abc import Callable

from sharq.heads import Heads
from sharq.operations.sharding import Shards, type_of


class KnownHeads:
    """The heads of all spread types that were asked for, as `shards` knows the types."""

    def __init__(self, shards: Shards, clock: Callable[[], float]) -> None:
        self._shards = shards
        self._clock = clock
        self._of_types: dict[str, Heads] = {}

    def of(self, queue_type: str) -> Heads:
        """Those of a type."""
        names = self._shards.homes(queue_type)
        heads = self._of_types.get(queue_type)
        if heads is None or heads.names != names:
            heads = self._of_types[queue_type] = Heads(names, self._clock)
        return heads

    def touched(self, name: str) -> None:
        """This process has done something by which a job of a shard may have become ready."""
        heads = self._of_types.get(type_of(name))
        if heads is not None and (head := heads.of.get(name)) is not None:
            head.touched(self._clock())
