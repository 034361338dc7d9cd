"""What is broken in the original comes as far as it can, and what cannot come is told of."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sharq.migration import rejects
from tests.migration.new import New
from tests.migration.old import Old, now_ms, packed

KELVIN = "\u212a"
"""The original took it for a k."""

CANNOT_COME: dict[str, tuple[bytes, str]] = {
    "raw bytes": (bytes.fromhex("c403616263"), "binary"),
    "bytes inside": (packed({"a": [b"\xff"]}), "binary"),
    "a time": (bytes.fromhex("d6ff00000001"), "binary"),
    "an extension": (bytes.fromhex("c7010561"), "binary"),
    "raw of Python 2": (b'"\xa1\xff"', "not_utf8"),
    "half a pair": (b"\xa3\xed\xa0\x80", "not_utf8"),
    "an integer as a key": (packed({1: 2}), "key_not_string"),
    "nil as a key": (bytes.fromhex("81c0c0"), "key_not_string"),
    "bytes as a key": (bytes.fromhex("81c40161c0"), "key_not_string"),
    "NaN": (packed([float("nan")]), "not_finite"),
    "infinity": (packed({"a": float("-inf")}), "not_finite"),
    "501 levels": (b"\x91" * 501 + b"\xc0", "too_deep"),
    "5,000 levels": (b"\x91" * 5000 + b"\xc0", "too_deep"),
    "2 MB": (packed("x" * 2_000_000), "too_large"),
    "no MessagePack": (b"\xc1", "not_msgpack"),
    "nothing": (b"", "not_msgpack"),
    "half of it": (packed({"a": 1})[:-1], "not_msgpack"),
    "more than one": (b"\x01\x02", "not_msgpack"),
    "a map as a key": (bytes.fromhex("818001"), "not_msgpack"),
}


@pytest.mark.parametrize("what", CANNOT_COME)
@pytest.mark.parametrize("leased", [False, True])
def test_a_payload_that_cannot_come_is_a_line(old: Old, new: New, what: str, leased: bool) -> None:
    raw, reason = CANNOT_COME[what]
    old.enqueue("sms", "bob", "bad", raw=raw, interval=5, requeues=3)
    old.enqueue("sms", "bob", "good", [1])
    if leased:
        old.dequeue("sms")
    report = new.migrate(old)
    assert report.rejects == {reason: 1}
    assert new.waiting() == {("sms", "bob"): [("good", [1], -1)]}
    (line,) = new.lines()
    assert line | {"lease_ends": 0} == {
        "queue_type": "sms",
        "queue_id": "bob",
        "job_id": "bad",
        "reason": reason,
        "state": "leased" if leased else "waiting",
        "interval": 0,
        "requeues_remaining": 3,
        "payload_base64": base64.b64encode(raw).decode(),
        "lease_ends": 0,
    } or (raw == b"" and "payload_base64" not in line)
    assert old.keys() == {}


FINE: list[tuple[bytes, Any]] = [
    (b'"\xc0"', None),
    (b'"\xa2\xc3\xa9"', "é"),
    (b"\xff", -1),
    (b'"', 34),
    (packed(2**64 - 1), 2**64 - 1),
    (packed(-(2**63)), -(2**63)),
    (b"\xda\x00\x02hi", "hi"),
    (b"\xdb\x00\x00\x00\x02hi", "hi"),
    (b"\x91" * 500 + b"\xc0", None),
    (b"\xca\x3f\x80\x00\x00", 1.0),
    (packed(""), ""),
    (packed({"\u0000": "\u2028"}), {"\u0000": "\u2028"}),
]


@pytest.mark.parametrize(("raw", "value"), FINE)
def test_a_payload_that_can_come_does(old: Old, new: New, raw: bytes, value: Any) -> None:
    old.enqueue("sms", "bob", "j", raw=raw)
    assert new.migrate(old).rejects == {}
    ((_, came, _),) = new.waiting()["sms", "bob"]
    assert raw[:1] == b"\x91" or came == value


def test_the_order_of_keys_stays(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "j", raw=packed({"z": 1, "a": {"y": 1, "b": 2}, "m": 3}))
    new.migrate(old)
    state = new.client.get(new.key("sms", "q:bob"))
    assert state.endswith(b' {"z":1,"a":{"y":1,"b":2},"m":3}')


def test_a_queue_without_a_list_is_dropped(old: Old, new: New) -> None:
    old.client.zadd(old.key("sms"), {"ghost": 5})
    old.enqueue("sms", "bob", "j", 1)
    report = new.migrate(old)
    assert (report.jobs, report.ghosts) == (1, 1)
    assert old.keys() == {"sharq_server:ready:queue_type": {b"sms"}} or old.keys() == {}


@pytest.mark.parametrize("first", [True, False])
def test_a_stuck_list_comes_along(old: Old, new: New, first: bool) -> None:
    old.enqueue("sms", "stuck", "j", "s", 1000)
    old.client.zrem(old.key("sms"), "stuck")
    old.client.delete(old.key("ready", "queue_type"))
    if first:
        old.client.hdel(old.key("interval"), "sms:stuck")
    report = new.migrate(old)
    assert new.waiting() == {("sms", "stuck"): [("j", "s", -1)]}
    assert report.rejected == 0
    assert old.keys() == {}


def test_a_stuck_list_without_payloads_is_found_by_its_interval(old: Old, new: New) -> None:
    old.enqueue("sms", "stuck", "j", "s", 1000)
    old.client.zrem(old.key("sms"), "stuck")
    old.client.delete(old.key("payload"))
    report = new.migrate(old)
    assert report.rejects == {"no_payload": 1}
    assert [line["reason"] for line in new.lines()] == ["no_payload"]
    assert old.client.llen(old.key("sms", "stuck")) == 0


def test_leftovers_of_cleared_queues_stay_and_are_counted(old: Old, new: New) -> None:
    for job in ("a", "b"):
        old.enqueue("sms", "cleared", job, job)
    old.client.delete(old.key("sms", "cleared"), old.key("sms"))
    old.enqueue("sms", "bob", "j", 1)
    assert new.migrate(old, dry_run=True).leftovers == 2
    report = new.migrate(old)
    assert (report.jobs, report.leftovers, report.rejected) == (1, 2, 0)
    assert set(old.client.hkeys(old.key("payload"))) == {b"sms:cleared:a", b"sms:cleared:b"}


def test_the_second_copy_of_a_job_is_a_line(old: Old, new: New) -> None:
    for at, job in enumerate(("a", "b", "a", "c", "a")):
        old.enqueue("sms", "bob", job, at)
    report = new.migrate(old)
    assert report.rejects == {"second_copy": 2}
    assert [name for name, _, _ in new.waiting()["sms", "bob"]] == ["a", "b", "c"]
    assert [(line["job_id"], line["reason"]) for line in new.lines()] == [("a", "second_copy")]
    assert old.keys() == {}


def test_a_second_copy_far_behind_is_known(old: Old, new: New) -> None:
    for at in range(250):
        old.enqueue("sms", "bob", f"j{at}", at)
    old.client.rpush(old.key("sms", "bob"), "j0", "j249")
    report = new.migrate(old)
    assert (report.jobs, report.rejects) == (250, {"second_copy": 2})


def test_a_job_that_waits_and_is_leased_comes_once(old: Old, new: New) -> None:
    old.enqueue("sms", "bob", "a", 1)
    old.dequeue("sms")
    old.client.rpush(old.key("sms", "bob"), "a")
    report = new.migrate(old)
    assert (report.leases, report.jobs, report.rejects) == (1, 0, {"no_payload": 1})


def test_a_job_of_the_same_name_in_the_target_is_not_touched(old: Old, new: New) -> None:
    here = Old(new.store, "x")
    here.enqueue("sms", "bob", "same", [1])
    here.enqueue("sms", "bob", "other", [2])
    new.migrate(here)
    old.enqueue("sms", "bob", "same", [1])
    old.enqueue("sms", "bob", "other", {"n": 3})
    report = new.migrate(old)
    assert report.rejects == {"is_there": 1, "conflict": 1}
    assert new.waiting()["sms", "bob"] == [("same", [1], -1), ("other", [2], -1)]
    assert [(line["reason"], line["payload"]) for line in new.lines()] == [
        ("is_there", [1]),
        ("conflict", {"n": 3}),
    ]


@pytest.mark.parametrize(
    ("kind", "queue", "job"),
    [
        ("sms", "bob", KELVIN),
        ("sms", KELVIN, "j"),
        (KELVIN, "bob", "j"),
        ("sms", "b" * 101, "j"),
        ("sms", "bob", "a b\n"),
    ],
)
@pytest.mark.parametrize("leased", [False, True])
def test_a_bad_name_is_a_line(
    old: Old, new: New, kind: str, queue: str, job: str, leased: bool
) -> None:
    old.enqueue(kind, queue, job, {"n": 1})
    if leased:
        old.dequeue(kind)
    old.enqueue("sms", "eve", "good", 1)
    report = new.migrate(old)
    assert report.rejects == {"bad_name": 1}
    (line,) = new.lines()
    assert (line["queue_type"], line["queue_id"], line["job_id"]) == (kind, queue, job)
    assert base64.b64decode(line["payload_base64"]) == packed({"n": 1})
    assert list(new.waiting()) == [("sms", "eve")]
    assert old.client.hlen(old.key("payload")) == 0


@pytest.mark.parametrize("kind", ["payload", "interval", "active", "ready", "time", "queue_type"])
@pytest.mark.parametrize("queue", ["payload", "interval", "active", "ready", "time"])
def test_any_name_is_moved(old: Old, new: New, kind: str, queue: str) -> None:
    # The original puts these in its list and its hashes before it fails, if it does.
    old.client.rpush(old.key(kind, queue), "j")
    old.client.hset(old.key("payload"), f"{kind}:{queue}:j", packed({"k": kind}))
    old.client.hset(old.key("interval"), f"{kind}:{queue}", 1000)
    old.enqueue("sms", "bob", "j", 1)
    new.migrate(old)
    assert new.waiting()[kind, queue] == [("j", {"k": kind}, -1)]
    assert new.waiting()["sms", "bob"] == [("j", 1, -1)]


@pytest.mark.parametrize(
    ("text", "interval"),
    [("1e+15", 31_536_000_000), ("True", 0), ("-5", 0), ("250.0", 250), ("", 0), (None, 0)],
)
def test_an_odd_interval_is_put_in_range(
    old: Old, new: New, text: str | None, interval: int
) -> None:
    old.enqueue("sms", "bob", "j", 1)
    if text is None:
        old.client.hdel(old.key("interval"), "sms:bob")
    else:
        old.client.hset(old.key("interval"), "sms:bob", text)
    assert new.migrate(old).rejected == 0
    assert new.client.get(new.key("sms", "q:bob")).startswith(b"%d:" % interval)


@pytest.mark.parametrize(
    ("text", "left"),
    [("7", 7), ("0", 0), ("-1", -1), (None, -1), ("1e+15", 10**15), ("9" * 30, 2**63 - 1)],
)
def test_the_requeues_that_remain_stay(old: Old, new: New, text: str | None, left: int) -> None:
    old.enqueue("sms", "bob", "j", 1)
    key = old.key("sms", "bob", "requeues_remaining")
    if text is None:
        old.client.delete(key)
    else:
        old.client.hset(key, "j", text)
    new.migrate(old)
    assert new.waiting()["sms", "bob"] == [("j", 1, left)]


def test_a_lease_that_is_over_with_no_end_of_requeues_is_named(old: Old, new: New) -> None:
    for job in ("over", "runs", "counted"):
        old.enqueue("sms", job, job, 1, requeues=2 if job == "counted" else -1)
        old.dequeue("sms", 60_000)
    for job in ("over", "counted"):
        old.client.zadd(old.key("sms", "active"), {f"{job}:{job}": now_ms() - 1000})
    assert new.migrate(old).doubtful == ["sms/over/over"]
    assert new.leased()["sms/over/over"] <= 0


def test_a_member_of_the_leases_that_is_none_is_a_line(old: Old, new: New) -> None:
    old.client.zadd(old.key("sms", "active"), {"nonsense": 5})
    old.client.sadd(old.key("active", "queue_type"), "sms")
    assert new.migrate(old).rejects == {"bad_name": 1}
    assert old.keys() == {}


def test_the_file_of_rejects_is_added_to_and_has_no_half_lines(old: Old, new: New) -> None:
    new.rejects.write_bytes(b'{"an": "earlier"}\n{"cut o')
    old.enqueue("sms", "bob", "bad", raw=b"\xc1")
    new.migrate(old)
    assert [line.get("job_id", "?") for line in new.lines()] == ["?", "bad"]


def test_nothing_is_removed_that_cannot_be_written_down(old: Old, new: New) -> None:
    new.rejects.mkdir()
    for at in range(3):
        old.enqueue("sms", "bob", f"good-{at}", at)
    old.enqueue("sms", "bob", "bad", raw=b"\xc1")
    with pytest.raises(rejects.CannotWrite, match=r"Is a directory"):
        new.migrate(old)
    new.rejects.rmdir()
    report = new.migrate(old)
    assert report.rejects == {"not_msgpack": 1}
    assert [line["job_id"] for line in new.lines()] == ["bad"]
    assert [name for name, _, _ in new.waiting()["sms", "bob"]] == [f"good-{n}" for n in range(3)]
