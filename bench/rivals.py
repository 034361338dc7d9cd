"""Other queues in a run: job cycles a second on a store without a log and on a durable one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.peers.failures import FAILURES, reason
from bench.peers.install import Say
from bench.peers.registry import Peer
from bench.peers.run import Running, Workers, running
from bench.report import Cell, Column, Table
from bench.sending import IN_FRAMES, Sending
from bench.series import Series

STORES = ("no log", "always")
ROUNDS = 3
"""Rounds in which all of them take part."""


@dataclass(slots=True)
class Rival:
    """A peer in the run: its speeds by the durability of the store, or why it has none."""

    peer: Peer
    versions: str = ""
    missing: str = ""
    speeds: dict[str, Series] = field(default_factory=lambda: {name: Series() for name in STORES})
    _at_work: dict[str, tuple[Running, Workers]] = field(default_factory=dict)

    def start(self, held: ExitStack, say: Say) -> None:
        """Install it where it is not there, and start its stores and workers, which then pause."""
        say(f"starting {self.peer.name}")
        try:
            ready = self.peer.prepare(say)
            self.versions = ready.versions
            for store in STORES:
                at_work = held.enter_context(running(self.peer, ready, store == "always"))
                at_work[1].pause()
                self._at_work[store] = at_work
        except FAILURES as error:
            self.missing = reason(error)

    def compete(self, step: Callable[[str], None]) -> None:
        """Measure it once on each store."""
        for store in STORES:
            step(f"{self.peer.name}, {store}")
            if self.missing or store not in self._at_work:
                continue
            peer, workers = self._at_work[store]
            workers.resume()
            try:
                self.speeds[store].add(peer.cycles(self.peer.jobs))
            except FAILURES as error:
                self.missing = reason(error)
            finally:
                workers.pause()


def peers_table(ours: Mapping[Sending, Mapping[str, Series]], rivals: Sequence[Rival]) -> Table:
    """Their speeds below ours with jobs sent as they send them: by that, then by `STORES`."""
    rows: list[tuple[Cell, ...]] = []
    for sending, mine in ours.items():
        own = [cell for store in STORES for cell in (mine[store].median, None)]
        rows.append(("SharQ", sending.text, *own, ""))
        for rival in rivals:
            if rival.peer.sending == sending:
                cells: list[Cell] = []
                for store in STORES:
                    speed = rival.speeds[store]
                    cells += [speed.median, mine[store].ratio_to(speed)]
                rows.append((rival.peer.name, sending.text, *cells, rival.missing))
    return Table(
        "Job cycles a second, other queues on the same store",
        (
            Column("queue"),
            Column("jobs are sent"),
            Column("no log"),
            Column("SharQ times it", 2),
            Column("always"),
            Column("SharQ times it, always", 2),
            Column("missing because"),
        ),
        rows,
        (
            "Enqueue, a handler that does nothing, acknowledgement; from the first enqueue until",
            "nothing is left. One process enqueues while the workers work; each has a store of its",
            "own. How fast jobs come depends on how many go in a call and how many calls are under",
            "way: each queue sends them as its documentation advises, and is compared with SharQ",
            f"sending them alike. Medians of {ROUNDS} rounds ({IN_FRAMES.text}: of all), ratios",
            "within a round. SharQ keeps limits, counters and marks of ended jobs meanwhile, and",
            "its jobs go through its server, those of all others but beanstalkd into the store.",
        ),
    )


def setup_table(rivals: Sequence[Rival]) -> Table:
    """What was measured of them, and how it was set up."""
    return Table(
        "How the others were set up",
        (Column("queue"), Column("versions"), Column("set-up")),
        [(rival.peer.name, rival.versions or "-", rival.peer.setup) for rival in rivals],
    )
