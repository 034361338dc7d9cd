"""A layout that is not in use is closed: every script fails there, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hiredis
import pytest

from sharq._fastpath import Codec
from sharq.operations.arrival_calls import TAIL, Arriving
from sharq.operations.call import Call
from sharq.operations.scripts import shipped
from sharq.results import Lease, NewJob, Told
from tests.support.direct import DirectStore
from tests.support.stores import PrivateStore, wait_for

FAILING = "10000:67108864:2592000000:1000:3600000:5eed"
MAIL = "mail", "bob"
JOB = NewJob(*MAIL, "j1", b"1", 0, -1)
LEASES = [Lease(*MAIL, "j1", "17")]
NAMED = [("bob", "j1")]

CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("cancel", ("mail", LEASES, 60000, 7)),
    ("chunk", ("mail", "", "t", b"[]")),
    ("chunk", ("mail", "?", "", b"")),
    ("clear", (*MAIL, 7, True)),
    ("correct_totals", ("mail", 1, 1)),
    ("correct_totals", ("mail", 0, 0)),
    ("dead_advance", ("mail", ".s1", 10_000)),
    ("dead_begin", ("mail", "b1", "retry", "", "", "", None, None)),
    ("dead_cancel", ("mail",)),
    ("dead_delete", ("mail", NAMED)),
    ("dead_list", ("mail", "", "", "", None, "", 10, 9999)),
    ("dead_progress", ("mail",)),
    ("dead_retry", ("mail", NAMED)),
    ("dead_show", (*MAIL, "j1")),
    ("dequeue", ("mail", 1, 60000, 9999)),
    ("dequeue", ("mail", 5, 60000, 9999)),
    ("dequeue", ("mail", 5, 60000, 9999, "r1")),
    ("dequeue", ("mail", 5, 60000, 9999, None, ".s1", 7, True)),
    ("dequeue", ("mail", 1, 60000, 9999, None, None, 0, False, 1 << 40)),
    ("dequeue", ("mail", 5, 60000, 9999, "r1", ".s1", 7, True, 250)),
    ("dry_run", ("mail", "type", "", 1, 2, 3, None)),
    ("dry_run", ("mail", "queue", "bob", 1, 2, 3, "g")),
    ("enqueue", ("mail", [JOB])),
    ("enqueue", ("mail", [JOB, JOB._replace(job_id="j2", interval=1.5)])),
    ("extend", ("mail", LEASES, 500, 60000)),
    ("finish", (*MAIL, "j1", "", 60000, 7)),
    ("finish_many", ("mail", LEASES, 60000, 7)),
    ("hand_on", ("mail", ".s1", 0)),
    ("interval", (*MAIL, 5, 7)),
    ("interval_reset", (*MAIL, 7)),
    *(
        (name, ("mail", kind, "x" if kind != "type" else "", *more))
        for kind in ("queue", "group", "type")
        for name, more in (
            ("limits", (5, 2, 3, None, None, 7)),
            ("pause", (None, "", "api", 7, None)),
            ("pause", (None, "", "api", 7, 5)),
            ("show_limits", ()),
        )
    ),
    ("list_jobs", (*MAIL, "returned", 0, 0, 10, 9999)),
    ("list_leases", (*MAIL, "0", 10)),
    ("list_queues", ("mail", "type", "", "0", 10, "")),
    ("list_queues", ("mail", "group", "g", "0", 10, "")),
    ("list_queues", ("mail", "leased", "", "0", 10, "")),
    ("offer", ("mail", ".s1", 2, 0, 250)),
    ("queue_length", MAIL),
    ("queue_metrics", MAIL),
    ("recount", ("mail", "type", "", "0", 10)),
    ("release", ("mail", LEASES, 0, True, 60000, 7, FAILING)),
    ("requeue", ("mail", 10, 60000, 7, FAILING)),
    ("sample_queues", ("mail", "type", "", "0", 10)),
    ("settle", ("mail", [Told("bob", "j1", "17", "fail")], 60000, 7, FAILING)),
    ("share_sample", ("mail", ".s1", b"[]")),
    ("show_job", (*MAIL, "j1")),
    ("status", (*MAIL, "j1", 60000)),
    ("take_over", ("mail", "", [Arriving("bob", "j1", b"1", 5, -1, 0, TAIL)])),
    ("take_over", ("mail", "t", [Arriving("bob", "j1", b"1", 5, -1, 0, TAIL)])),
    ("type_metrics", ("mail",)),
    ("watch_queues", ("mail", 10, ["bob"])),
]

OF_NO_SHARD = {"claim_sweep", "list_types", "ping", "register", "rights", "tell_servers"}
OF_NO_SHARD |= {"try_write", "unregister"}
OF_CHANGES = {"close_shard", "open_shard", "shards", "pausing", "rate_states"}
"""They look at what is closed, or at what is never."""


def as_it_is(reply: Any) -> Any:
    return reply


@pytest.fixture
def store(clean_store: PrivateStore) -> Iterator[DirectStore]:
    direct = DirectStore(clean_store.socket_path)
    direct.load(shipped())
    yield direct
    direct.close()


CODEC = Codec("p", shipped().digests)


def run(store: DirectStore, name: str, *arguments: Any) -> Any:
    return store.run(Call(getattr(CODEC, name)(*arguments), b"", as_it_is))


def snapshot(store: DirectStore) -> dict[bytes, Any]:
    return {key: store.command("DUMP", key) for key in store.command("KEYS", "*")}


def test_every_script_of_a_shard_is_tried() -> None:
    assert {name for name, _ in CALLS} == set(shipped().digests) - OF_NO_SHARD - OF_CHANGES


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_a_script_fails_where_a_shard_is_closed_and_changes_nothing(
    name: str, arguments: tuple[Any, ...], store: DirectStore
) -> None:
    # A server waits there.
    run(store, "dequeue", "mail", 1, 60000, 9999, None, ".s9", 1)
    store.command("DEL", "{p:mail}:x:.s9")
    assert run(store, "close_shard", "mail", 1) == []
    before = snapshot(store)
    with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
        run(store, name, *arguments)
    assert snapshot(store) == before
    assert run(store, "open_shard", "mail", 1) == 1
    assert set(snapshot(store)) == {b"{p:mail}:opened"}


def is_closed(store: DirectStore) -> bool:
    try:
        run(store, "queue_length", *MAIL)
    except hiredis.ReplyError:
        return True
    return False


def test_a_shard_is_opened_by_no_earlier_change(store: DirectStore) -> None:
    assert run(store, "open_shard", "mail", 5) == 0
    assert run(store, "close_shard", "mail", 3) == []
    assert run(store, "open_shard", "mail", 2) == 2
    assert is_closed(store)
    # A change that was held up closes it again.
    assert run(store, "close_shard", "mail", 1) == []
    assert run(store, "open_shard", "mail", 2) == 2
    assert run(store, "open_shard", "mail", 3) == 1
    assert not is_closed(store)
    # Who has met it closed, and asks later than somebody else.
    assert run(store, "open_shard", "mail", 3) == 1
    assert 0 < store.command("PTTL", "{p:mail}:opened") <= 60_000


def test_what_is_there_is_told_and_nothing_changes(store: DirectStore) -> None:
    codec_calls: list[tuple[str, tuple[Any, ...], list[bytes]]] = [
        ("enqueue", ("mail", [JOB]), [b"jobs"]),
        ("dequeue", ("mail", 1, 60000, 9999), [b"leases"]),
        (
            "settle",
            ("mail", [Told("bob", "j1", "", "reject")], 60000, 0, FAILING),
            [b"dead letters"],
        ),
        (
            "dead_begin",
            ("mail", "b1", "retry", "", "", "", None, None),
            [b"dead letters", b"a bulk of dead letters"],
        ),
        ("dead_delete", ("mail", NAMED), [b"a bulk of dead letters"]),
        ("dead_cancel", ("mail",), []),
        ("limits", ("mail", "group", "g", 5, None, None, None, None, 7), [b"limits or pauses"]),
        ("chunk", ("mail", "", "t", b"[]"), [b"limits or pauses", b"jobs that move here"]),
        ("chunk", ("mail", "t", "", b""), [b"limits or pauses"]),
    ]
    for name, arguments, there in codec_calls:
        run(store, name, *arguments)
        before = snapshot(store)
        assert run(store, "close_shard", "mail", 1) == there, name
        if not there:
            assert run(store, "open_shard", "mail", 1) == 1
        else:
            assert snapshot(store) == before


def test_a_pause_that_is_over_is_none(store: DirectStore) -> None:
    run(store, "pause", "mail", "type", "", 1, "", "api", 7, None)
    run(store, "pause", "mail", "queue", "bob", 1, "", "api", 7, None)
    wait_for("the end of the pauses", lambda: run(store, "close_shard", "mail", 1) == [])


def test_servers_that_wait_are_woken(store: DirectStore, clean_store: PrivateStore) -> None:
    run(store, "dequeue", "mail", 5, 60000, 9999, None, ".s1", 7)
    listener = clean_store.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("{p}:wake:.s1")
    wait_for("the subscription", lambda: clean_store.client.pubsub_numsub("{p}:wake:.s1")[0][1])
    assert run(store, "close_shard", "mail", 1) == []
    woken: list[Any] = []
    wait_for("the wake-up", lambda: woken or woken.append(listener.get_message()) or woken[0])
    listener.close()
