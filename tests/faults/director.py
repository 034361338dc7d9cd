"""One run, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.auditing import Auditing
from tests.faults.callers import Run
from tests.faults.clerks import Clerk
from tests.faults.faults import Faults
from tests.faults.history import Recorder
from tests.faults.keeper import Reconnector
from tests.faults.node_faults import faults_of
from tests.faults.nodes import NodeStore
from tests.faults.progress import Progress
from tests.faults.recording import Recorded
from tests.faults.recovery import Recovery
from tests.faults.schedule import is_kill, is_of_node, schedule
from tests.faults.setup import SINGLE, Setup, settings_of
from tests.faults.snapshot import count_dead, count_jobs, snapshot
from tests.faults.stand import (
    FAILURES,
    FINISHED_RETENTION,
    INTERVAL_RETENTION,
    LEASES,
    REQUEUE_INTERVAL,
    Stand,
)
from tests.faults.states import split_key
from tests.faults.tenants import PROBE

_LOOK_EVERY: Final = 0.5
_WARM_UP: Final = 2.0
_DRAIN_TIMEOUT: Final = 330.0
_BULK_TIMEOUT: Final = 30.0
_EXPIRY_TIMEOUT: Final = 90.0
_SETTLE_TIMEOUT: Final = 15.0


@dataclass
class Outcome:
    """What a run has done.

    `faults` and `skipped` count them by kind, `recoveries` are the seconds from the store's return
    to a server's, `memory` is what the store used at the start and at the end, in bytes. After
    `unpromoted` faults of nodes no replica was promoted, and one should have been; `broken_off`
    could not be done to their end.
    """

    jobs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    memory: tuple[int, int] = (0, 0)
    unpromoted: int = 0
    broken_off: Counter[str] = field(default_factory=Counter)

    @property
    def of_nodes(self) -> int:
        """How many faults were done to nodes of the store."""
        return sum(count for kind, count in self.faults.items() if is_of_node(kind))

    @property
    def kills(self) -> int:
        """How many processes were killed, beside nodes of a store of several."""
        return sum(count for kind, count in self.faults.items() if is_kill(kind))

    @property
    def others(self) -> int:
        """How many other faults there were."""
        return self.faults.total() - self.kills - self.of_nodes


class Director:
    """Runs the stand for `minutes` under the faults of a seed, and leaves the history."""

    def __init__(self, folder: Path, seed: int, minutes: float, setup: Setup) -> None:
        self._setup = setup
        self._folder = folder
        self._seed = seed
        self._minutes = minutes
        self._progress = Progress(minutes * 60)
        self._recovery: Recovery | None = None

    async def run(self) -> Outcome:
        """Do it all. Whatever goes wrong with the stand itself is raised."""
        _write(self._folder / "settings.json", self._settings())
        with Reconnector() as keeper:
            recorder = Recorder(self._folder, "harness", buffered=False)
            stand = Stand(self._folder, self._seed, keeper, self._setup, self._on_store_return)
            try:
                self._progress.say("Starting the store, the servers, the workers and the clients…")
                await stand.store.start()
                audit = self._auditing(stand)
                try:
                    return await self._run(stand, recorder, audit)
                finally:
                    await asyncio.to_thread(audit.close)
            finally:
                await stand.end()
                recorder.close()

    def _auditing(self, stand: Stand) -> Auditing:
        store, path = stand.store, self._folder / "audit.jsonl"
        return Auditing(
            lambda: store.sockets,
            self._setup.prefix,
            path,
            password=store.password,
            replicas=self._setup.replicas,
        )

    async def _run(self, stand: Stand, recorder: Recorder, audit: Auditing) -> Outcome:
        log = Recorded.of(recorder, "faults")
        nodes = None
        if isinstance(stand.store, NodeStore):
            nodes = faults_of(stand.store, log, self._on_able)
        faults = Faults(stand, log, nodes)
        await stand.start()
        self._recovery = Recovery(
            stand.places.direct,
            Recorded.of(recorder, "probe"),
            log,
            faults.disturbed.__getitem__,
            faults.is_disturbed,
        )
        watching = asyncio.create_task(nodes.watch()) if nodes is not None else None
        await asyncio.sleep(_WARM_UP)
        memory_at_start = await stand.store.memory()
        steps = self._setup.kind == SINGLE or self._setup.replicas_acked > 0
        planned = schedule(self._seed, self._minutes, self._setup.kind, steps=steps)
        following = asyncio.create_task(faults.follow(planned, time.monotonic()))
        try:
            await self._watch(stand, faults, following, audit)
        finally:
            following.cancel()
        await faults.heal()
        if watching is not None:
            watching.cancel()
        self._recovery.stop()
        self._progress.say("All is healed. Waiting until nothing moves…")
        stand.change_clients(producing=False)
        await stand.end_workers()
        await stand.rest_clients()
        clerk = Clerk(Run(stand.places, recorder), "clerk-at-last", 0)
        for queue_type in self._setup.types:
            await clerk.cancel(queue_type)
        await audit.drain()
        final = await snapshot(stand.store)
        self._progress.say(f"{len(final['jobs'])} jobs are left. Draining…")
        await self._drain(stand)
        await self._clear_away(stand, clerk)
        await audit.drain()
        await self._until_run_out(stand)
        drained = await snapshot(stand.store)
        drained["resources"] = {
            "start": stand.resources_at_start,
            "end": await self._settled(stand),
        }
        _write(self._folder / "final.json", final)
        _write(self._folder / "drained.json", drained)
        return Outcome(
            audit.enqueued,
            faults.done,
            faults.skipped,
            self._recovery.times,
            (memory_at_start, drained["memory"]),
            nodes.unpromoted if nodes is not None else 0,
            nodes.broken_off if nodes is not None else Counter(),
        )

    async def _watch(
        self, stand: Stand, faults: Faults, following: asyncio.Task[None], audit: Auditing
    ) -> None:
        """Look after the run until its time is over."""
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < self._minutes * 60 or not following.done():
            stand.check()
            if audit.failure is not None:
                raise RuntimeError("the audit is not taken out any more") from audit.failure
            stand.change_clients(backlog=audit.waiting)
            if following.done():
                following.result()
            kills = sum(count for kind, count in faults.done.items() if is_kill(kind))
            state = "store up" if stand.store.up.is_set() else "store down"
            self._progress.show(elapsed, audit.enqueued, kills, faults.done.total() - kills, state)
            await asyncio.sleep(_LOOK_EVERY)

    async def _drain(self, stand: Stand) -> None:
        """Have everything that is left taken and finished."""
        await stand.start_workers(calm=True)
        stand.change_clients(taking=True, well_behaved=True)
        await _until(lambda: count_jobs(stand.store), _DRAIN_TIMEOUT, "no job is left")
        await stand.end_workers()
        await stand.rest_clients()
        await stand.end_clients()

    async def _clear_away(self, stand: Stand, clerk: Clerk) -> None:
        """Have all dead letters deleted."""
        for queue_type in self._setup.types:
            await clerk.begin("delete", queue_type, {"all": True})
        await _until(lambda: count_dead(stand.store), _BULK_TIMEOUT, "no dead letter is left")
        for queue_type in self._setup.types:
            await clerk.progress(queue_type)
        clerk.close()

    async def _until_run_out(self, stand: Stand) -> None:
        """Wait until the rate states of all queues have run out."""

        async def left() -> int:
            keys = (await snapshot(stand.store))["keys"]
            return sum(_is_rate_state(key["key"]) for key in keys)

        await _until(left, _EXPIRY_TIMEOUT, "what runs out has run out", fail=False)

    async def _settled(self, stand: Stand) -> Any:
        """The servers' resources, once their connections have ended as far as they do."""

        async def more() -> int:
            return max(0, _sockets(stand.resources()) - _sockets(stand.resources_at_start))

        await _until(more, _SETTLE_TIMEOUT, "the connections have ended", fail=False)
        return stand.resources()

    def _on_store_return(self) -> None:
        if self._recovery is not None:
            self._recovery.on_return(PROBE)

    def _on_able(self, types: list[str]) -> None:
        if self._recovery is not None:
            for queue_type in self._setup.probes:
                if queue_type in types:
                    self._recovery.on_return(queue_type)

    def _settings(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "minutes": self._minutes,
            "key_prefix": self._setup.prefix,
            **settings_of(self._setup),
            "job_expire_interval": LEASES,
            "job_requeue_interval": REQUEUE_INTERVAL,
            "finished_retention": FINISHED_RETENTION,
            "interval_retention": INTERVAL_RETENTION,
            **FAILURES,
        }


async def _until(count: Callable[[], Any], timeout: float, what: str, *, fail: bool = True) -> None:
    """Wait until `count()` is 0."""
    deadline = time.monotonic() + timeout
    while left := await count():
        if time.monotonic() > deadline:
            if fail:
                raise TimeoutError(f"not within {timeout:g} s: {what} ({left} are)")
            return
        await asyncio.sleep(_LOOK_EVERY)


def _is_rate_state(key: str) -> bool:
    return split_key(key)[1].startswith("q:")


def _sockets(held: dict[str, list[dict[str, int]]]) -> int:
    return sum(each["sockets"] for processes in held.values() for each in processes)


def _write(path: Path, what: Any) -> None:
    path.write_bytes(msgspec.json.encode(what))
