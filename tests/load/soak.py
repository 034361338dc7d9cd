"""One run: all is opened, held while jobs go through, and closed; then the books are looked at."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.progress import Progress
from sharq.settings.options import OPTIONS
from tests.load import gauges, slow, verdict
from tests.load.gauges import Sample
from tests.load.held import Crowd
from tests.load.ledger import Ledger
from tests.load.producers import Producers
from tests.load.slow import LARGE_QUEUES, LARGE_TYPE, Slow
from tests.load.verdict import Verdict
from tests.load.wire import Peer, Place
from tests.server.command import Server
from tests.support.stores import PrivateStore

_FILES = Path(__file__).parent.parent / "support" / "tls"
_TLS = {
    "SHARQ_SERVER_TLS_CERTIFICATE": str(_FILES / "server.pem"),
    "SHARQ_SERVER_TLS_KEY": str(_FILES / "server.key"),
}
_LOOK_EVERY = 5.0
_WARM_UP = 180.0
_WARM_UP_SHARE = 0.4
_RAMP = 600.0
_DRAIN = 30.0
_SETTLE = 30.0
_SPREAD = 60.0
_TYPES = 50
_FILES_ALLOWED = 8
_SERVER_GROWTH = (0.03, 4096)
_STORE_GROWTH = (0.05, 16384)


class Plan(NamedTuple):
    """How long, how many, how much: `rate` jobs a second, whose times may be `p99_ms`."""

    minutes: float
    connections: int
    slow: int
    rate: float
    tls: bool
    p99_ms: float


class Outcome(NamedTuple):
    """What a run has shown."""

    verdicts: list[Verdict]
    figures: dict[str, Any]
    samples: list[Sample]

    @property
    def good(self) -> bool:
        return all(each.good for each in self.verdicts)


class Stand(NamedTuple):
    """A store and a server of the run's own."""

    store: PrivateStore
    server: Server

    def look(self, at: float, held: int, slow_ones: int) -> Sample:
        return gauges.look(
            at, self.server.process.pid, self.store.pid, self.store.client, held, slow_ones
        )


@contextmanager
def standing(plan: Plan) -> Iterator[Stand]:
    """Start a store and a server, and end them."""
    with tempfile.TemporaryDirectory(prefix="sharq-soak-") as home, PrivateStore() as store:
        settings = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
            **(_TLS if plan.tls else {}),
            **_no_limit_for_an_address(plan.connections + plan.slow + 100),
        }
        with Server(Path(home), embedded=False, **settings) as server:
            yield Stand(store, server)


def _no_limit_for_an_address(connections: int) -> dict[str, str]:
    """All of the load comes from one address."""
    return {
        option.variable: str(connections)
        for option in OPTIONS
        if option.name == "connections_per_address"
    }


class Soak:
    """A run as planned against a stand, told to `progress` and, a line now and then, to `say`."""

    def __init__(
        self, plan: Plan, stand: Stand, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._stand = stand
        self._progress = progress
        self._say = say
        self._began = time.monotonic()
        self._samples: list[Sample] = []
        self._tasks: set[asyncio.Task[None]] = set()
        context = ssl.create_default_context(cafile=_FILES / "authority.pem")
        self._place = Place(stand.server.port, context if plan.tls else None)
        poll_types = [f"poll-{number}" for number in range(_TYPES)]
        push_types = [f"push-{number}" for number in range(_TYPES)]
        self._ledger = Ledger()
        self._crowd = Crowd(self._place, self._ledger, poll_types, push_types)
        self._slow = Slow(self._place)
        self._producers = Producers(self._place, self._ledger, poll_types + push_types, plan.rate)

    async def run(self) -> Outcome:
        """Run; raises `TimeoutError` where the connections cannot be opened."""
        await self._fill()
        keys = gauges.keys(self._stand.store.client)
        before = self._look()
        try:
            await self._open()
            opened = time.monotonic() - self._began
            failed = self._ledger.begin_anew()
            if failed:
                self._say(f"While they were opened: {'; '.join(_counted(failed))}")
            producing = self._start(self._producers.run())
            await self._hold()
            producing.cancel()
            await asyncio.wait({producing})
            await self._until(lambda: not self._ledger.outstanding, _DRAIN)
        finally:
            last = self._look()
            await self._close()
        after = await self._settle(before)
        figures = self._figures(opened, failed, before, last, after)
        verdicts = self._verdicts(before, last, after, keys)
        return Outcome(verdicts, figures, self._samples)

    # The course of it

    async def _fill(self) -> None:
        """Enqueue what makes a large answer for the slow readers."""
        names = [f"{'q' * 95}{number:05}" for number in range(LARGE_QUEUES)]
        jobs = [
            {"queue_type": LARGE_TYPE, "queue_id": name, "job_id": "j", "interval": 0, "payload": 0}
            for name in names
        ]
        peer = await Peer.connect(self._place)
        for at in range(0, len(jobs), 500):
            body = json.dumps({"jobs": jobs[at : at + 500]}).encode()
            answer = await peer.ask("POST", "/enqueue/", body)
            if answer.status >= 300:
                raise RuntimeError(f"the store could not be filled: {answer}")
        peer.close()

    async def _open(self) -> None:
        plan, crowd = self._plan, self._crowd
        self._progress.begin("opening", 100)
        for number in range(plan.connections):
            self._start(crowd.hold(number))
        opened = await self._until(lambda: crowd.held == plan.connections, _RAMP)
        if not opened:
            raise TimeoutError(
                f"only {crowd.held:,} of {plan.connections:,} connections could be opened: "
                f"{dict(self._ledger.troubles)}"
            )
        spread = min(_SPREAD, plan.minutes * 60 / 4)
        for kind in slow.kinds_of(plan.slow, tls=plan.tls):
            self._start(self._slow.keep(kind, spread))

    async def _hold(self) -> None:
        seconds = self._plan.minutes * 60
        self._progress.begin("holding", max(1, round(seconds / _LOOK_EVERY)))
        end = time.monotonic() + seconds
        self._held_since = time.monotonic() - self._began
        minute = time.monotonic() + 60
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(_LOOK_EVERY, left))
            sample = self._look()
            line = self._line(sample)
            self._progress.step(line)
            if time.monotonic() >= minute:
                minute += 60
                self._say(line)
            if self._stand.server.process.poll() is not None:
                return

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _settle(self, before: Sample) -> Sample:
        """Wait until the server has let go of the connections."""
        self._progress.begin("settling", 1)
        pid = self._stand.server.process.pid
        await self._until(
            lambda: gauges.open_files(pid) <= before.server_files + _FILES_ALLOWED, _SETTLE
        )
        await asyncio.sleep(1)
        self._progress.end()
        return self._look()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; whether it came about in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.1)
            self._progress.say(
                f"{self._crowd.held:,} held, {self._ledger.outstanding} jobs under way"
            )
        return True

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _look(self) -> Sample:
        at = time.monotonic() - self._began
        sample = self._stand.look(at, self._crowd.held, self._slow.open)
        self._samples.append(sample)
        return sample

    def _line(self, sample: Sample) -> str:
        return (
            f"{sample.at:5.0f} s: {sample.held:,} held, {sample.slow:,} slow, server "
            f"{sample.server_kib / 1024:.1f} MiB and {sample.server_files:,} files, store "
            f"{sample.store_kib / 1024:.1f} MiB and {sample.store_keys:,} keys, "
            f"{self._ledger.finished:,} jobs, {sum(self._ledger.troubles.values())} troubles"
        )

    # What came of it

    def _figures(
        self,
        opened: float,
        failed: Counter[str],
        before: Sample,
        last: Sample,
        after: Sample,
    ) -> dict[str, Any]:
        ledger = self._ledger
        return {
            "plan": self._plan._asdict(),
            "opened_in_s": round(opened, 1),
            "troubles_while_opening": dict(failed),
            "before": before._asdict(),
            "loaded": last._asdict(),
            "after": after._asdict(),
            "jobs": {"accepted": ledger.accepted, "finished": ledger.finished},
            "enqueue": ledger.enqueue.summary(),
            "delivery": ledger.delivery.summary(),
            "finish": ledger.finish.summary(),
            "requests_now_and_then": ledger.asked.summary(),
            "troubles": dict(ledger.troubles),
            "slow": {
                kind.name: {
                    "outcomes": dict(self._slow.outcomes[kind.name]),
                    "longest_s": round(self._slow.longest[kind.name], 1),
                }
                for kind in slow.ALL_KINDS
            },
            "slow_unexpected": dict(self._slow.unexpected),
        }

    def _verdicts(
        self, before: Sample, last: Sample, after: Sample, keys: gauges.Keys
    ) -> list[Verdict]:
        plan, ledger = self._plan, self._ledger
        settled = self._settled_samples()
        left = gauges.keys(self._stand.store.client)
        bound = plan.p99_ms
        held, slow_seen = min((s.held for s in settled), default=0), last.slow
        return [
            Verdict(
                "connections held throughout",
                held == plan.connections,
                f"{held:,} of {plan.connections:,}, and {slow_seen:,} slow ones at the end",
            ),
            Verdict(
                "every job finished once",
                ledger.accepted == ledger.finished and not ledger.outstanding,
                f"{ledger.accepted:,} accepted, {ledger.finished:,} finished, "
                f"{ledger.outstanding} under way",
            ),
            verdict.none_of("errors and lost connections", _counted(ledger.troubles)),
            verdict.within("enqueue answered, p99", ledger.enqueue.summary()["p99_ms"], bound),
            verdict.within("enqueue to delivery, p99", ledger.delivery.summary()["p99_ms"], bound),
            verdict.within("finish answered, p99", ledger.finish.summary()["p99_ms"], bound),
            verdict.none_of(
                "slow ones that did not end as they should", _counted(self._slow.unexpected)
            ),
            *self._each_kind_ended(),
            verdict.memory(
                "memory of the server", [(s.at, s.server_kib) for s in settled], *_SERVER_GROWTH
            ),
            verdict.memory(
                "memory of the store", [(s.at, s.store_kib) for s in settled], *_STORE_GROWTH
            ),
            verdict.back(
                "open files of the server", before.server_files, after.server_files, _FILES_ALLOWED
            ),
            verdict.back(
                "clients of the store", before.store_clients, after.store_clients, _FILES_ALLOWED
            ),
            verdict.back("keys that hold jobs", keys.of_jobs, left.of_jobs),
            verdict.none_of("keys that would stay", left.endless),
            verdict.none_of("the server's log of trouble", self._complaints()),
        ]

    def _each_kind_ended(self) -> list[Verdict]:
        """Whether the time was enough to see every kind of slow client end."""
        here = {kind.name for kind in slow.kinds_of(self._plan.slow, tls=self._plan.tls)}
        if self._plan.minutes * 60 < _SPREAD + max(kind.most for kind in slow.KINDS):
            return []
        missing = [name for name in sorted(here) if not self._slow.outcomes[name]]
        return [verdict.none_of("kinds of slow ones of which none ended", missing)]

    def _settled_samples(self) -> list[Sample]:
        seconds = self._plan.minutes * 60
        since = self._held_since + min(_WARM_UP, seconds * _WARM_UP_SHARE)
        return [s for s in self._samples if since <= s.at <= self._held_since + seconds]

    def _complaints(self) -> list[str]:
        lines = self._stand.server.log.splitlines()
        # The run's store keeps no log, which is told.
        return [line for line in lines if " INFO " not in line and ".health: " not in line]


def _counted(troubles: Counter[str]) -> list[str]:
    return [f"{number} times {what}" for what, number in troubles.most_common()]


def run(
    plan: Plan, runner: Callable[[Awaitable[Outcome]], Outcome], say: Callable[[str], None]
) -> Outcome:
    """Run as planned, with a store and a server that are ended whatever happens."""
    with standing(plan) as stand:
        return runner(Soak(plan, stand, Progress(), say).run())
