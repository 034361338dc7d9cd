"""The command `sharq`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sharq import __version__
from sharq.cli import sweep as sweep_cli
from sharq.cli import token as token_cli
from sharq.cli import worker as worker_cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="sharq", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"SharQ {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    worker = commands.add_parser(
        "worker", help="run a handler for jobs", description="Runs a handler for jobs."
    )
    worker_cli.add_arguments(worker)
    worker.set_defaults(run=worker_cli.run)
    sweep = commands.add_parser(
        "sweep",
        help="take back expired leases, where no server does",
        description="Takes back expired leases, where no server does: behind a WSGI server that "
        "gets no requests for a time, or with `enable_requeue_script` off everywhere. Several at "
        "a time do no harm. Without --once it runs until it is stopped.",
    )
    sweep_cli.add_arguments(sweep)
    sweep.set_defaults(run=sweep_cli.run)
    token = commands.add_parser(
        "token", help="make bearer tokens", description="Makes bearer tokens."
    )
    token_cli.add_arguments(token)
    given = parser.parse_args(arguments)
    code: int = given.run(given)
    return code


if __name__ == "__main__":
    sys.exit(main())
