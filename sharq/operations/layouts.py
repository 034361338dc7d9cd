"""What the store keeps of the shards of a type, as text: ``T:shards``, see docs/keyspace.md. Pure.

``N generation`` is how many shards there are, and how many changes have begun so far. While it is
being changed there follow how many there are to be, a word for this change, and when it began or
was last worked on (ms of the store).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sharq.errors import UnexpectedReply
from sharq.operations.sharding import MAX_SHARDS

PATIENCE: Final = 10_000
"""Milliseconds after which a change that nobody has worked on is taken back by whoever meets it."""

_TEXT: Final = re.compile(r"(\d{1,9}) (\d{1,15})(?: (\d{1,9}) (\S+) (\d{1,15}))?", re.ASCII)


class Layout(NamedTuple):
    """How many shards a type has; `wanted` are to be in future, None: it is not being changed."""

    shards: int = 1
    generation: int = 0
    wanted: int | None = None
    word: str = ""
    since: int = 0

    def is_given_up(self, now: int) -> bool:
        """Whether nobody works on the change any more. `now`: the store's time (ms)."""
        return now - self.since >= PATIENCE

    @property
    def stable(self) -> str:
        """The text of the same number of shards, which is not being changed."""
        return f"{self.shards} {self.generation}"

    @property
    def changed(self) -> str:
        """The text of the wanted number, which is not being changed."""
        return f"{self.wanted} {self.generation}"

    def beginning(self, wanted: int, word: str) -> str:
        """The text of a change of it, without its time."""
        return f"{self.shards} {self.generation + 1} {wanted} {word}"

    @property
    def going_on(self) -> str:
        """The text of this change, without its time."""
        return f"{self.shards} {self.generation} {self.wanted} {self.word}"


def read_layout(text: str) -> Layout:
    """The layout that a text tells; none is told of a type that was never spread."""
    if not text:
        return Layout()
    match = _TEXT.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    count, generation, wanted, word, since = match.groups()
    layout = Layout(int(count), int(generation))
    if wanted is not None:
        layout = Layout(int(count), int(generation), int(wanted), word, int(since))
    numbers = [layout.shards] if layout.wanted is None else [layout.shards, layout.wanted]
    if not all(1 <= number <= MAX_SHARDS for number in numbers):
        raise _unreadable(text)
    return layout


def _unreadable(text: str) -> UnexpectedReply:
    return UnexpectedReply(f"The number of shards of a type cannot be read: {text!r}.")
