"""What the scripts answer, read into results. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sharq import results
from sharq.observed import TypeMetrics
from sharq.operations import dead_words, limit_words
from sharq.operations.cursors import JobCursor, QueueCursor
from sharq.results import (
    Ended,
    Extended,
    JobPage,
    JobStatus,
    Offer,
    QueueMetrics,
    Swept,
    WaitingJob,
)

_HEAD_OF_BATCH: Final = 3


class Page(NamedTuple):
    """One page of a listing of queues; `cursor` is that of the next one, None at the end."""

    cursor: QueueCursor | None
    names: list[str]


class TypePage(NamedTuple):
    """One page of the registry: types with the age of their registration in ms."""

    cursor: str
    types: list[tuple[str, int]]


def ended(reply: bytes) -> Ended:
    """An outcome: a job that is queued again has ended with success."""
    return _ENDED[reply]


def ended_many(reply: list[bytes]) -> list[Ended]:
    """Outcomes, in order."""
    return [_ENDED[outcome] for outcome in reply]


_ENDED = {
    word.encode(): Ended(results.SUCCESS if word == results.QUEUED else word)
    for word in (
        results.QUEUED,
        results.SUCCESS,
        results.DEAD,
        results.NOT_ACTIVE,
        results.STALE_LEASE,
        results.ALREADY_FINISHED,
        results.NOT_FOUND,
        results.JOB_ACTIVE,
        results.CONFLICT,
    )
}


def extended(reply: list[Any]) -> list[Extended]:
    """The outcome of each lease and how long it lasts now."""
    return [Extended(reply[i].decode(), reply[i + 1]) for i in range(0, len(reply), 2)]


def offer(reply: list[int]) -> Offer:
    """What may be offered, and how long the server waits."""
    granted, wait, rank = reply
    return Offer(granted, None if wait < 0 else wait, rank)


def succeeded(reply: bytes) -> bool:
    """Whether it was done."""
    return reply == b"success"


def job_status(reply: list[Any]) -> JobStatus:
    """The state of a job; of one that waits, where it stands, and of one that is dead, why."""
    state = reply[0].decode()
    if state == results.QUEUED:
        position, ready_in, estimated, eta, held_by = reply[1:6]
        return JobStatus(
            state,
            position=position,
            ready_in=_unless_open(ready_in),
            estimated=bool(estimated),
            eta=_unless_open(eta),
            held_by=held_by.decode(),
            **dead_words.failures(*reply[6:]),
        )
    if state == results.ACTIVE:
        return JobStatus(state, lease_expires_in=reply[1], **dead_words.failures(*reply[2:]))
    if len(reply) > 1:  # a dead letter
        return dead_words.status(*reply[1:])
    return JobStatus(state)


def swept(reply: list[int]) -> Swept:
    """What a sweep did, and what it leaves."""
    returned, discarded, more, wait, idle, vacant, bulk = reply
    wait_us = None if wait < 0 else wait
    return Swept(returned, discarded, bool(more), wait_us, bool(idle), bool(vacant), bool(bulk))


def sweeps_nothing(reply: list[int]) -> bool:
    """Whether a sweep has found nothing to take back."""
    return not (reply[0] or reply[1])


def leases_nothing(reply: list[Any]) -> bool:
    """Whether a dequeue has found no job."""
    return len(reply) <= _HEAD_OF_BATCH


def _counts(reply: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    minutes = reply[0::3]
    return dict(zip(minutes, reply[1::3], strict=True)), dict(
        zip(minutes, reply[2::3], strict=True)
    )


def _unless_open(ms: int) -> int | None:
    return None if ms < 0 else ms


def queue_metrics(reply: list[Any]) -> QueueMetrics:
    """The figures of a queue."""
    length, active, interval, by_api, wait, held_by, ready_in, early = reply[:8]
    return QueueMetrics(
        length,
        active,
        limit_words.number(interval) if interval else None,
        ("api" if by_api else "enqueue") if interval else None,
        _unless_open(wait),
        *_counts(reply[8:]),
        held_by.decode() or None,
        _unless_open(ready_in),
        early,
    )


def type_metrics(reply: list[Any]) -> TypeMetrics:
    """The figures of a type."""
    has_jobs, waiting, delayed, active, ready, held, since, early, held_by, ready_in = reply[:10]
    minutes, enqueued, dequeued, others, began = (reply[at::5] for at in range(15, 20))
    return TypeMetrics(
        bool(has_jobs),
        dict(zip(minutes, enqueued, strict=True)),
        dict(zip(minutes, dequeued, strict=True)),
        dict(zip(minutes, _finished(dequeued, others, began, active), strict=True)),
        held_by.decode() or None,
        _unless_open(ready_in),
        dead_words.summary(*reply[10:15]),
        waiting - delayed,
        delayed,
        active,
        ready,
        held,
        _unless_open(since),
        early,
    )


def _finished(
    dequeued: list[int], others: list[int], began: list[int], active: int
) -> Iterator[int]:
    """How many jobs were finished in each minute, the current one first: what was leased, did not
    end otherwise, and is not leased at the minute's end. The first event of a minute begins it, so
    what was finished before counts to the one before.
    """
    left = active
    for leased, ended, before in zip(dequeued, others, began, strict=True):
        if before < 0:
            yield 0
            continue
        yield max(0, before + leased - ended - left)
        left = before


def page(reply: list[bytes]) -> Page:
    """A page of names of queues."""
    part, group, at, *names = [text.decode() for text in reply]
    return Page(QueueCursor(part, group, at) if part else None, names)


def job_page(reply: list[Any]) -> JobPage:
    """A page of waiting jobs."""
    part, start, seen = reply[:3]
    jobs = [
        WaitingJob(
            reply[at].decode(),
            reply[at + 1],
            int(reply[at + 2]),
            reply[at + 3],
            bool(reply[at + 4]),
            None if reply[at + 5] < 0 else reply[at + 5],
        )
        for at in range(3, len(reply), 6)
    ]
    return JobPage(jobs, str(JobCursor(part.decode(), start, seen)) if part else None)


def type_page(reply: list[Any]) -> TypePage:
    """A page of the registry."""
    names = [name.decode() for name in reply[1::2]]
    return TypePage(reply[0].decode(), list(zip(names, reply[2::2], strict=True)))
