"""Jobs that go before their rate allows it are noticed: by scripts in which a rule is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

import sharq
from sharq.results import JobOptions
from tests.support.expiring import ExpiringQueue
from tests.support.hands import PipelinedStore, new_job

INCLUDES = Path(sharq.__file__).parent / "lua" / "include"

# In each include a rule, and what stands in its place.
PLAIN = {
    "take_plain": (" or tonumber(tat) > now\n", "\n"),
    "take_one": ("not charge_all and q.tat > now", "false"),
}
LIMITED = {
    "take_limited": ("local allowed = allowed_at(q) <= EXACT", "local allowed = true"),
    "find_turn": ("if turn > (k.till or EXACT) then", "if turn == math.huge then"),
}


def broken(rules: dict[str, tuple[str, str]]) -> dict[str, str]:
    texts = {}
    for name, (rule, instead) in rules.items():
        text = (INCLUDES / f"{name}.lua").read_text("utf-8")
        assert text.count(rule) == 1, (name, rule)
        texts[name] = text.replace(rule, instead)
    return texts


def hurry(queue: ExpiringQueue, key: str = "ready") -> None:
    """Let the queue stand in the schedule as if it might go."""
    queue.store.command("ZADD", f"{{sharq:t}}:{key}", 0, "q")


@pytest.mark.parametrize("count", [1, 2])
def test_an_early_dispatch_of_a_plain_queue_is_counted(
    connection: PipelinedStore, count: int
) -> None:
    queue = ExpiringQueue(connection, overrides=broken(PLAIN))
    queue.put_many(new_job(name)._replace(interval=1_000) for name in "abcd")
    assert queue.take_ids() == ["a"]
    assert (queue.metrics().early, queue.type_metrics().early) == (0, 0)
    hurry(queue)
    assert queue.take_ids(count) == ["b"]
    early = queue.metrics().early
    assert early >= 1
    assert queue.type_metrics().early == early
    assert queue.metrics("other").early == 0


def test_an_early_dispatch_of_a_queue_with_a_burst_is_counted(
    connection: PipelinedStore,
) -> None:
    queue = ExpiringQueue(connection, overrides=broken(LIMITED))
    options = JobOptions(burst=2)
    jobs = [new_job(name)._replace(interval=1_000, options=options) for name in "abcd"]
    queue.put_many(jobs)
    assert queue.take_ids(2) == ["a", "b"]
    assert queue.type_metrics().early == 0, "the burst allows it"
    hurry(queue)
    queue.take_ids()
    assert (queue.metrics().early, queue.type_metrics().early) == (1, 1)
    queue.advance(24 * 3_600_000)
    assert queue.type_metrics().early == 0


def test_nothing_is_early_while_the_rules_hold(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(name)._replace(interval=1_000) for name in "abcd")
    for _ in range(8):
        hurry(queue)
        queue.take_ids(2)
        queue.advance(500)
    assert queue.type_metrics().early == 0
    assert not [key for key in queue.key_names() if key.endswith(":early")]
