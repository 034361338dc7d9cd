"""The queues of a run: what is put into them, how fast, and how those who take it behave."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A queue type.

    `rate` is the number of jobs a second that are put into all of its queues together, `batch`
    how many at once at most. `intervals` (ms) are those of its queues in turn, `limits` the
    requeue limits that its jobs have, `max_length` the bound of a queue. With `names` job_ids
    repeat: there are so many for each queue. `bursts`, `concurrencies` and `groups` are those of
    its queues in turn, 1, 0 and "" for none; with them its jobs now and then change the group of
    their queue. `costs`, `priorities` and `delays` (ms) are those that its jobs have.
    """

    name: str
    queues: int
    rate: float
    batch: int = 1
    intervals: tuple[int, ...] = (0,)
    limits: tuple[int, ...] = (-1,)
    max_length: int | None = None
    names: int = 0
    bursts: tuple[int, ...] = ()
    concurrencies: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    costs: tuple[int, ...] = (1,)
    priorities: tuple[int, ...] = (0,)
    delays: tuple[int, ...] = (0,)


FAILING: Final = "failing"
"""The type of jobs that fail most of the time."""

DEADLY: Final = "deadly"
"""The type of jobs whose leases run out most of the time."""

SPREAD: Final = "wide"
"""The type that is spread over shards."""

KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("bulk", queues=60, rate=290, batch=100),
        Kind(
            "paced",
            queues=30,
            rate=60,
            batch=4,
            intervals=(2, 5, 10, 20, 50, 50, 100, 100, 200, 500, 1000, 2000),
        ),
        Kind("limited", queues=20, rate=25, intervals=(0, 0, 20), limits=(0, 1, 2, 3)),
        Kind(FAILING, queues=8, rate=25, intervals=(0, 10, 0), limits=(0, 1, 2, 3, 6)),
        Kind(DEADLY, queues=4, rate=6, limits=(-1, 3, 5)),
        Kind(SPREAD, queues=40, rate=45, batch=8, intervals=(0, 5, 20, 0, 100), limits=(-1, 1, 3)),
        Kind("bounded", queues=6, rate=25, intervals=(40, 0, 100), max_length=15),
        Kind("reused", queues=5, rate=15, intervals=(0, 10, 50), limits=(-1, 2), names=25),
        Kind(
            "grouped",
            queues=18,
            rate=35,
            batch=6,
            intervals=(5, 20, 0, 50),
            bursts=(1, 3, 1),
            groups=("east", "west", "east", "", "north"),
            costs=(1, 1, 1, 3),
        ),
        Kind(
            "varied",
            queues=10,
            rate=25,
            intervals=(0, 10, 0),
            limits=(-1, -1, 2),
            bursts=(1, 1, 4),
            concurrencies=(3, 0, 8),
            groups=("", "south"),
            priorities=(0, 0, 0, 5, 9),
            delays=(0, 0, 0, 0, 150, 700),
        ),
    )
}

LIMITED: Final = ("grouped", "varied")
"""The types whose queues, groups and which themselves are limited and paused while all runs."""

_MOVES: Final = 0.03
"""Part of the jobs that put their queue into another group."""

PROBE: Final = "probe"
"""The type through which the harness sees whether a server works."""

TYPES: Final = (*KINDS, PROBE)


class Source:
    """Makes the jobs of a kind, each with a name of its own unless the kind repeats names."""

    def __init__(self, kind: Kind, client: str, rng: random.Random) -> None:
        self.kind = kind
        self._client = client
        self._rng = rng
        self._made = 0
        intervals = [kind.intervals[i % len(kind.intervals)] for i in range(kind.queues)]
        # A queue gets what its rate lets through, as far as there is one.
        weights = [1000 / max(interval, 20) for interval in intervals]
        self._queues = [(f"{kind.name}-{i}", interval) for i, interval in enumerate(intervals)]
        self._weights = weights

    def jobs(self, count: int) -> list[dict[str, Any]]:
        """Some jobs, as the bulk route takes them, for one queue or two."""
        kind, rng = self.kind, self._rng
        queues = rng.choices(self._queues, self._weights, k=2)
        jobs = []
        for _ in range(count):
            self._made += 1
            queue, interval = queues[rng.random() < 0.2]
            name = f"{self._client}-{self._made}"
            if kind.names:
                name = f"again-{rng.randrange(kind.names)}"
            job = {
                "queue_type": kind.name,
                "queue_id": queue,
                "job_id": name,
                "interval": interval,
                "payload": self._payload(name),
            }
            job |= self._options(queue)
            limit = rng.choice(kind.limits)
            if limit >= 0 or rng.random() < 0.5:
                job["requeue_limit"] = limit
            if kind.max_length is not None:
                if rng.random() < 0.5:
                    job["max_queued_length"] = kind.max_length
                else:
                    job["payload"] = {"max_queued_length": kind.max_length, "of": name}
            jobs.append(job)
        return jobs

    def _options(self, queue: str) -> dict[str, Any]:
        """What a job says of the limits of its queue, and of itself."""
        kind, rng, at = self.kind, self._rng, int(queue.rpartition("-")[2])
        options: dict[str, Any] = {}
        if kind.bursts:
            options["burst"] = kind.bursts[at % len(kind.bursts)]
        if kind.concurrencies:
            options["concurrency"] = kind.concurrencies[at % len(kind.concurrencies)] or None
        if kind.groups:
            group = kind.groups[at % len(kind.groups)]
            options["group"] = (rng.choice(kind.groups) if rng.random() < _MOVES else group) or None
        if rng.random() < 0.2:
            # What is left out stays as it is.
            options = {}
        for field, values in (
            ("cost", kind.costs),
            ("priority", kind.priorities),
            ("delay", kind.delays),
        ):
            if len(values) > 1:
                options[field] = rng.choice(values)
        return options

    def _payload(self, name: str) -> Any:
        rng = self._rng
        if self.kind.names:
            # Few of them, so that a name comes again with the same payload, and with another.
            return {"name": name, "version": rng.choice((1, 1, 1, 2))}
        chance = rng.random()
        if chance < 0.02:
            return {"of": name, "text": "grüße \u2603 " * rng.randrange(1, 200)}
        if chance < 0.2:
            return [name, self._made, {"nested": [None, True, -1.5, 2**53]}]
        return f"{name} {rng.getrandbits(32):08x}"
