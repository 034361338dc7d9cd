"""Many dead letters, as in the model: how many fall out at once, and the steps of a bulk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sharq.endings import EndingLease
from sharq.operations.flows import Flows
from sharq.results import DeadFilter, JobError, Lease, NewJob
from sharq.settings.options import QueueSettings
from tests.model.failures import End
from tests.model.inside_dead import check_dead, look_at_dead
from tests.model.names import JobName
from tests.model.showing import ShownModel
from tests.support.direct import follow
from tests.support.expiring import ExpiringQueue
from tests.support.hands import PREFIX, TYPE, PipelinedStore
from tests.support.stores import PrivateStore

SETTINGS = QueueSettings(dead_max_jobs=10_000, dead_retention=60_000)
MANY = 250


class Grave:
    """A queue and its model; jobs of `TYPE` are put in, and rejected, a hundred in a call."""

    def __init__(self, store: PipelinedStore) -> None:
        self.store = store
        self.model = ShownModel(SETTINGS, 0, linger=False)
        self._made = 0
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Go on with other settings."""
        settings = replace(SETTINGS, **changes)
        self.queue = ExpiringQueue(self.store, settings)
        self.dead = Flows(self.queue.operations, settings, lambda: 0.0).dead
        self.model.settings = settings
        self.model.move_to(max(self.model.now_us, self.queue.now_us))
        self.queue.move_to(self.model.now_us)

    def bury(self, count: int, queue_id: str = "q", how: str = "reject") -> None:
        """So many jobs die."""
        while count > 0:
            some = min(count, 100)
            jobs = [
                NewJob(TYPE, queue_id, f"j{at}", b"1", 0, 0)
                for at in range(self._made, self._made + some)
            ]
            self._made += some
            count -= some
            self.put(jobs)
            self.end_all(how)

    def put(self, jobs: list[NewJob]) -> None:
        self.model.enqueue(jobs, self.queue.run(self.queue.operations.enqueue(TYPE, jobs)))

    def end_all(self, how: str) -> None:
        """Lease what is there, and end it."""
        batch = self.queue.batch(100)
        self.model.dequeue(TYPE, 100, None, batch)
        end = End(how, None, JobError("ValueError"), "w")
        ends = [
            (JobName(TYPE, job.queue_id, job.job_id), job.lease.rpartition("/")[2], end)
            for job in batch.jobs
        ]
        told = [EndingLease(Lease(*name, n), end.ending()).told for name, n, end in ends]
        got = self.queue.run(self.queue.operations.settle(TYPE, told))
        self.model.settle(TYPE, ends, self.queue.seed, got)

    def sweep(self) -> bool:
        """One call; whether there is more to do."""
        swept = self.queue.sweep()
        self.model.sweep(TYPE, 100, self.queue.seed, swept)
        return swept.more

    def advance(self, ms: int) -> None:
        self.model.move_to(self.model.now_us + ms * 1000)
        self.queue.move_to(self.model.now_us)

    def begin(self, kind: str, limit: int | None = None, **chosen: Any) -> None:
        got = follow(self.dead.begin(TYPE, kind, chosen or None, limit), self.queue.run)
        self.model.begin(TYPE, kind, DeadFilter(**chosen), limit, got)

    def step(self, server: str = "a") -> tuple[bool, int]:
        """A step of the bulk: whether there is more to do, and what it has moved by now."""
        more = follow(self.dead.advance(TYPE, server), self.queue.run)
        self.model.advance(TYPE, server, more)
        bulk = follow(self.dead.progress(TYPE), self.queue.run)
        self.model.progress(TYPE, bulk)
        assert bulk is not None
        return more, bulk.moved

    def check(self) -> int:
        """Hold the store against the model; how many dead letters there are."""
        ends = {key.partition("}:")[2]: end for key, end in self.queue.ends().items()}
        letters = self.model.letters[TYPE]
        check_dead(letters, TYPE, look_at_dead(self.store, PREFIX, TYPE), ends)
        return len(letters.all)


@pytest.fixture
def grave(clean_store: PrivateStore) -> Iterator[Grave]:
    store = PipelinedStore(clean_store.socket_path)
    yield Grave(store)
    store.close()


def test_a_script_that_adds_removes_a_hundred_beyond_a_smaller_bound(grave: Grave) -> None:
    grave.bury(MANY)
    grave.configure(dead_max_jobs=5)
    grave.bury(1)
    assert grave.check() == MANY + 1 - 100
    grave.bury(1)
    assert grave.check() == MANY + 2 - 200
    grave.bury(1)
    assert grave.check() == 5


def test_the_sweep_goes_on_until_the_bound_of_bytes_holds(grave: Grave) -> None:
    grave.bury(MANY)
    grave.configure(dead_max_bytes=grave.model.letters[TYPE].bytes // 10)
    assert [grave.sweep() for _ in range(3)] == [True, True, False]
    assert 20 <= grave.check() <= 25


def test_the_sweep_removes_what_is_too_old_without_any_new_death(grave: Grave) -> None:
    grave.bury(MANY)
    grave.advance(59_999)
    assert not grave.sweep()
    grave.bury(3, "young")
    grave.advance(2)
    assert [grave.sweep() for _ in range(3)] == [True, True, False]
    assert grave.check() == 3


def test_with_no_dead_letters_wanted_those_that_are_there_go(grave: Grave) -> None:
    grave.bury(MANY)
    grave.configure(dead_max_jobs=0)
    grave.bury(2)
    assert grave.check() == MANY
    while grave.sweep():
        pass
    assert grave.check() == 0


def test_the_counts_are_kept_for_a_day_without_dead_letters(grave: Grave) -> None:
    grave.configure(dead_max_jobs=1)
    grave.bury(4)
    grave.begin("delete")
    grave.step()
    assert (grave.check(), grave.model.letters[TYPE].fallen) == (0, 3)
    grave.advance(24 * 3_600_000 - 1)
    grave.check()
    grave.advance(1)
    grave.check()
    assert grave.model.letters[TYPE].fallen == 0


@pytest.mark.parametrize("kind", ["retry", "delete"])
def test_a_bulk_goes_on_in_steps_of_a_hundred(grave: Grave, kind: str) -> None:
    grave.bury(MANY)
    grave.begin(kind)
    grave.bury(1, "later")
    assert [grave.step() for _ in range(2)] == [(True, 100), (True, 200)]
    more, moved = grave.step()
    assert moved == MANY
    assert not more or grave.step() == (False, MANY)
    assert grave.check() == 1


def test_a_bulk_with_a_limit_and_a_filter_takes_no_more(grave: Grave) -> None:
    grave.bury(130, "other")
    grave.bury(MANY)
    grave.begin("delete", 110, queue_id="q")
    moved = [0]
    while moved[-1] < 110:
        more, number = grave.step()
        moved.append(number)
    assert (more, moved[-1]) == (False, 110)
    assert all(after - before <= 100 for before, after in pairwise(moved))
    assert grave.check() == 130 + MANY - 110


def test_another_server_goes_on_with_a_bulk_after_ten_seconds(grave: Grave) -> None:
    grave.bury(MANY)
    grave.begin("delete")
    grave.step()
    assert grave.step("b") == (False, 100)
    grave.advance(9_999)
    assert grave.step("b") == (False, 100)
    grave.advance(1)
    assert grave.step("b") == (True, 200)
    assert grave.step("a") == (False, 200)


def test_jobs_that_are_there_again_stay_dead(grave: Grave) -> None:
    grave.bury(3)
    grave.put([NewJob(TYPE, "q", "j1", b"2", 0, 0)])
    grave.begin("retry")
    assert grave.step()[1] == 2
    assert grave.check() == 1
    grave.end_all("reject")
    assert (grave.check(), grave.model.letters[TYPE].fallen) == (3, 1)
