"""By the store's own clock: what runs out is gone then, not before and not much later."""

from __future__ import annotations

import hiredis
import pytest

from sharq.operations.scripts import shipped
from sharq.settings.options import QueueSettings
from tests.support.hands import Hands, PipelinedStore, new_job


def now(live: Hands) -> int:
    return live.run(live.operations.ping())


def ends(live: Hands, key: str) -> int:
    """When a key ends (ms)."""
    try:
        return int(live.store.command("PEXPIRETIME", key))
    except hiredis.ReplyError:
        pytest.skip("this store does not tell when a key ends")


def state_key(live: Hands) -> str:
    (key,) = [key for key in live.key_names() if ":q:" in key]
    return key


def allowed_at(live: Hands, key: str) -> int:
    """When the next dispatch of a queue is allowed (ms)."""
    return int(live.store.command("GET", key).split(b":")[1])


def test_two_dispatches_are_an_interval_apart(live: Hands) -> None:
    live.put_many(new_job(str(i), interval=20) for i in range(10))
    dispatched: list[tuple[int, int]] = []
    while len(dispatched) < 10:
        earliest = now(live)
        if live.take():
            dispatched.append((earliest, now(live)))
    for (_, latest), (earliest, _) in zip(dispatched[1:], dispatched, strict=False):
        assert latest - earliest >= 20


def test_the_rate_is_kept_for_its_interval_and_no_longer(live: Hands) -> None:
    live.put("a", interval=150)
    before = now(live)
    (job,) = live.take()
    after = now(live)
    live.finish(job)
    key = state_key(live)
    while live.store.command("EXISTS", key):
        last_seen = now(live)
        assert last_seen < after + 2_000
    assert now(live) >= before + 150
    live.put("b", interval=150)
    assert live.take_ids() == ["b"]


def test_the_rate_never_ends_before_the_next_dispatch_is_allowed(live: Hands) -> None:
    for i in range(1_000):
        live.put(str(i), interval=60_000)
        (job,) = live.take()
        live.finish(job)
        if i == 0:
            key = state_key(live)
        allowed = allowed_at(live, key)
        assert allowed <= ends(live, key) <= allowed + 1_000
        live.store.command("DEL", key)


def test_a_clear_does_not_shorten_the_rate(live: Hands) -> None:
    live.put_many(new_job(job_id, interval=60_000) for job_id in "ab")
    live.take()
    live.clear(purge=True)
    key = state_key(live)
    allowed = allowed_at(live, key)
    assert allowed <= ends(live, key) <= allowed + 1_000


def test_a_queue_with_jobs_does_not_end(live: Hands) -> None:
    live.put("a", interval=1)
    (a,) = live.take()
    key = state_key(live)
    assert live.store.command("PTTL", key) == -1
    live.put("b", interval=60_000)
    live.finish(a)
    assert live.store.command("PTTL", key) == -1
    live.clear()
    assert live.store.command("PTTL", key) > 0
    live.put("c", interval=60_000)
    assert live.store.command("PTTL", key) == -1


def test_an_interval_of_the_api_is_kept_for_its_retention(connection: PipelinedStore) -> None:
    settings = QueueSettings(interval_retention=120)
    live = Hands(connection, shipped(), settings)
    live.put("a")
    live.set_interval(1)
    before = now(live)
    live.finish_all(live.take())
    while live.metrics().interval_set_by == "api":
        assert now(live) < before + 2_000
    assert now(live) >= before + 120
    while [key for key in live.key_names() if ":q:" in key]:
        assert now(live) < before + 2_000


def test_an_answer_is_repeated_for_the_length_of_the_lease(connection: PipelinedStore) -> None:
    live = Hands(connection, shipped(), QueueSettings(job_expire_interval=150))
    live.put_many(new_job(job_id) for job_id in "ab")
    before = now(live)
    (first,) = live.take(1, "r")
    while (again := live.take(1, "r")) and again[0].lease == first.lease:
        assert now(live) < before + 2_000
    assert now(live) >= before + 150
    assert [job.job_id for job in again] == ["b"]
