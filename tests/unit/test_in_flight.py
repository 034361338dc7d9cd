"""How many calls are sent to a store that is fast, slow or silent."""

from __future__ import annotations

from sharq.store.in_flight import Window


def run(window: Window, per_tick: int, ticks: int) -> None:
    """A store that answers so many calls in each tick, with more waiting than can be sent."""
    under_way = 0
    for _ in range(ticks):
        more = max(0, window.size - under_way)
        window.on_sent(more)
        under_way += more
        under_way -= min(per_tick, under_way)
        window.on_tick(under_way)


def test_a_store_that_keeps_up_gets_whatever_there_is() -> None:
    window = Window(16_384)
    run(window, per_tick=100_000, ticks=10)
    assert window.size == 16_384


def test_a_store_that_does_not_keep_up_gets_what_it_does_in_four_ticks() -> None:
    window = Window(16_384)
    run(window, per_tick=100, ticks=50)
    assert 300 <= window.size <= 800


def test_a_silent_store_gets_little_and_more_when_it_answers_again() -> None:
    window = Window(16_384)
    run(window, per_tick=0, ticks=10)
    assert window.size == 16
    run(window, per_tick=100_000, ticks=20)
    assert window.size == 16_384


def test_it_is_never_over_the_bound() -> None:
    assert Window(5).size == 5
