"""Run benchmarks: ``python -m bench [SUBJECT ...]``; all of them where none is named."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import (
    acked,
    against,
    codec,
    connections,
    cycle,
    dead,
    dequeue,
    document,
    idle,
    latency,
    levels,
    library,
    limit,
    machine,
    memory,
    migration,
    picture,
    push,
    rate,
    rest,
    shards,
    viewers,
    watchers,
    wsgi,
)
from bench.highlights import Highlight
from bench.progress import Progress
from bench.subject import Options
from bench.targets import Target, summary

SUBJECTS = {
    each.name: each
    for each in (
        m.SUBJECT
        for m in (
            *(rest, wsgi, push, connections, limit, latency, rate, watchers, viewers),
            *(cycle, dequeue, levels, dead, library, codec, memory, idle, migration),
            *(shards, acked),
        )
    )
}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what the command line names, print its tables, and write them to files."""
    given = _parse()
    if given.document is not None:
        document.write(json.loads(given.document.read_text(encoding="utf-8")))
        return 0
    if given.against is not None:
        return _compare(given)
    chosen = [
        each for name, each in SUBJECTS.items() if not given.subjects or name in given.subjects
    ]
    options = Options(given.rounds, given.full, given.peers)
    facts = machine.facts()
    _print_facts(facts)
    progress = Progress()
    results: dict[str, Any] = {}
    targets: list[Target] = []
    highlights: list[Highlight] = []
    began = time.monotonic()
    failed = []
    for subject in chosen:
        try:
            findings = subject.run(progress, options)
        except Exception:
            # What the others find out is not lost for it.
            progress.end()
            traceback.print_exc()
            failed.append(subject.name)
            continue
        results[subject.name] = [table.to_json() for table in findings.tables]
        targets += findings.targets
        highlights += findings.highlights
        for table in findings.tables:
            print("\n".join(["", *table.lines()]), flush=True)
    print("\n".join(["", *summary(targets).lines()]))
    taken = datetime.now(UTC)
    path = RESULTS / f"{taken:%Y-%m-%dT%H-%M-%SZ}.json"
    result = {
        "taken": f"{taken:%Y-%m-%d %H:%M} UTC",
        "seconds": round(time.monotonic() - began),
        "machine": facts,
        "options": asdict(options),
        "failed": failed,
        "targets": [target.to_json() for target in targets],
        "highlights": [highlight.to_json() for highlight in highlights],
        "results": results,
    }
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    picture.draw(result, path.with_suffix(".png"))
    print(f"\n{result['seconds']} s; also in {path} and, as a picture, in {path.stem}.png")
    if failed:
        print(f"Failed: {', '.join(failed)}; see above.")
    return 1 if failed else 0


def _compare(given: argparse.Namespace) -> int:
    _print_facts(machine.facts())
    try:
        table = against.compare(given.against, given.subjects, given.pairs, Progress())
    except against.NoResultError as failure:
        print(f"Failed: {failure}")
        return 1
    print("\n".join(["", *table.lines()]))
    return 0


def _print_facts(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        print(f"  {name:14}{value}")
    for warning in machine.warnings(facts):
        print(f"  {warning}")


def _parse() -> argparse.Namespace:
    subjects = "\n".join(f"  {each.name:11} {each.about}" for each in SUBJECTS.values())
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
    parser.add_argument(
        "--peers",
        action="store_true",
        help="beside the original and other queues, too; what is missing is installed into .peers/",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="beside another checkout, in turn: ratios of all figures",
    )
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="pairs for --against (7)")
    parser.add_argument(
        "--document",
        type=Path,
        metavar="FILE",
        help="measure nothing: put a result (JSON) into bench/FIGURES.md and docs/performance.md",
    )
    given = parser.parse_args()
    unknown = [name for name in given.subjects if name not in SUBJECTS]
    if unknown:
        parser.error(f"no such subject: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    if given.rounds < 1 or given.pairs < 1:
        parser.error("--rounds and --pairs are at least 1")
    if given.against is not None and not (given.against / "bench" / "__main__.py").is_file():
        parser.error(f"{given.against} is not a checkout of this project")
    if given.against is not None and not (given.against / ".venv" / "bin" / "python").exists():
        parser.error(f"{given.against} has no environment: run ./build.sh lint there")
    return given


if __name__ == "__main__":
    sys.exit(main())
