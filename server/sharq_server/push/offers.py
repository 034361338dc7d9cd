"""The offers to the subscribers of a type here: to whom, for how long, and who lets them pass.

An offer ends by a dequeue of its subscriber, or by its time. Then the subscriber is in doubt until
the store has told whether anything is still ready. If not, others were faster, and there is no
penalty; if so, it is skipped for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sharq_server.push.delivery import Subscriber
from sharq_server.push.offer_backoff import OfferBackoff

OFFER_MS: Final = 250
"""Milliseconds for which an offer is valid."""


Parts = tuple[tuple[str, int], ...]
"""Of how many jobs of which shard an offer is, by their internal names."""


class _Offer(NamedTuple):
    subscriber: Subscriber
    ready: int
    expiry: asyncio.TimerHandle
    parts: Parts


class Offers:
    """The offers of one type. Their places were reserved, and are given back when they end.

    `on_doubt` is called with a subscriber whose offer has ended by its time, `on_rested` with those
    that may get offers again. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        on_doubt: Callable[[Subscriber], None],
        on_rested: Callable[[list[Subscriber]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_doubt = on_doubt
        self._on_rested = on_rested
        self._clock = clock
        self._standing: list[_Offer] = []
        self._doubted: dict[Subscriber, None] = {}
        self._backoff: OfferBackoff[Subscriber] = OfferBackoff(clock)
        self._alarm: asyncio.TimerHandle | None = None
        self.on_ended: Callable[[Parts], None] | None = None
        """Called with the parts of each offer that ends."""

    @property
    def count(self) -> int:
        """How many jobs are offered."""
        return sum(offer.ready for offer in self._standing)

    def count_of(self, name: str) -> int:
        """How many jobs of a shard are offered."""
        return sum(count for offer in self._standing for at, count in offer.parts if at == name)

    @property
    def doubted(self) -> list[Subscriber]:
        """Those that may have let an offer pass; the store has not told yet."""
        return list(self._doubted)

    def may_be_made_to(self, subscriber: Subscriber) -> bool:
        """Whether a subscriber is neither in doubt nor skipped."""
        return subscriber not in self._doubted and not self._backoff.rests(subscriber)

    def make(self, subscriber: Subscriber, ready: int, parts: Parts = ()) -> None:
        """Offer jobs, in reserved places."""
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(OFFER_MS / 1000, self._on_expiry, subscriber)
        self._standing.append(_Offer(subscriber, ready, expiry, parts))
        subscriber.offer(ready)

    def end(self, subscriber: Subscriber) -> bool:
        """End the offers to a subscriber that has fetched something, or goes: without a penalty.

        Returns whether that makes a difference to it or to others.
        """
        doubted = subscriber in self._doubted
        self._doubted.pop(subscriber, None)
        rested = self._backoff.forget(subscriber)
        if rested:
            self._set_alarm()
        return self._withdraw(subscriber) or doubted or rested

    def end_all(self) -> None:
        """Take all offers back, and end all pauses."""
        for offer in tuple(self._standing):
            self._end(offer)
        if self._alarm is not None:
            self._alarm.cancel()

    def judge(self, doubted: Iterable[Subscriber], something_is_ready: bool) -> list[Subscriber]:
        """Those in doubt that may get offers again; the others have let theirs pass."""
        cleared = []
        for subscriber in doubted:
            if subscriber not in self._doubted:
                continue
            del self._doubted[subscriber]
            if something_is_ready:
                self._backoff.unused(subscriber)
                self._withdraw(subscriber)
            else:
                cleared.append(subscriber)
        self._set_alarm()
        return cleared

    def _on_expiry(self, subscriber: Subscriber) -> None:
        # Its oldest one; before that its place is given back, so it may ask for another.
        self._doubted[subscriber] = None
        self._end(next(each for each in self._standing if each.subscriber is subscriber))
        self._on_doubt(subscriber)

    def _withdraw(self, subscriber: Subscriber) -> bool:
        offers = [each for each in self._standing if each.subscriber is subscriber]
        for offer in offers:
            self._end(offer)
        return bool(offers)

    def _end(self, offer: _Offer) -> None:
        offer.expiry.cancel()
        self._standing.remove(offer)
        offer.subscriber.unreserve(offer.ready)
        if self.on_ended is not None:
            self.on_ended(offer.parts)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        until = self._backoff.next_end
        if until is not None:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(0.0, until - self._clock()), self._on_alarm)

    def _on_alarm(self) -> None:
        rested = self._backoff.rested()
        self._set_alarm()
        if rested:
            self._on_rested(rested)
