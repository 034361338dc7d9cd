"""The pages in which waiting jobs are shown."""

from __future__ import annotations

import random

from sharq.results import JobPage, Lease, WaitingJob
from tests.support.expiring import ExpiringQueue
from tests.support.hands import TYPE, new_job


def pages(queue: ExpiringQueue, count: int) -> list[JobPage]:
    found = [queue.page(None, count)]
    while found[-1].cursor is not None:
        found.append(queue.page(found[-1].cursor, count))
    return found


def listed(queue: ExpiringQueue, count: int) -> list[str]:
    return [job.job_id for page in pages(queue, count) for job in page.jobs]


def cancel(queue: ExpiringQueue, names: list[str]) -> None:
    for at in range(0, len(names), 100):
        leases = [Lease(TYPE, "q", name, "") for name in names[at : at + 100]]
        queue.run(queue.operations.cancel(TYPE, leases))


def test_an_unknown_queue_has_an_empty_page(queue: ExpiringQueue) -> None:
    assert queue.page() == JobPage([], None)
    assert queue.key_names() == []


def test_a_page_shows_what_waits_and_changes_nothing(queue: ExpiringQueue) -> None:
    queue.put_many(
        new_job(job_id, payload=b'"%s"' % job_id.encode(), limit=3) for job_id in "abcdef"
    )
    a, b, c = queue.take(3)
    queue.release(b)
    queue.release(a)
    queue.release(c, 700)
    before = {key: queue.store.command("DUMP", key) for key in queue.key_names()}
    queue.advance(100)
    assert queue.page() == JobPage(
        [
            WaitingJob("a", b'"a"', 2, 0, False, None),
            WaitingJob("b", b'"b"', 2, 1, False, None),
            WaitingJob("d", b'"d"', 3, 2, False, None),
            WaitingJob("e", b'"e"', 3, 3, False, None),
            WaitingJob("f", b'"f"', 3, 4, False, None),
            WaitingJob("c", b'"c"', 2, 5, True, 600),
        ],
        None,
    )
    assert {key: queue.store.command("DUMP", key) for key in queue.key_names()} == before


def test_pages_of_any_size_show_every_job_once(queue: ExpiringQueue) -> None:
    names = [f"j{i}" for i in range(400)]
    queue.put_many(new_job(name) for name in names)
    for at, job in enumerate(queue.take(100) + queue.take(100)):
        # Many are due at the same time.
        queue.release(job, (0, 0, 500, 500, 900 + at)[at % 5])
    chance = random.Random(5)
    gone = chance.sample(names, 150)
    cancel(queue, gone)
    whole = [job for page in pages(queue, 100) for job in page.jobs]
    assert sorted(job.job_id for job in whole) == sorted(set(names) - set(gone))
    assert [job.position for job in whole] == list(range(len(whole)))
    for count in (1, 7, 99):
        assert listed(queue, count) == [job.job_id for job in whole]
        assert all(len(page.jobs) == count for page in pages(queue, count)[:-2])


def test_a_page_is_bounded_in_bytes_and_has_a_job_at_least(queue: ExpiringQueue) -> None:
    sizes = [300_000, 100_000, 100_000, 100_000, 10]
    queue.put_many(new_job(str(i), payload=b'"%s"' % (b"x" * n)) for i, n in enumerate(sizes))
    assert [[job.job_id for job in page.jobs] for page in pages(queue, 100)] == [
        ["0"], ["1", "2"], ["3", "4"]
    ]  # fmt: skip


def test_a_cursor_survives_changes(queue: ExpiringQueue) -> None:
    queue.put_many(new_job(str(i)) for i in range(50))
    page = queue.page(None, 10)
    queue.finish_all(queue.take(5))
    cancel(queue, ["10", "11", "30"])
    queue.put("new")
    rest = queue.page(page.cursor, 100)
    expected = [str(i) for i in range(12, 50) if i != 30]
    assert [job.job_id for job in rest.jobs] == [*expected, "new"]
    assert [job.position for job in rest.jobs] == list(range(5, 5 + len(expected) + 1))


def test_a_cursor_inside_of_a_gap_goes_on_behind_it(queue: ExpiringQueue) -> None:
    names = [str(i) for i in range(25_000)]
    queue.put_many(new_job(name) for name in names)
    page = queue.page(None, 100)
    cancel(queue, names[50:24_990])
    found, asked, cursor = [], 0, page.cursor
    while cursor is not None:
        page = queue.page(cursor, 100)
        found += [job.job_id for job in page.jobs]
        cursor, asked = page.cursor, asked + 1
    assert found == names[24_990:]
    assert asked == 3
