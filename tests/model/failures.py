"""How a lease ends other than by a finish, what a job keeps of its failures, and the backoff."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from math import floor

from sharq.endings import Ending, fail_with, release_with
from sharq.results import JobError
from sharq.settings.options import QueueSettings
from tests.model.names import JobName

IN_A_ROW = 3
"""So many expiries in a row, and the next delivery waits for the backoff."""

_FARTHEST_POWER = 62


@dataclass(frozen=True, slots=True)
class End:
    """An end of a lease: `how` is finish, release, return, fail, reject or expiry.

    `delay` (ms) is None where the backoff decides; `error` and `worker` are None if not told.
    """

    how: str
    delay: int | None = 0
    error: JobError | None = None
    worker: str | None = None

    @property
    def counted(self) -> bool:
        return self.how != "return"

    @property
    def is_failure(self) -> bool:
        return self.how in ("fail", "reject", "expiry")

    def ending(self) -> Ending:
        """The same, as a caller tells it."""
        if self.how == "finish":
            return Ending(True)
        if self.how in ("release", "return"):
            return release_with(self.delay, self.how == "release")
        retry = self.how == "fail"
        return fail_with(self.error, retry, self.delay if retry else None, worker=self.worker)


EXPIRY = End("expiry")


@dataclass(frozen=True, slots=True)
class History:
    """The failures of a job: when the first was (ms), expiries in a row, what was told last."""

    first: int
    expiries: int = 0
    worker: str | None = None
    error: JobError | None = None


def history_after(history: History | None, end: End, now: int) -> History | None:
    """What a job keeps after an end of its lease."""
    if end.is_failure:
        history = history or History(now)
    if history is None or end.how == "return":
        return history
    if end.how == "expiry":
        return replace(history, expiries=history.expiries + 1)
    return replace(
        history,
        expiries=0,
        worker=end.worker if end.worker is not None else history.worker,
        error=end.error if end.error is not None else history.error,
    )


def delay_after(
    end: End, history: History | None, settings: QueueSettings, seed: str, name: JobName, n: str,
    attempt: int,
) -> int:  # fmt: skip
    """After how many ms the job may go again; `history` is the one after this end."""
    if end.how == "expiry":
        waits = history is not None and history.expiries >= IN_A_ROW
    else:
        waits = end.delay is None
    if not waits:
        return end.delay or 0
    longest = min(
        settings.backoff_min * 2 ** min(attempt - 1, _FARTHEST_POWER), settings.backoff_max
    )
    drawn = hashlib.sha1(f"{seed}:{name.queue_id}/{name.job_id}:{n}".encode()).hexdigest()
    return floor(longest * (0.8 + 0.4 * (int(drawn[:8], 16) / 2**32)) + 0.5)
