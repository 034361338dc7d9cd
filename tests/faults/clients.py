"""The clients of a run, in processes of their own: python -m tests.faults.clients ROLE PLACES.

ROLE is `producers` (with the operator), `consumers` or `probes`. Orders are `{"do": "change", …}`,
with what is to be changed of the `Run`, `{"do": "rest"}`, answered when nothing is under way any
more, and `{"do": "stop"}`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.faults.callers import Run
from tests.faults.clerks import Clerk
from tests.faults.control import orders, report
from tests.faults.history import Recorder
from tests.faults.operators import Operator
from tests.faults.places import Places
from tests.faults.pollers import Poller
from tests.faults.probes import probes
from tests.faults.producers import Producer
from tests.faults.push_clients import Manner, PushClient
from tests.faults.settlers import Settler
from tests.faults.setup import SINGLE
from tests.faults.tenants import KINDS, PROBE, SPREAD

_BULK_PRODUCERS: Final = 3
_POLLERS: Final = 6
_SETTLERS: Final = 2
_CLERKS: Final = 2
_FLUSH_EVERY: Final = 0.25
_LOOK_EVERY: Final = 0.02
_WATCH_EVERY: Final = 0.02
_LATE: Final = 0.02

_MANNERS: Final = (
    Manner({"bulk": 400, PROBE: 10}),
    Manner(
        {
            "bulk": 200,
            "paced": 20,
            "limited": 20,
            "bounded": 20,
            "reused": 20,
            "failing": 20,
            "grouped": 20,
            "varied": 20,
            SPREAD: 20,
        }
    ),
    Manner(
        {"bulk": 30, "paced": 10, "reused": 10, "varied": 5, SPREAD: 3}, life=6.0, breaks_off=True
    ),
    Manner(
        {
            "bulk": 50,
            "limited": 10,
            "bounded": 5,
            "grouped": 10,
            "failing": 10,
            "deadly": 10,
            SPREAD: 10,
        },
        life=8.0,
        release=True,
        breaks_off=True,
    ),
    Manner(
        {"paced": 8, "limited": 8, "bounded": 8, "reused": 8, "grouped": 8, "varied": 8, SPREAD: 8},
        notify=True,
        life=30.0,
    ),
    Manner({"paced": 1, "limited": 1, "bounded": 1, "reused": 1, "bulk": 1, SPREAD: 1}, life=15.0),
)


def producers(run: Run) -> list[Coroutine[Any, Any, None]]:
    """All that put jobs in, the operator, and those who look after dead letters."""
    works = [Operator(run, "operator", 0).work()]
    works += [Clerk(run, f"clerk-{i}", 2 * i).work() for i in range(_CLERKS)]
    for kind in KINDS.values():
        number = _BULK_PRODUCERS if kind.batch > 10 else 1
        for i in range(number):
            name = f"producer-{kind.name}-{i}"
            works.append(Producer(run, name, len(works), kind, kind.rate / number).work())
    return works


def consumers(run: Run) -> list[Coroutine[Any, Any, None]]:
    """All that take jobs."""
    works = [Poller(run, f"rest-{i}", i).work() for i in range(_POLLERS)]
    # A settler calls the store by itself, which it can where that is one.
    if run.places.setup.kind == SINGLE:
        works += [Settler(run, f"settler-{i}", i).work() for i in range(_SETTLERS)]
    works += [PushClient(run, f"push-{i}", i, manner).work() for i, manner in enumerate(_MANNERS)]
    return works


async def main(role: str, places: Places) -> None:
    """Work, and follow orders, until the harness is gone or says stop."""
    recorder = Recorder(Path(places.folder), role)
    run = Run(places, recorder)
    everyone = {"producers": producers, "consumers": consumers, "probes": probes}[role](run)
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(_flush(recorder)),
            group.create_task(_watch(recorder, role)),
        ]
        tasks = [group.create_task(work) for work in everyone]
        report(ready=role)
        async for order in orders():
            if order["do"] == "change":
                run.change(**order["what"])
            elif order["do"] == "rest":
                await _rest(run)
                recorder.flush()
                report(resting=role)
            else:
                break
        run.change(stopped=True)
        await asyncio.wait(tasks, timeout=10)
        for task in (*background, *tasks):
            task.cancel()
    recorder.close()


async def _rest(run: Run) -> None:
    """Put nothing in, take nothing, and wait until all that is under way is done."""
    run.change(producing=False, taking=False)
    while run.busy:
        await asyncio.sleep(_LOOK_EVERY)


async def _watch(recorder: Recorder, role: str) -> None:
    """Put on record when this process, or the machine, is late."""
    loop, log = asyncio.get_running_loop(), recorder.client(role)
    while True:
        due = loop.time() + _WATCH_EVERY
        await asyncio.sleep(_WATCH_EVERY)
        late = loop.time() - due
        if late > _LATE:
            log.note("stall", ms=round((late + _WATCH_EVERY) * 1000))


async def _flush(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(_FLUSH_EVERY)
        recorder.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Places)))
