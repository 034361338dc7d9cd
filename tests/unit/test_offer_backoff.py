"""Who does not fetch what it is offered rests for 1, 2, 4 … 60 s, by a clock in the test's hand."""

from __future__ import annotations

import pytest

from sharq_server.push.offer_backoff import OfferBackoff


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def restraint(clock: Clock) -> OfferBackoff[str]:
    return OfferBackoff(clock)


def rest(restraint: OfferBackoff[str], clock: Clock, who: str) -> float:
    """Let an offer pass, and wait for the end of the rest: how long it was."""
    restraint.unused(who)
    began = clock.now
    assert restraint.rests(who)
    end = restraint.next_end
    assert end is not None
    clock.now = end - 0.001
    assert restraint.rested() == []
    assert restraint.rests(who)
    clock.now = end
    assert restraint.rested() == [who]
    assert not restraint.rests(who)
    return clock.now - began


def test_rests_are_1_2_4_to_60_seconds(restraint: OfferBackoff[str], clock: Clock) -> None:
    rests = [rest(restraint, clock, "page") for _ in range(9)]
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert restraint.next_end is None


def test_who_fetches_begins_anew(restraint: OfferBackoff[str], clock: Clock) -> None:
    for _ in range(5):
        rest(restraint, clock, "page")
    assert not restraint.forget("page"), "it was not resting"
    assert rest(restraint, clock, "page") == 1


def test_who_fetches_while_it_rests_rests_no_longer(
    restraint: OfferBackoff[str], clock: Clock
) -> None:
    rest(restraint, clock, "page")
    restraint.unused("page")
    assert restraint.forget("page")
    assert not restraint.rests("page")
    assert restraint.next_end is None
    clock.now += 100
    assert restraint.rested() == []


def test_each_rests_by_itself(restraint: OfferBackoff[str], clock: Clock) -> None:
    rest(restraint, clock, "old")
    restraint.unused("old")
    restraint.unused("new")
    restraint.unused("other")
    assert restraint.next_end == clock.now + 1
    clock.now += 1
    assert restraint.rested() == ["new", "other"]
    assert restraint.rests("old")
    clock.now += 1
    assert restraint.rested() == ["old"]


def test_two_offers_that_pass_together_count_twice_and_end_once(
    restraint: OfferBackoff[str], clock: Clock
) -> None:
    restraint.unused("page")
    restraint.unused("page")
    clock.now += 1
    assert restraint.rested() == []
    clock.now += 1
    assert restraint.rested() == ["page"]
    assert restraint.next_end is None


def test_who_is_unknown_makes_no_difference(restraint: OfferBackoff[str]) -> None:
    assert not restraint.forget("nobody")
    assert not restraint.rests("nobody")
