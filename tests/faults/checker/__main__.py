"""python -m tests.faults.checker FOLDER: checks a run, and says what it has found."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.faults.checker import check


def main() -> int:
    """Print a line for each invariant. 1 where one is violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.checker")
    parser.add_argument("folder", type=Path, help="what a run has left")
    report = check(parser.parse_args().folder)
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
