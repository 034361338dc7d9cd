"""Hold thousands of connections to a server of its own while jobs go through it: a soak."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from sharq_server.process import event_loop
from tests.load import descriptors, soak

_RESULTS = Path("build/soak")


def main() -> int:
    """Run as the command line says; the exit code is 0 where all was well, 2 where nothing ran."""
    given = _parse()
    plan = soak.Plan(given.minutes, given.connections, given.slow, given.rate, given.tls, given.p99)
    try:
        files = descriptors.make_room(plan.connections + plan.slow)
    except descriptors.TooFew as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    # Whoever starts it in the background has it ignore the one, and may end it by the other.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    print(
        f"{plan.connections:,} connections and {plan.slow:,} slow ones for {plan.minutes:g} min, "
        f"{plan.rate:g} jobs a second, {'by TLS' if plan.tls else 'plain'}; "
        f"{files:,} open files a process.",
        flush=True,
    )
    try:
        outcome = soak.run(plan, event_loop.run, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("\nsoak: interrupted; the server and the store are ended.", file=sys.stderr)
        return 130
    except TimeoutError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    _tell(outcome)
    path = given.output or _RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_as_json(outcome), encoding="utf-8")
    print(f"The figures are in {path}.")
    return 0 if outcome.good else 1


def _tell(outcome: soak.Outcome) -> None:
    figures = outcome.figures
    print(f"\nOpened in {figures['opened_in_s']} s.")
    for name in ("enqueue", "delivery", "finish", "requests_now_and_then"):
        times = figures[name]
        print(
            f"  {name.replace('_', ' '):22} {times['count']:9,}   p50 {times['p50_ms']:8.2f} ms   "
            f"p99 {times['p99_ms']:8.2f} ms   most {times['most_ms']:8.1f} ms"
        )
    for name, ends in figures["slow"].items():
        told = ", ".join(f"{count:,} times {how}" for how, count in ends["outcomes"].items())
        if told:
            print(f"  {name:30} {told}, after {ends['longest_s']:g} s at most")
    for moment in ("before", "loaded", "after"):
        sample = figures[moment]
        print(
            f"  {moment:8} server {sample['server_kib'] / 1024:7.1f} MiB "
            f"{sample['server_files']:7,} files   "
            f"store {sample['store_kib'] / 1024:6.1f} MiB {sample['store_keys']:7,} keys"
        )
    print()
    for each in outcome.verdicts:
        print(f"  {'ok  ' if each.good else 'FAIL'}  {each.what}: {each.figures}")
    print(f"\n{'All is well.' if outcome.good else 'Something is wrong.'}")


def _as_json(outcome: soak.Outcome) -> str:
    result = {
        "good": outcome.good,
        **outcome.figures,
        "verdicts": [each._asdict() for each in outcome.verdicts],
        "samples": [each._asdict() for each in outcome.samples],
    }
    return json.dumps(result, indent=1, ensure_ascii=False) + "\n"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long all is held (5)")
    parser.add_argument("--connections", type=int, default=10_000, help="held (10000)")
    parser.add_argument("--slow", type=int, default=2_000, help="slow clients besides (2000)")
    parser.add_argument("--rate", type=float, default=200.0, help="jobs a second (200)")
    parser.add_argument("--tls", action="store_true", help="all of it over TLS")
    parser.add_argument(
        "--p99", type=float, default=1000.0, metavar="MS", help="bound of p99 times (1000)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes")
    given = parser.parse_args()
    if given.minutes <= 0 or given.connections < 20 or given.slow < 0 or given.rate <= 0:
        parser.error("there is nothing to hold: --connections is at least 20, times are above 0")
    return given


if __name__ == "__main__":
    sys.exit(main())
