"""Lists that come in pages: how much of one is wanted, and its pages put together."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from sharq.cli import printing, words
from sharq.cli.problems import WrongUsage
from sharq.cli.rest import Server, object_of
from sharq.cli.words import visible

_MOST = 1_000_000
_LONGEST_CURSOR = 4096


def add_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Add how much of a list of `what` is wanted."""
    parser.add_argument(
        "--limit", metavar="N", help=f"show so many {what}, about (100); more are in later pages"
    )
    parser.add_argument("--all", action="store_true", help=f"show all {what}")
    parser.add_argument("--cursor", metavar="CURSOR", help="go on where another call has ended")


def read(
    server: Server,
    path: tuple[str, ...],
    field: str,
    most_a_page: int,
    given: argparse.Namespace,
    query: Mapping[str, str] | None = None,
) -> tuple[list[bytes], dict[str, bytes]]:
    """The elements of the list in `field`, as text, and the fields of an answer with all of them.

    The last page is shown whole, so that none is missed by who goes on with its cursor.
    """
    if given.all and given.limit is not None:
        raise WrongUsage("--all and --limit exclude each other.")
    limit = words.count("--limit", given.limit, _MOST) if given.limit is not None else 100
    cursor: str | None = given.cursor
    if cursor is not None and len(words.text("--cursor", cursor)) > _LONGEST_CURSOR:
        raise WrongUsage("The cursor is too long.")
    found: list[bytes] = []
    fields: dict[str, bytes] = {}
    while True:
        wanted = most_a_page if given.all else min(most_a_page, limit - len(found))
        asked = {**(query or {}), "count": str(wanted)}
        if cursor is not None:
            asked["cursor"] = cursor
        page = server.ask("GET", *path, query=asked)
        fields = fields or page.fields
        found += page.items(field)
        fields["cursor"] = page.fields.get("cursor", b"null")
        cursor = page.value("cursor")
        if cursor is None or not (given.all or len(found) < limit):
            fields[field] = b"[%s]" % b", ".join(found)
            return found, fields


def count(
    server: Server, path: tuple[str, ...], field: str, most_a_page: int, query: Mapping[str, str]
) -> int:
    """How many elements a list has, by a look at all its pages, of which nothing is kept."""
    found, cursor = 0, None
    while True:
        asked = {**query, "count": str(most_a_page)} | ({"cursor": cursor} if cursor else {})
        page = server.ask("GET", *path, query=asked)
        found += len(page.items(field))
        cursor = page.value("cursor")
        if cursor is None:
            return found


def print_document(fields: Mapping[str, bytes]) -> None:
    """Print the pages as the one answer that they would be."""
    printing.document(object_of(fields))


def tell_cursor(cursor: str | None) -> None:
    """Say how to go on, if there is more."""
    if cursor is not None:
        printing.note(f"There is more: --cursor {visible(cursor)}")
