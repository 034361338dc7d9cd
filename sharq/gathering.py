"""What callers say of their leases in one turn of the event loop, sent together.

A call costs the store much more than a lease in it. A server has many connections, each of which
says little: the finishes of a turn leave as one script call for each type, and so do the extends by
the same time. They leave when they would have left alone, so that nobody waits for others.

Releases and failures are not gathered: their scripts read each job and its queue, so that a damaged
queue of one caller would fail what the others say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from sharq.endings import FINISH
from sharq.errors import StoreError
from sharq.operations.call import Flow
from sharq.operations.flows import Flows
from sharq.operations.operations import BULK_SIZE
from sharq.results import Ended, Extended

_FINISHES: Final = -1
"""In place of the time by which leases are extended."""


class _Kind(NamedTuple):
    """What can share a call: finishes of a type, or extends of a type `by` the same time."""

    queue_type: str
    by: int


class _Group:
    """The leases of a kind, and who has named how many of them, in order."""

    __slots__ = ("leases", "told")

    def __init__(self) -> None:
        self.leases: list[str] = []
        self.told: list[tuple[asyncio.Future[list[Any]], int]] = []


class Gathering:
    """The finishes and extends of this turn.

    An `owner` is a caller, such as a connection, hashed by identity. What one owner says is carried
    out in the order in which it is said, and leases that are named together share a call if they
    would do so alone. `begin` is that of a `Batcher`.
    """

    def __init__(
        self, flows: Flows, begin: Callable[[Flow[Any]], Coroutine[Any, Any, Any]]
    ) -> None:
        self._flows = flows
        self._begin = begin
        self._groups: dict[_Kind, _Group] = {}
        self._last: dict[object, _Kind] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due = False

    def finish(
        self, owner: object, leases: Sequence[str]
    ) -> Awaitable[Sequence[Ended | StoreError]]:
        """End leased jobs for good; the outcome or the failure of each, in order."""
        return self._say(owner, _FINISHES, leases)

    def extend(
        self, owner: object, leases: Sequence[str], by: int
    ) -> Awaitable[Sequence[Extended | StoreError]]:
        """Let leases end no sooner than `by` ms from now; as `finish`."""
        return self._say(owner, by, leases)

    def send_those_of(self, owner: object) -> None:
        """Send what has been gathered, if any of it is of `owner`: its next call comes after it."""
        if owner in self._last:
            self._send_all()

    def _say(self, owner: object, by: int, leases: Sequence[str]) -> Awaitable[list[Any]]:
        queue_type = _only_type(leases)
        if queue_type is None:
            self.send_those_of(owner)
            return self._begin(self._flow(by, leases))
        return self._add(owner, _Kind(queue_type, by), leases)

    def _add(self, owner: object, kind: _Kind, leases: Sequence[str]) -> Awaitable[list[Any]]:
        if self._last.get(owner, kind) != kind:
            self._send_all()
        group = self._groups.get(kind)
        if group is not None and len(group.leases) + len(leases) > BULK_SIZE:
            self._send(kind, group)
            group = None
        if group is None:
            group = self._groups[kind] = _Group()
        loop = asyncio.get_running_loop()
        told: asyncio.Future[list[Any]] = loop.create_future()
        group.leases += leases
        group.told.append((told, len(leases)))
        self._last[owner] = kind
        if not self._due:
            self._due = True
            loop.call_soon(self._on_end_of_turn)
        return told

    def _on_end_of_turn(self) -> None:
        self._due = False
        self._send_all()

    def _send_all(self) -> None:
        groups, self._groups = self._groups, {}
        self._last.clear()
        for kind, group in groups.items():
            self._send(kind, group)

    def _send(self, kind: _Kind, group: _Group) -> None:
        begun = self._begin(self._flow(kind.by, group.leases))
        task = asyncio.get_running_loop().create_task(_tell(group, begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _flow(self, by: int, leases: Sequence[str]) -> Flow[list[Any]]:
        if by == _FINISHES:
            return self._flows.end_many(leases, FINISH)
        return self._flows.extend_many(leases, by)


async def _tell(group: _Group, begun: Awaitable[list[Any]]) -> None:
    """Give each its own outcomes."""
    outcomes: list[Any] = []
    failure: Exception | None = None
    try:
        outcomes = await begun
    except Exception as error:
        failure = error
    at = 0
    for told, count in group.told:
        if not told.done():
            if failure is None:
                told.set_result(outcomes[at : at + count])
            else:
                told.set_exception(failure)
        at += count


def _only_type(leases: Sequence[str]) -> str | None:
    """The type of all these tokens; None if they are of several, or if one is of none."""
    queue_type, _, _ = leases[0].partition("/")
    head = queue_type + "/"
    return queue_type if all(lease.startswith(head) for lease in leases) else None
