"""The words of failures and dead letters in calls and replies of the store. Pure."""

from __future__ import annotations

from typing import Any

from sharq import results
from sharq.failures import error_in, type_word, worker_of
from sharq.operations.dead_merge import ShardLetters
from sharq.operations.limit_words import number
from sharq.results import DeadBegun, DeadBulk, DeadFilter, DeadLetter, DeadPage, DeadSummary
from sharq.results import JobStatus as Status

_EMPTY = b"-"


def of_filter(wanted: DeadFilter) -> tuple[str, str, str]:
    """The queue, the reason and the beginning of the errors that are meant; empty for all."""
    error = "" if wanted.error is None else type_word(wanted.error)
    return wanted.queue_id or "", wanted.reason or "", error


def page(reply: list[bytes]) -> DeadPage:
    """What `dead_list` tells."""
    cursor, *fields = reply
    letters = [_letter(*fields[at : at + 4]) for at in range(0, len(fields), 4)]
    return DeadPage(letters, cursor.decode() or None)


def of_shard(reply: list[bytes]) -> ShardLetters:
    """The same, of one shard of several."""
    cursor, *fields = reply
    letters = [
        (_us(fields[at + 1]), _letter(*fields[at : at + 4])) for at in range(0, len(fields), 4)
    ]
    return ShardLetters(_us(cursor) if cursor else None, letters)


def letter_or_none(reply: list[bytes]) -> DeadLetter | None:
    """What `dead_show` tells."""
    return _letter(*reply) if reply else None


def begun(reply: list[Any]) -> DeadBegun:
    """What `dead_begin` tells."""
    bulk_id, is_new = reply
    return DeadBegun(bulk_id.decode(), bool(is_new))


def bulk(reply: list[Any]) -> DeadBulk | None:
    """What `dead_progress` tells."""
    if not reply:
        return None
    *words, left = reply
    bulk_id, kind, queue_id, reason, error, before, limit, state, started, moved, conflicts = [
        word.decode() for word in words
    ]
    meant = DeadFilter(queue_id or None, reason or None, _type_in(error), _count(before))
    return DeadBulk(
        id=bulk_id,
        kind=kind,
        filter=meant,
        state=state,
        started=int(started),
        moved=int(moved),
        left=left,
        conflicts=int(conflicts),
        limit=_count(limit),
    )


def failures(ended: int, first: bytes, worker: bytes, error: bytes) -> dict[str, Any]:
    """What a status tells of a job that waits or is leased."""
    if not first:
        return {}
    return {
        "attempt": ended + 1,
        "error": error_in(error),
        "worker": worker_of(worker),
        "first_failed_at": int(first),
    }


def status(words: bytes, died: bytes) -> Status:
    """The status of a dead letter."""
    reason, _, attempts, first, *_, worker, error = words.split(b" ")
    return Status(
        results.DEAD,
        attempt=int(attempts),
        error=error_in(_unless_empty(error)),
        worker=worker_of(_unless_empty(worker)),
        first_failed_at=int(first),
        reason=reason.decode(),
        died_at=_ms(died),
    )


def summary(jobs: int, size: int, oldest: bytes, fallen: int, dropped: int) -> DeadSummary:
    """The dead letters of a type."""
    return DeadSummary(jobs, size, _ms(oldest) if oldest else None, fallen, dropped)


def _letter(member: bytes, died: bytes, words: bytes, payload: bytes) -> DeadLetter:
    queue_id, _, job_id = member.decode().partition("/")
    (
        reason,
        _,
        attempts,
        first,
        limit,
        priority,
        cost,
        interval,
        burst,
        slots,
        group,
        worker,
        error,
    ) = words.split(b" ")
    return DeadLetter(
        queue_id=queue_id,
        job_id=job_id,
        payload=payload,
        reason=reason.decode(),
        attempts=int(attempts),
        first_failed_at=int(first),
        died_at=_ms(died),
        error=error_in(_unless_empty(error)),
        worker=worker_of(_unless_empty(worker)),
        priority=int(priority),
        cost=int(cost),
        requeue_limit=int(limit),
        interval=number(interval),
        burst=int(burst) or None,
        concurrency=int(slots) or None,
        group=_unless_empty(group).decode() or None,
    )


def _unless_empty(word: bytes) -> bytes:
    return b"" if word == _EMPTY else word


def _type_in(word: str) -> str | None:
    told = error_in(f"{word}}}".encode()) if word else None
    return None if told is None else told.type


def _count(word: str) -> int | None:
    return int(word) if word else None


def _ms(us: bytes) -> int:
    return _us(us) // 1000


def _us(us: bytes) -> int:
    return int(float(us))
