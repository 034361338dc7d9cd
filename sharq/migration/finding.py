"""Which queues the original has: also those that it has lost sight of."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from sharq.migration.source import Source

Queues = dict[bytes, dict[bytes, None]]
"""The queues of each type, in the order in which they were found."""

_PARTS_OF_A_JOB: Final = 3


class Finder:
    """Finds the queues of the types that are wanted, of None all.

    `seen` has all that were ever found. `payloads` counts what the last look everywhere has found:
    the payloads of jobs, and those that were left behind by queues that were cleared. `alive` is
    called now and then.
    """

    def __init__(
        self, source: Source, wanted: Container[bytes] | None, alive: Callable[[], None]
    ) -> None:
        self._source = source
        self._wanted = wanted
        self._alive = alive
        self.seen: Queues = {}
        self.payloads = 0

    def everywhere(self) -> Queues:
        """The queues in both hashes and in the sorted sets."""
        found: Queues = {}
        self.payloads = 0
        for page in self._source.fields():
            self._alive()
            for name in page:
                kind, *others = name.split(b":")
                if others and self._wants(kind):
                    self._add(found, kind, others[0])
                    self.payloads += len(others) == _PARTS_OF_A_JOB - 1
        return self.scheduled(found)

    def scheduled(self, found: Queues | None = None) -> Queues:
        """The queues in the sorted sets of all types that were ever found, or are named as such.

        Those of `found` come first.
        """
        found = {} if found is None else found
        for kind in (*self.seen, *self._source.types() - self.seen.keys()):
            if self._wants(kind):
                found.setdefault(kind, {})
                self.seen.setdefault(kind, {})
                for queue in self._source.scheduled(kind):
                    self._add(found, kind, queue)
        return found

    def _wants(self, kind: bytes) -> bool:
        return self._wanted is None or kind in self._wanted

    def _add(self, found: Queues, kind: bytes, queue: bytes) -> None:
        found.setdefault(kind, {})[queue] = None
        self.seen.setdefault(kind, {})[queue] = None
