"""What an endpoint's answer means for its job. Pure."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from sharq.endings import QUEUE, PauseScope
from sharq.errors import BadArgumentException
from sharq.failures import MAX_MESSAGE
from sharq.forwarding.answers import Answer
from sharq.results import JobError
from sharq.worker.job import LONGEST_PAUSE, Discard, Failed, Throttled

DEAD_ON: Final = "400,401,403,404,410,422"
"""Statuses after which a job is not tried again, if none are chosen."""

_PAUSING: Final = (429, 503)
_SHORTEST_PAUSE: Final = 1.0
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def read_statuses(text: str) -> frozenset[int]:
    """Statuses with commas between them; an empty text is none. Raises `BadArgumentException`."""
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    for word in words:
        if not re.fullmatch(r"[345][0-9][0-9]", word):
            raise BadArgumentException(
                f"--dead-on has to be statuses from 300 to 599 with commas between, not {text!r}."
            )
    return frozenset(map(int, words))


class Rules(NamedTuple):
    """The statuses after which a job is not tried again, and what an endpoint's wish pauses."""

    dead_on: AbstractSet[int]
    pause_scope: PauseScope = QUEUE


def judge(answer: Answer, rules: Rules, now: float) -> None:
    """Return for an answer of success; else raise what the job's worker has to do.

    That is `Discard` with `dead`, `Throttled` for 429 and 503 that say when to come again, and
    `Failed` for all others. `now` is in seconds since 1970.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    failed = Failed(JobError(f"http_{status}", _told(answer)))
    if status in rules.dead_on:
        raise Discard(failed.error.message, dead=True) from failed
    if status in _PAUSING:
        pause = _retry_after(answer, now)
        if pause is not None:
            seconds = min(max(pause, _SHORTEST_PAUSE), LONGEST_PAUSE)
            raise Throttled(seconds, rules.pause_scope)
    raise failed


def _told(answer: Answer) -> str:
    """An answer in one line: the status, and the beginning of the body."""
    reason = answer.reason or _phrase(answer.status)
    told = f"{answer.status} {reason}".strip()
    if 300 <= answer.status < 400:
        to = answer.headers.get("Location")
        told += f" (redirects are not followed{f': {to}' if to else ''})"
    body = " ".join(answer.beginning.decode("utf-8", "replace").split())
    return (f"{told}: {body}" if body else told)[:MAX_MESSAGE]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _retry_after(answer: Answer, now: float) -> float | None:
    """Seconds until another try is welcome; None if the answer does not say.

    A date is compared with that of the answer, so that the endpoint's clock may be wrong.
    """
    wish = answer.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(wish):
        return float(wish)
    until = _moment(wish)
    if until is None:
        return None
    sent = _moment(answer.headers.get("Date", ""))
    return until - (now if sent is None else sent)


def _moment(date: str) -> float | None:
    """An HTTP date, in seconds since 1970; None for anything else."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
