"""What the original has comes as it is: its own dumps, and the example of its documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.migration.new import New
from tests.migration.old import FIXTURES, LEASE, Old, load, now_ms

ORIGINAL = FIXTURES / "original.json"

PAYLOADS = {
    "sms:user-1:job-a": "82a2746fa42b313233a474657874a26869",
    "sms:user-1:job-b": "84a2746fa42b313234a16ecb3ff8000000000000a26f6bc3a178c0",
    "sms:user-1:job-c": "82a2746fa42b313235a3626967cf8000000000000000",
    "sms:user-2:job-r": "81a2746fa42b323030",
}


def put_example(old: Old, at: int, *, python2: bool = False) -> None:
    """Two waiting jobs and a leased one, and a queue with one that has a requeue left."""
    client, key = old.client, old.key
    client.zadd(key("sms"), {"user-1": at + 1020, "user-2": at + 5030})
    client.rpush(key("sms", "user-1"), "job-b", "job-c")
    client.rpush(key("sms", "user-2"), "job-r")
    client.zadd(key("sms", "active"), {"user-1:job-a": at + LEASE + 20})
    for field, text in PAYLOADS.items():
        quoted = f"22{text}22" if python2 and field.endswith("job-a") else text
        client.hset(key("payload"), field, bytes.fromhex(quoted))
    client.hset(key("interval"), mapping={"sms:user-1": 1000, "sms:user-2": 5000})
    left: dict[str, Any] = {"job-a": -1, "job-b": -1, "job-c": -1}
    client.hset(key("sms", "user-1", "requeues_remaining"), mapping=left)
    client.hset(key("sms", "user-2", "requeues_remaining"), "job-r", 1)
    client.psetex(key("sms", "user-1", "time"), LEASE, at + 20)
    client.psetex(key("sms", "user-2", "time"), LEASE, at + 30)


@pytest.mark.parametrize("python2", [False, True])
@pytest.mark.parametrize("at", [1798761600000, 0])
def test_the_example_comes_whole(old: Old, new: New, at: int, python2: bool) -> None:
    put_example(old, at or now_ms(), python2=python2)
    report = new.migrate(old)
    assert (report.jobs, report.leases, report.rejected, len(report.queues)) == (3, 1, 0, 2)
    held = new.client.hgetall(new.key("sms", "held"))
    ((member, record),) = held.items()
    assert member == b"user-1/job-a"
    assert record.endswith(b':-1:0 {"to":"+123","text":"hi"}')
    assert new.waiting() == {
        ("sms", "user-1"): [
            ("job-b", {"to": "+124", "n": 1.5, "ok": True, "x": None}, -1),
            ("job-c", {"to": "+125", "big": 2**63}, -1),
        ],
        ("sms", "user-2"): [("job-r", {"to": "+200"}, 1)],
    }
    (left,) = new.leased().values()
    assert LEASE - 5000 < left <= LEASE
    assert old.keys() == {}


def test_the_bytes_of_the_example_are_compact_json(old: Old, new: New) -> None:
    put_example(old, now_ms())
    new.migrate(old)
    state = new.client.get(new.key("sms", "q:user-1"))
    assert state.endswith(b' job-b 2:-1:0 {"to":"+124","n":1.5,"ok":true,"x":null}')
    assert new.client.hget(new.key("sms", "j:user-1"), "job-c") == (
        b'3:-1:0 {"to":"+125","big":9223372036854775808}'
    )


def test_what_the_original_itself_has_written_comes(old: Old, new: New) -> None:
    load(old.client, ORIGINAL)
    report = new.migrate(old)
    assert report.rejects == {}
    assert (report.jobs, report.leases) == (255, 4)
    # gone-1 was cleared: its payload is no job.
    assert report.leftovers == 1
    waiting = new.waiting()
    for at in range(3):
        jobs = waiting["sms", f"user-{at}"]
        numbers = range(at, 250, 3)
        taken = {name.split("/")[2] for name in new.leased() if f"/user-{at}/" in name}
        expected = [
            (
                f"job-{n}",
                {"to": f"+1555{n:04}", "text": "Grüße", "n": 2**63 + n, "nested": [1.5, None, {}]},
                n % 4 - 1,
            )
            for n in numbers
            if f"job-{n}" not in taken
        ]
        assert jobs == expected
    assert [job for job, _, _ in waiting["mail", "free"]] == ["mail-2", "mail-3", "mail-4"]
    for kind in ("active", "ready", "payload", "interval"):
        assert waiting[kind, "queue"] == [("j", kind, -1)]
    assert waiting["mail", "slow"] == [("later", {"z": 1, "a": 2}, -1)]
    assert set(old.keys()) == {
        "sharq_server:payload",
        "sharq_server:sms:cleared:requeues_remaining",
    }


def test_the_order_of_keys_and_the_intervals_stay(old: Old, new: New) -> None:
    load(old.client, ORIGINAL)
    new.migrate(old)
    texts = list(new.client.hgetall(new.key("sms", "held")).values())
    assert all(b'{"to":"+1555' in text and '"text":"Grüße"'.encode() in text for text in texts)
    intervals = {
        queue: int(new.client.get(new.key("sms", f"q:user-{queue}")).split(b":")[0])
        for queue in range(3)
    }
    assert intervals == {0: 1000, 1: 2000, 2: 1000}


@pytest.mark.parametrize("prefix", ["a:b", "a/b", "{sms}", "{", "p{q}:r", "sharq server", "Größe"])
def test_any_prefix_is_moved_also_within_one_database(
    new: New, prefix: str, clean_store: Any
) -> None:
    old = Old(clean_store, prefix)
    for at in range(3):
        old.enqueue("sms", "bob", f"j{at}", at, 1000)
    old.dequeue("sms")
    other = Old(clean_store, prefix + ":other")
    other.enqueue("sms", "bob", "j9", 9)
    report = new.migrate(old)
    assert (report.jobs, report.leases) == (2, 1)
    assert list(new.waiting()) == [("sms", "bob")]
    assert new.migrate(other).jobs == 1
    assert [job for job, _, _ in new.waiting()["sms", "bob"]] == ["j1", "j2", "j9"]


def test_only_the_types_that_are_asked_for_come(old: Old, new: New) -> None:
    load(old.client, ORIGINAL)
    before = old.keys()
    assert new.migrate(old, types=["mail"]).jobs == 4
    assert {kind for kind, _ in new.waiting()} == {"mail"}
    after = old.keys()
    assert after["sharq_server:sms:user-0"] == before["sharq_server:sms:user-0"]
    assert len(after["sharq_server:payload"]) == len(before["sharq_server:payload"]) - 5


def test_nothing_at_all_is_fine(old: Old, new: New) -> None:
    report = new.migrate(old)
    assert report.as_json() | {"seconds": 0} == {
        "dry_run": False,
        "queues": 0,
        "jobs": 0,
        "leases": 0,
        "requeued": 0,
        "copied_before": 0,
        "rejected": {},
        "doubtful": [],
        "leftovers": 0,
        "ghosts": 0,
        "in_use": False,
        "seconds": 0,
        "slowest": [],
    }
    assert new.client.keys("*moving*") == []


def test_more_jobs_than_a_chunk_stay_in_order(old: Old, new: New) -> None:
    for at in range(1234):
        old.enqueue("sms", "long", f"j{at}", at)
    for at in range(150):
        old.enqueue("sms", f"q{at}", "j", at)
    json.dumps(new.migrate(old).as_json())
    waiting = new.waiting()
    assert waiting["sms", "long"] == [(f"j{at}", at, -1) for at in range(1234)]
    assert all(waiting["sms", f"q{at}"] == [("j", at, -1)] for at in range(150))
    assert old.keys() == {}
