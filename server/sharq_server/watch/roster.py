"""Who is connected: this server's subscribers, and those of the others, by a roll call.

The server of a viewer calls all servers through the store, and each answers it. Nobody calls while
nobody looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from sharq.observed import Backlog
from sharq_server.watch.calling import Calling, Tell
from sharq_server.watch.growth import Growth
from sharq_server.watch.merging import known

MOST: Final = 500
"""Subscriptions that a server tells of, at most."""

_CALL_EVERY: Final = 0.9
"""Seconds between two calls, and for which a roll that was made is told."""

_SILENT: Final = 5.0
"""Seconds after which a server that does not answer is left out."""


class Subscribed(msgspec.Struct, omit_defaults=True):
    """One subscription; times are in seconds, so that they seldom change.

    `oldest`: since the oldest lease was delivered or extended; `heard`: since the client's last
    frame.
    """

    queue_type: str
    mode: str
    credit: int
    room: int
    held: int = 0
    oldest: int | None = None
    heard: int | None = None
    worker: str | None = None
    token: str | None = None


class Roll(msgspec.Struct, omit_defaults=True):
    """What a server answers: its connections, and subscriptions by a name of their own.

    `host` is its machine and its process, for people.
    """

    server: str
    connections: int
    subscribed: dict[str, Subscribed]
    more: int = 0
    host: str | None = None
    grown: dict[str, list[Backlog]] = {}


class Roster(Calling[Roll]):
    """The rolls of all servers. `own` makes this server's, `growth` has the queues that grow here.

    They are asked for the growth of types.
    """

    def __init__(
        self,
        server_id: str,
        own: Callable[[], Roll],
        growth: Growth,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(server_id, tell, b"?=", Roll)
        self._make = own
        self._growth = growth
        self._clock = clock
        self._called_at = -_CALL_EVERY
        self._made: tuple[float, Roll] | None = None
        self._grown: dict[str, list[Backlog]] = {}
        self._rolls: dict[str, tuple[float, Roll]] = {}

    async def call(self, watched: Sequence[str] = ()) -> None:
        """Ask all servers, unless that was done just now; their answers come in by themselves.

        They follow the types that are `watched` then, and this one does.
        """
        self._growth.follow(self._server_id, watched)
        now = self._clock()
        if now - self._called_at >= _CALL_EVERY:
            self._called_at = now
            await self._ask(watched)

    def _answer(self, asker: str, words: Sequence[str]) -> Roll:
        self._growth.follow(asker, words)
        taken = {name: self._growth.take(asker, name) for name in words}
        return msgspec.structs.replace(self._own(), grown=taken)

    def _take(self, answer: Roll) -> None:
        self._rolls[answer.server] = (self._clock(), answer)
        for queue_type, grown in answer.grown.items():
            self._grown.setdefault(queue_type, []).extend(grown)

    def rolls(self) -> list[Roll]:
        """The last answers, this server's as it was a moment ago."""
        late = self._clock() - _SILENT
        self._rolls = {name: entry for name, entry in self._rolls.items() if entry[0] > late}
        return [self._own(), *(roll for _, roll in self._rolls.values())]

    def grown(self, queue_type: str) -> list[Backlog]:
        """Queues that have grown since the last time, at all servers."""
        own = self._growth.take(self._server_id, queue_type)
        return [*own, *self._grown.pop(queue_type, [])]

    def _own(self) -> Roll:
        """This server's roll: all that are told it in the same second are told the same."""
        now = self._clock()
        if self._made is None or now - self._made[0] >= _CALL_EVERY:
            self._made = now, self._make()
        return self._made[1]


def totals(rolls: list[Roll]) -> Mapping[str, dict[str, int]]:
    """The subscriptions of each type: their number, credit and room."""
    types: dict[str, dict[str, int]] = {}
    for roll in rolls:
        for each in roll.subscribed.values():
            sums = types.setdefault(
                each.queue_type, dict.fromkeys(("subscribers", "credit", "room"), 0)
            )
            sums["subscribers"] += 1
            sums["credit"] += each.credit
            sums["room"] += each.room
    return types


def shown(rolls: list[Roll]) -> dict[str, Any]:
    """All subscriptions by name, for the topic `workers`."""
    workers = {}
    for roll in rolls:
        for name, each in roll.subscribed.items():
            workers[f"{roll.server}/{name}"] = known(
                server=roll.server,
                queue_type=each.queue_type,
                mode=each.mode,
                credit=each.credit,
                held=each.held,
                oldest_lease=None if each.oldest is None else 1000 * each.oldest,
                heard=None if each.heard is None else 1000 * each.heard,
                worker=each.worker,
                token=each.token,
            )
    return {
        "workers": workers,
        "more": sum(roll.more for roll in rolls),
        "servers": {
            roll.server: known(connections=roll.connections, host=roll.host) for roll in rolls
        },
    }
