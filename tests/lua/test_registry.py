"""The registry of types, and when a type may leave it."""

from __future__ import annotations

from sharq.operations.operations import REGISTRATION_AGE
from tests.support.expiring import ExpiringQueue


def registered(queue: ExpiringQueue) -> dict[str, int]:
    return dict(queue.run(queue.operations.list_types("0")).types)


def test_a_registration_is_new_once_and_then_renewed(queue: ExpiringQueue) -> None:
    assert queue.run(queue.operations.register("a"))
    queue.advance(1_000)
    assert registered(queue) == {"a": 1_000}
    assert not queue.run(queue.operations.register("a"))
    assert registered(queue) == {"a": 0}


def test_a_fresh_registration_is_not_removed(queue: ExpiringQueue) -> None:
    queue.run(queue.operations.register("a"))
    queue.advance(REGISTRATION_AGE - 1)
    assert not queue.run(queue.operations.unregister("a"))
    queue.advance(1)
    assert queue.run(queue.operations.unregister("a"))
    assert registered(queue) == {}
    assert not queue.run(queue.operations.unregister("a"))


def test_a_registration_that_was_renewed_meanwhile_stays(queue: ExpiringQueue) -> None:
    queue.run(queue.operations.register("a"))
    queue.advance(REGISTRATION_AGE)
    queue.run(queue.operations.register("a"))
    assert not queue.run(queue.operations.unregister("a"))
    assert registered(queue) == {"a": 0}


def test_a_type_is_vacant_without_jobs_and_counters(queue: ExpiringQueue) -> None:
    assert queue.sweep().vacant
    queue.put("a", interval=10)
    assert not queue.sweep().vacant
    (job,) = queue.take()
    queue.advance(20 * 60_000)
    assert not queue.sweep().vacant
    (job,) = queue.take()
    queue.finish(job)
    assert not queue.sweep().vacant
    queue.advance(12 * 60_000)
    assert queue.sweep().vacant


def test_the_registry_comes_in_pages(queue: ExpiringQueue) -> None:
    names = {f"type-{i}" for i in range(3_000)}
    queue.run_many([queue.operations.register(name) for name in sorted(names)])
    listed: list[str] = []
    cursor = "0"
    while True:
        cursor, page = queue.run(queue.operations.list_types(cursor))
        assert len(page) < 2_000
        listed += [name for name, _ in page]
        if cursor == "0":
            break
    assert sorted(listed) == sorted(names)
