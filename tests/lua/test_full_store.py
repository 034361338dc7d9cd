"""A store at its `maxmemory` refuses new jobs and can still be emptied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import hiredis
import pytest

from sharq import results
from sharq.identifiers import check_lease
from sharq.operations.scripts import shipped
from sharq.results import Cleared, Ended
from sharq.settings.options import QueueSettings
from tests.support.burying import carry, dead, fail, names, reject
from tests.support.hands import TYPE, Hands, PipelinedStore, new_job
from tests.support.stores import PrivateStore

LEASE = 150


@dataclass
class FullStore:
    """Queues on a store that takes no more data, after `fill`."""

    hands: Hands

    def fill(self) -> None:
        used = self.hands.store.command("INFO", "memory").decode()
        limit = int(used.partition("used_memory:")[2].partition("\r")[0]) // 2
        self.hands.store.command("CONFIG", "SET", "maxmemory", limit)


@pytest.fixture(scope="module")
def own_store() -> Iterator[PrivateStore]:
    with PrivateStore(maxmemory_policy="noeviction") as store:
        yield store


@pytest.fixture
def full(own_store: PrivateStore) -> Iterator[FullStore]:
    store = PipelinedStore(own_store.socket_path)
    store.command("CONFIG", "SET", "maxmemory", 0)
    store.command("FLUSHALL")
    yield FullStore(Hands(store, shipped(), QueueSettings(job_expire_interval=LEASE)))
    store.close()


def test_an_enqueue_is_refused_and_leaves_nothing(full: FullStore) -> None:
    full.hands.put("a", interval=10)
    full.fill()
    before = full.hands.key_names()
    for job in (new_job("b", interval=20), new_job("b", "another")):
        with pytest.raises(hiredis.ReplyError, match="OOM command not allowed"):
            full.hands.run(full.hands.operations.enqueue(TYPE, [job]))
        with pytest.raises(hiredis.ReplyError, match="OOM command not allowed"):
            full.hands.run(full.hands.operations.enqueue(TYPE, [job, job]))
    assert full.hands.key_names() == before
    assert full.hands.length() == 1
    assert full.hands.metrics().interval == 10


def test_a_repeated_enqueue_is_still_answered(full: FullStore) -> None:
    full.hands.put("a")
    full.fill()
    assert full.hands.put("a").outcome == results.DUPLICATE
    assert full.hands.put("a", payload=b"2").outcome == results.CONFLICT
    assert full.hands.put("b", bound=1).outcome == results.FULL


@pytest.mark.parametrize("interval", [0, 1])
@pytest.mark.parametrize("request_id", [None, "r"])
def test_a_dequeue_and_a_finish_work(
    full: FullStore, interval: int, request_id: str | None
) -> None:
    full.hands.put_many(new_job("a", f"q{i}", interval=interval) for i in range(20))
    full.fill()
    taken = full.hands.take(20, request_id)
    assert len(taken) == 20
    assert set(full.hands.finish_all(taken)) == {results.SUCCESS}


@pytest.mark.parametrize("interval", [0, 1])
def test_a_dequeue_that_leaves_jobs_behind_works(full: FullStore, interval: int) -> None:
    full.hands.put_many(new_job(job_id, interval=interval) for job_id in "abc")
    full.fill()
    (job,) = full.hands.take(1)
    call = full.hands.operations.finish_many(TYPE, [check_lease(job.lease)])
    assert [ended.outcome for ended in full.hands.run(call)] == [results.SUCCESS]


def test_the_first_dequeue_of_a_delayed_job_works(full: FullStore) -> None:
    full.hands.put("a")
    full.hands.release(full.hands.take()[0], delay=1)
    full.fill()
    wait_until(full, 5)
    assert full.hands.take_ids() == ["a"]


@pytest.mark.parametrize("delay", [0, 10])
def test_a_release_works(full: FullStore, delay: int) -> None:
    full.hands.put_many(new_job(job_id, limit=0) for job_id in "ab")
    counted, free = full.hands.take(2)
    full.fill()
    assert full.hands.release(free, delay, counted=False) == results.SUCCESS
    assert full.hands.release(counted, delay) == results.DEAD
    wait_until(full, delay)
    assert full.hands.take_ids() == ["b"]


def test_an_extension_works(full: FullStore) -> None:
    full.hands.put("a")
    (job,) = full.hands.take(1, "r")
    full.fill()
    assert full.hands.extend(job, 5_000).lease_ms == 5_000


def test_the_sweep_works(full: FullStore) -> None:
    full.hands.put_many(new_job("a", f"q{i}", limit=i % 2 - 1) for i in range(20))
    full.hands.take(20)
    full.fill()
    wait_until(full, LEASE + 1)
    swept = full.hands.sweep()
    assert (swept.returned, swept.discarded) == (10, 10)


def test_a_server_can_claim_the_sweep(full: FullStore) -> None:
    full.hands.put("a")
    full.fill()
    claim = full.hands.operations.claim_sweep(900)
    assert full.hands.run(claim)
    assert not full.hands.run(claim)


@pytest.mark.parametrize("purge", [False, True])
def test_a_clear_works(full: FullStore, purge: bool) -> None:
    full.hands.put_many(new_job(job_id, interval=10) for job_id in "abc")
    full.hands.take()
    full.hands.set_interval(20)
    full.fill()
    assert full.hands.clear(purge=purge) == Cleared(2, 1 if purge else 0)


def test_a_cancel_works(full: FullStore) -> None:
    full.hands.put_many(new_job(job_id, interval=10) for job_id in "abcde")
    full.hands.put("x", "small")
    job, small = full.hands.take(2)
    full.hands.release(small, 1_000)
    full.fill()
    for job_id in "cdb":
        assert full.hands.cancel(job_id) == results.SUCCESS
    assert full.hands.cancel("a", n=check_lease(job.lease).n) == results.SUCCESS
    assert full.hands.cancel("x", "small") == results.SUCCESS
    assert full.hands.length() == 1


def test_an_interval_can_be_given_back(full: FullStore) -> None:
    full.hands.put("a", interval=10)
    full.hands.set_interval(20)
    full.fill()
    assert full.hands.reset_interval()


def test_questions_are_answered(full: FullStore) -> None:
    full.hands.put("a", interval=10)
    full.hands.put("b", interval=10)
    (job,) = full.hands.take()
    full.fill()
    assert full.hands.status("b").position == 0
    assert full.hands.metrics().queue_length == 1
    assert full.hands.type_metrics().has_jobs
    assert full.hands.length() == 1
    full.hands.finish(job)
    assert full.hands.status("a").state == results.FINISHED


def test_an_emptied_store_takes_jobs_again(full: FullStore) -> None:
    payload = b'"%s"' % (b"x" * 10_000)
    full.hands.put_many(new_job(str(i), payload=payload) for i in range(500))
    info = full.hands.store.command("INFO", "memory").decode()
    used = int(info.partition("used_memory:")[2].partition("\r")[0])
    full.hands.store.command("CONFIG", "SET", "maxmemory", used - 1_000_000)
    with pytest.raises(hiredis.ReplyError, match="OOM command not allowed"):
        full.hands.put("more")
    while taken := full.hands.take(100):
        full.hands.finish_all(taken)
    assert full.hands.put("more").outcome == results.QUEUED


def wait_until(full: FullStore, ms: int) -> None:
    """Wait until `ms` have passed by the store's clock."""
    ping = full.hands.operations.ping()
    end = full.hands.run(ping) + ms
    while full.hands.run(ping) <= end:
        pass


def test_a_failure_works(full: FullStore) -> None:
    full.hands.put_many(new_job(job_id) for job_id in "ab")
    a, b = full.hands.take(2)
    full.fill()
    assert fail(full.hands, a, delay=0) == results.SUCCESS
    assert fail(full.hands, b) == results.SUCCESS
    assert full.hands.take_ids(2) == ["a"]


def test_a_death_works_and_its_letter_is_kept(full: FullStore) -> None:
    full.hands.put_many(new_job(job_id, limit=0) for job_id in "abc")
    a, b, _ = full.hands.take(3)
    full.fill()
    assert reject(full.hands, a) == results.DEAD
    assert full.hands.release(b) == results.DEAD
    wait_until(full, LEASE + 1)
    assert full.hands.sweep().discarded == 1
    assert names(full.hands) == ["c", "b", "a"]


def test_a_retry_and_a_deletion_work(full: FullStore) -> None:
    full.hands.put_many(new_job(job_id) for job_id in "abc")
    for job in full.hands.take(3):
        reject(full.hands, job)
    full.fill()
    flows = dead(full.hands)
    assert carry(full.hands, flows.retry(TYPE, [("q", "a")])) == [Ended(results.SUCCESS)]
    assert carry(full.hands, flows.delete(TYPE, [("q", "b")])) == [Ended(results.SUCCESS)]
    assert (full.hands.take_ids(), names(full.hands)) == (["a"], ["c"])


def test_a_bulk_that_was_begun_goes_on(full: FullStore) -> None:
    full.hands.put_many(new_job(job_id) for job_id in "abc")
    for job in full.hands.take(3):
        reject(full.hands, job)
    flows = dead(full.hands)
    carry(full.hands, flows.begin(TYPE, "retry"))
    full.fill()
    while carry(full.hands, flows.advance(TYPE, "s")):
        pass
    assert full.hands.take_ids(3) == ["a", "b", "c"]


def test_all_dead_letters_can_be_deleted(full: FullStore) -> None:
    full.hands.put("a")
    reject(full.hands, full.hands.take()[0])
    full.fill()
    assert carry(full.hands, dead(full.hands).begin(TYPE, "delete")).begun
    while carry(full.hands, dead(full.hands).advance(TYPE, "s")):
        pass
    assert names(full.hands) == []


def test_a_bulk_can_be_cancelled(full: FullStore) -> None:
    carry(full.hands, dead(full.hands).begin(TYPE, "delete"))
    full.fill()
    assert carry(full.hands, dead(full.hands).cancel(TYPE))
