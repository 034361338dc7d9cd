"""`sharq token`: makes bearer tokens."""

from __future__ import annotations

import argparse
import sys

from sharq.settings import tokens


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands for tokens."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser(
        "new",
        help="make a token",
        description="Makes a token. Its line for the server's token file goes to the standard "
        "output. The secret, for its holder only, is shown once, on the standard error.",
    )
    new.add_argument("name", help="name of the token, such as that of the program")
    new.add_argument(
        "--operations",
        default=tokens.ALL,
        metavar="LIST",
        help=f"operations that it allows, separated by commas: {', '.join(tokens.OPERATIONS)}; "
        "default: all",
    )
    new.add_argument(
        "--types",
        default=tokens.ALL,
        metavar="LIST",
        help="queue types that it is for, separated by commas; default: all",
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
