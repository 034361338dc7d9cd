"""Keys of one queue that somebody else has harmed: no other queue of the type may suffer."""

from __future__ import annotations

from collections.abc import Callable

import hiredis
import pytest

from tests.support.expiring import ExpiringQueue
from tests.support.hands import PREFIX, TYPE, Hands, new_job

STATE = f"{{{PREFIX}:{TYPE}}}:q:bad"
JOBS = f"{{{PREFIX}:{TYPE}}}:j:bad"
LEASES = f"{{{PREFIX}:{TYPE}}}:leases"
READY = f"{{{PREFIX}:{TYPE}}}:ready"

Harm = Callable[[Hands, str], None]


def replace(queue: Hands, key: str) -> None:
    queue.store.command("DEL", key)
    queue.store.command("RPUSH", key, "x")


def remove(queue: Hands, key: str) -> None:
    queue.store.command("DEL", key)


def scribble(queue: Hands, key: str) -> None:
    queue.store.command("DEL", key)
    queue.store.command("SET", key, "x")


def fill(queue: Hands) -> None:
    for queue_id in ("bad", "good"):
        queue.put_many(new_job(f"{queue_id}{n}", queue_id) for n in range(3))


@pytest.mark.parametrize("harm", [replace, remove, scribble])
@pytest.mark.parametrize("key", [STATE, JOBS])
@pytest.mark.parametrize("count", [1, 2])
def test_a_damaged_queue_does_not_keep_others_from_giving_jobs(
    live: Hands, harm: Harm, key: str, count: int
) -> None:
    fill(live)
    harm(live, key)
    got = [job_id for _ in range(6) for job_id in live.take_ids(count)]
    assert [job_id for job_id in got if "good" in job_id] == ["good0", "good1", "good2"]
    assert live.store.command("EXISTS", READY) == 0, "nothing is ready any more"


def test_jobs_that_are_gone_are_passed_over_and_later_ones_given(live: Hands) -> None:
    fill(live)
    live.take_ids(2)
    remove(live, JOBS)
    live.put("new", "bad")
    got = [job_id for _ in range(6) for job_id in live.take_ids()]
    assert sorted(got) == ["good1", "good2", "new"]


@pytest.mark.parametrize("key", [STATE, JOBS])
def test_an_enqueue_into_a_damaged_queue_fails_and_changes_nothing(live: Hands, key: str) -> None:
    fill(live)
    replace(live, key)
    for put in (
        lambda: live.put("new", "bad"),
        lambda: live.put_many([new_job("new", "bad"), new_job("new", "good")]),
    ):
        with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
            put()
    assert live.store.command("LRANGE", key, 0, -1) == [b"x"]
    assert live.length("good") == 3


def test_the_sweep_takes_back_the_jobs_of_other_queues(queue: ExpiringQueue) -> None:
    for queue_id in ("bad", "good"):
        queue.put(queue_id, queue_id)
    assert len(queue.take(2)) == 2
    replace(queue, STATE)
    queue.advance(10 * 60_000)
    swept = queue.sweep()
    assert (swept.returned, swept.more) == (1, False)
    assert queue.take_ids() == ["good"]
    assert set(queue.store.command("ZRANGE", LEASES, 0, -1)) == {b"good/good", b"bad/bad"}


@pytest.mark.parametrize("key", [STATE, JOBS])
def test_a_queue_that_was_mended_takes_and_gives_jobs_again(live: Hands, key: str) -> None:
    fill(live)
    replace(live, key)
    for _ in range(6):
        live.take()
    remove(live, key)
    live.clear("bad")
    for n in range(3):
        assert live.put(f"new{n}", "bad").outcome == "queued"
    assert live.take_ids(3) == ["new0", "new1", "new2"]
