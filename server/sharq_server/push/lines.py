"""A spread type at this server: a line for each of its shards, and the subscribers of all of them.

The lines have the same subscribers, and so share their credit. A place that is reserved for a call
of one line is free again, for the next, with its answer. Lines in which this server stands waiting
cost nothing; they keep their places while nobody has room, until the store wakes one of them: only
then is that one handed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from sharq import Batch
from sharq.heads import SILENT, Head, Heads, age_after
from sharq_server.push.delivery import Subscriber, deal
from sharq_server.push.news import News
from sharq_server.push.offers import Parts
from sharq_server.push.subscribers import Grants, SubscriberGroup, Wait

GRACE: Final = 0.02
"""Seconds for which late answers are waited for once one of them has come, or this process, which
was late itself, has begun to read them.
"""

OnGroup = Callable[[SubscriberGroup], None]


class Line(SubscriberGroup):
    """A shard at this server, by its internal name. Its subscribers are those of `lines`."""

    def __init__(self, name: str, lines: Lines, on_due: OnGroup, news: News) -> None:
        super().__init__(name, on_due, lines.ignore, lines.ignore, lines.clock, news)
        self.lines = lines
        self.head: Head = lines.heads.of[name]
        self.looks = False
        """Whether the call under way takes nothing."""
        self.takes = False
        """Whether places are reserved for it."""
        self.began = 0.0
        self.members, self.ring, self.watch = lines.members, lines.ring, lines.watch
        self.offers = lines.offers

    @property
    def stands(self) -> bool:
        """Whether this server waits there for jobs, and has not been told of any."""
        return self.waits is Wait.FOR_JOBS and not self.again

    def is_ready(self, now: float) -> bool:
        """Whether a job is known there, by what the shard has told lately."""
        return self.head.bound(now) is not None and self.head.ready_since(now) is not None

    def is_late(self, now: float) -> bool:
        """Whether the call under way takes longer than others wait for it."""
        return self.call is not None and now - self.began > SILENT

    def is_silent(self, now: float) -> bool:
        """Whether the shard has not answered for so long that no other waits for it."""
        return self.is_late(now) and now - self.lines.excused > GRACE

    def answered(self, batch: Batch) -> None:
        self.head.answered(self.lines.clock(), batch)
        self.lines.count_in_a_row(batch)


class Step(NamedTuple):
    """The line that asks next, and for how many ms a queue has to be ready there."""

    line: Line
    age: int


class Round:
    """What may be offered is being found out: `grants` has the places reserved for it."""

    def __init__(self, grants: Grants, doubted: list[Subscriber], began: float) -> None:
        self.grants = grants
        self.doubted = doubted
        self.began = began
        self.open: set[Line] = set()
        self.granted: dict[str, int] = {}
        self.something_is_ready = False

    @property
    def wanted(self) -> int:
        return sum(places for _, places in self.grants)

    def hands(self) -> list[tuple[Subscriber, int, int, Parts]]:
        """Of each subscriber its places, how many jobs it is offered, and of which shards."""
        left = list(self.granted.items())
        hands: list[tuple[Subscriber, int, int, Parts]] = []
        places = [places for _, places in self.grants]
        counts = deal(sum(self.granted.values()), places)
        for (subscriber, reserved), count in zip(self.grants, counts, strict=True):
            parts: list[tuple[str, int]] = []
            wanted = count
            while wanted:
                name, ready = left.pop()
                taken = min(ready, wanted)
                parts.append((name, taken))
                wanted -= taken
                if ready > taken:
                    left.append((name, ready - taken))
            hands.append((subscriber, reserved, count, tuple(parts)))
        self.granted = dict(left)
        return hands


class Lines(SubscriberGroup):
    """The lines of a type. `heads` has what is known of its shards, by `clock`."""

    def __init__(
        self,
        queue_type: str,
        heads: Heads,
        on_due: OnGroup,
        on_doubt: OnGroup,
        on_rested: OnGroup,
        clock: Callable[[], float],
        make_news: Callable[[], News],
    ) -> None:
        super().__init__(queue_type, self.ignore, on_doubt, on_rested, clock, make_news())
        self.heads = heads
        self.clock = clock
        self.each: Final = [Line(name, self, on_due, make_news()) for name in heads.names]
        self.kept: Grants = []
        """Places that are reserved while lines are looked at, for the one that asks then."""
        self.round: Round | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self.excused = -inf
        """When it was last found that answers are late for a reason that several may share."""
        self.offers.on_ended = self.on_offer_ended

    @staticmethod
    def ignore(_: SubscriberGroup) -> None:
        """The lines themselves wait for nothing."""

    @property
    def idle(self) -> bool:
        return not self.members and all(line.idle for line in self.each)

    def count_in_a_row(self, batch: Batch) -> None:
        """Count the jobs handed out while any shard had more."""
        if batch.wait_us == 0 or any(line.head.ready is not None for line in self.each):
            self.in_a_row += len(batch)
        else:
            self.in_a_row = 0

    # Who asks

    def to_look_at(self) -> list[Line]:
        """The lines that stand nowhere, and of which no job is known: they are looked at first.

        No place is reserved for that: it would be lost for as long as the shard is silent.
        """
        now = self.clock()
        return [
            line
            for line in self.each
            if not (line.stands or line.failing or line.call or line.is_ready(now))
        ]

    def to_look_at_again(self) -> list[Line]:
        """The lines of which jobs are known, but not lately. Nobody waits for that."""
        now = self.clock()
        return [
            line
            for line in self.each
            if not (line.stands or line.failing or line.call)
            and line.is_ready(now)
            and line.head.is_old(now)
        ]

    def next(self, at_once: int) -> Step | None:
        """The line whose head is oldest, if it may ask now.

        At most `at_once` lines ask for jobs at a time, besides those that do not answer.
        """
        now = self.clock()
        under_way = 0
        first: Line | None = None
        oldest = now
        floors: list[float] = []
        are_silent = False
        for line in self.each:
            if line.stands or line.failing:
                continue
            if line.is_silent(now):
                are_silent = True
                continue
            since = line.head.bound(now)
            if since is None:
                return None  # without its answer no other knows its turn
            under_way += line.takes
            if line.call is None and line.is_ready(now) and (first is None or since < oldest):
                if first is not None:
                    floors.append(oldest)
                first, oldest = line, since
            else:
                floors.append(since)
        if first is None or under_way >= at_once:
            return None
        if are_silent:
            # They may have older jobs: no call is to go far ahead.
            floors.append(oldest)
        age = age_after(now, floors)
        return Step(first, age) if oldest <= now - age / 1000 else None

    def is_asking(self) -> bool:
        """Whether a call is under way, at a shard that is not silent."""
        now = self.clock()
        return any(line.call is not None and not line.is_silent(now) for line in self.each)

    def is_taking(self) -> bool:
        """Whether places are reserved for jobs, at shards that are not silent."""
        now = self.clock()
        return bool(self.kept) or any(line.takes and not line.is_silent(now) for line in self.each)

    def give_back(self) -> None:
        """Free the places that are kept."""
        kept, self.kept = self.kept, []
        for subscriber, places in kept:
            subscriber.unreserve(places)

    def is_held_up(self) -> bool:
        """Whether a line waits for the answer of another one."""
        calls = [line.call is not None for line in self.each if not line.stands]
        return any(calls) and not all(calls)

    # Offers

    def to_offer(self) -> list[Line]:
        """The lines that do not wait for jobs to offer."""
        return [
            line
            for line in self.each
            if not (line.call or line.failing) and (line.again or line.waits is not Wait.TO_OFFER)
        ]

    def is_round_over(self) -> bool:
        """Whether all lines have told what may be offered, or those that have not are silent."""
        offering = self.round
        return offering is not None and (
            not offering.open or self.clock() - offering.began > SILENT
        )

    def on_offer_ended(self, parts: Parts) -> None:
        """Jobs of these shards are no longer offered: their lines ask again."""
        names = {name for name, _ in parts}
        for line in self.each:
            if line.queue_type in names:
                line.again = True
