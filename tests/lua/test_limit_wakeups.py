"""Limits and wake-ups: what frees a job wakes a server, and what does not wakes nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from sharq.operations.targets import Target
from sharq.results import REMOVE, JobOptions, LimitValues, NewJob, Told
from tests.support.servers import Servers
from tests.support.stores import PrivateStore

HOUR = 3_600_000
QUEUE, GROUP, TYPE = Target("queue", "q"), Target("group", "g"), Target("type")
LEVELS = (QUEUE, GROUP, TYPE)
levels = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.kind)

Act = Callable[["Stand"], Any]


class Stand(Servers):
    """Two servers; the jobs of the type are in the queue `q` of the group `g`."""

    def add(self, queue_id: str = "q", group: str | None = "g", interval: float = 0) -> None:
        self.jobs += 1
        options = JobOptions(group=group) if group else None
        job = NewJob("t", queue_id, f"j{self.jobs}", b"1", interval, -1, None, options)
        self.queue.run(self.operations.enqueue("t", [job]))

    def limit(self, level: Target, **values: Any) -> None:
        self.queue.run(self.operations.set_limits("t", level, LimitValues(**values)))

    def pause(self, level: Target, ms: int | None = None) -> None:
        self.queue.run(self.operations.pause("t", level, ms, "", "api"))

    def resume(self, level: Target) -> None:
        self.queue.run(self.operations.pause("t", level, REMOVE, "", "api"))

    def settle(self, how: Literal["finish", "release", "return"], **told: str) -> None:
        """End the one lease there is."""
        _, queue_id, job_id, n = self.lease
        self.queue.run(self.operations.settle("t", [Told(queue_id, job_id, n, how, **told)]))


@pytest.fixture
def stand(store: PrivateStore) -> Iterator[Stand]:
    stand = Stand(store)
    stand.listen(".a", ".b")
    yield stand
    stand.close()


def take_all_slots(stand: Stand, level: Target) -> None:
    """One job is leased, which is all that the level takes; another one waits, and a server."""
    stand.limit(level, concurrency=1)
    stand.add()
    stand.add()
    (stand.lease,) = stand.take()
    assert stand.ask(".a").wait_us is None
    assert stand.woken() == []


ENDS: dict[str, Act] = {
    "finish": lambda stand: stand.queue.run(stand.operations.finish(*stand.lease)),
    "finish_many": lambda stand: stand.queue.run(stand.operations.finish_many("t", [stand.lease])),
    "release": lambda stand: stand.queue.run(
        stand.operations.release("t", [stand.lease], HOUR, True)
    ),
    "settle": lambda stand: stand.settle("finish", cost="1"),
    "cancel": lambda stand: stand.queue.run(stand.operations.cancel("t", [stand.lease])),
    "a higher limit": lambda stand: [stand.limit(level, concurrency=2) for level in LEVELS],
    "a limit that is given back": lambda stand: [
        stand.limit(level, concurrency=REMOVE) for level in LEVELS
    ],
}


@levels
@pytest.mark.parametrize("end", ENDS)
def test_what_frees_a_slot_wakes_a_server(stand: Stand, level: Target, end: str) -> None:
    take_all_slots(stand, level)
    ENDS[end](stand)
    assert stand.woken() == [".a"]
    assert len(stand.ask(".a")) == 1


@levels
def test_an_expiry_frees_a_slot(stand: Stand, level: Target) -> None:
    take_all_slots(stand, level)
    stand.queue.advance(60_000)
    stand.queue.run(stand.operations.requeue("t"))
    assert stand.woken() == [".a"]
    assert len(stand.ask(".a")) == 1


@pytest.mark.parametrize("level", [GROUP, TYPE], ids=lambda level: level.kind)
def test_a_purge_frees_a_slot_for_others(stand: Stand, level: Target) -> None:
    take_all_slots(stand, level)
    stand.add("other")
    assert stand.woken() == []
    stand.queue.run(stand.operations.clear("t", "q", True))
    assert stand.woken() == [".a"]
    assert [job.queue_id for job in stand.ask(".a").jobs] == ["other"]


@levels
def test_a_resume_wakes_a_server(stand: Stand, level: Target) -> None:
    stand.pause(level)
    stand.add()
    assert stand.ask(".a").wait_us is None
    assert stand.woken() == []
    stand.resume(level)
    assert stand.woken() == [".a"]
    assert len(stand.ask(".a")) == 1


@levels
def test_the_end_of_a_pause_is_the_time_that_a_server_waits_for(
    stand: Stand, level: Target
) -> None:
    stand.pause(level, 500)
    stand.add()
    assert stand.ask(".a").wait_us == 500_000
    stand.queue.advance(500)
    assert len(stand.ask(".a")) == 1
    assert stand.woken() == []


@levels
@pytest.mark.parametrize(
    "values", [{"interval": 10}, {"interval": REMOVE}, {"burst": 2}], ids=["lower", "none", "burst"]
)
def test_a_wider_limit_wakes_a_server(stand: Stand, level: Target, values: dict[str, Any]) -> None:
    stand.limit(level, interval=HOUR)
    stand.add()
    stand.add()
    stand.take()
    assert stand.ask(".a").wait_us == HOUR * 1_000
    stand.limit(level, **values)
    if level == QUEUE and values == {"interval": REMOVE}:
        # It stays in force until an enqueue sets another one.
        assert stand.woken() == []
        stand.add()
    assert stand.woken() == [".a"]


def test_another_group_wakes_a_server(stand: Stand) -> None:
    stand.pause(GROUP)
    stand.add()
    assert (stand.ask(".a").wait_us, stand.woken()) == (None, [])
    stand.limit(QUEUE, group="free")
    assert stand.woken() == [".a"]
    assert len(stand.ask(".a")) == 1


def test_a_lower_real_cost_wakes_a_server(stand: Stand) -> None:
    stand.limit(TYPE, interval=1_000)
    stand.jobs += 1
    job = NewJob("t", "q", "costly", b"1", 0, -1, None, JobOptions(cost=100))
    stand.queue.run(stand.operations.enqueue("t", [job]))
    (stand.lease,) = stand.take()
    stand.add()
    assert stand.ask(".a").wait_us == 100_000_000
    stand.settle("finish", cost="2")
    assert stand.woken() == [".a"]
    assert stand.ask(".a").wait_us == 2_000_000


BLOCKS: dict[str, Act] = {
    "paused": lambda stand: [stand.pause(level) for level in stand.blocked],
    "a slot": lambda stand: [stand.limit(level, concurrency=1) for level in stand.blocked],
}


@pytest.mark.parametrize("level", [GROUP, TYPE], ids=lambda level: level.kind)
@pytest.mark.parametrize("how", BLOCKS)
def test_an_enqueue_under_a_blocked_level_wakes_nobody(
    stand: Stand, level: Target, how: str
) -> None:
    stand.add("first")
    stand.take()
    stand.blocked = [level]
    BLOCKS[how](stand)
    assert stand.ask(".a").wait_us is None
    stand.add()
    stand.add("third")
    assert stand.woken() == []
    if level == GROUP:
        stand.add("free", group=None)
        assert stand.woken() == [".a"]


@levels
def test_a_finish_that_frees_nothing_wakes_nobody(stand: Stand, level: Target) -> None:
    stand.limit(level, concurrency=1)
    stand.add()
    (stand.lease,) = stand.take()
    stand.ask(".a")
    ENDS["finish"](stand)
    assert stand.woken() == [], "nothing waits"


def test_a_finish_under_a_pause_wakes_nobody(stand: Stand) -> None:
    take_all_slots(stand, QUEUE)
    stand.pause(TYPE)
    ENDS["finish"](stand)
    assert stand.woken() == []


@levels
def test_an_offer_counts_what_limits_allow(stand: Stand, level: Target) -> None:
    stand.limit(level, interval=100, burst=3, concurrency=2)
    for _ in range(9):
        stand.add()
    assert stand.offer(".a", wanted=9).granted == 2
    stand.pause(level, 700)
    offer = stand.offer(".b", wanted=9)
    assert (offer.granted, offer.wait_us) == (0, 700_000)
