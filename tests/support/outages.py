"""Faults of a cluster under load: for how long a type is not served, and whether others notice.

``python -m tests.support.outages [N [KIND ...]]`` prints a table of N faults of each kind.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from sharq import Settings
from sharq.settings.options import StoreSettings
from tests.support.clusters import ReplicatedCluster
from tests.support.failovers import FACES, Load
from tests.support.stores import PrivateStore, wait_for

KINDS: Final = ("kill", "hang", "partition", "coordinated")
PREFIX: Final = "outages"


class Outage(NamedTuple):
    """One fault, seen by one face of the library. Times are in seconds."""

    promoted_after: float
    outage: float
    """From the promotion to the next acknowledged enqueue of the type."""

    others: float
    """The longest time between two acknowledged enqueues of a type on another node."""

    refused: Counter[str]
    unknown: int

    def row(self) -> str:
        refused = ", ".join(f"{name} {n}" for name, n in self.refused.items()) or "-"
        return (
            f"{self.promoted_after:>9.2f} {self.outage:>7.3f} {self.others:>7.3f}"
            f" {self.unknown:>8}  {refused}"
        )


HEAD: Final = " promoted  outage  others  unknown  refused"


def break_down(kind: str, cluster: ReplicatedCluster) -> dict[str, Outage]:
    """One fault of a primary, which is the configured node; then it is mended.

    Returns what each face of the library saw.
    """
    primary = cluster.owner_of(0)
    ours, other = type_on(cluster, primary), type_on(cluster, primary, elsewhere=True)
    heir = cluster.replica_of(primary)
    settings = Settings(
        redis=StoreSettings(
            conn_type="tcp_sock",
            port=primary.port,
            clustered=True,
            key_prefix=PREFIX,
        )
    )
    loads = {face: (Load(face, settings, ours), Load(face, settings, other)) for face in FACES}
    every = [load for pair in loads.values() for load in pair]
    try:
        wait_for("jobs are accepted", lambda: all(len(load.acked) > 50 for load in every))
        began = time.monotonic()
        _break(kind, cluster, primary, heir)
        wait_for("a replica is promoted", lambda: heir.command("ROLE")[0] == b"master", 20)
        promoted = time.monotonic()
        resumed = lambda: all(load.acked[-1][0] > promoted for load in every)  # noqa: E731
        wait_for("jobs are accepted again", resumed, 15)
    finally:
        for load in every:
            load.stop()
        cluster.mend()
    seen = {}
    for face, (mine, others) in loads.items():
        times = sorted(at for at, _ in others.acked)
        seen[face] = Outage(
            promoted_after=promoted - began,
            outage=min(at for at, _ in mine.acked if at > promoted) - promoted,
            others=max(later - at for at, later in itertools.pairwise(times)),
            refused=mine.refused,
            unknown=mine.unknown,
        )
    return seen


def _break(
    kind: str, cluster: ReplicatedCluster, primary: PrivateStore, heir: PrivateStore
) -> None:
    if kind == "kill":
        primary.kill()
    elif kind == "hang":
        primary.pause()
    elif kind == "partition":
        cluster.isolate(primary)
    else:
        heir.command("CLUSTER", "FAILOVER")


def type_on(cluster: ReplicatedCluster, node: PrivateStore, *, elsewhere: bool = False) -> str:
    """A type that a node serves, or (`elsewhere`) another node."""
    names = (f"type{number}" for number in itertools.count())
    for name in names:
        owner = cluster.primary_of(f"{{{PREFIX}:{name}}}")
        if (owner is not node) if elsewhere else (owner is node):
            return name
    raise AssertionError


def main(times: int, kinds: Sequence[str]) -> None:
    with ReplicatedCluster() as cluster:
        print(f"{'':<22}{HEAD}")
        for kind in kinds:
            for _ in range(times):
                for face, outage in break_down(kind, cluster).items():
                    print(f"{kind:<12} {face:<9}{outage.row()}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:] or KINDS)
