"""From the shards of spread types to subscribers: which lines ask, and when.

For types that are not spread, all is as in `dispatch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

from sharq.errors import LayoutChanging, WrongKind
from sharq.heads import NEVER, SILENT
from sharq_server.push.delivery import Subscriber
from sharq_server.push.dispatch import Dispatcher
from sharq_server.push.lines import GRACE, Line, Lines, Round
from sharq_server.push.news import News
from sharq_server.push.offers import OFFER_MS
from sharq_server.push.subscribers import Grants, Request, SubscriberGroup, Wait

_MARGIN: Final = 0.005
_WHILE_CHANGING: Final = 0.1


class LineDispatcher(Dispatcher):
    """A dispatcher of types that may be spread: with a line for each shard of such a one."""

    def _make_group(self, queue_type: str) -> SubscriberGroup:
        flows = self._engine.flows
        if not flows.shards.is_spread(queue_type):
            return super()._make_group(queue_type)
        lines = Lines(
            queue_type,
            flows.heads.of(queue_type),
            self._on_due,
            self._on_doubt,
            self._look,
            self._clock,
            lambda: News(self._meter),
        )
        for line in lines.each:
            self._by_type[line.queue_type] = line
        return lines

    def remake(self, queue_type: str) -> None:
        """Follow a change of the number of shards: the subscribers go over to other lines."""
        former = self._by_type.get(queue_type)
        if former is None:
            return
        names = self._engine.flows.shards.homes(queue_type)
        had = tuple(line.queue_type for line in former.each) if isinstance(former, Lines) else None
        if (had or (queue_type,)) == names:
            return
        former.offers.end_all()
        self._retire(former)
        group = self._by_type.get(queue_type)
        if group is None:
            group = self._by_type[queue_type] = self._make_group(queue_type)
        for subscriber in former.members:
            group.enter(subscriber)
        self._look(group)

    def _retire(self, group: SubscriberGroup) -> None:
        for each in (group, *(group.each if isinstance(group, Lines) else ())):
            each.retired = True
            if isinstance(each, Line):
                each.head.stands = False
            self._schedule.forget(each)
            self._by_type.pop(each.queue_type, None)
        if isinstance(group, Lines):
            _disarm(group)
            group.give_back()
            if group.round is not None:
                _give_back(group.round.grants)
                group.round = None

    def leave(self, queue_type: str, subscriber: Subscriber) -> None:
        group = self._by_type.get(queue_type)
        if isinstance(group, Lines) and any(each is subscriber for each, _ in group.kept):
            group.give_back()
        super().leave(queue_type, subscriber)

    async def settled(self, queue_type: str) -> None:
        group = self._by_type.get(queue_type)
        if not isinstance(group, Lines):
            await super().settled(queue_type)
            return
        group.give_back()
        if calls := {line.call for line in group.each if line.call is not None}:
            await asyncio.wait(calls)

    def wake(self, queue_type: str) -> None:
        group = self._by_type.get(queue_type)
        if isinstance(group, Line):
            group.head.woken(self._clock())
        super().wake(queue_type)

    def deaf(self) -> None:
        """The store may not reach this server: that it stands waiting tells nothing."""
        for group in self._by_type.values():
            if isinstance(group, Line):
                group.head.stands = False

    async def drain(self) -> None:
        self._draining = True
        self.deaf()
        for group in tuple(self._by_type.values()):
            if isinstance(group, Lines):
                _disarm(group)
                group.give_back()
                self._end_round(group)
        await super().drain()

    # Calls

    def _look(self, group: SubscriberGroup) -> None:
        if isinstance(group, Line | Lines):
            self._ask(group)
        else:
            super()._look(group)

    def _ask(self, group: SubscriberGroup) -> None:
        if isinstance(group, Line):
            group = group.lines
        if not isinstance(group, Lines):
            super()._ask(group)
        elif not (self._draining or group.retired):
            self._ask_lines(group)

    def _ask_lines(self, lines: Lines) -> None:
        for line in lines.each:
            if line.lost is not None and line.call is None and not line.failing:
                self._start(line, self._fetch(line, [], line.lost))
        self._ask_for_jobs(lines)
        if not lines.is_taking():
            # Places that were reserved are free again, or full.
            if lines.ring and not lines.has_room:
                _give_back(lines.grants(lines.ring))
            if not lines.ring:
                self._ask_for_offers(lines)
            if lines.wish is Wait.NONE:
                self._rest_lines(lines)
        if lines.alarm is None and (lines.round is not None or lines.is_held_up()):
            due = self._clock() + SILENT + _MARGIN
            loop = asyncio.get_running_loop()
            lines.alarm = loop.call_later(SILENT + _MARGIN, self._on_alarm, lines, due)

    def _ask_for_jobs(self, lines: Lines) -> None:
        looks = lines.to_look_at() if lines.kept or lines.has_room else []
        if looks:
            # Before its turn passes to another type of the same subscriber.
            lines.kept = lines.kept or lines.grants(lines.ring)
            for line in looks if lines.kept else ():
                self._start_look(line)
        at_once = max(1, len(self._engine.reached()))
        while (lines.kept or lines.ring) and (step := lines.next(at_once)) is not None:
            grants, lines.kept = lines.kept or lines.grants(lines.ring), []
            if not grants:
                break
            wanted = sum(places for _, places in grants)
            request_id = grants[0][0].request_id
            request = Request(wanted, next(self._seqs), request_id, self._clock(), step.age)
            step.line.takes = True
            self._start(step.line, self._fetch(step.line, grants, request))
        if lines.has_room or lines.is_taking():
            for line in lines.to_look_at_again():
                self._start_look(line)
        if lines.kept and not lines.is_asking():
            lines.give_back()

    def _start_look(self, line: Line) -> None:
        line.looks = True
        request = Request(1, next(self._seqs), None, self._clock(), NEVER)
        self._start(line, self._fetch(line, [], request))

    def _start(self, group: SubscriberGroup, work: Any) -> None:
        super()._start(group, work)
        if isinstance(group, Line):
            group.began = self._clock()
            group.head.asked(group.began)
            group.head.stands = False

    def _go_on(
        self, group: SubscriberGroup, waits: Wait, wait_us: int | None, rank: int, sent: float
    ) -> None:
        if group.retired:
            group.call = None
        elif not isinstance(group, Line):
            super()._go_on(group, waits, wait_us, rank, sent)
        else:
            self._note(group, waits, wait_us, rank, sent)
            self._ask(group)

    def _note(self, line: Line, waits: Wait, wait_us: int | None, rank: int, sent: float) -> None:
        now = self._clock()
        if line.is_late(now):
            line.lines.excused = now
        line.call, line.looks, line.takes = None, False, False
        line.failing = line.troubled = False
        line.waits = waits if wait_us != 0 else Wait.NONE
        if self._draining:
            return
        if line.again:
            line.head.woken(now)
        else:
            line.head.stands = line.stands
        if wait_us != 0:
            self._wait(line, wait_us, rank, sent)

    def _on_failure(self, group: SubscriberGroup, error: Exception) -> None:
        if isinstance(group, Line):
            group.looks = group.takes = False
            group.head.has_failed(self._clock())
        shards = self._engine.flows.shards
        queue_type = shards.type_of(group.queue_type)
        moved = group.queue_type not in shards.homes(queue_type)
        if group.retired or (moved and isinstance(error, WrongKind)):
            group.call = None
            self.remake(queue_type)
        elif isinstance(error, LayoutChanging):
            group.call, group.waits, group.failing = None, Wait.NONE, True
            self._schedule.wait(group, self._clock() + _WHILE_CHANGING)
        else:
            super()._on_failure(group, error)
            self._ask_others(group)

    def _ask_others(self, group: SubscriberGroup) -> None:
        if isinstance(group, Line):
            self._ask(group)

    def _is_troubled(self, group: SubscriberGroup) -> bool:
        """Whether subscribers have to be told: not as long as some shards give jobs."""
        return not isinstance(group, Line) or all(line.troubled for line in group.lines.each)

    def _groups(self, queue_types: Collection[str] | None) -> list[SubscriberGroup]:
        groups = super()._groups(queue_types)
        if queue_types is None:
            return groups
        lines = [line for group in groups if isinstance(group, Lines) for line in group.each]
        return [*groups, *lines]

    def _try_again(self, group: SubscriberGroup) -> None:
        if isinstance(group, Line):
            self._retry(group)
        else:
            super()._try_again(group)

    def _retry(self, line: Line) -> None:
        """Ask a shard that has failed: it takes nothing, so that others need not wait for it."""
        if line.call is not None or self._draining:
            return
        if line.lost is not None:
            self._start(line, self._fetch(line, [], line.lost))
        elif line.ring:
            self._start_look(line)
        else:
            line.failing = False
            self._ask(line)

    def _on_due(self, group: SubscriberGroup) -> None:
        if isinstance(group, Line):
            group.head.stands = False
            if group.failing:
                self._retry(group)
                return
        super()._on_due(group)

    def _on_alarm(self, lines: Lines, due: float) -> None:
        lines.alarm, now = None, self._clock()
        if now > due + GRACE:
            # Answers that came meanwhile are still to be read.
            lines.excused = now
        if lines.is_round_over():
            self._end_round(lines)
        self._ask(lines)

    # Offers

    def _ask_for_offers(self, lines: Lines) -> None:
        if lines.round is not None or not (lines.watch or lines.offers.doubted):
            return
        concerned = lines.to_offer()
        if not concerned:
            return
        grants = lines.grants(lines.watch)
        doubted = lines.offers.doubted
        if not grants and not doubted:
            return
        offering = lines.round = Round(grants, doubted, self._clock())
        for line in concerned:
            offering.open.add(line)
            self._start(line, self._offer_at(line, offering))

    async def _offer_at(self, line: Line, offering: Round) -> None:
        await self._handing_on.settled(line.queue_type)
        sent, wakeups = self._clock(), line.news.take()
        try:
            flow = self._engine.flows.offer(
                line.queue_type,
                self._engine.server_id,
                offering.wanted,
                line.offers.count_of(line.queue_type),
                OFFER_MS,
            )
            offer = await self._engine.run(flow)
        except Exception as error:
            offering.open.discard(line)
            line.news.put_back(wakeups)
            self._on_failure(line, error)
        else:
            offering.open.discard(line)
            line.head.given_up()
            line.news.answered(wakeups, offer.granted)
            self._note(line, Wait.TO_OFFER, offer.wait_us, offer.rank, sent)
            if line.lines.round is not offering:
                line.again = line.again or offer.granted > 0
            else:
                ready = offer.granted > 0 or offer.wait_us == 0
                offering.something_is_ready = offering.something_is_ready or ready
                offering.granted[line.queue_type] = offer.granted
        if not line.lines.retired and line.lines.is_round_over():
            self._end_round(line.lines)
        self._ask(line)

    def _end_round(self, lines: Lines) -> None:
        """Make the offers that the shards have granted."""
        offering = lines.round
        if offering is None:
            return
        lines.judge(offering.doubted, offering.something_is_ready)
        for subscriber, places, count, parts in offering.hands():
            if self._draining or subscriber not in lines.members or not count:
                subscriber.unreserve(places)
                if count:
                    lines.on_offer_ended(parts)
                continue
            subscriber.unreserve(places - count)
            lines.served(subscriber)
            lines.offers.make(subscriber, count, parts)
        lines.on_offer_ended(tuple(each for each in offering.granted.items() if each[1]))
        lines.round = None

    # Others

    def _rest_lines(self, lines: Lines) -> None:
        """Nobody here has room: what this server was told of goes to others."""
        for line in lines.each:
            if line.call is None and (line.again or line.coming or not lines.members):
                self._schedule.forget(line)
                line.failing = False
                line.news.handed_on()
                line.head.stands = False
                self._give_up_place(line)
        if lines.idle:
            self._drop(lines)

    def _give_up_place(self, group: SubscriberGroup) -> None:
        if not isinstance(group, Lines):
            super()._give_up_place(group)

    def _drop(self, group: SubscriberGroup) -> None:
        if isinstance(group, Line):
            group = group.lines
            if not group.idle:
                return
        if isinstance(group, Lines):
            self._retire(group)
        else:
            super()._drop(group)

    def _offered(self, queue_type: str) -> int:
        group = self._by_type.get(queue_type)
        if isinstance(group, Line):
            return group.offers.count_of(queue_type)
        return super()._offered(queue_type)


def _disarm(lines: Lines) -> None:
    if lines.alarm is not None:
        lines.alarm.cancel()
        lines.alarm = None


def _give_back(grants: Grants) -> None:
    for subscriber, places in grants:
        subscriber.unreserve(places)
