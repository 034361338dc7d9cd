from __future__ import annotations

from sharq.store.backoff import Backoff


def bounds(backoff: Backoff, count: int) -> list[float]:
    return [round(backoff.next(), 6) for _ in range(count)]


def test_the_bound_of_the_delay_doubles_up_to_the_most() -> None:
    assert bounds(Backoff(0.05, 1.0, lambda: 1.0), 8) == [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1, 1]


def test_the_delay_is_any_part_of_its_bound() -> None:
    parts = iter([0.9, 0.5, 0.0, 0.25])
    assert bounds(Backoff(0.05, 1.0, lambda: next(parts)), 4) == [0, 0.025, 0, 0.05]


def test_after_a_reset_the_next_attempt_is_made_at_once() -> None:
    backoff = Backoff(uniform=lambda: 1.0)
    bounds(backoff, 5)
    backoff.reset()
    assert bounds(backoff, 2) == [0, 0.05]


def test_a_slow_delay_is_between_half_and_all_of_the_most() -> None:
    assert Backoff(uniform=lambda: 0.0).slow() == 0.5
    assert Backoff(uniform=lambda: 1.0).slow() == 1.0


def test_after_a_slow_delay_the_bound_is_the_most() -> None:
    backoff = Backoff(uniform=lambda: 1.0)
    backoff.slow()
    assert backoff.next() == 1.0
