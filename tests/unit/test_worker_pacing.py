"""When handlers begin: in order, and those of a queue at its rate, by an injected clock."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest

from sharq.worker.frames import JobFields
from sharq.worker.job import LeasedJob
from sharq.worker.pacing import LONGEST_TURN, TICK, Pace, Starts

_numbers = itertools.count()


def job(queue: str, interval: float, name: str = "", burst: int = 1) -> LeasedJob:
    name = name or f"j{next(_numbers)}"
    fields = JobFields(queue, name, msgspec.Raw(b"1"), -1, 1, f"t/{queue}/{name}/1", 60_000)
    fields.interval, fields.burst = interval, burst
    return LeasedJob("t", fields, 0.0, 0.0, lambda *_: None)


class Stage:
    def __init__(self) -> None:
        self.now = 1000.0
        self.gone: set[str] = set()
        self.back: list[str] = []
        self.begun: list[tuple[float, str, str]] = []
        self.starts = Starts(self._begin, lambda job: self.back.append(job.job_id))

    def _begin(self, job: LeasedJob, _now: float) -> bool:
        return job.job_id not in self.gone

    def begin(self) -> list[str]:
        names = []
        while (job := self.starts.next(self.now)) is not None:
            names.append(job.job_id)
            self.begun.append((self.now, job.queue_id, job.job_id))
        return names

    def until(self, end: float, late: Any = lambda: 0.0) -> None:
        """Let time go by, from turn to turn."""
        while (turn := self.starts.turn) is not None and turn <= end:
            self.now = max(self.now, turn + late())
            self.begin()
        self.now = max(self.now, end)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_limit_counts_from_the_start_of_a_job_that_had_none(stage: Stage) -> None:
    stage.starts.add([job("q", 0, "free"), job("other", 0, "other")])
    assert stage.begin() == ["free", "other"]
    stage.now += 0.146
    stage.starts.add([job("q", 150, "limited"), job("new", 150, "first")])
    assert stage.begin() == ["first"]
    stage.until(stage.now + 0.01)
    assert stage.begun[-1] == (pytest.approx(1000.15), "q", "limited")
    stage.now += 0.01
    stage.starts.add([job("q", 0, "free again")])
    assert stage.begin() == ["free again"]


def test_jobs_without_a_limit_begin_at_once_and_in_order(stage: Stage) -> None:
    stage.starts.add([job("q", 0, name) for name in "abc"])
    assert stage.begin() == ["a", "b", "c"]


def test_a_burst_of_one_queue_begins_at_its_rate(stage: Stage) -> None:
    stage.starts.add([job("q", 50, name) for name in "abc"])
    assert stage.begin() == ["a"]
    assert stage.starts.turn == pytest.approx(1000.05)
    stage.now = 1000.049
    assert stage.begin() == []
    stage.now = 1000.05
    assert stage.begin() == ["b"]
    stage.now = 1000.2
    assert stage.begin() == ["c"]


def test_an_interval_may_be_a_part_of_a_millisecond(stage: Stage) -> None:
    stage.starts.add([job("q", 2.5, name) for name in "abcd"])
    stage.begin()
    stage.until(1000.0051)
    assert [at for at, _, _ in stage.begun] == pytest.approx([1000.0, 1000.0025, 1000.005])
    stage.until(1000.1)
    assert stage.begun[-1] == (pytest.approx(1000.0075), "q", "d")


def test_nobody_waits_behind_a_queue_that_has_to(stage: Stage) -> None:
    stage.starts.add([job("slow", 90, "a"), job("slow", 90, "b"), job("quick", 0, "c")])
    assert stage.begin() == ["a", "c"]


def test_what_would_wait_for_long_is_given_back(stage: Stage) -> None:
    stage.starts.add([job("q", 1000, name) for name in "abcd"])
    assert stage.begin() == ["a"]
    assert stage.back == ["c", "d"], "only the next one waits"
    stage.until(1001.0)
    assert [name for _, _, name in stage.begun] == ["a", "b"]


def test_a_job_that_has_gone_leaves_its_turn_to_the_next(stage: Stage) -> None:
    stage.starts.add([job("q", 20, name) for name in "abc"])
    stage.begin()
    stage.gone.add("b")
    stage.now = 1000.02
    assert stage.begin() == ["c"]
    assert stage.starts.turn is None


def test_a_change_of_the_interval_counts_for_the_job_that_brings_it(stage: Stage) -> None:
    stage.starts.add([job("q", 1000, "a")])
    stage.begin()
    stage.now += 0.01
    stage.starts.add([job("q", 10, "b"), job("q", 0, "c")])
    assert stage.begin() == ["b", "c"]


# ---- bursts ----


def bursts(names: str, interval: float = 40, burst: int = 3) -> list[LeasedJob]:
    return [job("q", interval, name, burst) for name in names]


def test_after_idleness_a_burst_begins_at_once(stage: Stage) -> None:
    stage.starts.add(bursts("abcd"))
    assert stage.begin() == ["a", "b", "c"]
    assert stage.starts.turn == pytest.approx(1000.04, abs=1e-6)
    stage.until(1000.2)
    assert stage.begun[-1] == (pytest.approx(1000.04, abs=1e-6), "q", "d")


def test_a_burst_comes_back_with_time_and_is_never_more(stage: Stage) -> None:
    stage.starts.add(bursts("abc"))
    stage.begin()
    stage.now = 1000.085
    stage.starts.add(bursts("def"))
    assert stage.begin() == ["d", "e"], "two intervals have passed"
    stage.until(1000.2)
    assert stage.begun[-1] == (pytest.approx(1000.12, abs=1e-6), "q", "f")
    stage.now = 2000.0
    stage.starts.add(bursts("ghij"))
    assert stage.begin() == ["g", "h", "i"]


def test_starts_with_a_burst_conform_to_it_and_lose_no_rate(stage: Stage) -> None:
    rng = random.Random(11)
    interval, burst, arrivals = 10, 5, 2000
    for at in range(arrivals):
        # As the store dispatches: five together, and then those of five intervals.
        arrives = 1000.0 + (at // burst) * burst * interval / 1000 + rng.random() * 0.004
        stage.until(arrives, lambda: rng.random() * TICK)
        stage.now = max(stage.now, arrives)
        stage.starts.add(bursts("x", interval, burst))
        stage.begin()
    stage.until(stage.now + 1)
    times = [time for time, _, _ in stage.begun]
    assert (len(times), stage.back) == (arrivals, [])
    for apart in (1, 2, burst, 3 * burst, 20 * burst):
        least = min(later - earlier for earlier, later in zip(times, times[apart:], strict=False))
        assert least >= (apart - burst + 1) * interval / 1000 - 2 * TICK
    assert times[-1] - times[0] < arrivals * interval / 1000 + 0.02


def test_a_burst_that_is_taken_away_counts_for_the_job_that_tells_it(stage: Stage) -> None:
    stage.starts.add(bursts("ab"))
    stage.begin()
    stage.starts.add([job("q", 40, "c")])
    assert stage.begin() == []
    assert stage.starts.turn == pytest.approx(1000.08, abs=1e-6), "two are owed"
    stage.until(1000.2)
    assert stage.begun[-1] == (pytest.approx(1000.08, abs=1e-6), "q", "c")


def test_another_interval_counts_for_what_is_owed() -> None:
    pace = Pace(10.0).after(10.0, 1.0).after(10.0, 1.0)
    assert pace == Pace(10.0, 3.0)
    assert pace.turn(1.0, burst=1) == 13.0
    assert pace.turn(0.5, burst=1) == 11.5
    assert pace.turn(0.5, burst=3) == 10.5
    assert pace.after(12.0, 0.5) == Pace(12.0, 1.0)


def test_late_timers_cost_a_queue_no_rate_and_break_no_limit(stage: Stage) -> None:
    rng = random.Random(7)
    interval, arrivals = 10, 2000
    for at in range(arrivals):
        arrives = 1000.0 + at * interval / 1000 + rng.random() * 0.004
        stage.until(arrives, lambda: rng.random() * TICK)
        stage.now = max(stage.now, arrives)
        stage.starts.add([job("q", interval)])
        stage.begin()
    stage.until(stage.now + 1)
    times = [time for time, _, _ in stage.begun]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= interval / 1000 - TICK - 1e-9
    assert (len(times), stage.back) == (arrivals, [])
    assert times[-1] - times[0] < arrivals * interval / 1000 + 0.02


def test_after_a_stall_a_queue_is_soon_on_time_again(stage: Stage) -> None:
    for at in range(100):
        stage.until(1000.0 + at * 0.01 if at > 50 else 1000.5, lambda: 0.0)
        stage.starts.add([job("q", 10)])
        stage.begin()
    assert stage.begun[-1][0] - stage.now < 2 * LONGEST_TURN
    stage.until(stage.now + 1)
    assert len(stage.begun) + len(stage.back) == 100
    assert len(stage.back) >= 30


def test_queues_of_the_past_are_forgotten(stage: Stage) -> None:
    for at in range(5000):
        stage.starts.add([job(f"q{at}", 100)])
        stage.begin()
        stage.now += 0.01
    assert len(stage.starts._paces) < 2000


def test_all_that_wait_are_handed_over_at_the_end(stage: Stage) -> None:
    stage.starts.add([job("q", 100, "a"), job("q", 100, "b"), job("r", 0, "c")])
    assert stage.starts.next(stage.now) is not None
    assert {each.job_id for each in stage.starts.clear()} == {"b", "c"}
    stage.now += 1
    assert stage.begin() == []
