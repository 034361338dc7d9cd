"""Failovers under load: what was acknowledged, what of it is lost, and for how long nothing was.

``python -m tests.support.failovers [N [KIND ...]]`` prints a table of N failovers of each kind.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from sharq import AsyncSharQ, Settings, SharQ
from sharq.errors import StoreError, StoreUnavailable
from sharq.results import NOT_FOUND
from tests.support.sentinels import PrivateSentinels
from tests.support.stores import PrivateStore, wait_for

PEERS: Final = "peers"
"""The user of the nodes and the sentinels among each other, so that they can be cut off."""

PASSWORD: Final = "clients"
NODES: Final[dict[str, Any]] = {
    "requirepass": PASSWORD,
    "user": [PEERS, "on", ">p", "~*", "&*", "+@all"],
    "masteruser": PEERS,
    "masterauth": "p",
}
SENTINELS: Final = f"sentinel auth-user mymaster {PEERS}\nsentinel auth-pass mymaster p\n"

KINDS: Final = ("failover", "coordinated", "kill", "hang", "partition", "return")
# What is acknowledged in the last moment before a fault may not have reached a replica, seconds.
_REPLICATION: Final = 0.05

FACES: Final = ("asyncio", "blocking")
PRODUCERS: Final = 8


def begin(kind: str, store: PrivateSentinels) -> PrivateStore:
    """Do what makes the sentinels promote a replica; returns the primary that is to be left."""
    primary = store.primary
    if kind == "failover":
        wait_for("a failover begins", store.begin_failover)
    elif kind == "coordinated":
        wait_for("a failover begins", lambda: store.begin_failover("COORDINATED"))
    elif kind in ("kill", "return"):
        primary.kill()
    elif kind == "hang":
        primary.pause()
    elif kind == "partition":
        # It hears neither sentinels nor replicas any more, and goes on to serve its clients.
        primary.command("ACL", "SETUSER", PEERS, "off")
        primary.command("CLIENT", "KILL", "USER", PEERS)
    return primary


class Result(NamedTuple):
    """One failover. Times are in seconds."""

    acked: int
    lost: int
    late: int
    """Lost ones that were acknowledged after the fault: by a primary that was no longer one."""

    refused: Counter[str]
    unknown: int
    promoted_after: float
    outage: float
    """From the sentinels' first event of the promotion to the next acknowledged enqueue."""

    gap: float
    """The longest time between two of them."""

    def row(self) -> str:
        refused = ", ".join(f"{name} {n}" for name, n in self.refused.items()) or "-"
        return (
            f"{self.acked:>6} {self.lost:>5} {self.unknown:>8} {self.promoted_after:>9.2f}"
            f" {self.outage:>7.3f} {self.gap:>6.2f}  {refused}"
        )


HEAD: Final = " acked  lost  unknown  promoted  outage    gap  refused"


class Load:
    """Producers that enqueue, over one face of the library, until they are told to stop."""

    def __init__(self, face: str, settings: Settings, queue_type: str = "t") -> None:
        self._type = queue_type
        self.acked: list[tuple[float, str]] = []
        self.refused: Counter[str] = Counter()
        self.unknown = 0
        self._settings = settings
        self._stop = threading.Event()
        self._name = f"{time.monotonic_ns():x}"
        work = self._asyncio if face == "asyncio" else self._blocking
        self._thread = threading.Thread(target=work)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _blocking(self) -> None:
        with SharQ(self._settings) as queue:
            threads = [
                threading.Thread(target=self._produce, args=(queue, each))
                for each in range(PRODUCERS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _produce(self, queue: SharQ, producer: int) -> None:
        for number in range(1_000_000):
            if self._stop.is_set():
                return
            job_id = f"{self._name}-{producer}-{number}"
            try:
                queue.enqueue({}, 0, job_id, f"q{producer}", self._type)
            except StoreError as error:
                self._note(error)
            else:
                self.acked.append((time.monotonic(), job_id))
            time.sleep(0.004)

    def _asyncio(self) -> None:
        async def produce(queue: AsyncSharQ, producer: int) -> None:
            for number in range(1_000_000):
                if self._stop.is_set():
                    return
                job_id = f"{self._name}-{producer}-{number}"
                try:
                    await queue.enqueue({}, 0, job_id, f"q{producer}", self._type)
                except StoreError as error:
                    self._note(error)
                else:
                    self.acked.append((time.monotonic(), job_id))
                await asyncio.sleep(0.004)

        async def run() -> None:
            async with AsyncSharQ(self._settings) as queue:
                await asyncio.gather(*(produce(queue, each) for each in range(PRODUCERS)))

        asyncio.run(run())

    def _note(self, error: StoreError) -> None:
        if error.outcome_unknown:
            self.unknown += 1
        else:
            self.refused[str(error).rpartition("(")[2].rstrip(").") or "-"] += 1


def fail_over(
    kind: str, faces: Sequence[str], store: PrivateSentinels, after: float = 1.0
) -> list[Result]:
    """One failover under load over each of `faces`, which goes on `after` seconds; then it is
    mended."""
    settings = settings_of(store)
    loads = [Load(face, settings) for face in faces]
    try:
        wait_for("jobs are accepted", lambda: all(len(load.acked) > 50 for load in loads))
        with store.events("+promoted-slave", "+switch-master") as events:
            began = time.monotonic()
            former = begin(kind, store)
            fault = time.monotonic() + _REPLICATION
            store.wait_for_another(former)
            if kind == "return":
                # It takes writes, until the sentinels make a replica of it, seconds later.
                former.start()
            promoted = min(at for at, _ in events)
            resumed = lambda: all(load.acked[-1][0] > promoted for load in loads)  # noqa: E731
            wait_for("jobs are accepted again", resumed, 15)
            time.sleep(after)
    finally:
        for load in loads:
            load.stop()
    mend(store)
    results = []
    for load in loads:
        times = sorted(at for at, _ in load.acked)
        gone = lost(settings, [job for _, job in load.acked])
        results.append(
            Result(
                acked=len(times),
                lost=len(gone),
                late=sum(at > fault for at, job in load.acked if job in gone),
                refused=load.refused,
                unknown=load.unknown,
                promoted_after=promoted - began,
                outage=next(at for at in times if at > promoted) - promoted,
                gap=max(later - at for at, later in itertools.pairwise(times)),
            )
        )
    return results


def mend(store: PrivateSentinels) -> None:
    """All nodes hear each other again, and follow the primary."""
    for node in store.nodes:
        with suppress(AssertionError):
            node.resume()
            node.command("ACL", "SETUSER", PEERS, "on")
    store.mend()


def lost(settings: Settings, jobs: list[str]) -> set[str]:
    """Those of the jobs that the store does not know."""

    async def look() -> set[str]:
        async with AsyncSharQ(settings) as queue:
            found = [queue.job_status("t", f"q{job_id.split('-')[1]}", job_id) for job_id in jobs]
            states = await asyncio.gather(*found)
        return {job for job, status in zip(jobs, states, strict=True) if status.state == NOT_FOUND}

    # The sentinels of a busy machine may promote another node just now.
    for _ in range(5):
        with suppress(StoreUnavailable):
            return asyncio.run(look())
        time.sleep(1)
    raise AssertionError("the store does not answer")


def settings_of(store: PrivateSentinels) -> Settings:
    return Settings(redis=store.settings(password=PASSWORD))


@contextmanager
def stand(**options: Any) -> Iterator[PrivateSentinels]:
    """A store with sentinels that can be cut off."""
    with PrivateSentinels(lines=SENTINELS, **NODES, **options) as store:
        yield store


def main(times: int, kinds: Sequence[str]) -> None:
    for replicas in (0, 1):
        with stand(min_replicas_to_write=replicas) as store:
            print(f"min-replicas-to-write {replicas}\n{'':<22}{HEAD}")
            for kind in kinds:
                for _ in range(times):
                    results = fail_over(kind, FACES, store)
                    for face, result in zip(FACES, results, strict=True):
                        print(f"{kind:<12} {face:<9}{result.row()}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:] or KINDS)
