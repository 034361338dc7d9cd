"""Figures for users: what SharQ does, in absolute figures, as docs/performance.md shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Highlight:
    """What is done on a store of this durability: `rate` `things` a second.

    Half and 99 % of them take no longer than `p50_ms` and `p99_ms`. What is not measured is None.
    """

    what: str
    store: str
    rate: float | None
    things: str
    p50_ms: float | None = None
    p99_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)
