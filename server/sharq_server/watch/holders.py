"""Who holds a lease: known to the server whose connection has it, and asked of all of them.

The server of a viewer calls all servers through the store, and the one that knows answers. Nobody
calls while nobody looks. Nobody answers for a lease that was taken over REST or with the library,
or whose connection has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from sharq_server.watch.calling import Calling, Tell
from sharq_server.watch.merging import Data, known

_CALL_EVERY: Final = 0.9
"""Seconds between two calls for a lease."""

_ANSWERS_IN: Final = 0.5
"""Seconds after the first call for a lease in which those who know have answered."""

_SILENT: Final = 2.5
"""Seconds after which a holder that is not told again is no longer known."""


class Holder(msgspec.Struct, omit_defaults=True):
    """A connection that holds a lease. `since` is in ms by the clock of its server, to the second.

    `mode` is that of its subscription to the type, None if there is none (any more). `host` is the
    server's machine and process, for people.
    """

    server: str
    host: str
    since: int
    mode: str | None = None
    worker: str | None = None
    token: str | None = None


class _Watched:
    """A lease that somebody looks at: when all were called for it, and who is known to hold it."""

    __slots__ = ("_heard_at", "_holder", "called_at", "first_called_at")

    def __init__(self) -> None:
        self.called_at: float | None = None
        self.first_called_at: float | None = None
        self._holder: Holder | None = None
        self._heard_at = 0.0

    def holder(self, now: float) -> Holder | None:
        """Who holds it, if that was told lately."""
        return self._holder if now - self._heard_at <= _SILENT else None

    def take(self, holder: Holder, now: float) -> None:
        """Note a holder. Of two that think so the later one is right."""
        former = self.holder(now)
        if former is None or former.server == holder.server or former.since <= holder.since:
            self._holder, self._heard_at = holder, now


class Holders(Calling[Mapping[str, Holder]]):
    """The holders of leases that are looked at at this server.

    `own` finds those among leases that this server knows; the others are asked for leases.
    """

    def __init__(
        self,
        server_id: str,
        own: Callable[[Collection[str]], Mapping[str, Holder]],
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(server_id, tell, b"@:", dict[str, Holder])
        self._own = own
        self._clock = clock
        self._watched: dict[str, _Watched] = {}

    async def look(self, lease: str) -> Data:
        """What is known of a lease; asks all servers, unless that was done just now.

        Has a `holder` if there is one. `asked` tells whether all have had the time to answer.
        Raises `StoreError`.
        """
        watched = self._watched.setdefault(lease, _Watched())
        if self._is_due(watched):
            await self._call()
        now = self._clock()
        called, holder = watched.first_called_at, watched.holder(now)
        return {
            "asked": called is not None and now - called >= _ANSWERS_IN,
            **known(holder=None if holder is None else known(**msgspec.structs.asdict(holder))),
        }

    def forget(self, leases: Collection[str]) -> None:
        """Only these are still looked at. When one was called for just now is remembered."""
        self._watched = {
            lease: each
            for lease, each in self._watched.items()
            if lease in leases or not self._is_due(each)
        }

    def _answer(self, asker: str, words: Sequence[str]) -> Mapping[str, Holder]:
        return self._own(words)

    def _take(self, answer: Mapping[str, Holder]) -> None:
        for lease, holder in answer.items():
            if lease in self._watched:
                self._watched[lease].take(holder, self._clock())

    def _is_due(self, watched: _Watched) -> bool:
        return watched.called_at is None or self._clock() - watched.called_at >= _CALL_EVERY

    async def _call(self) -> None:
        """Call all servers, and look here, for every lease that is due."""
        due = {lease: each for lease, each in self._watched.items() if self._is_due(each)}
        await self._ask(due)
        self._take(self._own(due))
        now = self._clock()
        for each in due.values():
            each.called_at = now
            if each.first_called_at is None:
                each.first_called_at = now
