"""What is fuzzed: a name, the inputs, and what has to hold for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises where an input shows a defect; `examples` are enough for an ordinary run."""

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    examples: int = 100


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces: of the sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


SIZES = st.lists(st.integers(1, 12) | st.integers(1, 400), max_size=12)
