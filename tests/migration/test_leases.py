"""Jobs that workers hold: they finish them on the new server, as they did on the old one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.new import New
from tests.migration.old import LEASE, Old, now_ms
from tests.server.command import Server


def config(new: New, tmp_path: Path) -> str:
    path = tmp_path / "new.conf"
    path.write_text(
        f"[redis]\nconn_type = unix_sock\nunix_socket_path = {new.store.socket_path}\n"
        "[sharq]\njob_requeue_interval = 100\n"
    )
    return str(path)


def test_a_worker_finishes_by_the_route_of_the_original(old: Old, new: New, tmp_path: Path) -> None:
    for at in range(2):
        old.enqueue("sms", "bob", f"j{at}", at)
    assert old.dequeue("sms") == ("bob", "j0")
    new.migrate(old)
    with Server(tmp_path, "--config", config(new, tmp_path), embedded=False) as server:
        assert server.call("POST", "/finish/sms/bob/j0/")[0] == 200
        assert server.call("POST", "/finish/sms/bob/j0/")[0] == 404
        status, job = server.call("GET", "/dequeue/sms/")
        assert (status, job["job_id"]) == (200, "j1")
        assert server.call("POST", "/finish/sms/bob/j1/")[0] == 200
    assert new.client.zcard(new.key("sms", "leases")) == 0


def test_a_lease_that_nobody_finishes_comes_again_with_its_requeues(
    old: Old, new: New, tmp_path: Path
) -> None:
    for job, left in (("often", -1), ("once", 1), ("never", 0)):
        old.enqueue("sms", job, job, 1, requeues=left)
        old.dequeue("sms", 1)
    new.migrate(old)
    with Server(tmp_path, "--config", config(new, tmp_path), embedded=False) as server:
        got = {}
        while len(got) < 2:
            status, job = server.call("GET", "/dequeue/sms/?wait=5")
            assert status == 200
            got[job["job_id"]] = job["requeues_remaining"]
        assert got == {"often": -1, "once": 0}
        assert server.call("GET", "/status/sms/never/never/")[1]["state"] == "dead"


@pytest.mark.parametrize(
    ("ends_in", "least", "most"),
    [
        (50_000, 45_000, 50_000),
        (3_600_000, LEASE - 5000, LEASE),
        (0, -5000, 0),
        (-60_000, -5000, 0),
    ],
)
def test_a_lease_lasts_as_long_as_it_did_and_no_longer_than_one(
    old: Old, new: New, ends_in: int, least: int, most: int
) -> None:
    old.enqueue("sms", "bob", "j", 1)
    old.dequeue("sms")
    old.client.zadd(old.key("sms", "active"), {"bob:j": now_ms() + ends_in})
    new.migrate(old)
    assert least < new.leased()["sms/bob/j"] <= most


def test_requeued_they_go_to_the_head_in_the_order_of_their_leases(old: Old, new: New) -> None:
    for at in range(5):
        old.enqueue("sms", "bob", f"j{at}", at, requeues=at)
    for _ in range(3):
        old.dequeue("sms")
    report = new.migrate(old, active="requeue")
    assert (report.requeued, report.leases, report.jobs) == (3, 0, 2)
    assert new.leased() == {}
    assert new.waiting()["sms", "bob"] == [(f"j{at}", at, at) for at in range(5)]


def test_requeued_they_go_before_what_waits_in_the_target(old: Old, new: New) -> None:
    with new.engine() as engine:
        for at in range(3):
            job = engine.flows.new_job(b"1", 0, f"here-{at}", "bob", "sms", None, None)
            engine.run(engine.flows.submit(job))
        assert engine.run(engine.flows.take("sms", 1, None)).jobs
    for at in range(2):
        old.enqueue("sms", "bob", f"j{at}", at)
        old.dequeue("sms")
    new.migrate(old, active="requeue")
    names = [name for name, _, _ in new.waiting()["sms", "bob"]]
    assert set(names[:2]) == {"j0", "j1"}
    assert names[2:] == ["here-1", "here-2"]


def test_leases_come_back_before_what_waited_behind_them(old: Old, new: New) -> None:
    for at in range(4):
        old.enqueue("sms", "bob", f"j{at}", at)
    for _ in range(2):
        old.dequeue("sms", 1)
    new.migrate(old)
    with new.engine() as engine:
        engine.run(engine.flows.sweep())
    assert [name for name, _, _ in new.waiting()["sms", "bob"]] == ["j0", "j1", "j2", "j3"]


def test_the_counters_agree_with_what_came(old: Old, new: New) -> None:
    for at in range(5):
        old.enqueue("sms", f"q{at % 2}", f"j{at}", at)
    for _ in range(2):
        old.dequeue("sms")
    new.migrate(old)
    with new.engine() as engine:
        metrics = engine.run(engine.flows.type_metrics("sms"))
        assert (metrics.waiting, metrics.active) == (3, 2)
        assert sum(metrics.finish_counts.values()) == 0
        for at in range(2):
            queue = engine.run(engine.flows.queue_metrics("sms", f"q{at}"))
            assert queue.queue_length + queue.active_count == 3 - at


def test_leases_count_for_a_concurrency(old: Old, new: New) -> None:
    with new.engine() as engine:
        engine.run(engine.flows.limiting.set("sms", concurrency=2))
        for at in range(4):
            old.enqueue("sms", "bob", f"j{at}", at)
        for _ in range(2):
            old.dequeue("sms")
        new.migrate(old)
        assert not engine.run(engine.flows.take("sms", 1, None)).jobs
        assert len(new.leased()) == 2
