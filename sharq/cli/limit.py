"""`sharq limit`: the limits of a queue, a group or a type."""

from __future__ import annotations

import argparse
from typing import Final

from sharq.cli import printing, words
from sharq.cli.problems import WrongUsage
from sharq.cli.rest import Server, object_of, text_of
from sharq.cli.showing import facts_of_limits
from sharq.cli.verb import Level, Verb, add_level, level_of
from sharq.cli.words import NONE, duration, shown

_NULL: Final = b"null"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the level, and what can be set."""
    add_level(parser)
    parser.add_argument(
        "--interval",
        metavar="TIME",
        help="least time between two dispatches: ms, or 1.5s, 2min, …; 0 is no limit",
    )
    parser.add_argument("--burst", metavar="N", help="dispatches at once after idleness")
    parser.add_argument("--concurrency", metavar="N", help="leases at a time")
    parser.add_argument("--in-group", metavar="NAME", help="of a queue: the group it belongs to")
    parser.add_argument("--reason", metavar="TEXT", help="why, for people")
    parser.add_argument("--reset", action="store_true", help="give all limits back")
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing: show what the limits would do"
    )


def run(server: Server, given: argparse.Namespace) -> int:
    """Set, try, give back or show limits."""
    level, fields = level_of(given), _fields(given)
    if given.reset and (fields or given.dry_run):
        raise WrongUsage("--reset gives all limits back: nothing else goes with it.")
    if given.dry_run and not fields:
        raise WrongUsage("--dry-run needs the limits to try.")
    if given.dry_run:
        return _try(server, given, level, fields)
    if not fields and not given.reset:
        return _show(server, given, level)
    method, body = ("DELETE", None) if given.reset else ("POST", object_of(fields))
    answer = server.ask(method, "limits", *level.path, query=level.query, body=body)
    if given.json:
        printing.document(answer.text)
    else:
        done = "given back" if given.reset else "set"
        printing.line(f"The limits of {level.name} are {done}.")
    return 0


def _show(server: Server, given: argparse.Namespace, level: Level) -> int:
    answer = server.ask("GET", "limits", *level.path, query=level.query)
    if given.json:
        printing.document(answer.text)
    else:
        printing.facts([("of", level.name), *facts_of_limits(answer.fields)])
    return 0


def _try(server: Server, given: argparse.Namespace, level: Level, fields: dict[str, bytes]) -> int:
    query = {**level.query, "dry_run": "true"}
    answer = server.ask("POST", "limits", *level.path, query=query, body=object_of(fields))
    if given.json:
        printing.document(answer.text)
        return 0
    printing.facts(
        [
            ("of", level.name),
            ("would drain in", _drain(answer.value("drains_in"))),
            ("drains now in", _drain(answer.value("drained_in_before"))),
            ("estimated", shown(answer.value("estimated"))),
        ]
    )
    return 0


def _drain(milliseconds: float | None) -> str:
    return "as finishes decide" if milliseconds is None else duration(milliseconds)


def _fields(given: argparse.Namespace) -> dict[str, bytes]:
    """The fields of the request; `none` is null, which gives a limit back."""
    fields = {}
    for name, text in (
        ("interval", given.interval),
        ("burst", given.burst),
        ("concurrency", given.concurrency),
        ("group", given.in_group),
    ):
        if text is not None:
            fields[name] = _NULL if text == NONE else _value(name, text)
    if given.reason is not None:
        fields["reason"] = text_of(words.text("--reason", given.reason))
    return fields


def _value(name: str, text: str) -> bytes:
    if name == "interval":
        return words.milliseconds("--interval", text)
    if name == "group":
        return text_of(words.name("group", text))
    return words.integer(f"--{name}", text)


VERB = Verb(
    "limit",
    "show or set the limits of a queue, a group or a type",
    "Shows the limits of a queue, a group of queues or a type, or sets those that are given, at "
    "once. `none` gives one back.",
    add_arguments,
    run,
)
