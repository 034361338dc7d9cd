"""The counts of enqueues and dequeues."""

from __future__ import annotations

from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job

MINUTE = 60_000


def test_the_counts_of_many_queues_add_up_to_those_of_the_type(queue: ExpiringQueue) -> None:
    names = [f"queue-{i}" for i in range(3_000)]
    queue.put_many(new_job("a", name) for name in names)
    queue.advance(MINUTE)
    queue.put_many(new_job("b", name) for name in names[:700])
    while queue.take(100):
        pass
    queue.put_many(new_job("c", name) for name in names[:100])

    calls = [queue.operations.queue_metrics(TYPE, name) for name in names]
    metrics = queue.run_many(calls)
    total = queue.type_metrics()
    this, last = queue.now // MINUTE * MINUTE, queue.now // MINUTE * MINUTE - MINUTE
    assert {minute: count for minute, count in total.enqueue_counts.items() if count} == {
        this: 800,
        last: 3_000,
    }
    assert {minute: count for minute, count in total.dequeue_counts.items() if count} == {
        this: 3_700
    }
    for minute in total.enqueue_counts:
        assert total.enqueue_counts[minute] == sum(m.enqueue_counts[minute] for m in metrics)
        assert total.dequeue_counts[minute] == sum(m.dequeue_counts[minute] for m in metrics)
    assert metrics[0].enqueue_counts[this] == 2
    assert metrics[0].dequeue_counts[this] == 2
    assert metrics[2_999].enqueue_counts == dict.fromkeys(total.enqueue_counts, 0) | {last: 1}


def test_no_key_of_counters_grows_large(queue: ExpiringQueue) -> None:
    queue.put_many(new_job("a", f"queue-{i}") for i in range(3_000))
    while queue.take(100):
        pass
    counters = [key for key in queue.key_names() if ":c:" in key and key[-4:] != "last"]
    assert max(queue.store.command("HLEN", key) for key in counters) <= 10_000 / 10


def test_counts_are_shown_for_ten_minutes(queue: ExpiringQueue) -> None:
    queue.put("a")
    minute = queue.now // MINUTE * MINUTE
    queue.move_to((minute + 10 * MINUTE) * 1_000 - 1)
    assert queue.metrics().enqueue_counts[minute] == 1
    assert queue.type_metrics().enqueue_counts[minute] == 1
    queue.advance(0.001)
    assert minute not in queue.metrics().enqueue_counts
    assert list(queue.type_metrics().enqueue_counts) == [
        minute + ago * MINUTE for ago in range(10, 0, -1)
    ]


def test_all_counters_end(queue: ExpiringQueue) -> None:
    for _ in range(3):
        queue.put_many(new_job("a", f"queue-{i}") for i in range(500))
        while taken := queue.take(100):
            queue.finish_all(taken)
        queue.advance(45_000)
    queue.advance(11 * MINUTE)
    assert [key.rpartition(":")[0] for key in queue.key_names()] == ["{sharq:t}:c"] * 2
    assert queue.sweep().vacant
    assert queue.key_names() == []


def test_refused_and_repeated_enqueues_are_not_counted(queue: ExpiringQueue) -> None:
    queue.put("a")
    queue.put("a")
    queue.put("a", payload=b"2")
    queue.put("b", bound=1)
    assert sum(queue.metrics().enqueue_counts.values()) == 1
    assert sum(queue.type_metrics().enqueue_counts.values()) == 1


def test_each_delivery_is_counted(queue: ExpiringQueue) -> None:
    queue.put("a")
    for request in "rst":
        (job,) = queue.take(1, request)
        queue.take(1, request)
        queue.release(job)
    assert sum(queue.metrics().dequeue_counts.values()) == 3
