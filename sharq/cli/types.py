"""`sharq types`: the queue types."""

from __future__ import annotations

import argparse

from sharq.cli import printing
from sharq.cli.rest import Server, object_of, text_of, value
from sharq.cli.verb import Verb
from sharq.cli.words import duration, shown
from sharq.codec import json_text

_COLUMNS = (
    *(f"{printing.CUT}type", "waiting", "delayed", "active", "ready", "held", "oldest"),
    *("held by", "dead"),
)
_COUNTS = ("waiting", "delayed", "active", "ready", "held")
_NOTHING = "nothing"
_INCOMPLETE = ("complete", "unreached_types")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def run(server: Server, given: argparse.Namespace) -> int:
    """Show the types, each with what its own limits hold back and its dead letters."""
    answer = server.ask("GET", "metrics")
    names: list[str] = sorted(answer.value("queue_types"))
    found = [_of_type(server, name) for name in names]
    missing = {each: answer.fields[each] for each in _INCOMPLETE if each in answer.fields}
    if given.json:
        listed = b"[%s]" % b", ".join(map(object_of, found))
        printing.document(object_of({"status": b'"success"', "types": listed} | missing))
        return 0
    if missing:
        unread = answer.value("unreached_types")
        printing.note(f"Nodes of the store are away, with other types: {' '.join(unread) or '?'}.")
    if not found:
        printing.note("No type has waiting or leased jobs.")
        return 0
    printing.table(_COLUMNS, map(_row, found))
    return 0


def _of_type(server: Server, name: str) -> dict[str, bytes]:
    # One queue of it is enough: what is wanted is beside the list.
    fields = server.ask("GET", "metrics", name, query={"count": "1"}).fields
    wanted = (*_COUNTS, "oldest_ready", "held_by", "ready_in", "dead")
    return {"queue_type": text_of(name)} | {each: fields[each] for each in wanted}


def _row(fields: dict[str, bytes]) -> tuple[str, ...]:
    dead = json_text.read(fields["dead"])
    held_by, left = value(fields, "held_by"), value(fields, "ready_in")
    return (
        value(fields, "queue_type"),
        *(shown(value(fields, each)) for each in _COUNTS),
        duration(value(fields, "oldest_ready")),
        shown(held_by) if held_by in (None, _NOTHING) or left is None else _for(held_by, left),
        shown(dead["jobs"]),
    )


def _for(held_by: str, left: float) -> str:
    return f"{held_by}, {duration(left)}"


VERB = Verb(
    "types",
    "show the queue types",
    "Shows the queue types that have waiting or leased jobs, each with its jobs, what its own "
    "limits hold back, for how long, and how many dead letters it has.",
    add_arguments,
    run,
)
