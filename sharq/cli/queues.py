"""`sharq queues`: the queues of a type."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, Final

from sharq.cli import paging, printing, queue_tops, watching, words
from sharq.cli.problems import WrongUsage
from sharq.cli.rest import Server, text_of, value
from sharq.cli.verb import Verb
from sharq.codec import json_text

_MOST_A_PAGE: Final = 1000
_MOST_TOP: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the type, and how much of the list is wanted."""
    parser.add_argument("type", metavar="TYPE", help="queue type")
    parser.add_argument(
        "--by",
        choices=queue_tops.ORDERS,
        help="the first 50 by waiting jobs, by how long they are ready, or by the time until they "
        "are drained",
    )
    paging.add_arguments(parser, "queues")


def run(server: Server, given: argparse.Namespace) -> int:
    """Show the queues of a type that have waiting or leased jobs: all in no order, or the first."""
    kind = words.name("queue_type", given.type)
    if given.by is not None:
        return _show_top(server, kind, given)
    found, fields = paging.read(server, ("metrics", kind), "queue_ids", _MOST_A_PAGE, given)
    if given.json:
        paging.print_document(fields)
        return 0
    # One that has waiting and leased jobs may be there twice.
    names = dict.fromkeys(json_text.read(each) for each in found)
    printing.table(("queue",), ((name,) for name in names))
    paging.tell_cursor(value(fields, "cursor"))
    return 0


def _show_top(server: Server, kind: str, given: argparse.Namespace) -> int:
    if given.all or given.cursor is not None:
        raise WrongUsage("--by shows the first 50: neither --all nor --cursor goes with it.")
    most = _MOST_TOP if given.limit is None else words.count("--limit", given.limit, _MOST_TOP)
    topic = f"type/{kind}"
    data = asyncio.run(watching.look(server.channel, [topic]))[topic]
    if given.json:
        listed = [{"queue_id": name, **queue} for name, queue in queue_tops.entries(data, given.by)]
        answer: dict[str, Any] = {"status": "success", "queues": listed[:most], "at": data["at"]}
        printing.document(text_of(answer | {"looked": data.get("looked")}))
        return 0
    printing.table(queue_tops.COLUMNS, list(queue_tops.rows(data, given.by))[:most])
    left_out = queue_tops.looked_at(data)
    if left_out is not None:
        printing.note(left_out)
    return 0


VERB: Final = Verb(
    "queues",
    "show the queues of a type",
    "Shows the queues of a type that have waiting or leased jobs, in no order, page by page. A "
    "page may have a few more than were asked for, and a queue may be in two pages. With --by it "
    "shows the first ones.",
    add_arguments,
    run,
)
