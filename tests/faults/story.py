"""An audit and a history of a few lines, written by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.faults.audit import Entry
from tests.faults.checker import check_all
from tests.faults.checker.report import Report
from tests.faults.history import Delivered, Event

START = 1_000_000
"""Where both clocks of the audit begin (ms)."""

WALL = 500_000_000
"""How far (µs) the time of day is ahead of the times of the history."""

_REASONS = {
    "release": "exhausted",
    "fail": "exhausted",
    "expiry": "expired",
    "reject": "rejected",
}


class Story:
    """An audit and a history in the making; times are ms after `START`."""

    def __init__(self) -> None:
        self.audit: list[Entry] = []
        self.history = [Event(t=0, p="clock", e="note", op="clock", wall=WALL)]
        self.drained: dict[str, Any] | None = None
        self.settings: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self._expiries: dict[tuple[str, str], int] = {}
        self._operations = 0

    def enter(self, what: str, now: int, *, at: int | None = None, **fields: Any) -> None:
        """Something happens in the store; `at` by its own clock, where the scripts' was moved."""
        at = now if at is None else at
        if what in ("return", "dead"):
            fields = self._ended(what, fields)
        entry = {"type": "t", "queue": "q", "now": START + now, "at": START + at, **fields}
        self.audit.append(Entry(what=what, **entry))

    def _ended(self, what: str, fields: dict[str, Any]) -> dict[str, Any]:
        """How a lease has ended, as far as that is not told: by an expiry, or a release."""
        swept = fields.get("script") == "requeue"
        given = "release" if fields.get("counted", True) else "return"
        told = {"how": "expiry" if swept else given, "attempt": 1, **fields}
        how, job = told["how"], (fields.get("queue", "q"), fields["job"])
        if how != "return":
            self._expiries[job] = self._expiries.get(job, 0) + 1 if how == "expiry" else 0
        if what == "dead":
            self._expiries.pop(job, None)
            return {"reason": "" if told.get("cleared") else _REASONS.get(how, ""), **told}
        return {"expiries": self._expiries.get(job, 0), **told}

    def put(self, job: str, now: int = 0, *, interval: int = 0, **fields: Any) -> None:
        queue = fields.get("queue", "q")
        self._places[queue] = self._places.get(queue, 0) + 1
        fields = {"asked": interval, "interval": interval, "place": self._places[queue], **fields}
        self.enter("enqueue", now, job=job, **fields)

    def go(self, job: str, n: int, now: int = 0, **fields: Any) -> None:
        """A dispatch, by default of a first delivery under a lease of a second."""
        fields = {"attempt": 1, "ends": START + now + 1000, "place": int(job[1:]), **fields}
        self.enter("dispatch", now, job=job, n=n, **fields)

    def end(self, job: str, n: int, now: int = 0) -> None:
        self.enter("finish", now, job=job, n=n)

    def back(self, job: str, n: int, now: int, **fields: Any) -> None:
        """An expiry."""
        fields = {"script": "requeue", "due": START + now, **fields}
        self.enter("return", now, job=job, n=n, **fields)

    def say(
        self, op: str, outcome: str, *, p: str = "c", answer: Any = None, **fields: Any
    ) -> None:
        """A client asks for something of a job, and gets an answer."""
        self._operations += 1
        head: dict[str, Any] = {"t": len(self.history), "p": p, "op": op, "i": self._operations}
        self.history.append(Event(**head, e="invoke", **{"type": "t", "queue": "q", **fields}))
        self.history.append(Event(**head, e=outcome, **(answer or {})))

    def ask(self, job: str, outcome: str = "ok", payload: bytes = b"1", **answer: Any) -> None:
        """A client puts a job in."""
        self.say("enqueue", outcome, job=job, payload=msgspec.Raw(payload), answer=answer)

    def tell(self, job: str, n: int, *, p: str = "c", request: str | None = None,
             payload: bytes = b"1", **told: Any) -> None:  # fmt: skip
        """A client is given a job by a dequeue."""
        given = Delivered(queue="q", job=job, n=n, left=-1, payload=msgspec.Raw(payload), **told)
        self.say("dequeue", "ok", p=p, request_id=request, answer={"jobs": [given]})

    def note(self, op: str, *, p: str = "ws#1", ms: int = 0, **fields: Any) -> None:
        """Something on a websocket, or a fault at `ms`."""
        t = START * 1000 - WALL + ms * 1000
        self.history.append(Event(t=t, p=p, e="note", op=op, **fields))

    def fault(self, op: str, begin: int, end: int, target: str = "") -> None:
        self.note(op, p="faults", ms=begin, phase="begin", target=target)
        self.note(op, p="faults", ms=end, phase="end", target=target)

    def report(self) -> Report:
        settings = {"interval_retention": 1000, "job_requeue_interval": 100, "grace": 100}
        settings |= self.settings
        return check_all(lambda: self.history, self.audit, None, self.drained, settings)

    @property
    def violated(self) -> set[str]:
        return self.report().violated


def dispatches(story: Story, *times: int, clock: int = 0) -> None:
    first = sum(entry.what == "dispatch" for entry in story.audit)
    for at, now in enumerate(times, first + 1):
        story.go(f"j{at}", at, now + clock, at=now)


def set_interval(story: Story, now: int, interval: int) -> None:
    story.enter("interval", now, interval=interval)
    story.say("interval", "ok", interval=interval)


def jobs(story: Story, count: int, interval: int) -> None:
    for at in range(1, count + 1):
        story.ask(f"j{at}")
        story.put(f"j{at}", interval=interval)
