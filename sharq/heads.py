"""Which shards of a type a dequeue asks, by what is known of their heads. Pure.

The head of a shard is its queue that has been ready longest. A job is taken only if its queue has
become ready at most `SLACK` after the heads of all other shards: so the longest ready go first,
nearly, though no call sees more than one shard. That a shard has nothing counts for `COUNTS`
seconds, or as long as this server stands waiting there, since the store would wake it. Its head
counts for `KNOWN`: others can only move it on, and what comes later is ready later. By push it
bounds others for `BOUNDS`. A shard of which nothing is known is looked at first: this takes
nothing. One that has failed lately, or is silent, holds nobody up; it is asked when all others
have nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import ceil, inf
from typing import Final, NamedTuple

from sharq._fastpath import Batch

COUNTS: Final = 0.05
"""Seconds for which it counts that nothing was ready."""

KNOWN: Final = 0.25
"""Seconds for which a head counts, as news."""

BOUNDS: Final = 1.0
"""Seconds for which a head that was ready bounds what may go before it: it can only move on. After
half of them it is looked at again, while others go on.
"""

SLACK: Final = 0.15
"""Seconds by which a job may go before one that has been ready longer: with what an answer takes,
less than 250 ms.
"""

NEVER: Final = 1 << 40
"""No queue has been ready for so many ms: who asks for it takes nothing."""

AT_ONCE: Final = 3
"""Shards that are asked at once, at most, after a short answer."""

_SHARE: Final = 16
"""Jobs that one of several shards is asked for, at least: a call for few costs nearly as much."""

SILENT: Final = 0.1
"""Seconds after which a shard that does not answer holds nobody up."""

_AFTER_FAILURE: Final = 1.0


class Ask(NamedTuple):
    """A call: up to `wanted` jobs of queues of a shard that have been ready for `age` ms."""

    name: str
    wanted: int
    age: int


class Head:
    """What is known of a shard. Times are by the clock, in seconds.

    `ready`: since when its head is ready, None if it is not; `due`: when the next queue becomes
    ready, inf if none is scheduled, None if the shard has not told. `stands`: this server stands
    waiting there.
    """

    __slots__ = ("asks", "due", "failed", "name", "ready", "seen", "stands")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: float | None = None
        self.due: float | None = None
        self.seen = -inf
        self.stands = False
        self.failed = -inf
        self.asks: list[float] = []

    def is_known(self, now: float) -> bool:
        """Whether the shard has told lately since when its head is ready, or that none is."""
        return self.stands or now - self.seen <= KNOWN

    def has_nothing(self, now: float) -> bool:
        """Whether it still counts that nothing was ready."""
        return self.due is not None and (self.stands or now - self.seen <= COUNTS)

    def is_suspect(self, now: float) -> bool:
        """Whether the shard has failed lately, or is silent."""
        silent = bool(self.asks) and now - self.asks[0] > SILENT
        return silent or now - self.failed < _AFTER_FAILURE

    def ready_since(self, now: float) -> float | None:
        """Since when the head is ready; None if it is not."""
        if self.ready is not None:
            return self.ready
        return self.due if self.due is not None and self.due <= now else None

    def bound(self, now: float) -> float | None:
        """Nothing is ready there for longer than since this time; None if that is not known.

        A head that was known goes on to bound what may follow it, while it is looked at again.
        """
        if self.is_known(now):
            since = self.ready_since(now)
            return self.seen if since is None else since
        return self.ready if now - self.seen <= BOUNDS else None

    def is_old(self, now: float) -> bool:
        """Whether it is time to look again at a head that still bounds others."""
        return now - self.seen > BOUNDS / 2

    def asked(self, now: float) -> None:
        """A call leaves; `answered`, `has_failed` or `given_up` has to follow."""
        self.asks.append(now)

    def answered(self, now: float, batch: Batch) -> None:
        """The shard has answered."""
        # It has looked since then: what is said of earlier times holds.
        sent = self.asks.pop(0) if self.asks else now
        self.seen, self.failed = sent, -inf
        head, wait_us = batch.head_ms, batch.wait_us
        self.ready = None if head is None else sent - head / 1000
        if wait_us == 0:
            self.due = None
        else:
            self.due = inf if wait_us is None else now + wait_us / 1e6

    def has_failed(self, now: float) -> None:
        """The shard has not answered."""
        self.given_up()
        self.failed, self.seen, self.stands = now, -inf, False

    def given_up(self) -> None:
        """The caller does not wait for an answer any more."""
        if self.asks:
            self.asks.pop(0)

    def touched(self, now: float) -> None:
        """This process has done something by which a job of the shard may have become ready."""
        if self.is_known(now) and self.ready_since(now) is None:
            self.ready, self.due, self.seen = now, None, now

    def woken(self, now: float) -> None:
        """The store says that a job of the shard is ready, or will be sooner.

        It is the head only where nothing was ready: it does not hide an older one, or one that is
        unknown.
        """
        self.touched(now)
        if self.stands:
            self.seen, self.stands = now, False


class Heads:
    """What a process knows of the heads of the shards of a type. `clock` is monotonic, in seconds.

    `names` are the internal names of the shards.
    """

    def __init__(self, names: Sequence[str], clock: Callable[[], float]) -> None:
        self.names = tuple(names)
        self._clock = clock
        self.of: dict[str, Head] = {name: Head(name) for name in self.names}

    def asked(self, name: str) -> None:
        """A call to a shard leaves; `answered`, `failed` or `given_up` has to follow."""
        self.of[name].asked(self._clock())

    def answered(self, name: str, batch: Batch) -> None:
        """A shard has answered."""
        self.of[name].answered(self._clock(), batch)

    def failed(self, name: str) -> None:
        """A shard has not answered."""
        self.of[name].has_failed(self._clock())

    def given_up(self, name: str) -> None:
        """The caller does not wait for an answer any more."""
        self.of[name].given_up()

    def is_suspect(self, name: str) -> bool:
        """Whether a shard has failed lately, or is silent."""
        return self.of[name].is_suspect(self._clock())

    def is_doubted(self, name: str) -> bool:
        """Whether a shard is silent, or has not answered since it has failed."""
        head = self.of[name]
        return head.failed > -inf or head.is_suspect(self._clock())

    def wait_us(self) -> int | None:
        """Microseconds until a queue of any shard becomes ready, 1 at least; None: none will."""
        due = min((each.due for each in self.of.values() if each.due is not None), default=inf)
        return None if due == inf else max(1, round((due - self._clock()) * 1e6))

    def look(self) -> list[Ask]:
        """Calls that take nothing, for all shards but those that would hold up."""
        now = self._clock()
        return [Ask(each.name, 1, NEVER) for each in self.of.values() if not each.is_suspect(now)]

    def ask(
        self, wanted: int, *, several: bool = False, without: Collection[str] = ()
    ) -> list[Ask]:
        """The next calls of a dequeue of `wanted` jobs; none if nothing is ready.

        With `several` they may be for more than one shard; in sum they are for `wanted` jobs, at
        most, besides calls that take nothing. Shards `without` are left out.
        """
        now = self._clock()
        unknown: list[Head] = []
        ready: list[tuple[float, Head]] = []
        quiet: list[Head] = []
        suspects: list[Head] = []
        for head in self.of.values():
            if head.name in without:
                continue
            if head.is_suspect(now):
                suspects.append(head)
            elif not head.is_known(now):
                unknown.append(head)
            elif (since := head.ready_since(now)) is not None:
                ready.append((since, head))
            elif not head.has_nothing(now):
                quiet.append(head)
        floors = [since for since, _ in ready]
        if quiet and (not ready or min(floors) > min(each.seen for each in quiet) + SLACK):
            unknown += quiet
        elif quiet:
            floors.append(min(each.seen for each in quiet))
        if len(unknown) > 1:
            return [Ask(head.name, 1, NEVER) for head in unknown]
        if unknown:
            return [Ask(unknown[0].name, wanted, age_after(now, floors))]
        if ready:
            return _of_ready(now, ready, floors, wanted, several)
        return [Ask(suspects[0].name, wanted, 0)] if suspects else []


def _of_ready(
    now: float,
    ready: list[tuple[float, Head]],
    floors: Sequence[float],
    wanted: int,
    several: bool,
) -> list[Ask]:
    """Of the shards whose heads are old enough those with the fewest calls under way."""
    oldest = min(floors)
    old = [each for each in ready if each[0] <= oldest + SLACK]
    old.sort(key=lambda each: (len(each[1].asks), each[0]))
    if not several or wanted == 1:
        since, head = old[0]
        others = list(floors)
        others.remove(since)
        return [Ask(head.name, wanted, age_after(now, others))]
    chosen = old[: min(AT_ONCE, -(-wanted // _SHARE))]
    share, over = divmod(wanted, len(chosen))
    age = age_after(now, floors)
    return [Ask(head.name, share + (at < over), age) for at, (_, head) in enumerate(chosen)]


def age_after(now: float, others: Sequence[float]) -> int:
    """For how many ms a queue has to be ready so that it does not go before the heads of `others`,
    ready since those times, by more than `SLACK`.
    """
    if not others:
        return 0
    return max(0, ceil((now - min(others) - SLACK) * 1000))
