"""`--keep` copies, `--dry-run` only tells: the original stays as it is."""

from __future__ import annotations

from typing import Any

from tests.migration.new import New, each
from tests.migration.old import FIXTURES, Old, load


def everything(client: Any) -> dict[bytes, tuple[bytes, bool]]:
    """All keys of a store as they are."""
    return {key: (client.dump(key), client.pttl(key) > 0) for key in client.scan_iter(count=1000)}


def test_a_dry_run_writes_nothing_anywhere(old: Old, new: New) -> None:
    load(old.client, FIXTURES / "original.json")
    old.enqueue("sms", "bob", "bad", raw=b"\xc1")
    before = everything(old.client)
    told = new.migrate(old, dry_run=True)
    assert everything(old.client) == before
    assert new.client.dbsize() == 0
    assert not new.rejects.exists()
    came = new.migrate(old)
    figures = ("jobs", "leases", "requeued", "rejected", "queues", "leftovers", "doubtful")
    assert {name: told.as_json()[name] for name in figures} == {
        name: came.as_json()[name] for name in figures
    }


def test_a_dry_run_names_the_slowest_queues(old: Old, new: New) -> None:
    for at in range(20):
        for job in range(at + 1):
            old.enqueue("sms", f"q{at:02}", f"j{job}", job, 1000)
    old.enqueue("sms", "slow", "j", 1, 86_400_000)
    old.enqueue("sms", "slow", "k", 1, 86_400_000)
    slowest = new.migrate(old, dry_run=True).slowest
    assert [drain.queue_id for drain in slowest] == ["slow", *(f"q{n}" for n in range(19, 10, -1))]
    assert slowest[0][:1] + slowest[0][3:] == (86_400_000, 2, 86_400_000)
    assert slowest[1].ms == 19_000


def test_the_time_until_the_next_job_counts(old: Old, new: New) -> None:
    for job in range(3):
        old.enqueue("sms", "bob", f"j{job}", job, 10_000)
    old.dequeue("sms")
    (drain,) = new.migrate(old, dry_run=True).slowest
    assert 19_000 < drain.ms <= 20_000


def test_a_copy_leaves_the_source_and_twice_is_once(old: Old, new: New) -> None:
    load(old.client, FIXTURES / "original.json")
    before = everything(old.client)
    report = new.migrate(old, keep=True)
    assert everything(old.client) == before
    assert (report.jobs, report.leases, report.leftovers) == (255, 4, 1)
    first = new.waiting()
    with new.engine() as engine:
        done = engine.run(engine.flows.take("sms", 2, None)).jobs
    again = new.migrate(old, keep=True)
    assert (again.jobs, again.leases, again.copied) == (0, 0, 259)
    gone = {f"sms/{job.queue_id}/{job.job_id}" for job in done}
    assert set(each(new.waiting())) == set(each(first)) - gone


def test_after_a_copy_the_rest_is_moved(old: Old, new: New) -> None:
    for at in range(150):
        old.enqueue("sms", "bob", f"j{at}", at)
    new.migrate(old, keep=True)
    with new.engine() as engine:
        assert len(engine.run(engine.flows.take("sms", 50, None)).jobs) == 50
    old.enqueue("sms", "bob", "late", "x")
    old.enqueue("sms", "bob", "j3", "another payload")
    report = new.migrate(old)
    assert (report.jobs, report.copied) == (1, 149)
    assert report.rejects.total() == 2
    assert [name for name, _, _ in new.waiting()["sms", "bob"]][-2:] == ["j149", "late"]
    # That of j3 as it was.
    assert sum(map(new.client.hlen, new.client.scan_iter(match="*:moving:*"))) == 1


def test_the_marks_of_a_copy_end(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j", 1)
    new.migrate(old, keep=True)
    (mark,) = new.client.scan_iter(match="*:moving:*")
    assert 29 * 86400 < new.client.ttl(mark) <= 30 * 86400
