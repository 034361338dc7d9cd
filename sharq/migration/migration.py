"""The way of a migration: all types, of each the leased jobs and then the queues."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from sharq.blocking_engine import SyncEngine
from sharq.migration.finding import Finder
from sharq.migration.jobs import LEASED, REQUEUED, SECOND_COPY, WAITING, Coming, coming
from sharq.migration.lock import SweepLock
from sharq.migration.rejects import Rejects
from sharq.migration.report import Drain, Report
from sharq.migration.source import CHUNK, Found, Looked, Source
from sharq.migration.target import Target
from sharq.migration.transfer import Transfer
from sharq.migration.usage import counts_of, have_grown
from sharq.settings.options import StoreSettings

LEASE: Final = "lease"
REQUEUE: Final = "requeue"


class InUse(Exception):
    """Servers of the original still take or give jobs; nothing was changed."""


class NoSuchType(Exception):
    """The original has none of `types`, which were named; nothing was changed."""

    def __init__(self, types: list[str]) -> None:
        super().__init__(types)
        self.types = types


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `types` are those to be moved, None for all.

    `active` is LEASE or REQUEUE. With `keep` the source stays as it is, with `follow` the migration
    goes on until the source has been empty for `quiet` seconds; `watch` is for how many seconds it
    looks whether the source is in use.
    """

    types: Collection[str] | None = None
    dry_run: bool = False
    active: str = LEASE
    keep: bool = False
    follow: bool = False
    quiet: float = 10.0
    watch: float = 5.0
    pause: float = 0.25


class Migration:
    """Moves what `old` has to the store of `engine`.

    `lease_ms` is the length of a lease there. `show` is told how many jobs are done, and about how
    many there are.
    """

    def __init__(
        self,
        old: StoreSettings,
        lease_ms: int,
        engine: SyncEngine,
        plan: Plan,
        rejects: str,
        show: Callable[[int, int], None] = lambda _done, _total: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.report = Report(dry_run=plan.dry_run)
        self._source = Source(old)
        self._target = Target(engine, lease_ms)
        self._rejects = Rejects(rejects)
        self._plan = plan
        # Whether the source stays as it is.
        self._stays = plan.keep or plan.dry_run
        self._show = show
        self._clock = clock
        self._sleep = sleep
        self._lock = SweepLock(self._source, clock, sleep)
        self._transfer = Transfer(
            self._source, self._target, self._rejects, self.report, self._lock, clock
        )
        named = plan.types
        self._wanted = None if named is None else {os.fsencode(kind) for kind in named}
        self._finder = Finder(self._source, self._wanted, self._stay_alive)
        self._recovered: set[bytes] = set()
        self._done = 0
        self._with_payload = 0

    def run(self) -> Report:
        """Carry it out.

        Raises `NoSuchType`, `InUse`, `OtherTarget`, `LockLost`, `SomebodyElse`, `CannotWrite` and
        `StoreError`; whatever has moved by then is in the target, and the next run goes on with the
        rest.
        """
        begun = self._clock()
        with ExitStack() as stack:
            stack.callback(self._source.close)
            stack.callback(self._rejects.close)
            self._check_types()
            before = counts_of(self._source)
            if not self._plan.follow:
                self._sleep(self._plan.watch)
                self.report.in_use = have_grown(before, counts_of(self._source))
                if self.report.in_use and not self._plan.dry_run:
                    raise InUse
            if not self._plan.dry_run:
                stack.enter_context(self._lock)
            if not self._stays:
                self._recover()
            self._pass(everywhere=True)
            if self._plan.follow and not self._plan.dry_run:
                self._follow()
            elif not self._plan.follow:
                self.report.in_use = have_grown(before, counts_of(self._source))
            self._tidy()
        self.report.cut()
        self.report.seconds = self._clock() - begun
        return self.report

    def _check_types(self) -> None:
        """Raise `NoSuchType` for types that are named, and neither there nor moved before."""
        lacking = set(self._wanted or ())
        if lacking:
            lacking -= self._source.types() | self._source.receipts().keys()
        if lacking:
            lacking -= self._target.types()
        if lacking:
            lacking -= Finder(self._source, lacking, lambda: None).everywhere().keys()
        if lacking:
            raise NoSuchType(sorted(kind.decode(errors="replace") for kind in lacking))

    def _recover(self) -> None:
        receipts = self._source.receipts()
        for kind in dict.fromkeys((*receipts, *self._target.types())):
            if self._wanted is None or kind in self._wanted:
                self._transfer.recover(kind, receipts.get(kind))
                self._recovered.add(kind)

    def _follow(self) -> None:
        quiet_since = self._clock()
        while True:
            over = self._clock() - quiet_since >= self._plan.quiet
            moved = self._pass(everywhere=over)
            if moved:
                quiet_since = self._clock()
            elif over:
                return
            self._lock.hold()
            self._sleep(self._plan.pause)

    def _pass(self, *, everywhere: bool) -> int:
        """Go through all that is there now; how many jobs have been met."""
        before = self._done
        found = self._finder.everywhere() if everywhere else self._finder.scheduled()
        for kind, queues in found.items():
            if self._stays:
                self._target.check(kind.decode(errors="replace"))
            if kind not in self._recovered and not self._stays:
                self._transfer.recover(kind, None)
                self._recovered.add(kind)
            at = self._done
            self._move_leases(kind)
            self._move_waiting(kind, list(queues))
            if self._done > at and not self._stays:
                self._transfer.end(kind)
        return self._done - before

    def _move_leases(self, kind: bytes) -> None:
        how = REQUEUED if self._plan.active == REQUEUE else LEASED
        begin = 0
        while True:
            looked = self._source.look_at_leases(kind, begin)
            if not looked.jobs:
                return
            jobs = [self._judge(kind, found, how, again=False) for found in looked.jobs]
            self._carry(kind, looked, jobs)
            begin += len(jobs) if self._stays else 0

    def _move_waiting(self, kind: bytes, queues: list[bytes]) -> None:
        places = dict.fromkeys(queues, 0)
        met: dict[bytes, set[bytes]] = {}
        left = deque(queues)
        while left:
            some = [left.popleft() for _ in range(min(CHUNK, len(left)))]
            looked = self._source.look(kind, [(queue, places[queue]) for queue in some])
            jobs: list[Coming] = []
            for found in looked.jobs:
                known = met.setdefault(found.queue, set())
                jobs.append(self._judge(kind, found, WAITING, again=found.job in known))
                known.add(found.job)
            self._note_drains(kind, looked, places)
            all_left = not jobs or self._carry(kind, looked, jobs) == len(jobs)
            read = Counter(found.queue for found in looked.jobs)
            for queue in reversed(some):
                length = looked.lengths.get(queue, 1)
                over = length == places[queue] + read[queue] and all_left
                places[queue] += read[queue] if self._stays else 0
                if over:
                    met.pop(queue, None)
                else:
                    # It has more jobs, has not been looked at yet, or somebody else took some.
                    left.appendleft(queue)

    def _judge(self, kind: bytes, found: Found, how: str, *, again: bool) -> Coming:
        return coming(kind, found, how, self._target.max_payload_bytes, again=again)

    def _carry(self, kind: bytes, looked: Looked, jobs: list[Coming]) -> int:
        """Have a chunk done; how many of its jobs are."""
        if self._plan.dry_run:
            self._transfer.count(kind, jobs, looked.time)
            done = len(jobs)
        elif self._plan.keep:
            self._transfer.copy(kind, jobs, looked.time)
            done = len(jobs)
        else:
            done = self._transfer.move(kind, looked.jobs, jobs, looked.time)
        self._done += done
        self._with_payload += sum(bool(job.payload) for job in jobs if job.reason != SECOND_COPY)
        self._show(self._done, max(self._done, self._finder.payloads))
        return done

    def _note_drains(self, kind: bytes, looked: Looked, places: dict[bytes, int]) -> None:
        if not self._plan.dry_run:
            return
        for found in {found.queue: found for found in reversed(looked.jobs)}.values():
            if places[found.queue]:
                continue
            job = self._judge(kind, found._replace(payload=None), WAITING, again=False)
            count = looked.lengths[found.queue]
            wait = min(max(0, job.ready - looked.time), job.interval)
            names = kind.decode(errors="replace"), found.queue.decode(errors="replace")
            ms = wait + (count - 1) * job.interval
            self.report.note_drain(Drain(ms, *names, count, job.interval))

    def _tidy(self) -> None:
        """Count what belongs to no job, and remove what would be taken for a queue."""
        if self._stays:
            self.report.leftovers = max(0, self._finder.payloads - self._with_payload)
            return
        for kind, queues in self._finder.seen.items():
            self.report.ghosts += self._source.tidy(kind, list(queues))
        self._finder.everywhere()
        self.report.leftovers = self._finder.payloads

    def _stay_alive(self) -> None:
        if not self._plan.dry_run:
            self._lock.hold()
