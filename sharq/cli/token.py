"""`sharq token`: makes bearer tokens."""

from __future__ import annotations

import argparse
import sys

from sharq.settings import tokens


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with tokens."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser(
        "new",
        help="make a token",
        description="Makes a token. Its line for the server's token file goes to the output; the "
        "secret, which only its holder is to have, is shown once, on the error output.",
    )
    new.add_argument("name", help="whose it is, for people")
    new.add_argument(
        "--operations",
        default=tokens.ALL,
        metavar="LIST",
        help=f"what may be done with it: {', '.join(tokens.OPERATIONS)}, with commas between; "
        "all of them if left out",
    )
    new.add_argument(
        "--types",
        default=tokens.ALL,
        metavar="LIST",
        help="queue types that it is for, with commas between; all if left out",
    )
    new.set_defaults(run=_new)


def _new(given: argparse.Namespace) -> int:
    secret = tokens.new_secret()
    try:
        operations, queue_types = given.operations.split(","), given.types.split(",")
        line = tokens.line_for(secret, given.name, operations, queue_types)
    except ValueError as error:
        print(f"sharq token: {error}", file=sys.stderr)
        return 2
    print(f"The secret of {given.name}, shown this once: {secret}", file=sys.stderr, flush=True)
    print(line)
    return 0
