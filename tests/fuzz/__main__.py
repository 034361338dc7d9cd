"""`./build.sh fuzz`: every target for its share of the time, with inputs that were not tried yet.

Half of the time good inputs are changed a little, half of it Hypothesis makes them. A failure is
shown with its input, which Hypothesis makes small; the other targets go on.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from sharq import _fastpath
from sharq.codec import websocket_frames as ws
from tests.fuzz import codec, contract, frames, lane
from tests.fuzz.mutations import MAKERS
from tests.fuzz.targets import Target
from tests.server.threaded import PLAIN, Servers
from tests.support.stores import PrivateStore

_A_ROUND = 200

PURE = [*codec.TARGETS, *frames.TARGETS, *lane.TARGETS]
GUIDED = tuple(target.name for target in frames.TARGETS)
WITH_SERVERS = ("lane", "tls", "rest")


@contextmanager
def _with_servers(names: list[str]) -> Iterator[list[Target]]:
    """The targets of these names that need a store and servers."""
    with ExitStack() as stack:
        targets = []
        if set(names) & set(WITH_SERVERS):
            store = stack.enter_context(PrivateStore(tcp=True))
            if {"lane", "tls"} & set(names):
                lanes = stack.enter_context(lane.lanes(store, "lane"))
                targets += [target for target in lanes if target.name in names]
            if "rest" in names:
                servers = stack.enter_context(Servers(store, "rest", ways=(PLAIN,)))
                api = contract.Api(servers.ports[PLAIN])
                stack.callback(api.close)
                targets.append(Target("rest", api.cases(), api.check))
        yield targets


def _fuzz(target: Target, seconds: float, chance: random.Random) -> tuple[int, bool]:
    """Try inputs for a time: how many there were, and whether all is well."""
    count = 0
    now = time.monotonic()

    def check(data: Any) -> None:
        nonlocal count
        count += 1
        target.check(data)

    make = MAKERS.get(target.name)
    while make is not None and time.monotonic() < now + seconds / 2:
        data = make(chance)
        try:
            check(data)
        except Exception:
            traceback.print_exc()
            print(f"{target.name}: broken by {data!r}", file=sys.stderr)
            return count, False
    while time.monotonic() < now + seconds:
        round_seed = chance.getrandbits(64)
        run = settings(
            max_examples=_A_ROUND,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(seed(round_seed)(given(target.inputs)(check)))
        try:
            run()
        except Exception:
            traceback.print_exc()
            print(f"{target.name}: broken, in the round of seed {round_seed}", file=sys.stderr)
            return count, False
    return count, True


def _guided(target: Target, seconds: float) -> None:
    """Let Atheris look for inputs that reach new code of the frame reader. Ends the process."""
    import atheris  # ./build.sh installs it for this alone

    run = settings(database=None, deadline=None)(given(target.inputs)(target.check))
    options = [f"-max_total_time={round(seconds)}", "-print_final_stats=1", "-rss_limit_mb=4096"]
    # Of the code under test, this is what is Python and takes bytes apart.
    for name in ("next", "_next_frame", "_check_head", "feed"):
        setattr(ws.Reader, name, atheris.instrument_func(getattr(ws.Reader, name)))
    for name in ("_whole", "closing"):
        setattr(ws, name, atheris.instrument_func(getattr(ws, name)))
    atheris.Setup([sys.argv[0], *options], run.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main() -> int:
    names = [*(target.name for target in PURE), *WITH_SERVERS]
    parser = argparse.ArgumentParser(prog="./build.sh fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=None, help="of the inputs; by chance if absent")
    parser.add_argument(
        "--target", choices=names, action="append", help="this one alone; may be repeated"
    )
    parser.add_argument(
        "--guided", action="store_true", help="a target of frames, its inputs chosen by Atheris"
    )
    options = parser.parse_args()
    chosen = options.target or names
    seconds = options.minutes * 60 / len(chosen)
    if options.guided:
        if len(chosen) != 1 or chosen[0] not in GUIDED:
            parser.error(f"--guided takes one --target: {' or '.join(GUIDED)}")
        target = next(target for target in PURE if target.name == chosen[0])
        _guided(target, seconds)
    start = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {start}, {seconds:.0f} s for each of {len(chosen)} targets, {_fastpath.__file__}")
    chance = random.Random(start)
    well = True
    with _with_servers(chosen) as served:
        for target in [*PURE, *served]:
            if target.name in chosen:
                count, fine = _fuzz(target, seconds, chance)
                print(f"{target.name:14} {count:9} inputs  {'well' if fine else 'BROKEN'}")
                sys.stdout.flush()
                well &= fine
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
