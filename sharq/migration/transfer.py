"""How a chunk of jobs moves: it is in one store or the other at any time, and once.

1. `Target.stage` keeps the chunk in the target, where nobody gets its jobs, under a token.
2. `Source.take` removes its jobs from the original as far as they still stand there, and leaves a
   receipt with the token and what was removed, in one script.
3. `Target.take_over` puts what was removed into the queues, and notes with the chunk what became of
   each job, in one script, which does so once for a token.
4. What cannot come is written to the file of rejects. Then the next chunk takes the place of this.

Whoever begins again finds the chunk. If the receipt has its token, the steps from 3 on are made
again; otherwise nothing was removed, and the chunk is forgotten.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from sharq import results
from sharq.migration.jobs import CONFLICT, IS_THERE, LEASED, REQUEUED, WAITING, Coming, valid
from sharq.migration.lock import LockLost, SweepLock
from sharq.migration.rejects import Rejects
from sharq.migration.report import Report
from sharq.migration.source import GONE, Found, Source
from sharq.migration.target import Target

_REFUSED: Final = {results.DUPLICATE: IS_THERE, results.CONFLICT: CONFLICT}


class OtherTarget(Exception):
    """The source has the receipt of jobs that are on their way to another target."""


class Transfer:
    """Moves, copies or only counts chunks of jobs; `report` has what became of them."""

    def __init__(
        self,
        source: Source,
        target: Target,
        rejects: Rejects,
        report: Report,
        lock: SweepLock,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._target = target
        self._rejects = rejects
        self._report = report
        self._lock = lock
        self._clock = clock

    def recover(self, kind: bytes, receipt: tuple[str, str] | None) -> None:
        """End what a migration has begun that did not come to its end.

        `receipt` is what the source has of it. Raises `OtherTarget`.
        """
        name = valid(kind)
        token, jobs = ("", []) if name is None else self._target.staged(name)
        if receipt is None:
            removed, bits = "", ""
        elif not token and name is not None:
            raise OtherTarget
        else:
            removed, bits = receipt
        if token and token == removed:
            self._settle(kind, name, token, _marked(jobs, bits), self._source.time())
        if token or receipt is not None:
            self.end(kind)

    def end(self, kind: bytes) -> None:
        """Remove what is kept of the last chunk of a type in both stores.

        The receipt goes first, so where there is one, its target has a chunk.
        """
        self._source.drop_receipt(kind)
        name = valid(kind)
        if name is not None:
            self._target.end(name)

    def move(self, kind: bytes, found: Sequence[Found], jobs: Sequence[Coming], now: int) -> int:
        """Move jobs; how many have left the source. `now` is its time when they were read.

        `found` and `jobs` are the same jobs in the same order, all waiting or all leased.
        """
        read_at = self._clock()
        self._lock.hold()
        token = secrets.token_hex(8)
        name = valid(kind)
        if name is not None:
            self._target.stage(name, token, jobs)
        else:
            # None of them can come, and the target has no place for a chunk of such a type.
            self._rejects.write(kind, jobs)
        take = self._source.take if jobs[0].how == WAITING else self._source.take_leases
        bits = take(kind, token, found, self._lock.owner)
        if bits == GONE:
            raise LockLost
        left = _marked(jobs, bits)
        self._settle(kind, name, token, left, now + round((self._clock() - read_at) * 1000))
        return len(left)

    def copy(self, kind: bytes, jobs: Sequence[Coming], now: int) -> None:
        """Copy jobs that the source keeps."""
        self._lock.hold()
        self._settle(kind, valid(kind), "", jobs, now)

    def count(self, kind: bytes, jobs: Sequence[Coming], now: int) -> None:
        """Count jobs as if they had come."""
        for job in jobs:
            self._count(kind, job, now)

    def _settle(
        self, kind: bytes, name: str | None, token: str, left: Sequence[Coming], now: int
    ) -> None:
        able = [job for job in left if not job.reason]
        words = [] if name is None else self._target.take_over(name, token, able, now)
        refused = [job for job in left if job.reason]
        for job, word in zip(able, words, strict=True):
            if word == results.COPIED:
                self._report.copied += 1
            elif word in _REFUSED:
                refused.append(msgspec.structs.replace(job, reason=_REFUSED[word]))
            else:
                self._count(kind, job, now)
        self._rejects.write(kind, refused)
        for job in refused:
            self._count(kind, job, now)

    def _count(self, kind: bytes, job: Coming, now: int) -> None:
        report = self._report
        if job.reason:
            report.rejects[job.reason] += 1
            return
        report.queues.add((kind, job.queue))
        report.jobs += job.how == WAITING
        report.leases += job.how == LEASED
        report.requeued += job.how == REQUEUED
        if job.is_doubtful(now):
            report.note_doubtful(b"/".join((kind, job.queue, job.job)).decode())


def _marked(jobs: Sequence[Coming], bits: str) -> list[Coming]:
    return [job for job, bit in zip(jobs, bits, strict=True) if bit == "1"]
