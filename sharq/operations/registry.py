"""The registry of types, as flows: what to do while its node is away and others are not.

In a cluster the registry, and the claim to sweep, lie at one node. Where that one is away, a type
is used without its registration, the types are those that this process knows, and the claim is made
at another node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sharq.errors import StoreError
from sharq.operations.call import Apart, Brief, Flow
from sharq.operations.operations import Operations
from sharq.operations.registrations import Registrations, is_away

_PLACES: Final = 16
"""Where the sweep may be claimed, one after the other, while nodes are away."""

_READ_AGAIN: Final = 60.0
"""Seconds after which a server reads the registry that it does not need now."""

_PATIENCE: Final = 0.5
"""Seconds that a place is waited for. The others would sweep at another one by then."""

_PROBE: Final = 0.1
"""The same for the registry, while it is known to be away."""

_WALK_AGAIN: Final = 10.0
"""Seconds after which the places that were away are tried again."""


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


class Walk:
    """Goes over the pages of the registry; with a `failure` it is known that it cannot be read."""

    def __init__(self, registry: Registry, failure: StoreError | None = None) -> None:
        self._registry = registry
        self._failure = failure
        self._cursor: str | None = None
        self._seen: dict[str, int] = {}
        self.complete = True
        """Whether all pages so far could be read."""

    def next(self) -> Flow[Page | None]:
        """The next page, None after the last one.

        Raises `StoreError` where all is away with the registry.
        """
        if self._cursor == "0":
            return None
        if self._failure is None:
            page = yield from self._registry.page(self._cursor or "0", self._seen)
        else:
            page = Page("0", self._registry.known(), self._failure)
        self._cursor = page.cursor
        self.complete = self.complete and page.failure is None
        return page


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
        self._away: StoreError | None = None
        self._probing = False
        self._place, self._placed_at = 1, float("-inf")

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

    def page(self, cursor: str, seen: dict[str, int]) -> Flow[Page]:
        """The page at a cursor, "0" for the first one; `seen` gets the types of a walk.

        The last page has the cursor "0". Raises `StoreError` where all is away with the registry.
        """
        if cursor == "0":
            seen.clear()
        began = self._clock()
        call = self._operations.list_types(cursor)
        if not self.clustered:
            page = yield call
            return Page(page.cursor, dict(page.types))
        (answer,) = yield Brief([call])
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

        So all servers that see the same nodes claim it at the same one. A place that was silent is
        not waited for again: the registry is asked aside whether it is back. Raises `StoreError`.
        """
        if not self.clustered:
            granted: bool = yield self._operations.claim_sweep(hold)
            return Claim(granted)
        if self._away is not None and not self._probing:
            self._probing = True
            yield Apart([self._probe()], _PROBE)
        failure = self._away
        for place in range(0 if failure is None else self._first_place(), _PLACES):
            (answer,) = yield Brief([self._operations.claim_sweep(hold, place)], _PATIENCE)
            if not isinstance(answer, StoreError):
                if place == 0:
                    self._own.on_reached()
                else:
                    self._place = place
                return Claim(answer, failure)
            if not is_away(answer):
                raise answer
            if place == 0:
                self._away = answer
            failure = failure or answer
        self._placed_at = float("-inf")
        assert failure is not None
        raise failure

    def _first_place(self) -> int:
        now = self._clock()
        if now - self._placed_at > _WALK_AGAIN:
            self._place, self._placed_at = 1, now
        return self._place

    def _probe(self) -> Flow[None]:
        """Find out whether the registry is back, that was away."""
        try:
            (answer,) = yield [self._operations.list_types("0")]
            if isinstance(answer, StoreError) and is_away(answer):
                self._away = answer
            else:
                self._away = None
        finally:
            self._probing = False

    def walk(self, failure: StoreError | None = None) -> Walk:
        """Go over all pages; with a `failure` there is only what is known here."""
        return Walk(self, failure)

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
        walk = self.walk()
        while (yield from walk.next()) is not None:
            pass
