"""python -m tests.faults: proof by fault, for some minutes, by a seed."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.faults.director import Director, Outcome


def main() -> int:
    """Run; the exit code is 1 where an invariant was violated."""
    given = _parser().parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = Path(given.folder or f"build/faults/{seed}-{os.getpid()}").resolve()
    folder.mkdir(parents=True)
    print(f"seed {seed}, {given.minutes:g} minutes, history in {folder}", flush=True)
    try:
        outcome = asyncio.run(_until_signal(Director(folder, seed, given.minutes)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Broken off.", file=sys.stderr)
        return 130
    _print(outcome)
    if not given.keep:
        shutil.rmtree(folder)
    return 0


async def _until_signal(director: Director) -> Outcome:
    """Run; SIGTERM ends the run as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    return await director.run()


def _print(outcome: Outcome) -> None:
    for kind, count in sorted(outcome.faults.items()):
        print(f"  {kind:32} {count:6}")
    for kind, count in sorted(outcome.skipped.items()):
        print(f"  {kind:32} skipped {count} times: not root, or no tmpfs can be mounted")
    if outcome.recoveries:
        slowest = max(outcome.recoveries)
        print(
            f"  {len(outcome.recoveries)} times back after the store's return, {slowest:.2f} s at most"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./build.sh faults",
        description="Runs a store, servers, workers and clients under faults, and checks that "
        "nothing was lost and no limit broken.",
    )
    parser.add_argument(
        "--minutes", type=float, default=3.0, metavar="N", help="length of the run (%(default)g)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="replays the faults of another run")
    parser.add_argument("--folder", metavar="DIR", help="where the history goes")
    parser.add_argument("--keep", action="store_true", help="keep the history of a good run too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
