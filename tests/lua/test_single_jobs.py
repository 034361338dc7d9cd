"""The short ways of one job through the scripts, where they differ from those of many."""

from __future__ import annotations

import pytest

from tests.support.expiring import ExpiringQueue
from tests.support.hands import PipelinedStore

LARGE = b'"' + b"x" * 1000 + b'"'


@pytest.mark.parametrize(
    ("before", "after", "wait_ms"), [(1000, 3000, 3000), (3000, 1000, 1000), (1000, 0, 0)]
)
def test_a_change_moves_the_turn_of_a_queue_without_waiting_jobs(
    queue: ExpiringQueue, before: int, after: int, wait_ms: int
) -> None:
    queue.put("a", interval=before)
    queue.finish_all(queue.take())
    queue.put("b", interval=after)
    assert queue.batch().wait_us == wait_ms * 1000


def test_a_turn_that_has_passed_is_not_moved(connection: PipelinedStore) -> None:
    queue = ExpiringQueue(connection, linger=True)
    queue.put("a", interval=10)
    queue.finish_all(queue.take())
    queue.advance(11)
    queue.put("b", interval=5000)
    assert queue.take_ids() == ["b"]


@pytest.mark.parametrize("payload", [b"1", LARGE])
def test_a_job_that_waits_alone_is_known(queue: ExpiringQueue, payload: bytes) -> None:
    queue.put("a", payload=payload)
    assert queue.put("a", payload=payload).outcome == "duplicate"
    assert queue.put("a", payload=b"2").outcome == "conflict"
    assert queue.length() == 1


def test_only_a_small_job_is_kept_in_the_state(queue: ExpiringQueue) -> None:
    queue.put("a", queue_id="small")
    queue.put("a", queue_id="large", payload=LARGE)
    jobs = [name for name in queue.key_names() if ":j:" in name]
    assert [name.rpartition(":")[2] for name in jobs] == ["large"]


@pytest.mark.parametrize("payload", [b"1", LARGE])
def test_a_queue_leaves_the_schedule_with_its_last_job(
    queue: ExpiringQueue, payload: bytes
) -> None:
    queue.put("a", payload=payload)
    assert queue.listed(waiting=True) == ["q"]
    assert queue.take_ids() == ["a"]
    assert queue.listed(waiting=True) == []
    assert queue.batch().wait_us is None
