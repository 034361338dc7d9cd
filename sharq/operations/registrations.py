"""Which types a process has registered with the store, or knows, and when it does so again. Pure.

In a cluster the registry lies at one of the nodes. While that one is away the types of the others
are used all the same, and what could not be registered is remembered until it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from sharq.errors import StoreError, StoreFull, StoreUnavailable

REGISTER_AGAIN: Final = 60.0
"""Seconds after which a process registers a type again before it enqueues to it."""

REGISTRATION_HOLDS: Final = 600.0
"""Seconds for which a registration is good even if it could not be renewed."""

_TRY_AGAIN: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_SILENCE: Final = 0.25
"""Seconds that one caller waits for the registry before others go on without it."""

_MOST_TYPES: Final = 100_000
_AT_ONCE: Final = 100
"""Types that are registered besides those of a caller, at most."""


class _Registration(NamedTuple):
    """When a type was registered last, and when to do it again."""

    done_at: float
    due_at: float


_NEVER: Final = _Registration(float("-inf"), float("-inf"))


class Registrations:
    """The types of one process; `clock` is monotonic, in seconds.

    `clustered`: the registry may be away while types are not. What a `former` one still owes, this
    one does.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        clustered: bool = False,
        former: Registrations | None = None,
    ) -> None:
        self.clustered = clustered
        self._clock = clock
        self._known: dict[str, _Registration] = {}
        self._owed: dict[str, float] = {} if former is None else former.owed()
        self._used: dict[str, float] = {}
        self._listed: dict[str, float] = {}
        self._listed_at = float("-inf")
        self._asked_at: list[float] = []
        self._retry_at = float("-inf")
        self._pause = _TRY_AGAIN

    def due(self, queue_type: str) -> bool:
        """Whether to register a type before a job of it is enqueued."""
        now = self._clock()
        if self._known.get(queue_type, _NEVER).due_at > now:
            return bool(self._owed) and self._may_repeat(now)
        return not (self.clustered and not self._may_ask(now) and self._owe(queue_type, now))

    def with_owed(self, queue_types: Iterable[str]) -> list[str]:
        """Those of the types that are due, and some that could not be registered before."""
        now = self._clock()
        due = [name for name in queue_types if self._known.get(name, _NEVER).due_at <= now]
        if self.clustered and due and not self._may_ask(now):
            due = [name for name in due if not self._owe(name, now)]
        if self._owed and self._may_repeat(now):
            others = list(self._owed)[: _AT_ONCE + len(due)]
            due += [name for name in others if name not in due][:_AT_ONCE]
        return due

    def on_reached(self) -> None:
        """The registry answers: it may be asked at once."""
        self._retry_at, self._pause = float("-inf"), _TRY_AGAIN

    def begin(self) -> float:
        """The registry is asked; returns when, for `note` and `end`."""
        now = self._clock()
        self._asked_at.append(now)
        return now

    def end(self, asked_at: float) -> None:
        """It is not asked any more."""
        self._asked_at.remove(asked_at)

    def note(self, queue_type: str, asked_at: float, answer: object) -> StoreError | None:
        """Remember the result of a registration; returns the failure if it prevents an enqueue."""
        if not isinstance(answer, StoreError):
            self._remember(queue_type, _Registration(asked_at, asked_at + REGISTER_AGAIN))
            self._owed.pop(queue_type, None)
            self.on_reached()
            return None
        done_at = self._known.get(queue_type, _NEVER).done_at
        if self.clustered and is_away(answer):
            if self._retry_at <= asked_at:
                self._retry_at = self._clock() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            if self._owe(queue_type, asked_at):
                return None
        if asked_at - done_at >= REGISTRATION_HOLDS:
            return answer
        self._remember(queue_type, _Registration(done_at, asked_at + _TRY_AGAIN))
        return None

    # What is known besides, where the registry may be away

    def use(self, queue_type: str) -> None:
        """Jobs of a type were leased here: it has to be in the registry, by whomever."""
        if self.clustered and len(self._used) < _MOST_TYPES:
            self._used[queue_type] = self._clock()

    def on_listed(self, ages: Mapping[str, int], began: float) -> None:
        """The whole registry was read, from `began` on: `ages` are in ms."""
        now = self._clock()
        self._listed = {name: now - age / 1000 for name, age in ages.items()}
        self._listed_at = now
        for name, used_at in list(self._used.items()):
            if used_at < began:
                del self._used[name]
                if name not in ages:
                    self._owe(name, now)

    @property
    def listed_at(self) -> float:
        """When the registry was read last."""
        return self._listed_at

    def known(self) -> dict[str, int]:
        """All types that are known here, with the ms since they were last registered or used."""
        now = self._clock()
        own = {name: each.done_at for name, each in list(self._known.items())}
        known: dict[str, int] = {}
        for times in (self._listed, own, dict(self._owed), dict(self._used)):
            for name, at in times.items():
                age = round((now - max(at, 0.0)) * 1000)
                known[name] = min(age, known.get(name, age))
        return known

    def owed(self) -> dict[str, float]:
        """What has still to be registered, or may have to, with the time of its use."""
        return {**self._owed, **self._used}

    def _may_ask(self, now: float) -> bool:
        """Whether the registry may be asked: it has not failed, or was not silent, just now."""
        asked_at = self._asked_at[:1]
        return now >= self._retry_at and not (asked_at and now - asked_at[0] > _SILENCE)

    def _may_repeat(self, now: float) -> bool:
        """Whether to ask for what is owed: one caller does, and others need not."""
        return not self._asked_at and self._may_ask(now)

    def _owe(self, queue_type: str, now: float) -> bool:
        """Remember to register a type; False if there are too many."""
        if queue_type not in self._owed and len(self._owed) >= _MOST_TYPES:
            return False
        self._owed[queue_type] = now
        done_at = self._known.get(queue_type, _NEVER).done_at
        self._remember(queue_type, _Registration(done_at, now + REGISTER_AGAIN))
        return True

    def _remember(self, queue_type: str, registration: _Registration) -> None:
        if len(self._known) >= _MOST_TYPES:
            self._known.clear()
        self._known[queue_type] = registration


def is_away(error: StoreError) -> bool:
    """Tell whether this is only that the registry's node cannot be reached, or takes no data."""
    return isinstance(error, StoreUnavailable | StoreFull)
