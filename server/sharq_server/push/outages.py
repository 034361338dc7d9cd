"""Types that cannot be dispatched, since their part of the store is away: who is told, and when
they are back.

A store of one node is away as a whole. In a cluster each type is away, and comes back, with the
node that serves it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from sharq.engine import Engine
from sharq.errors import StoreError
from sharq_server.push import frames

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_AT_ONCE: Final = 16
"""Types that are asked for on their own in one round, at most."""


class Told(NamedTuple):
    """What a connection believes: that nothing comes, or nothing of these types."""

    all: bool = False
    types: frozenset[str] = frozenset()


_NOTHING: Final = Told()


class Listener(Protocol):
    """A connection that is told."""

    @property
    def subscriptions(self) -> Mapping[str, object]:
        """What it subscribes to, by type."""

    def send(self, text: bytes) -> None:
        """Send a frame."""


class Dispatch(Protocol):
    """What asks the store for jobs."""

    async def works_again(self, queue_type: str | None = None) -> bool:
        """Ask for a type, or any that has failed; whether it has not failed again."""

    def resync(self, queue_types: Collection[str] | None = None) -> None:
        """Go on with types, or with all."""


class Outages:
    """The outages of one server; belongs to the running event loop.

    `listeners` are its connections.
    """

    def __init__(self, engine: Engine, listeners: Callable[[], Iterable[Listener]]) -> None:
        self._engine = engine
        self._listeners = listeners
        self._all: StoreError | None = None
        self._away: dict[str, StoreError] = {}
        self._own_trouble: dict[str, None] = {}
        self._told: dict[Listener, Told] = {}
        self._places: frozenset[str] = frozenset()
        self._probing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def watch(self, dispatch: Dispatch) -> None:
        """Ask for jobs, and go on, through `dispatch`."""
        self._dispatch = dispatch

    def on_trouble(self, queue_type: str, error: StoreError) -> None:
        """Jobs of a type could not be got."""
        if self._closed or self._all is not None or queue_type in self._away:
            return
        if self._is_clustered:
            self._mark({queue_type: error})
        else:
            self._mark_all(error)
        self._probe_on(error)

    def look(self) -> None:
        """Find out whether the store, or a part of it, is away, to tell subscribers at once."""
        if self._looking is None and not self._closed:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def tell(self, listener: Listener) -> None:
        """Tell a connection what has changed for it: it is new, or has other subscriptions."""
        before = self._told.get(listener, _NOTHING)
        types = frozenset(name for name in listener.subscriptions if name in self._away)
        everything = bool(types) and len(types) == len(listener.subscriptions)
        now = Told(True) if self._all is not None or everything else Told(False, types)
        if now == before:
            return
        if before.all:
            listener.send(frames.resumed())
        elif now.all:
            error = self._all or self._away[min(types)]
            listener.send(frames.paused(error.code))
        else:
            back = (before.types - now.types) & listener.subscriptions.keys()
            if back:
                listener.send(frames.types_back(sorted(back)))
        if not now.all:
            self._tell_types(listener, now.types if before.all else now.types - before.types)
        if now == _NOTHING:
            self._told.pop(listener, None)
        else:
            self._told[listener] = now

    def forget(self, listener: Listener) -> None:
        """A connection has ended."""
        self._told.pop(listener, None)

    async def close(self) -> None:
        """Ask no more, and tell nobody."""
        self._closed = True
        for task in (self._looking, self._probing):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    def stop(self) -> None:
        """Begin no outage any more: nothing is dispatched from now on."""
        self._closed = True

    # Inside

    @property
    def _is_clustered(self) -> bool:
        return self._engine.flows.registry.clustered

    def _mark_all(self, error: StoreError) -> None:
        self._all = error
        self._tell_all()

    def _mark(self, types: Mapping[str, StoreError]) -> None:
        new = types.keys() - self._away.keys()
        if new:
            self._away.update({name: types[name] for name in new})
            self._tell_all(new)

    def _tell_all(self, types: Collection[str] | None = None) -> None:
        """Tell all connections, or those that subscribe to one of the types."""
        for listener in tuple(self._listeners()):
            if types is None or not listener.subscriptions.keys().isdisjoint(types):
                self.tell(listener)

    def _tell_types(self, listener: Listener, types: Iterable[str]) -> None:
        by_code: dict[str, list[str]] = {}
        for name in sorted(types):
            by_code.setdefault(self._away[name].code, []).append(name)
        for code, names in by_code.items():
            listener.send(frames.types_away(code, names))

    def _probe_on(self, error: StoreError) -> None:
        if self._probing is None:
            _log.info("Dispatching pauses: %s", error)
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _look(self) -> None:
        try:
            self._judge(await self._try_writes())
        finally:
            self._looking = None
        trouble = self._all or next(iter(self._away.values()), None)
        if trouble is not None:
            self._probe_on(trouble)

    async def _probe(self) -> None:
        """Try the store until it gives jobs of all types again."""
        pause = _FIRST_PAUSE
        while self._all is not None or self._away:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            told = await self._try_writes()
            self._judge(told)
            if self._all is None:
                await self._try_types({name for name, error in told.items() if error is None})
            elif None in told.values() and await self._dispatch.works_again():
                self._end_all()
        self._probing = None
        self._own_trouble.clear()
        _log.info("Dispatching goes on")

    async def _try_writes(self) -> Mapping[str, StoreError | None]:
        try:
            return await self._engine.try_writes()
        except StoreError as error:
            return {"": error}

    def _judge(self, told: Mapping[str, StoreError | None]) -> None:
        """Mark what the nodes that take no writes have; of one that does, its types are tried."""
        failures = {name: error for name, error in told.items() if error is not None}
        if len(failures) == len(told):
            error = next(iter(failures.values()))
            if self._all is None:
                self._mark_all(error)
            self._all = error
        elif self._is_clustered and (failures.keys() != self._places or self._all is not None):
            self._mark(self._types_at(failures, told))
            if self._all is not None:
                self._end_all()
        self._places = frozenset(failures)

    def _types_at(
        self, failures: Mapping[str, StoreError], told: Mapping[str, StoreError | None]
    ) -> dict[str, StoreError]:
        """The subscribed types of nodes that have failed, or are not known."""
        types = {name for listener in self._listeners() for name in listener.subscriptions}
        other = next(iter(failures.values()), None)
        found = {}
        for name in types:
            errors = [
                failures.get(place, None if place in told else other)
                for place in self._places_of(name)
            ]
            if errors[0] is not None and None not in errors:
                found[name] = errors[0]
        return found

    def _places_of(self, queue_type: str) -> list[str]:
        """The nodes that serve a type; of one that is spread, those of its shards."""
        names = self._engine.flows.shards.homes(queue_type)
        return [self._engine.place_of(name) or "" for name in names]

    def _end_all(self) -> None:
        """The store is back, but for what is marked."""
        self._all = None
        self._tell_all()
        self._dispatch.resync()

    async def _try_types(self, places: Collection[str]) -> None:
        """Ask for types of nodes that take writes, and end what is over."""
        by_place: dict[str, list[str]] = {}
        for name in self._away:
            place = next((each for each in self._places_of(name) if each in places), None)
            if place is not None:
                by_place.setdefault(place, []).append(name)
        for names in by_place.values():
            await self._try_some(names)

    async def _try_some(self, types: list[str]) -> None:
        """Ask for one type, for all of its node; those that have trouble of their own are apart."""
        among = frozenset(types)
        alone = [name for name in self._own_trouble if name in among][:_AT_ONCE]
        alike = [name for name in types if name not in self._own_trouble]
        if alike and await self._dispatch.works_again(alike[0]):
            self._end(alike)
        elif alike:
            self._own_trouble[alike[0]] = None
        for name in alone:
            del self._own_trouble[name]
            if await self._dispatch.works_again(name):
                self._end([name])
            else:
                self._own_trouble[name] = None

    def _end(self, types: Collection[str]) -> None:
        for name in types:
            self._away.pop(name, None)
        self._tell_all(types)
        self._dispatch.resync(types)
