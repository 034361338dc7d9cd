"""The dead letters of a type: what is kept of a job that died, the bounds, a bulk over many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from urllib.parse import quote

import msgspec

from sharq.results import DeadFilter, DeadLetter, JobError
from sharq.settings.options import QueueSettings
from tests.model.rates import Ms

DAY = 24 * 3_600_000
HOUR = 3_600_000
CLAIM = 10_000
AT_ONCE = 100
"""How many fall out in one script, and how many a step of a bulk moves."""

LOOKS = 200
"""How many a step of a bulk looks at."""

Member = tuple[str, str]
"""The queue and the job."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; `score` is its death (µs), `first` its first failure (ms)."""

    queue_id: str
    job_id: str
    payload: bytes
    reason: str
    n: str
    attempts: int
    first: int
    limit: int
    priority: int
    cost: int
    interval: Ms
    burst: int | None
    concurrency: int | None
    group: str | None
    worker: str | None
    error: JobError | None
    score: int = 0

    @property
    def member(self) -> Member:
        return self.queue_id, self.job_id

    @property
    def died_at(self) -> int:
        return self.score // 1000

    def about(self) -> str:
        """The same but the payload, as docs/keyspace.md has it in the store."""
        whole = isinstance(self.interval, int)
        interval = str(self.interval) if whole else f"{float(self.interval):.3f}"
        words = (
            *(self.reason, self.n, self.attempts, self.first, self.limit, self.priority),
            *(self.cost, interval, self.burst or 0, self.concurrency or 0, self.group or "-"),
            *(worker_word(self.worker) or "-", error_word(self.error) or "-"),
        )
        return " ".join(map(str, words))

    @property
    def limits(self) -> tuple[Ms, int | None, int | None, str | None]:
        """Those that a queue without an interval gets again."""
        return self.interval, self.burst, self.concurrency, self.group

    @property
    def bytes(self) -> int:
        """What counts for the bound."""
        member = "/".join(self.member)
        return len(member) + len(self.about().encode()) + len(self.payload)

    def shown(self) -> DeadLetter:
        """The same, as a caller gets it."""
        return DeadLetter(
            queue_id=self.queue_id,
            job_id=self.job_id,
            payload=self.payload,
            reason=self.reason,
            attempts=self.attempts,
            first_failed_at=self.first,
            died_at=self.died_at,
            error=self.error,
            worker=self.worker,
            priority=self.priority,
            cost=self.cost,
            requeue_limit=self.limit,
            interval=float(self.interval),
            burst=self.burst,
            concurrency=self.concurrency,
            group=self.group,
        )

    def passes(self, chosen: DeadFilter) -> bool:
        """Whether a filter lets it through."""
        error_type = None if self.error is None else self.error.type
        return (
            chosen.queue_id in (None, self.queue_id)
            and chosen.reason in (None, self.reason)
            and chosen.error in (None, error_type)
            and (chosen.before is None or self.died_at < chosen.before)
        )


@dataclass(slots=True)
class Bulk:
    """A retry or a deletion of many. `until`: the newest score that it takes."""

    id: str
    kind: str
    filter: DeadFilter
    limit: int | None
    started: int
    until: int
    state: str = "running"
    moved: int = 0
    conflicts: int = 0
    seen: int = 0
    server: str = ""
    claimed_till: int = 0
    ends: int | None = None

    @property
    def runs(self) -> bool:
        return self.state == "running"

    def most(self) -> int:
        """How many the next step may move."""
        return AT_ONCE if self.limit is None else min(AT_ONCE, self.limit - self.moved)

    def end(self, state: str, now: int) -> None:
        self.state, self.ends = state, now + HOUR


@dataclass(slots=True)
class Letters:
    """All of a type, the oldest first. `ends` (ms): when the counts are forgotten without any.

    `kept`: for each queue that has some the limits at its last death.
    """

    all: dict[Member, Letter] = field(default_factory=dict)
    last: int = 0
    fallen: int = 0
    dropped: int = 0
    kept: dict[str, tuple[Ms, int | None, int | None, str | None]] = field(default_factory=dict)
    ends: int | None = None
    bulk: Bulk | None = None
    added: bool = False

    @property
    def bytes(self) -> int:
        return sum(letter.bytes for letter in self.all.values())

    @property
    def oldest(self) -> Letter | None:
        return next(iter(self.all.values()), None)

    def newest_first(self, chosen: DeadFilter) -> list[Letter]:
        return [letter for letter in reversed(self.all.values()) if letter.passes(chosen)]

    def add(self, letter: Letter, now_us: int, most_bytes: int) -> bool:
        """The job has died now; an older death of it falls out. Whether it is kept."""
        if letter.member in self.all:
            self.remove(letter.member, now_us // 1000)
            self.fallen += 1
        self.added = True
        if letter.bytes > most_bytes:
            self.dropped += 1
            if not self.all:
                self.ends = now_us // 1000 + DAY
            return False
        self.kept[letter.queue_id] = letter.limits
        self.last = max(now_us, self.last + 1)
        self.all[letter.member] = replace(letter, score=self.last)
        self.ends = None
        return True

    def remove(self, member: Member, now: int) -> None:
        del self.all[member]
        if all(queue_id != member[0] for queue_id, _ in self.all):
            del self.kept[member[0]]
        if not self.all:
            self.ends = now + DAY

    def trim_added(self, settings: QueueSettings, now_us: int) -> None:
        """At the end of a script that has added some."""
        if self.added:
            self.trim(settings, now_us)

    def trim(self, settings: QueueSettings, now_us: int) -> bool:
        """Let the oldest fall out, so that the bounds hold; whether it may not be all."""
        self.added = False
        for _ in range(AT_ONCE):
            oldest = self.oldest
            if oldest is None or not (
                len(self.all) > settings.dead_max_jobs
                or self.bytes > settings.dead_max_bytes
                or oldest.score + settings.dead_retention * 1000 <= now_us
            ):
                return False
            self.remove(oldest.member, now_us // 1000)
            self.fallen += 1
        return True

    def pass_time(self, now: int, *, linger: bool) -> None:
        """What has run out by now is forgotten; with `linger` it stays."""
        if linger:
            return
        if self.ends is not None and self.ends <= now:
            self.last, self.fallen, self.dropped, self.ends = 0, 0, 0, None
        if self.bulk is not None and self.bulk.ends is not None and self.bulk.ends <= now:
            self.bulk = None

    def instants(self, settings: QueueSettings) -> Iterator[int]:
        """The times (ms) at which something is going to change."""
        if self.oldest is not None:
            yield ceil(self.oldest.score / 1000) + settings.dead_retention
        if self.ends is not None:
            yield self.ends
        if self.bulk is not None:
            yield self.bulk.claimed_till if self.bulk.ends is None else self.bulk.ends


def worker_word(worker: str | None) -> str:
    """The name of a worker as a word; empty for none. A `-` alone would be none, too."""
    return "%2D" if worker == "-" else quote(worker or "", safe="")


def error_word(error: JobError | None) -> str:
    """An error as a word; empty for none."""
    if error is None:
        return ""
    told = {name: text for name, text in error._asdict().items() if text is not None}
    return msgspec.json.encode(told).decode().replace(" ", "\x1f")
