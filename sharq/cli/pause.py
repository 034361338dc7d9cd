"""`sharq pause` and `sharq resume`: the dispatches of a queue, a group or a type."""

from __future__ import annotations

import argparse

from sharq.cli import printing, words
from sharq.cli.rest import Server, object_of, text_of
from sharq.cli.verb import Verb, add_level, level_of
from sharq.cli.words import duration
from sharq.codec import json_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the level, and how long and why."""
    add_level(parser)
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="TIME",
        help="how long: ms, or 30s, 5min, …; default: until it is resumed",
    )
    parser.add_argument("--reason", metavar="TEXT", help="why, for people")


def pause(server: Server, given: argparse.Namespace) -> int:
    """Stop dispatches."""
    level, fields = level_of(given), {}
    if given.duration is not None:
        fields["for"] = words.milliseconds("--for", given.duration)
    if given.reason is not None:
        fields["reason"] = text_of(words.text("--reason", given.reason))
    answer = server.ask("POST", "pause", *level.path, query=level.query, body=object_of(fields))
    if given.json:
        printing.document(answer.text)
    else:
        lasts = "until it is resumed"
        if "for" in fields:
            lasts = f"for {duration(json_text.read(fields['for']))}"
        printing.line(f"The {level.name} is paused {lasts}.")
    return 0


def resume(server: Server, given: argparse.Namespace) -> int:
    """End a pause; where there is none, nothing changes."""
    level = level_of(given)
    answer = server.ask("POST", "resume", *level.path, query=level.query)
    if given.json:
        printing.document(answer.text)
    else:
        printing.line(f"The {level.name} is not paused any more.")
    return 0


PAUSE = Verb(
    "pause",
    "stop the dispatches of a queue, a group or a type",
    "Stops the dispatches of a queue, a group of queues or a type. Leases go on, and jobs are "
    "taken in. A pause replaces the one that is there.",
    add_arguments,
    pause,
)
RESUME = Verb(
    "resume",
    "end a pause",
    "Ends the pause of a queue, a group of queues or a type, if there is one.",
    add_level,
    resume,
)
