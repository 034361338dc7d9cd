"""A short life of a few queues, through the library: all that can happen to a job, on the record.

The clock of the scripts is moved, so that nothing waits for anything. Times are in ticks, which are
so long that no pause of the machine makes a difference.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from sharq import SharQ
from sharq._fastpath import Job
from sharq.endings import fail_with
from sharq.operations.call import Flow
from sharq.operations.flows import Flows
from sharq.operations.operations import Operations, Told
from sharq.operations.scripts import Scripts
from sharq.operations.targets import Target
from sharq.results import (
    DEAD,
    DUPLICATE,
    QUEUED,
    REMOVE,
    SUCCESS,
    JobError,
    JobOptions,
    Lease,
    LimitValues,
    NewJob,
    Removal,
)
from tests.faults.audit import Drain, offset_key
from tests.faults.history import Recorder
from tests.faults.states import DEAD as DEAD_KEYS
from tests.faults.states import add_counters, dead_letters, level_of, new_counters, split_key
from tests.support.direct import DirectStore, follow
from tests.support.faces import settings_for
from tests.support.stores import PrivateStore

T = TypeVar("T")

_MOST_ROUNDS: Final = 40
"""After so many rounds what is there still is stuck."""

_ERROR: Final = JobError("ValueError", "no such tenant", "File 1\n  line 2")

TICK = 20
"""Milliseconds."""

LEASE = 1000
RETENTION = 2000
BACKOFF = 10, 45
"""Minimum and maximum."""

DEAD_JOBS = 6
DEAD_RETENTION = 2000
PREFIX = "library"
FAILING = "f"
"""The type of jobs that fail."""

LIMITED = "v"
"""The type whose queues, and which itself, have more limits than an interval."""

TYPES = ("t", "u", FAILING, LIMITED)


class Scenario:
    """A client of the library on an empty store, whose history and audit go into `folder`."""

    def __init__(self, store: PrivateStore, folder: Path, scripts: Scripts) -> None:
        settings = settings_for(
            store,
            job_expire_interval=LEASE * TICK,
            finished_retention=RETENTION * TICK,
            interval_retention=RETENTION * TICK,
            backoff_min=BACKOFF[0] * TICK,
            backoff_max=BACKOFF[1] * TICK,
            dead_max_jobs=DEAD_JOBS,
            dead_retention=DEAD_RETENTION * TICK,
            # It sweeps where the scenario says so.
            enable_requeue_script=False,
        )
        self._store = DirectStore(store.socket_path)
        self._folder = folder
        self._store.load(scripts)
        self._operations = Operations(PREFIX, settings.sharq, scripts)
        self._dead = Flows(self._operations, settings.sharq, lambda: 0.0).dead
        self._sharq = SharQ(settings, scripts=scripts)
        self._recorder = Recorder(folder, "client")
        self._log = self._recorder.client("client")
        self._offset_us = 0
        self._made = 0

    def run(self) -> None:
        """Live it, and leave all files that the checker wants."""
        try:
            self._live()
            self._write("final.json", snapshot(self._store))
            self._give_limits_back()
            self._drain_queues()
            self._bulk(FAILING, "delete")
            self._bulk("t", "delete")
            self._write("drained.json", snapshot(self._store))
            self._write("settings.json", self._settings())
            self._drain_audit()
        finally:
            self._close()

    def take_twice(self) -> None:
        """Take a job, and ask for another one."""
        try:
            self._put(*self._jobs("q", 2, 0))
            self._take(1)
            self._take(1)
            self._drain_audit()
        finally:
            self._close()

    # What happens

    def _live(self) -> None:
        self._deliver_and_finish()
        self._run_out()
        self._give_back()
        self._change_rates()
        self._clear()
        self._cancel_some()
        self._limit_queues()
        self._go_in_order()
        self._limit_groups()
        self._pause_some()
        self._fail_some()
        self._put(*self._jobs("b", 2, 30), *self._jobs("d", 1, 0))
        self._take(1)

    def _deliver_and_finish(self) -> None:
        first = self._jobs("a", 3, 0)
        self._put(*first)
        self._put_many(
            [*self._jobs("b", 4, 100), *self._jobs("ab", 2, 0), *self._jobs("b", 1, 100)]
        )
        again = self._jobs("a", 1, 0, name="again")[0]
        self._put(again, again, again._replace(payload=b'"other"'))
        self._put(self._jobs("full", 1, 0)[0], *self._jobs("full", 2, 0, bound=1))
        taken = self._take(5, request="r1")
        assert [job.lease for job in self._take(5, request="r1")] == [job.lease for job in taken]
        self._put(first[0])
        self._finish(taken[0])
        self._finish(taken[0])
        self._finish(taken[1], by_name=True)
        self._put(again)
        for at in range(8):
            self._finish(*self._take(1 + at % 2))
            self._advance(60)
        self._finish_many(taken[1:])
        self._put(NewJob("u", "other", "j", b"1", 0, -1))
        self._finish_many([taken[0], *self._take(1, "u")])

    def _run_out(self) -> None:
        self._put(*self._jobs("limited", 3, 0, limit=1), *self._jobs("b", 4, 10))
        for _ in range(3):
            taken = [job for _ in range(6) for job in self._take_later(10)]
            self._finish(*taken[:1])
            self._advance(LEASE + 1)
            self._sweep()
            again = self._take(3)
            self._finish(*taken[:3])
            self._finish(*again[:1])

    def _give_back(self) -> None:
        self._put(*self._jobs("a", 7, 0, limit=2))
        first, second, third, *rest = self._take(5)
        self._release(third)
        self._release(second, delay=200)
        self._release(first, counted=False)
        self._extend(rest[0], LEASE * 2)
        self._finish(*self._take(3)[2:])
        self._advance(LEASE + 1)
        self._sweep()
        self._advance(-50)
        for job in (*self._take(6), rest[0]):
            self._finish(job)
        for _ in range(4):
            for job in self._take(1):
                self._release(job)

    def _change_rates(self) -> None:
        self._put(*self._jobs("f", 3, 20))
        self._finish(*self._take(1))
        self._put(*self._jobs("f", 1, 300))
        self._advance(25)
        self._finish(*self._take(1))
        self._drain_queues()
        self._put(*self._jobs("e", 6, 500))
        self._finish(*self._take(1))
        self._set_interval("e", 20)
        self._advance(20)
        self._finish(*self._take(1))
        self._put(*self._jobs("e", 1, 300))
        self._advance(20)
        self._finish(*self._take(1))
        self._reset_interval("e")
        self._put(*self._jobs("e", 1, 40))
        for _ in range(5):
            self._advance(25)
            self._finish(*self._take(1))

    def _clear(self) -> None:
        self._drain_queues()
        self._put(*self._jobs("c", 6, 0))
        self._take(2)
        self._clear_queue("c", purge=False)
        self._advance(LEASE + 1)
        self._sweep()
        self._put(*self._jobs("q", 3, 0), *self._jobs("qq", 3, 0))
        leased = self._take(8)
        self._clear_queue("q", purge=True)
        self._clear_queue("q", purge=False)
        for job in leased:
            self._finish(job)

    def _cancel_some(self) -> None:
        jobs = self._jobs("x", 9, 0)
        self._put(*jobs)
        taken = self._take(3)
        self._release(taken[0])
        self._release(taken[1], delay=200)
        for at in (5, 4, 0, 1, 8, 8):
            self._cancel(jobs[at])
        self._cancel(jobs[2])
        self._cancel(jobs[2], taken[2].lease)
        self._finish(*self._take(1))

    def _limit_queues(self) -> None:
        """Bursts, costs and concurrency."""
        self._put(*self._limited("many", 6, 100, burst=3), *self._limited("dear", 4, 50, cost=3))
        for _ in range(7):
            self._finish(*self._take(4, LIMITED))
            self._advance(51)
        self._drain_queues()
        self._put(*self._limited("told", 5, 100, cost=2))
        for how, cost in (("finish", 5), ("release", 1), ("return", 3), ("finish", 1)):
            for job in self._take(2, LIMITED):
                self._advance(70)
                self._settle(job, how, cost)
            for _ in range(4):
                self._take(1, LIMITED)
                self._advance(80)
        self._drain_queues()
        self._put(*self._limited("idle", 4, 100, cost=2))
        (served,) = self._take(1, LIMITED)
        self._advance(200)
        self._finish(*self._take(1, LIMITED))
        self._settle(served, "finish", 1)
        for _ in range(3):
            self._advance(101)
            self._take(1, LIMITED)
        self._drain_queues()
        self._put(*self._limited("slots", 7, 0, concurrency=2))
        taken = self._take(4, LIMITED)
        self._set_limits("queue", "slots", concurrency=3)
        more = self._take(2, LIMITED)
        self._set_limits("queue", "slots", concurrency=1)
        self._finish(*taken)
        self._take(2, LIMITED)
        self._finish(*more)
        self._take(2, LIMITED)
        self._advance(LEASE + 1)
        self._take(2, LIMITED)
        self._sweep()
        self._take(2, LIMITED)
        self._set_limits("queue", "slots", concurrency=REMOVE)
        self._drain_queues()

    def _go_in_order(self) -> None:
        """Priorities and delays."""
        self._put(
            *self._limited("order", 2, 0),
            *self._limited("order", 2, 0, priority=5),
            *self._limited("order", 2, 0, delay=100 * TICK),
            *self._limited("order", 1, 0, priority=9, delay=50 * TICK),
        )
        first, *rest = self._take(4, LIMITED)
        self._put(*self._limited("order", 1, 0, priority=5))
        self._release(first)
        self._finish(*rest[:1], *self._take(1, LIMITED))
        for _ in range(3):
            self._take(1, LIMITED)
            self._advance(40)
        self._drain_queues()

    def _limit_groups(self) -> None:
        """Groups, and the type."""
        self._set_limits("group", "g", interval=40 * TICK, burst=2, concurrency=2)
        self._put(
            *self._limited("g1", 5, 0, group="g"), *self._limited("g2", 5, 0, group="g", cost=2)
        )
        first = self._take(3, LIMITED)
        self._advance(200)
        self._take(3, LIMITED)
        self._finish(*first[:1])
        self._take(3, LIMITED)
        self._set_limits("group", "h", concurrency=1)
        self._set_limits("queue", "g1", group="h")
        self._take(3, LIMITED)
        self._finish(*first)
        self._set_limits("group", "g", interval=90 * TICK)
        for _ in range(6):
            self._finish(*self._take(3, LIMITED)[:1])
            self._advance(30)
        self._put(*self._limited("plain", 3, 0), *self._limited("other", 2, 0))
        self._set_limits("type", interval=25 * TICK, burst=2, concurrency=4)
        for _ in range(8):
            self._finish(*self._take(5, LIMITED)[1:])
            self._advance(20)
        self._give_limits_back()
        self._drain_queues()

    def _pause_some(self) -> None:
        """Pauses at each level, and what is left for the end."""
        self._put(*self._limited("p1", 4, 0, group="g"), *self._limited("p2", 4, 0))
        for kind, name in (("queue", "p1"), ("group", "g"), ("type", "")):
            self._pause(kind, name, 50 * TICK)
            self._finish(*self._take(3, LIMITED)[1:])
            self._advance(51)
            self._finish(*self._take(1, LIMITED))
            self._pause(kind, name, None)
            self._take(1, LIMITED)
            self._pause(kind, name, REMOVE)
        self._put(*self._limited("p1", 2, 0, group="g"), *self._limited("p3", 2, 0, group="g"))
        self._set_limits("group", "g", concurrency=20)
        self._set_limits("type", concurrency=50)
        self._take(6, LIMITED)

    def _fail_some(self) -> None:
        """Failures, expiries in a row, dead letters that fall out, are retried and deleted."""
        self._put(*self._failing("sick", 3, limit=3))
        for at in range(9):
            for job in self._take(3, FAILING):
                self._fail(job, delay=None if at else 30)
            self._advance(13)
        self._advance(60)
        self._fail(*self._take(3, FAILING))
        self._put(*self._failing("worse", 3, limit=4, cost=2, priority=3))
        for _ in range(5):
            self._take(3, FAILING)
            self._advance(LEASE + 1)
            self._sweep()
            self._take(1, FAILING)
            self._advance(70)
        self._put(*self._failing("given", 1, limit=0))
        for job in self._take(1, FAILING):
            self._release(job)
        self._put(*self._failing("bad", 9, limit=2))
        *bad, released = self._take(9, FAILING)
        self._release(released)
        for job in bad[:4]:
            self._fail(job, retry=False)
        self._bury_some(bad)

    def _bury_some(self, bad: list[Job]) -> None:
        self._retry_dead(FAILING, "bad", bad[3].job_id)
        self._retry_dead(FAILING, "bad", bad[3].job_id)
        self._delete_dead(FAILING, "bad", bad[2].job_id)
        again = self._take(3, FAILING)
        self._fail(*again, retry=False)
        for job in bad[4:]:
            self._fail(job, retry=False)
        self._bulk(FAILING, "retry", limit=2)
        # Their queue lives, with another rate.
        self._put(*self._failing("bad", 1, 7))
        self._bulk(FAILING, "retry")
        for _ in range(12):
            self._advance(8)
            self._fail(*self._take(2, FAILING), retry=False)
        # A job of the name is there, and dies later than its dead letter.
        for letter in self._follow(self._dead.page(FAILING)).letters[:1]:
            self._put(NewJob(FAILING, letter.queue_id, letter.job_id, b"1", 0, 0))
            self._retry_dead(FAILING, letter.queue_id, letter.job_id)
        self._drain_queues(fail=True)
        self._put(*self._failing("cleared", 2, limit=0))
        doomed = self._take(2, FAILING)
        self._clear_queue("cleared", purge=False, queue_type=FAILING)
        self._fail(*doomed)
        self._advance(DEAD_RETENTION // 2)
        self._put(*self._failing("late", 2, limit=0))
        self._fail(*self._take(2, FAILING))
        self._advance(DEAD_RETENTION // 2 + 1)
        self._sweep()

    def _give_limits_back(self) -> None:
        for kind, name in (("group", "g"), ("group", "h"), ("type", ""), ("queue", "g1")):
            group = {"group": REMOVE} if kind == "queue" else {}
            self._set_limits(kind, name, interval=REMOVE, burst=REMOVE, concurrency=REMOVE, **group)

    def _drain_queues(self, *, fail: bool = False) -> None:
        """Take and finish all that is there, or have those fail that do."""
        self._advance(LEASE + 1)
        empty = 0
        for _ in range(_MOST_ROUNDS):
            if empty == 2:
                break
            self._sweep()
            jobs = [*self._take(20), *self._take(20, "u"), *self._take(20, LIMITED)]
            self._finish(*jobs)
            failing = self._take(20, FAILING)
            if fail:
                self._fail(*failing)
            else:
                self._finish(*failing)
            jobs += failing
            self._advance(500)
            empty = 0 if jobs else empty + 1

    # How it is done, and put on record

    def _jobs(
        self, queue: str, count: int, interval: int, *, limit: int = -1, name: str = "",
        bound: int | None = None, queue_type: str = "t", **options: Any,
    ) -> list[NewJob]:  # fmt: skip
        jobs = []
        more = JobOptions(**options) if options else None
        for _ in range(count):
            self._made += 1
            payload = msgspec.json.encode({"number": self._made, "text": "x" * (self._made % 300)})
            job_id = name or f"j{self._made}"
            rate = interval * TICK
            jobs.append(NewJob(queue_type, queue, job_id, payload, rate, limit, bound, more))
        return jobs

    def _limited(self, queue: str, count: int, interval: int, **options: Any) -> list[NewJob]:
        return self._jobs(queue, count, interval, queue_type=LIMITED, **options)

    def _failing(self, queue: str, count: int, interval: int = 0, **options: Any) -> list[NewJob]:
        return self._jobs(queue, count, interval, queue_type=FAILING, **options)

    def _fail(self, *jobs: Job, delay: int | None = None, retry: bool = True) -> None:
        for job in jobs:
            ms = None if delay is None else delay * TICK
            fields = {} if ms is None else {"delay": ms}
            i = self._log.invoke("fail", **_named(job), retry=retry, **fields)
            n = job.lease.rpartition("/")[2]
            ending = fail_with(_ERROR, retry, ms if retry else None, worker="w 1")
            told = ending.of(Lease(job.queue_type, job.queue_id, job.job_id, n))
            (ended,) = self._store.run(self._operations.settle(job.queue_type, [told]))
            self._end(i, "fail", ended.outcome)

    def _retry_dead(self, queue_type: str, queue: str, job_id: str) -> None:
        i = self._log.invoke("retry_dead", type=queue_type, queue=queue, job=job_id)
        (ended,) = self._follow(self._dead.retry(queue_type, [(queue, job_id)]))
        self._end(i, "retry_dead", ended.outcome)

    def _delete_dead(self, queue_type: str, queue: str, job_id: str) -> None:
        i = self._log.invoke("delete_dead", type=queue_type, queue=queue, job=job_id)
        (ended,) = self._follow(self._dead.delete(queue_type, [(queue, job_id)]))
        self._end(i, "delete_dead", ended.outcome)

    def _bulk(self, queue_type: str, kind: str, limit: int | None = None) -> None:
        i = self._log.invoke("bulk", type=queue_type, kind=kind)
        assert self._follow(self._dead.begin(queue_type, kind, None, limit)).begun
        self._log.ok(i, "bulk")
        while self._follow(self._dead.advance(queue_type, "scenario")):
            pass
        i = self._log.invoke("bulk_progress", type=queue_type)
        bulk = self._follow(self._dead.progress(queue_type))
        assert bulk is not None
        self._log.ok(i, "bulk_progress", kind=bulk.kind, bulk=bulk.id, moved=bulk.moved)

    def _follow(self, flow: Flow[T]) -> T:
        return follow(flow, self._store.run)

    def _settings(self) -> dict[str, Any]:
        """What the checker has to know of the configuration, in ms."""
        return {
            "interval_retention": RETENTION * TICK,
            "backoff_min": BACKOFF[0] * TICK,
            "backoff_max": BACKOFF[1] * TICK,
            "dead_max_jobs": DEAD_JOBS,
            "dead_retention": DEAD_RETENTION * TICK,
        }

    def _set_limits(self, kind: Any, name: str = "", **values: Any) -> None:
        queue = name if kind == "queue" else f"={name}"
        i = self._log.invoke("limits", type=LIMITED, queue=queue)
        call = self._operations.set_limits(LIMITED, Target(kind, name), LimitValues(**values))
        assert self._store.run(call)
        self._log.ok(i, "limits")

    def _pause(self, kind: Any, name: str, ms: int | Removal | None) -> None:
        queue = name if kind == "queue" else f"={name}"
        i = self._log.invoke("pause", type=LIMITED, queue=queue)
        call = self._operations.pause(LIMITED, Target(kind, name), ms, "closed", "api")
        assert self._store.run(call)
        self._log.ok(i, "pause")

    def _settle(self, job: Job, how: str, cost: int) -> None:
        """End a lease and tell the real cost."""
        op = "finish" if how == "finish" else "release"
        i = self._log.invoke(op, **_named(job), count_requeue=how != "return")
        n = job.lease.rpartition("/")[2]
        told = Told(job.queue_id, job.job_id, n, how, str(cost))
        (ended,) = self._store.run(self._operations.settle(job.queue_type, [told]))
        self._end(i, op, ended.outcome)

    def _put(self, *jobs: NewJob) -> None:
        for job in jobs:
            i = self._invoke_enqueue(job)
            self._end_enqueue(i, self._sharq.submit(job))

    def _put_many(self, jobs: Sequence[NewJob]) -> None:
        numbers = [self._invoke_enqueue(job) for job in jobs]
        for i, outcome in zip(numbers, self._sharq.submit_many(jobs), strict=True):
            self._end_enqueue(i, outcome)

    def _invoke_enqueue(self, job: NewJob) -> int:
        return self._log.invoke(
            "enqueue",
            type=job.queue_type,
            queue=job.queue_id,
            job=job.job_id,
            interval=job.interval,
            limit=job.requeue_limit,
            payload=msgspec.Raw(job.payload),
        )

    def _end_enqueue(self, i: int, outcome: Any) -> None:
        if outcome.outcome in (QUEUED, DUPLICATE):
            self._log.ok(i, "enqueue", duplicate=outcome.outcome == DUPLICATE)
        else:
            self._log.fail(i, "enqueue", code=outcome.outcome)

    def _take(self, count: int, queue_type: str = "t", *, request: str | None = None) -> list[Job]:
        i = self._log.invoke("dequeue", type=queue_type, count=count, request_id=request)
        jobs = self._sharq.take(queue_type, count, request).jobs
        self._log.ok(i, "dequeue", jobs=[_told(job) for job in jobs])
        return jobs

    def _take_later(self, ticks: int) -> list[Job]:
        self._advance(ticks)
        return self._take(1)

    def _finish(self, *jobs: Job, by_name: bool = False) -> None:
        for job in jobs:
            fields = _named(job) | ({"n": 0} if by_name else {})
            i = self._log.invoke("finish", **fields)
            lease = None if by_name else job.lease
            self._end(
                i,
                "finish",
                self._sharq.finish_job(job.queue_type, job.queue_id, job.job_id, lease).outcome,
            )

    def _finish_many(self, jobs: Sequence[Job]) -> None:
        numbers = [self._log.invoke("finish", **_named(job)) for job in jobs]
        outcomes = self._sharq.finish_many([job.lease for job in jobs])
        for i, outcome in zip(numbers, outcomes, strict=True):
            assert not isinstance(outcome, Exception)
            self._end(i, "finish", outcome.outcome)

    def _release(self, job: Job, delay: int = 0, *, counted: bool = True) -> None:
        i = self._log.invoke("release", **_named(job), delay=delay, count_requeue=counted)
        ended = self._sharq.release_job(
            job.queue_type, job.queue_id, job.job_id, job.lease, delay * TICK, counted
        )
        self._end(i, "release", ended.outcome)

    def _extend(self, job: Job, by: int) -> None:
        i = self._log.invoke("extend", **_named(job), by=by)
        extended = self._sharq.extend_job(
            job.queue_type, job.queue_id, job.job_id, by * TICK, job.lease
        )
        self._end(i, "extend", extended.outcome)

    def _end(self, i: int, op: str, outcome: str) -> None:
        if outcome in (SUCCESS, DEAD):
            self._log.ok(i, op)
        else:
            self._log.fail(i, op, code=outcome)

    def _set_interval(self, queue: str, interval: int) -> None:
        i = self._log.invoke("interval", type="t", queue=queue, interval=interval * TICK)
        assert self._sharq.set_interval("t", queue, interval * TICK)
        self._log.ok(i, "interval")

    def _reset_interval(self, queue: str) -> None:
        i = self._log.invoke("reset_interval", type="t", queue=queue)
        assert self._sharq.reset_interval("t", queue)
        self._log.ok(i, "reset_interval")

    def _clear_queue(self, queue: str, *, purge: bool, queue_type: str = "t") -> None:
        i = self._log.invoke("clear", type=queue_type, queue=queue, purge=purge)
        cleared = self._sharq.clear(queue_type, queue, purge)
        self._log.ok(i, "clear", removed=cleared != (0, 0))

    def _cancel(self, job: NewJob, lease: str | None = None) -> None:
        named = {"type": job.queue_type, "queue": job.queue_id, "job": job.job_id}
        named["n"] = lease.rpartition("/")[2] if lease else 0
        i = self._log.invoke("cancel", **named)
        ended = self._sharq.cancel_job(job.queue_type, job.queue_id, job.job_id, lease)
        self._end(i, "cancel", ended.outcome)

    def _sweep(self) -> None:
        self._sharq.sweep()

    def _advance(self, ticks: int) -> None:
        self._offset_us += ticks * TICK * 1000
        words = [(offset_key(f"{PREFIX}:{queue_type}"), self._offset_us) for queue_type in TYPES]
        self._store.command("MSET", *itertools.chain.from_iterable(words))

    def _drain_audit(self) -> None:
        with Drain(self._folder / "audit.jsonl") as drain:
            asyncio.run(drain.drain(self._command, PREFIX))

    def _close(self) -> None:
        self._store.close()
        self._sharq.close()
        self._recorder.close()

    async def _command(self, *words: str | bytes | int) -> Any:
        return self._store.command(*words)

    def _write(self, name: str, what: Any) -> None:
        (self._folder / name).write_bytes(msgspec.json.encode(what))


# A round trip for each key would take longer than all that the scenario does.
_KEYS: Final = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  found[#found + 1] = {key, redis.call('TYPE', key).ok, redis.call('PTTL', key)}
end
return found
"""


def snapshot(store: DirectStore) -> dict[str, Any]:
    """The jobs, counters and keys of a small store."""
    keys, jobs, levels = [], [], []
    buried: dict[str, str] = {}
    counters = new_counters()
    for key, kind, ttl in sorted(map(tuple, store.command("EVAL", _KEYS, 0))):
        name = key.decode()
        keys.append({"key": name, "type": kind.decode(), "ttl": ttl})
        queue_type, rest = split_key(name)
        word, _, queue = rest.partition(":")
        found: Iterable[tuple[str, str, str]] = ()
        if kind == b"string":
            level = level_of(rest, (store.command("GET", key) or b"").decode())
            levels += [{"type": queue_type, **level}] if level is not None else []
        if rest in DEAD_KEYS:
            buried[queue_type] = name.removesuffix(rest) + "dead"
        if word == "held":
            members = (member.decode().split("/") for member in store.command("HKEYS", key))
            found = [(queue, job, "active") for queue, job in members]
        elif word == "j":
            fields = (field.decode() for field in store.command("HKEYS", key))
            found = [(queue, field, "queued") for field in fields if field[0] != ":"]
        elif word == "q":
            first = (store.command("GET", key) or b"").decode().partition(" ")[2].partition(" ")[0]
            found = [(queue, first, "queued")] if first else ()
        elif word == "c" and kind == b"hash":
            flat = iter(store.command("HGETALL", key))
            counts = ((name.decode(), int(count)) for name, count in zip(flat, flat, strict=True))
            add_counters(counters[queue_type], rest, counts)
        jobs += [{"type": queue_type, "queue": q, "job": j, "state": s} for q, j, s in found]
    dead = [_dead(store, queue_type, key) for queue_type, key in buried.items()]
    return {"jobs": jobs, "levels": levels, "dead": dead, "counters": counters, "keys": keys}


def _dead(store: DirectStore, queue_type: str, key: str) -> dict[str, Any]:
    def numbers(*words: str | int) -> dict[str, int]:
        flat = iter(store.command(*words))
        return {name.decode(): int(number) for name, number in zip(flat, flat, strict=True)}

    def sizes(part: str) -> dict[str, int]:
        members = [member.decode() for member in store.command("HKEYS", f"{key}:{part}")]
        return {member: store.command("HSTRLEN", f"{key}:{part}", member) for member in members}

    order = numbers("ZRANGE", f"{key}:order", 0, -1, "WITHSCORES")
    return dead_letters(queue_type, numbers("HGETALL", key), order, sizes("about"), sizes("jobs"))


def _named(job: Job) -> dict[str, Any]:
    n = job.lease.rpartition("/")[2]
    return {"type": job.queue_type, "queue": job.queue_id, "job": job.job_id, "n": n}


def _told(job: Job) -> dict[str, Any]:
    return _named(job) | {"payload": msgspec.Raw(job.payload), "left": job.requeues_remaining}
