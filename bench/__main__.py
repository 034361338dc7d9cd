"""Run benchmarks: ``python -m bench [SUBJECT ...]``; all of them where none is named."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import cycle, dequeue, machine, memory, push, rest
from bench.report import Options, Progress

SUBJECTS = {each.name: each for each in (m.SUBJECT for m in (rest, push, dequeue, cycle, memory))}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what the command line names, print its tables, and write them to a file."""
    given = _parse()
    chosen = [
        each for name, each in SUBJECTS.items() if not given.subjects or name in given.subjects
    ]
    options = Options(given.rounds, given.full)
    facts = machine.facts()
    _print_facts(facts)
    progress = Progress()
    results: dict[str, Any] = {}
    began = time.monotonic()
    for subject in chosen:
        tables = subject.run(progress, options)
        results[subject.name] = [table.to_json() for table in tables]
        for table in tables:
            print("\n".join(["", *table.lines()]), flush=True)
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.json"
    document = {"machine": facts, "options": asdict(options), "results": results}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{time.monotonic() - began:.0f} s; also in {path}")
    return 0


def _print_facts(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        print(f"  {name:14}{value}")
    for warning in machine.warnings(facts):
        print(f"  {warning}")


def _parse() -> argparse.Namespace:
    subjects = "\n".join(f"  {each.name:9} {each.about}" for each in SUBJECTS.values())
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures SharQ on this machine.",
        epilog=f"subjects:\n{subjects}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="what to measure")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="rounds that medians are taken of (5)"
    )
    parser.add_argument(
        "--full", action="store_true", help="the largest sizes, too: takes minutes and gigabytes"
    )
    given = parser.parse_args()
    unknown = [name for name in given.subjects if name not in SUBJECTS]
    if unknown:
        parser.error(f"no such subject: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    return given


if __name__ == "__main__":
    sys.exit(main())
