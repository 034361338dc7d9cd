"""Which line of a spread type asks next, by a clock in the test's hand."""

from __future__ import annotations

import asyncio

import pytest

from sharq import Batch
from sharq.heads import BOUNDS, KNOWN, SILENT, SLACK, Heads
from sharq_server.push.lines import GRACE, Line, Lines
from sharq_server.push.news import News
from sharq_server.telemetry.cells import Memory
from sharq_server.telemetry.meter import Meter
from tests.support.loops import on_loop

SLACK_MS = round(SLACK * 1000)


class Bench:
    """Three lines; what their shards answer is in the test's hand, too."""

    def __init__(self) -> None:
        self.now = 100.0
        heads = Heads(("a", "b", "c"), lambda: self.now)
        ignore = Lines.ignore
        self.lines = Lines(
            "t",
            heads,
            ignore,
            ignore,
            ignore,
            lambda: self.now,
            lambda: News(Meter(Memory(1).slot(0))),
        )
        self.a, self.b, self.c = self.lines.each

    async def ask(self, *lines: Line) -> None:
        for line in lines:
            line.call = asyncio.ensure_future(asyncio.sleep(0))
            await line.call
            line.began = self.now
            line.head.asked(self.now)

    def answer(self, line: Line, ready_ms: int) -> None:
        line.call = None
        line.head.answered(self.now, Batch("t", [0, ready_ms + 1, -1]))

    def next(self) -> Line | None:
        step = self.lines.next(at_once=1)
        return None if step is None else step.line

    def age(self) -> float:
        step = self.lines.next(at_once=1)
        assert step is not None
        return step.age


@on_loop
async def test_nobody_waits_for_a_second_look() -> None:
    bench = Bench()
    await bench.ask(bench.a, bench.b, bench.c)
    assert bench.next() is None
    for line, ready_ms in zip(bench.lines.each, (3000, 5000, 1000), strict=True):
        bench.answer(line, ready_ms)
    assert bench.next() is bench.b
    assert bench.age() == approx(3000 - SLACK_MS)
    bench.now += KNOWN + 0.01
    assert bench.lines.to_look_at() == bench.lines.to_look_at_again() == []
    assert bench.age() == approx(3260 - SLACK_MS)
    bench.now += BOUNDS / 2 - KNOWN
    assert bench.lines.to_look_at() == []
    assert bench.lines.to_look_at_again() == bench.lines.each
    await bench.ask(bench.a, bench.c)
    assert bench.lines.to_look_at_again() == [bench.b]
    assert bench.next() is bench.b
    assert bench.age() == approx(3510 - SLACK_MS)
    # Of what was so long ago nothing is concluded.
    bench.answer(bench.a, 3510)
    bench.answer(bench.c, 1510)
    bench.now += BOUNDS / 2
    assert bench.lines.to_look_at() == [bench.b]
    assert bench.lines.to_look_at_again() == []
    assert bench.next() is None


@on_loop
async def test_who_is_not_waited_for_lets_nobody_go_far_ahead() -> None:
    bench = Bench()
    await bench.ask(bench.a, bench.b, bench.c)
    bench.answer(bench.a, 3000)
    assert bench.next() is None
    bench.now += SILENT + 0.001
    assert bench.next() is bench.a
    assert bench.age() == approx(3101 - SLACK_MS)
    bench.answer(bench.b, 2000)
    assert bench.age() == approx(3101 - SLACK_MS)
    bench.answer(bench.c, 1000)
    assert bench.age() == approx(2101 - SLACK_MS)


@on_loop
async def test_what_is_late_for_a_common_reason_is_waited_for_a_moment_more() -> None:
    bench = Bench()
    await bench.ask(bench.a, bench.b, bench.c)
    bench.now += SILENT + 0.05
    bench.answer(bench.a, 1000)
    bench.answer(bench.c, 1000)
    bench.lines.excused = bench.now
    assert bench.b.is_late(bench.now)
    assert bench.next() is None
    bench.now += GRACE + 0.001
    assert bench.next() is bench.a


def approx(ms: float) -> object:
    return pytest.approx(ms, abs=1)
