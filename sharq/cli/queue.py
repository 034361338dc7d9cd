"""`sharq queue`: one queue."""

from __future__ import annotations

import argparse

from sharq.cli import printing, words
from sharq.cli.problems import Refused
from sharq.cli.rest import Server, object_of, value
from sharq.cli.showing import facts_of_limits
from sharq.cli.verb import Verb
from sharq.cli.words import shown

_NO_QUEUE = 404


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the names of a queue."""
    parser.add_argument("type", metavar="TYPE", help="queue type")
    parser.add_argument("queue", metavar="QUEUE", help="queue of that type")


def run(server: Server, given: argparse.Namespace) -> int:
    """Show the length of a queue, its limits, and what holds it back; 1 if there is none."""
    names = words.name("queue_type", given.type), words.name("queue_id", given.queue)
    metrics = server.ask("GET", "metrics", *names).fields
    # The limits are the later answer: what both have is taken from there.
    fields = metrics | server.ask("GET", "limits", *names).fields
    if not _exists(fields):
        raise Refused(
            f"There is no queue {names[1]} of {names[0]} ({_NO_QUEUE} not_found).",
            _NO_QUEUE,
            "not_found",
        )
    if given.json:
        printing.document(object_of(fields))
        return 0
    enqueued, dequeued = (
        sum(value(fields, name).values()) for name in ("enqueue_counts", "dequeue_counts")
    )
    printing.facts(
        [
            ("queue", f"{names[0]}/{names[1]}"),
            *facts_of_limits(fields),
            ("enqueued in 10 min", shown(enqueued)),
            ("dequeued in 10 min", shown(dequeued)),
        ]
    )
    return 0


def _exists(fields: dict[str, bytes]) -> bool:
    counted = ("queue_length", "active", "pause", "interval", "tat", "reason")
    return any(value(fields, name) for name in counted) or any(
        each is not None for each in [*value(fields, "set_by").values(), value(fields, "interval")]
    )


VERB = Verb(
    "queue",
    "show a queue: its length, limits, and what holds it back",
    "Shows a queue: how many jobs wait and are leased, its limits and who has set them, what holds "
    "it back and for how long.",
    add_arguments,
    run,
)
