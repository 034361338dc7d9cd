"""Which fault comes when: a pure function of a seed and a length."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from tests.faults.setup import CLUSTER, SENTINEL, SINGLE

SERVERS: Final = ("a", "b", "c")
WORKERS: Final = ("w1", "w2")

CALM: Final = 4.0
"""Seconds at the start and at the end of a run without faults, or a fifth of it."""

_KILL_EVERY: Final = 5.4
_OTHER_EVERY: Final = 4.5

KILLS: Final = ("kill server", "kill server process", "kill worker", "kill store")
OTHERS: Final = (
    "stop server",
    "stop worker",
    "lose replies of the store",
    "lose replies of a server",
    "stall the store's connections",
    "stall a server's connections",
    "flush the scripts",
    "stop the store",
    "restart the store",
    "fill the disk",
    "limit the memory",
    "step the clock forward",
    "step the clock back",
    "restart all servers",
)

NODES: Final = {
    SINGLE: (),
    CLUSTER: (
        *("kill a primary", "hang a primary", "cut off a primary") * 2,
        *("deafen a primary", "fail over", "restart a primary", "kill a replica"),
        *("move slots at once", "move slots key by key", "add and remove nodes"),
        "cut connections of a primary",
    ),
    SENTINEL: (
        *("kill a primary", "hang a primary", "cut off a primary") * 2,
        *("fail over", "fail over", "restart a primary", "kill a replica"),
        *("kill a sentinel", "hang a sentinel", "cut connections of a primary"),
    ),
}
"""What is done to nodes of a store that has several; each round has them all."""

_NODES_EVERY: Final = 13.5
_SLOWER: Final = 1.9
"""So many times as far apart other faults are where there are those of nodes."""

_OF_ONE_STORE: Final = (
    *("kill store", "stop the store", "restart the store", "fill the disk", "limit the memory"),
    *("lose replies of the store", "stall the store's connections"),
)
_STEPS: Final = ("step the clock forward", "step the clock back")

_KILL_WEIGHTS: Final = (3, 3, 4, 3)
_SECONDS: Final = {
    "stop server": (2.5, 5.0),
    "stop worker": (2.5, 6.0),
    "stop the store": (0.5, 3.5),
    "lose replies of the store": (0.2, 1.5),
    "lose replies of a server": (0.2, 1.5),
    "stall the store's connections": (0.5, 4.0),
    "stall a server's connections": (0.5, 4.0),
    "fill the disk": (1.5, 4.0),
    "limit the memory": (2.0, 5.0),
    **dict.fromkeys(chain.from_iterable(NODES.values()), (0.2, 2.0)),
}
_TARGETS: Final = {
    "kill server": SERVERS,
    "kill server process": SERVERS,
    "kill worker": WORKERS,
    "stop server": SERVERS,
    "stop worker": WORKERS,
    "lose replies of the store": SERVERS[:2],
    "lose replies of a server": SERVERS,
    "stall the store's connections": SERVERS[:2],
    "stall a server's connections": SERVERS,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` seconds after the start of the run, for `seconds` where it lasts.

    `target` is a server or a worker. `chance` is a number from 0 to 1 for whatever else is to be
    chosen: how far a clock steps, which process of a server, whether a stall ends in a cut.
    """

    at: float
    kind: str
    target: str
    seconds: float
    chance: float


def schedule(seed: int, minutes: float, kind: str = SINGLE, *, steps: bool = True) -> list[Fault]:
    """The faults of a run, by their time; the same for the same seed, minutes and kind of store.

    `steps`: whether clocks may step.
    """
    end = minutes * 60
    calm = min(CALM, end / 5)
    left_out = () if kind == SINGLE else _OF_ONE_STORE
    left_out += () if steps else _STEPS
    kills = dict(zip(KILLS, _KILL_WEIGHTS, strict=True))
    drawn = {name: weight for name, weight in kills.items() if name not in left_out}
    others = tuple(name for name in OTHERS if name not in left_out)
    slower = 1 if kind == SINGLE else _SLOWER
    series = [
        _series(random.Random(f"{seed} kills"), slower * _KILL_EVERY, partial(_drawn, drawn)),
        _series(random.Random(f"{seed} others"), slower * _OTHER_EVERY, partial(_dealt, others)),
    ]
    if NODES[kind]:
        rng = random.Random(f"{seed} nodes")
        series.append(_series(rng, _NODES_EVERY, partial(_dealt, NODES[kind])))
    faults = (
        fault
        for each in series
        for fault in itertools.takewhile(lambda fault: fault.at < end - calm, each)
        if fault.at >= calm
    )
    return sorted(faults, key=lambda fault: fault.at)


def is_kill(kind: str) -> bool:
    """Whether the fault is a kill -9."""
    return kind in KILLS


def is_of_node(kind: str) -> bool:
    """Whether it is done to a node of several."""
    return any(kind in each for each in NODES.values())


def _series(
    rng: random.Random, every: float, kinds: Callable[[random.Random], Iterator[str]]
) -> Iterator[Fault]:
    at = 0.0
    for kind in kinds(rng):
        at += every * rng.uniform(0.4, 1.6)
        low, high = _SECONDS.get(kind, (0.0, 0.0))
        yield Fault(
            at=round(at, 3),
            kind=kind,
            target=rng.choice(_TARGETS.get(kind, ("",))),
            seconds=round(rng.uniform(low, high), 3),
            chance=round(rng.random(), 6),
        )


def _drawn(weights: Mapping[str, int], rng: random.Random) -> Iterator[str]:
    while True:
        yield rng.choices(tuple(weights), tuple(weights.values()))[0]


def _dealt(kinds: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Every kind comes once in each round, so that a short run meets them all."""
    while True:
        yield from rng.sample(kinds, len(kinds))
