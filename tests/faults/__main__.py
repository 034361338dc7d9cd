"""python -m tests.faults: SharQ under faults, for some minutes, by a seed, and checked."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Final

from sharq.settings.options import StoreSettings
from tests.faults import verdict
from tests.faults.checker import check
from tests.faults.director import Director, Outcome
from tests.faults.setup import CLUSTER, SENTINEL, SINGLE, setup_of

_CAN_WAIT: Final = any(each.name == "replicas_acked" for each in fields(StoreSettings))


def main() -> int:
    """Run; the exit code is 1 where an invariant was violated."""
    given = _parser().parse_args()
    setup = setup_of(given.kind, given.replicas_acked)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = Path(given.folder or f"build/faults/{seed}-{os.getpid()}").resolve()
    folder.mkdir(parents=True)
    print(f"seed {seed}, {given.minutes:g} minutes, history in {folder}", flush=True)
    if setup.kind != SINGLE:
        print(f"{setup.kind}, replicas_acked = {setup.replicas_acked}", flush=True)
    try:
        outcome = asyncio.run(_until_signal(Director(folder, seed, given.minutes, setup)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Broken off.", file=sys.stderr)
        return 130
    print("Checking…", file=sys.stderr, flush=True)
    os.nice(19)  # another run may have begun
    report = check(folder)
    for line in verdict.lines(outcome, report):
        print(line)
    if verdict.holds(report):
        if not given.keep:
            shutil.rmtree(folder)
        return 0
    verdict.write(folder, report)
    print(f"More is in {folder / verdict.VIOLATIONS}; --seed {seed} replays the faults.")
    return 1


async def _until_signal(director: Director) -> Outcome:
    """Run; SIGTERM ends the run as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    return await director.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./build.sh faults",
        description="Runs a store, servers, workers and clients under faults, and checks whether "
        "something was lost or a limit broken.",
    )
    parser.add_argument(
        "--minutes", type=float, default=3.0, metavar="N", help="length of the run (%(default)g)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="replays the faults of another run")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--cluster",
        dest="kind",
        action="store_const",
        const=CLUSTER,
        default=SINGLE,
        help="on a cluster of three primaries and three replicas, under faults of its nodes",
    )
    kinds.add_argument(
        "--sentinel",
        dest="kind",
        action="store_const",
        const=SENTINEL,
        help="on a primary with two replicas and three sentinels, under faults of these",
    )
    parser.add_argument(
        "--replicas-acked",
        type=int,
        choices=(0, 1, 2),
        default=int(_CAN_WAIT),
        help="of a store of several nodes: replicas that have a write before it is answered; with 0"
        " what is lost by promotions is counted (%(default)s)",
    )
    parser.add_argument("--folder", metavar="DIR", help="where the history goes")
    parser.add_argument("--keep", action="store_true", help="keep the history of a good run too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
