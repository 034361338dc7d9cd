"""What becomes of a job of the original: it arrives, or there is a reason why it cannot."""

from __future__ import annotations

from typing import Final

import msgspec

from sharq.identifiers import MAX_INTERVAL, is_identifier
from sharq.migration.payloads import CannotCome, to_json
from sharq.migration.source import Found

NO_PAYLOAD: Final = "no_payload"
BAD_NAME: Final = "bad_name"
SECOND_COPY: Final = "second_copy"
IS_THERE: Final = "is_there"
CONFLICT: Final = "conflict"
"""Why a job cannot come, besides its payload. Its queue in the target has one of its name: the same
one, or one with another payload.
"""

WITH_JSON: Final = (IS_THERE, CONFLICT)
"""The reasons of jobs whose payload is JSON by then."""

WAITING: Final = "waiting"
LEASED: Final = "leased"
REQUEUED: Final = "requeued"
"""How a job comes: to the tail of its queue, with its lease, or from its lease to the head."""

_MOST_REQUEUES: Final = 2**63 - 1


class Coming(msgspec.Struct, array_like=True, frozen=True):
    """A job on its way. `how` is one of the words above.

    `payload` is JSON text, or with a `reason` why it cannot come what the original has of it.
    `ready` is when the next job of its queue may go, `ends` when its lease ends, both in ms by the
    source's clock; 0 means that nothing is known.
    """

    queue: bytes
    job: bytes
    how: str
    reason: str
    payload: bytes
    interval: int
    requeues: int
    ready: int
    ends: int

    def is_doubtful(self, now: int) -> bool:
        """Whether nobody can tell if it comes again for ever, or was about to be discarded.

        A lease that is over at `now` and has -1 requeues left may be either.
        """
        return self.how != WAITING and self.requeues == -1 and self.ends <= now


def valid(name: bytes) -> str | None:
    """The name of a type, queue or job, if it may have one here."""
    text = name.decode("utf-8", "replace")
    return text if is_identifier(text) else None


def coming(kind: bytes, found: Found, how: str, max_bytes: int, *, again: bool) -> Coming:
    """Judge a job of a type; `again` tells that it was met before in its queue."""
    payload, reason = found.payload or b"", ""
    if None in map(valid, (kind, found.queue, found.job)):
        reason = BAD_NAME
    elif again:
        reason = SECOND_COPY
    elif found.payload is None:
        reason = NO_PAYLOAD
    else:
        try:
            payload = to_json(payload, max_bytes)
        except CannotCome as problem:
            reason = problem.reason
    interval = min(max(0, number(found.interval, 0)), MAX_INTERVAL)
    last = number(found.last, 0)
    ready = last + interval if last else 0
    if how == WAITING:
        ready = max(ready, number(found.score, 0))
    return Coming(
        found.queue,
        found.job,
        how,
        reason,
        payload,
        interval,
        min(max(-1, number(found.requeues, -1)), _MOST_REQUEUES),
        ready,
        0 if how == WAITING else number(found.score, 0),
    )


def number(text: bytes | None, missing: int) -> int:
    """A number as the original's scripts write it, `1e+15` among them; `missing` if it is none."""
    if text is None:
        return missing
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return missing
