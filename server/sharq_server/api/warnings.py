"""What an operator should know while all works: `/deepstatus/` tells it."""

from __future__ import annotations

from collections.abc import Iterable


class Warnings:
    """Sentences, by the subject that they are about."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, ...]] = {}
        self.lines: tuple[str, ...] = ()

    def set(self, subject: str, lines: Iterable[str]) -> None:
        """Replace what is told of a subject; nothing, if all is well."""
        self._of[subject] = tuple(lines)
        self.lines = tuple(line for lines in self._of.values() for line in lines)
