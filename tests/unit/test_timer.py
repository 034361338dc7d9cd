"""The precise timer, on a real loop."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from sharq_server.push import timer
from sharq_server.push.timer import PreciseTimer


async def fired(delay: float) -> float:
    """Seconds that a timer set for `delay` took."""
    done = asyncio.Event()
    one = PreciseTimer(done.set)
    try:
        began = time.monotonic()
        one.set(delay)
        await asyncio.wait_for(done.wait(), 5)
        return time.monotonic() - began
    finally:
        one.close()


@pytest.mark.parametrize("precise", [True, False])
def test_it_fires_and_never_early(precise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not precise:
        monkeypatch.setattr(timer, "_open", None)
    for delay in (0.0, -1.0, 0.0003, 0.0107):
        assert asyncio.run(fired(delay)) >= delay


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
def test_linux_has_a_precise_one() -> None:
    async def precise() -> bool:
        one = PreciseTimer(lambda: None)
        one.close()
        return timer._open is not None

    assert asyncio.run(precise())


@pytest.mark.parametrize("precise", [True, False])
def test_a_later_time_takes_the_place_of_an_earlier_one(
    precise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not precise:
        monkeypatch.setattr(timer, "_open", None)

    async def run() -> list[float]:
        calls: list[float] = []
        one = PreciseTimer(lambda: calls.append(time.monotonic()))
        began = time.monotonic()
        one.set(0.001)
        one.set(0.05)
        while not calls:
            await asyncio.sleep(0.002)
        one.set(0.001)
        one.set(None)
        other = PreciseTimer(lambda: calls.append(0))
        other.set(0.001)
        other.close()
        await asyncio.sleep(0.02)
        one.close()
        return [at - began for at in calls]

    calls = asyncio.run(run())
    assert len(calls) == 1
    assert calls[0] >= 0.05
