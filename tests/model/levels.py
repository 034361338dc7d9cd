"""The groups and types of the model, and what all limits of a queue say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from tests.model.names import GroupName, QueueName
from tests.model.queues import ModelQueue
from tests.model.rates import Instant, Level, Rates, Until

NOTHING = "nothing"


class Levels:
    """The levels above the queues. Whoever changes one says when: `at` is the clock."""

    def __init__(self, queues: dict[QueueName, ModelQueue]) -> None:
        self.groups: dict[GroupName, Level] = defaultdict(Level)
        self.types: dict[str, Level] = defaultdict(Level)
        self._queues = queues

    def of_type(self, queue_type: str) -> list[tuple[QueueName, ModelQueue]]:
        return [(name, q) for name, q in self._queues.items() if name.queue_type == queue_type]

    def of_group(self, name: GroupName) -> list[ModelQueue]:
        return [q for _, q in self.of_type(name.queue_type) if q.group == name.group]

    def group_name(self, name: QueueName) -> GroupName | None:
        group = self._queues[name].group
        return None if group is None else GroupName(name.queue_type, group)

    def active(self, name: GroupName | str) -> int:
        """The leases of a group, or a type."""
        if isinstance(name, str):
            return sum(len(q.leased) for _, q in self.of_type(name))
        return sum(len(q.leased) for q in self.of_group(name))

    def named(self, name: GroupName | str) -> Level:
        return self.types[name] if isinstance(name, str) else self.groups[name]

    def _all(self) -> list[tuple[GroupName | str, Level]]:
        return [*self.groups.items(), *self.types.items()]

    def own_time(self, name: GroupName | str) -> Until:
        return self.named(name).own_time(self.active(name))

    @contextmanager
    def freeing(self, at: Instant) -> Iterator[None]:
        """Around a change of leases or groups: a level that was full is free since then."""
        full = [name for name, level in self._all() if level.is_full(self.active(name))]
        yield
        for name in full:
            if not self.named(name).is_full(self.active(name)):
                self.named(name).free = at.ms

    @contextmanager
    def changing(self, name: GroupName | str, at: Instant) -> Iterator[Level]:
        """Around a change of a level: if it was ready and still is, it keeps its turn."""
        before = self.own_time(name)
        level = self.named(name)
        yield level
        level.free = max(level.free, min(before, at.ms))

    # Turns

    def turn(self, name: QueueName) -> Until:
        """Since when the queue and its group allow a dispatch of its first job."""
        own = self._queues[name].turn
        group = self.group_name(name)
        if own is None:
            return inf
        return own if group is None else max(own, self.own_time(group))

    def next_turn(self, queue_type: str) -> Until:
        """When some job of the type may go by all limits; `inf` if nobody can tell."""
        turns = [self.turn(name) for name, _ in self.of_type(queue_type)]
        return max(min(turns, default=inf), self.own_time(queue_type))

    def ready_jobs(self, queue_type: str, at: Instant) -> float:
        """How many jobs may go now, if each has the cost 1."""
        by_group: dict[GroupName | None, float] = defaultdict(int)
        for name, queue in self.of_type(queue_type):
            if queue.turn is not None and queue.turn <= at.exact:
                permitted = queue.permits(len(queue.leased), at)
                due = max(1, queue.length - len(queue.late))
                by_group[self.group_name(name)] += min(permitted, due)
        total = by_group.pop(None, 0)
        for group, number in by_group.items():
            if group is not None:
                total += min(number, self.groups[group].permits(self.active(group), at))
        return min(total, self.types[queue_type].permits(self.active(queue_type), at))

    def later_turn(self, queue_type: str, at: Instant) -> Until:
        """When one more queue or group may go, or all that wait for the type."""
        own = self.own_time(queue_type)
        if own > at.exact:
            return self.next_turn(queue_type)
        turns: list[Until] = []
        of_groups: dict[GroupName, Until] = defaultdict(lambda: inf)
        for name, _ in self.of_type(queue_type):
            turn, group = self.turn(name), self.group_name(name)
            if group is None:
                turns.append(turn)
            else:
                of_groups[group] = min(of_groups[group], turn)
        later = (turn for turn in (*turns, *of_groups.values()) if turn > at.exact)
        return min(later, default=inf)

    def may_be_moved_back(self) -> bool:
        """Whether no level was ever blocked: what has ended by then would begin once more."""
        return all(level.free == 0 and level.paused in (0, inf) for _, level in self._all())

    # What holds back

    def held_by(self, name: QueueName, due: int, at: Instant) -> tuple[str, Until]:
        queue = self._queues[name]
        of_type = self._holding("type_", self.types[name.queue_type], self.active(name.queue_type))
        group = self.group_name(name)
        of_group = (
            [] if group is None else self._holding("group_", self.groups[group], self.active(group))
        )
        own = self._holding("", queue, len(queue.leased))
        return _longest([*of_type, *of_group, *own, ("delay", due)], at)

    def type_held_by(self, queue_type: str, at: Instant) -> tuple[str, Until]:
        return _longest(self._holding("", self.types[queue_type], self.active(queue_type)), at)

    def _holding(self, prefix: str, rates: Rates, active: int) -> list[tuple[str, Until]]:
        return [
            (prefix + "paused", rates.paused),
            (prefix + "concurrency", inf if rates.is_full(active) else 0),
            (prefix + "interval", rates.rate_allows_at()),
        ]


def _longest(reasons: list[tuple[str, Until]], at: Instant) -> tuple[str, Until]:
    """The reason that ends last, of equal ones the first; those that have ended are none."""
    word, ends = max(reasons, key=lambda reason: reason[1])
    return (word, ends) if ends > at.exact else (NOTHING, at.ms)
