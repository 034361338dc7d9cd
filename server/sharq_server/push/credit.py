"""Credit: how many leases a connection may hold, and which it holds. Pure.

A lease takes a place as soon as the store is asked for it. The answer turns the reservation into
the leases that came. Each of them leaves once: when it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

UNLIMITED: Final = 1 << 30


class _Allowance:
    __slots__ = ("held", "limit", "reserved")

    def __init__(self) -> None:
        self.limit = UNLIMITED
        self.held = 0
        self.reserved = 0

    @property
    def room(self) -> int:
        return max(0, self.limit - self.held - self.reserved)

    @property
    def idle(self) -> bool:
        return self.limit == UNLIMITED and not self.held and not self.reserved


class Credit:
    """The credit of one connection: for each type, and for all of them together."""

    def __init__(self) -> None:
        self._all = _Allowance()
        self._types: dict[str, _Allowance] = {}
        self._held: dict[str, float] = {}
        self._since: dict[str, float] = {}

    @property
    def held(self) -> Mapping[str, float]:
        """The leases that the connection holds, each with the time at which it ends."""
        return self._held

    def limit(self, queue_type: str | None, limit: int | None) -> None:
        """Set the limit of a type, or of the whole connection; None means no limit."""
        allowance = self._all if queue_type is None else self._of(queue_type)
        allowance.limit = UNLIMITED if limit is None else limit
        if queue_type is not None and allowance.idle:
            del self._types[queue_type]

    def limit_of(self, queue_type: str | None) -> int:
        """The limit of a type, or of the whole connection."""
        allowance = self._all if queue_type is None else self._types.get(queue_type)
        return UNLIMITED if allowance is None else allowance.limit

    def room(self, queue_type: str) -> int:
        """How many more leases of a type have room."""
        allowance = self._types.get(queue_type)
        if allowance is None:
            return self._all.room
        return min(allowance.room, self._all.room)

    def held_of(self, queue_type: str) -> int:
        """How many leases of a type are held."""
        allowance = self._types.get(queue_type)
        return 0 if allowance is None else allowance.held

    def unused(self, queue_type: str) -> int:
        """How many more leases of a type may come: the room, and what is reserved of it."""
        allowances = (self._all, self._types.get(queue_type))
        return max(0, min(each.limit - each.held for each in allowances if each is not None))

    def has_plenty(self, queue_type: str) -> bool:
        """Whether there is room for a quarter of a type's credit."""
        room = self.room(queue_type)
        return room > 0 and 4 * room >= min(self.limit_of(queue_type), self._all.limit)

    def reserve(self, queue_type: str, wanted: int) -> int:
        """Reserve up to `wanted` places for leases; returns how many there were."""
        count = min(wanted, self.room(queue_type))
        if count > 0:
            self._of(queue_type).reserved += count
            self._all.reserved += count
        return count

    def unreserve(self, queue_type: str, count: int) -> None:
        """Give reserved places back."""
        if count:
            allowance = self._of(queue_type)
            allowance.reserved -= count
            self._all.reserved -= count
            if allowance.idle:
                del self._types[queue_type]

    def hold(
        self, queue_type: str, leases: Iterable[str], until: float, since: float = 0.0
    ) -> None:
        """Count leases, regardless of the limits; one that is held already only changes its end.

        `since`: when the connection got them.
        """
        held, got = self._held, self._since
        before = len(held)
        for lease in leases:
            held[lease] = until
            got.setdefault(lease, since)
        added = len(held) - before
        if added:
            self._of(queue_type).held += added
            self._all.held += added

    def extend(self, lease: str, until: float) -> None:
        """Note that a lease ends at another time, if it is held."""
        if lease in self._held:
            self._held[lease] = until

    def since(self, lease: str) -> float | None:
        """When the connection got a lease; None if it does not hold it."""
        return self._since.get(lease)

    def free(self, lease: str) -> bool:
        """Note that a lease has ended; returns whether it was held."""
        if self._held.pop(lease, None) is None:
            return False
        del self._since[lease]
        queue_type = lease.partition("/")[0]
        allowance = self._of(queue_type)
        allowance.held -= 1
        self._all.held -= 1
        if allowance.idle:
            del self._types[queue_type]
        return True

    def _of(self, queue_type: str) -> _Allowance:
        allowance = self._types.get(queue_type)
        if allowance is None:
            allowance = self._types[queue_type] = _Allowance()
        return allowance
