"""Types that somebody follows, here or at another server, and only as long as that is told again.

What is found of a type is kept for each server that asks, until it takes it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic, ParamSpec, TypeVar

Event = ParamSpec("Event")
Found = TypeVar("Found")

FOLLOWED: Final = 5.0
"""Seconds for which a type is followed when it is asked for."""


class Following(ABC, Generic[Event, Found]):
    """Follows types. `notes` gets, and loses, whom to tell of what happens to each.

    Who asks is named by the id of its server. What it has asked for, and no longer does, is
    forgotten when the next thing happens.
    """

    def __init__(
        self,
        notes: dict[str, Callable[Event, None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notes = notes
        self._clock = clock
        self._types: dict[str, dict[str, _Followed[Found]]] = {}

    @abstractmethod
    def _nothing(self) -> Found:
        """What is found while nothing has happened."""

    @abstractmethod
    def _with(self, found: Found, *event: Event.args, **more: Event.kwargs) -> Found:
        """What is found after something has happened."""

    def follow(self, asker: str, queue_types: Sequence[str]) -> None:
        """Follow these types for some seconds from now on."""
        for queue_type in queue_types:
            askers = self._types.get(queue_type)
            if askers is None:
                askers = self._types[queue_type] = {}
                self._notes[queue_type] = partial(self._note, queue_type)
            followed = askers.get(asker)
            if followed is None:
                followed = askers[asker] = _Followed(self._nothing())
            followed.until = self._clock() + FOLLOWED

    def found(self, asker: str, queue_type: str) -> Found:
        """What was found since the last time."""
        followed = self._types.get(queue_type, {}).get(asker)
        if followed is None:
            return self._nothing()
        found, followed.found = followed.found, self._nothing()
        return found

    def _note(self, queue_type: str, *event: Event.args, **more: Event.kwargs) -> None:
        askers, now = self._types[queue_type], self._clock()
        for asker, followed in list(askers.items()):
            if now > followed.until:
                del askers[asker]
            else:
                followed.found = self._with(followed.found, *event, **more)
        if not askers:
            del self._types[queue_type], self._notes[queue_type]


class _Followed(Generic[Found]):
    """A type that somebody follows: until when, and what was found."""

    def __init__(self, found: Found) -> None:
        self.until = 0.0
        self.found = found
