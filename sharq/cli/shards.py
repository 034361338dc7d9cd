"""`sharq shards`: over how many shards a type is spread."""

from __future__ import annotations

import argparse

from sharq.cli import printing, words
from sharq.cli.rest import Server, object_of
from sharq.cli.verb import Verb
from sharq.cli.words import shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the type, and how many shards it is to have."""
    parser.add_argument("type", metavar="TYPE", help="queue type")
    parser.add_argument(
        "shards", metavar="N", nargs="?", help="how many it is to have, from 1 (not spread) to 256"
    )


def run(server: Server, given: argparse.Namespace) -> int:
    """Show or change the number of shards."""
    path = "shards", words.name("TYPE", given.type)
    if given.shards is None:
        answer = server.ask("GET", *path)
    else:
        body = object_of({"shards": words.integer("N", given.shards)})
        answer = server.ask("POST", *path, body=body)
    if given.json:
        printing.document(answer.text)
    elif given.shards is None:
        printing.facts([("of", f"type {given.type}"), ("shards", shown(answer.value("shards")))])
    else:
        had, has = answer.value("shards_before"), answer.value("shards")
        changed = "still has" if had == has else f"had {had}, and now has"
        printing.line(f"The type {given.type} {changed} {has} shard{'s' if has != 1 else ''}.")
    return 0


VERB = Verb(
    "shards",
    "show or change how many shards a type is spread over",
    "Shows over how many shards a type is spread, or changes it. That needs a type without jobs, "
    "leases, limits, pauses and dead letters: else it is refused, and told what is there.",
    add_arguments,
    run,
)
