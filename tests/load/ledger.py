"""What became of every job and every request of the measured load."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Sequence


class Times:
    """Durations in seconds, and their shares."""

    def __init__(self) -> None:
        self._all = array("d")

    def add(self, seconds: float) -> None:
        self._all.append(seconds)

    def summary(self) -> dict[str, float]:
        """How many there are, and p50, p99 and the longest of them in ms."""
        ordered = sorted(self._all)
        return {
            "count": len(ordered),
            "p50_ms": _at(ordered, 0.5),
            "p99_ms": _at(ordered, 0.99),
            "most_ms": _at(ordered, 1.0),
        }


def _at(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)


class Ledger:
    """The jobs from their enqueue to their end, and what went wrong, each kind with its number."""

    def __init__(self) -> None:
        self.accepted = 0
        self.finished = 0
        self.troubles: Counter[str] = Counter()
        self.enqueue = Times()
        self.delivery = Times()
        self.finish = Times()
        self.asked = Times()
        self._sent: dict[str, float] = {}
        self._taken: dict[str, float] = {}

    @property
    def outstanding(self) -> int:
        """Jobs that are not finished."""
        return len(self._sent) + len(self._taken)

    def begin_anew(self) -> Counter[str]:
        """Forget what went wrong so far, and return it."""
        before, self.troubles = self.troubles, Counter()
        return before

    def sending(self, job_id: str) -> None:
        """A job is about to be enqueued."""
        self._sent[job_id] = time.monotonic()

    def answered(self, job_id: str, began: float, status: int) -> None:
        """Its enqueue was answered."""
        self.enqueue.add(time.monotonic() - began)
        if status == 201:
            self.accepted += 1
        else:
            self._sent.pop(job_id, None)
            self.troubles[f"an enqueue was answered {status}"] += 1

    def delivered(self, job_id: str) -> None:
        """Somebody was given a job."""
        now = time.monotonic()
        sent = self._sent.pop(job_id, None)
        if sent is None:
            self.troubles["a job was delivered that nobody waits for"] += 1
        else:
            self.delivery.add(now - sent)
            self._taken[job_id] = now

    def ended(self, job_id: str, how: object) -> None:
        """The finish of a job was answered."""
        taken = self._taken.pop(job_id, None)
        if how != "success" or taken is None:
            self.troubles[f"a finish was answered {how}"] += 1
            return
        self.finished += 1
        self.finish.add(time.monotonic() - taken)
