"""`sharq job`: one job."""

from __future__ import annotations

import argparse

from sharq.cli import printing, words
from sharq.cli.rest import Server
from sharq.cli.showing import facts_of_job
from sharq.cli.verb import Verb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the names of a job."""
    parser.add_argument("type", metavar="TYPE", help="queue type")
    parser.add_argument("queue", metavar="QUEUE", help="queue of that type")
    parser.add_argument("job", metavar="JOB", help="job of that queue")


def run(server: Server, given: argparse.Namespace) -> int:
    """Show the state of a job."""
    answer = server.ask("GET", "status", *names_of(given))
    if given.json:
        printing.document(answer.text)
    else:
        printing.facts(facts_of_job(answer.fields))
    return 0


def names_of(given: argparse.Namespace) -> tuple[str, str, str]:
    """The names of a job in the arguments. Raises `WrongUsage`."""
    return (
        words.name("queue_type", given.type),
        words.name("queue_id", given.queue),
        words.name("job_id", given.job),
    )


VERB = Verb(
    "job",
    "show a job: its state, and when it is its turn",
    "Shows a job: whether it waits, is leased, finished or dead, when it is its turn, and what its "
    "last error was.",
    add_arguments,
    run,
)
