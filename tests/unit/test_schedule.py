"""When the store is asked again, by a clock and a timer in the test's hand."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sharq_server.push.schedule import POLL_AFTER, POLLS_PER_SECOND, Schedule


class Hands:
    """A clock and a timer."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fires_at: float | None = None
        self.callback: Callable[[], None] = lambda: None
        self.armed = 0
        self.schedule = Schedule(
            clock=lambda: self.now, make_timer=self._make_timer, chance=random.Random(1)
        )

    def set(self, delay: float | None) -> None:
        self.armed += 1
        self.fires_at = None if delay is None else self.now + delay

    def close(self) -> None:
        self.fires_at = None

    def run(self, seconds: float) -> None:
        """Let time pass; the timer fires as often as it is due."""
        end = self.now + seconds
        while self.fires_at is not None and self.fires_at <= end:
            self.now = max(self.now, self.fires_at)
            self.fires_at = None
            self.callback()
        self.now = end

    def _make_timer(self, callback: Callable[[], None]) -> Hands:
        self.callback = callback
        return self


class Asker:
    def __init__(self, hands: Hands, again_after: float | None = None) -> None:
        self.hands = hands
        self.again_after = again_after
        self.asked: list[float] = []

    def on_due(self) -> None:
        self.asked.append(self.hands.now)
        if self.again_after is not None:
            self.hands.schedule.wait(self, self.hands.now + self.again_after)


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_waiter_is_told_at_its_time(hands: Hands) -> None:
    asker = Asker(hands)
    hands.schedule.wait(asker, 1000.0123)
    hands.run(0.0122)
    assert asker.asked == []
    hands.run(0.001)
    assert asker.asked == [pytest.approx(1000.0123)]
    assert len(hands.schedule) == 0


def test_the_earliest_decides_whatever_the_order_of_their_coming(hands: Hands) -> None:
    askers = [Asker(hands) for _ in range(3)]
    for asker, at in zip(askers, (1000.3, 1000.1, 1000.2), strict=True):
        hands.schedule.wait(asker, at)
    hands.run(0.15)
    assert [len(asker.asked) for asker in askers] == [0, 1, 0]
    hands.run(0.2)
    assert [len(asker.asked) for asker in askers] == [1, 1, 1]


def test_a_later_wait_takes_the_place_of_an_earlier_one(hands: Hands) -> None:
    asker = Asker(hands)
    hands.schedule.wait(asker, 1000.1)
    hands.schedule.wait(asker, 1000.5)
    hands.run(0.4)
    assert asker.asked == []
    hands.run(0.2)
    assert len(asker.asked) == 1


def test_who_is_forgotten_is_not_told(hands: Hands) -> None:
    asker = Asker(hands)
    hands.schedule.wait(asker, 1000.1)
    hands.schedule.forget(asker)
    hands.run(10)
    assert asker.asked == []


def test_a_time_in_the_past_is_now(hands: Hands) -> None:
    asker = Asker(hands)
    hands.schedule.wait(asker, 999.0)
    hands.run(0)
    assert len(asker.asked) == 1


@pytest.mark.parametrize("until", [None, 5000.0])
def test_without_news_a_poll_comes_after_a_random_time(hands: Hands, until: float | None) -> None:
    askers = [Asker(hands) for _ in range(20)]
    for asker in askers:
        hands.schedule.wait(asker, until)
    hands.run(POLL_AFTER[1] + 1)
    delays = [asker.asked[0] - 1000 for asker in askers]
    assert all(POLL_AFTER[0] <= delay <= POLL_AFTER[1] + 0.2 for delay in delays)
    assert max(delays) - min(delays) > 1


def test_polls_keep_their_pace_however_many_there_are(hands: Hands) -> None:
    askers = [Asker(hands) for _ in range(3000)]
    for asker in askers:
        hands.schedule.poll(asker)
    hands.run(3000 / POLLS_PER_SECOND + 0.1)
    times = sorted(at for asker in askers for at in asker.asked)
    assert len(times) == 3000
    for first, last in zip(times, times[POLLS_PER_SECOND:], strict=False):
        assert last - first >= 1 - 1e-6


def test_idle_waiters_cost_no_more_than_the_pace(hands: Hands) -> None:
    class Idle(Asker):
        def on_due(self) -> None:
            super().on_due()
            self.hands.schedule.wait(self, None)

    askers = [Idle(hands) for _ in range(2000)]
    for asker in askers:
        hands.schedule.wait(asker, None)
    hands.run(30)
    assert sum(len(asker.asked) for asker in askers) <= 30 * POLLS_PER_SECOND + 1
    assert min(len(asker.asked) for asker in askers) >= 1


def test_polls_do_not_hold_up_what_is_due(hands: Hands) -> None:
    for _ in range(1000):
        hands.schedule.poll(Asker(hands))
    asker = Asker(hands)
    hands.schedule.wait(asker, 1000.05)
    hands.run(0.051)
    assert asker.asked == [pytest.approx(1000.05)]


def test_a_waiter_may_wait_again_when_it_is_told(hands: Hands) -> None:
    asker = Asker(hands, again_after=0.02)
    hands.schedule.wait(asker, 1000.02)
    hands.run(0.201)
    assert len(asker.asked) == 10


def test_the_timer_is_not_armed_for_what_is_later(hands: Hands) -> None:
    hands.schedule.wait(Asker(hands), 1000.1)
    before = hands.armed
    for at in range(50):
        hands.schedule.wait(Asker(hands), 1000.2 + at / 1000)
    assert hands.armed == before


def test_what_was_forgotten_does_not_pile_up(hands: Hands) -> None:
    asker = Asker(hands)
    for at in range(10_000):
        hands.schedule.wait(asker, 1001 + at / 10_000)
    assert len(hands.schedule) == 1
    assert len(hands.schedule._heap) < 200


def test_a_closed_schedule_tells_nobody(hands: Hands) -> None:
    asker = Asker(hands)
    hands.schedule.wait(asker, 1000.1)
    hands.schedule.close()
    hands.callback()
    hands.run(1)
    assert asker.asked == []
