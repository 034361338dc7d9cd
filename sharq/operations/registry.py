"""The registry of types, as flows: what to do while its node is away and others are not.

In a cluster the registry, and the claim to sweep, lie at one node. Where that one is away, a type
is used without its registration, the types are those that this process knows, and the claim is made
at another node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sharq.errors import StoreError
from sharq.operations.call import Brief, Flow
from sharq.operations.operations import Operations
from sharq.operations.registrations import Registrations, is_away

_PLACES: Final = 16
"""Where the sweep may be claimed, one after the other, while nodes are away."""

_READ_AGAIN: Final = 60.0
"""Seconds after which a server reads the registry that it does not need now."""


class Page(NamedTuple):
    """A page of the registry: types, and the ms since each was registered.

    With a `failure` it could not be read on, and the types are all that are known here.
    """

    cursor: str
    types: dict[str, int]
    failure: StoreError | None = None


class Claim(NamedTuple):
    """Whether this server sweeps now. `failure`: why that could not be asked at the registry."""

    granted: bool
    failure: StoreError | None = None


class Registry:
    """The registry of one deployment, as this process sees it; `clock` is monotonic, in seconds.

    `clustered`: it may be away while types are not. What a `former` one still owes, this one does.
    """

    def __init__(
        self,
        operations: Operations,
        clock: Callable[[], float],
        *,
        clustered: bool = False,
        former: Registrations | None = None,
    ) -> None:
        self._operations = operations
        self._clock = clock
        self.registrations = self._own = Registrations(clock, clustered=clustered, former=former)
        self.due = self._own.due
        self.use = self._own.use
        self.known = self._own.known

    @property
    def clustered(self) -> bool:
        """Whether the registry may be away while types are not."""
        return self._own.clustered

    def register(self, queue_types: Iterable[str]) -> Flow[dict[str, StoreError | None]]:
        """Register the types that are due, and some that were before and could not be registered.

        Of each that was asked for: the failure that prevents an enqueue, or None.
        """
        due = self._own.with_owed(queue_types)
        if not due:
            return {}
        asked_at = self._own.begin()
        try:
            calls = [self._operations.register(queue_type) for queue_type in due]
            # Whoever enqueues waits for it.
            answers = yield Brief(calls) if self.clustered else calls
        finally:
            self._own.end(asked_at)
        return {
            queue_type: self._own.note(queue_type, asked_at, answer)
            for queue_type, answer in zip(due, answers, strict=True)
        }

    def pages(self, cursor: str, seen: dict[str, int]) -> Flow[Page]:
        """The page at a cursor, "0" for the first one; `seen` gets its types, too.

        The last page has the cursor "0". Raises `StoreError` where all is away with the registry.
        """
        if cursor == "0":
            seen.clear()
        began = self._clock()
        call = self._operations.list_types(cursor)
        if not self.clustered:
            page = yield call
            return Page(page.cursor, dict(page.types))
        (answer,) = yield [call]
        if isinstance(answer, StoreError):
            if not is_away(answer):
                raise answer
            return Page("0", self.known(), answer)
        types = dict(answer.types)
        seen.update(types)
        if answer.cursor == "0":
            self._own.on_listed(seen, began)
        return Page(answer.cursor, types)

    def claim(self, hold: int) -> Flow[Claim]:
        """Claim the sweep for the next `hold` ms, at the first place that can be reached.

        So all servers that see the same nodes claim it at the same one. Raises `StoreError`.
        """
        if not self.clustered:
            granted: bool = yield self._operations.claim_sweep(hold)
            return Claim(granted)
        failure: StoreError | None = None
        for place in range(_PLACES):
            (answer,) = yield [self._operations.claim_sweep(hold, place)]
            if not isinstance(answer, StoreError):
                if failure is None:
                    self._own.on_reached()
                return Claim(answer, failure)
            if not is_away(answer):
                raise answer
            failure = failure or answer
        assert failure is not None
        raise failure

    def keep_up(self, claim: Claim) -> Flow[None]:
        """Register what is owed, and read the registry if that was long ago; failures are let be.

        After a claim that has reached it. Who sweeps reads it anyway, and the others have to know
        it for when it is away.
        """
        if not self.clustered:
            return
        yield from self.register(())
        if claim.granted or self._clock() - self._own.listed_at < _READ_AGAIN:
            return
        seen: dict[str, int] = {}
        page = Page("", {})
        while page.cursor != "0":
            page = yield from self.pages(page.cursor or "0", seen)
