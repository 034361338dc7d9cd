"""The command `sharq`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sharq import __version__
from sharq.cli import completion as completion_cli
from sharq.cli import conform as conform_cli
from sharq.cli import forward as forward_cli
from sharq.cli import migrate as migrate_cli
from sharq.cli import sweep as sweep_cli
from sharq.cli import token as token_cli
from sharq.cli import verbs
from sharq.cli import worker as worker_cli
from sharq.cli.parser import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = Parser(prog="sharq", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"SharQ {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    worker = commands.add_parser(
        "worker", help="run a handler for jobs", description="Runs a handler for jobs."
    )
    worker_cli.add_arguments(worker)
    worker.set_defaults(run=worker_cli.run)
    forward = commands.add_parser(
        "forward",
        help="hand each job to an HTTP endpoint",
        description="Hands each job of a type to an HTTP endpoint, by a POST of its payload. A 2xx "
        "finishes the job, 429 and 503 with Retry-After pause its queue, the statuses of --dead-on "
        "make a dead letter of it, and after anything else it comes again, later each time.",
    )
    forward_cli.add_arguments(forward)
    forward.set_defaults(run=forward_cli.run)
    sweep = commands.add_parser(
        "sweep",
        help="take back expired leases, where no server does",
        description="Takes back expired leases, where no server does: behind a WSGI server that "
        "gets no requests for a time, or with `enable_requeue_script` off everywhere. Several at "
        "a time do no harm. Without --once it runs until it is stopped.",
    )
    sweep_cli.add_arguments(sweep)
    sweep.set_defaults(run=sweep_cli.run)
    conform = commands.add_parser(
        "conform",
        help="try a client of the push channel that you write",
        description="Plays a server of the push channel to a client, without a store, and says "
        "point by point what it gets right, what it gets wrong, and what to do. The exit code is "
        "0 if it does all that a client must.",
    )
    conform_cli.add_arguments(conform)
    conform.set_defaults(run=conform_cli.run)
    migrate = commands.add_parser(
        "migrate",
        help="move the jobs of the original SHARQ into the store of this one",
        description="Moves the jobs of the original SHARQ (1.3 and before) into the store of this"
        " one: waiting ones in their order, leased ones with their leases, with the rate of their"
        " queues. It may be stopped and begun again at any time. Code 0: all jobs came, 1: some"
        " could not, and are in the file of rejects, 3: it could not go on.",
        allow_abbrev=False,
    )
    migrate_cli.add_arguments(migrate)
    migrate.set_defaults(run=migrate_cli.run)
    token = commands.add_parser(
        "token", help="make bearer tokens", description="Makes bearer tokens."
    )
    token_cli.add_arguments(token)
    completion = commands.add_parser(
        "completion",
        help="print a script that completes arguments in a shell",
        description="Prints a script with which a shell completes verbs, options and their values.",
    )
    completion_cli.add_arguments(completion)
    completion.set_defaults(run=lambda given: completion_cli.run(parser, given))
    verbs.add_to(commands)
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0].startswith("--") and words[0] not in ("--help", "--version"):
        # Its value would be taken for the command.
        parser.error(f"{words[0]}: options stand behind the command, as in sharq types --url URL")
    given = parser.parse_args(words)
    code: int = given.run(given)
    return code


if __name__ == "__main__":
    sys.exit(main())
