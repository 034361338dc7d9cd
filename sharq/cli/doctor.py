"""`sharq doctor`: what is wrong with a server, its store and the way to it."""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from sharq.cli import printing
from sharq.cli.problems import DONE, REFUSED, NoAnswer
from sharq.cli.rest import Server, object_of, text_of, value
from sharq.cli.verb import Verb
from sharq.cli.words import name, shown
from sharq.codec import json_text

_OK: Final = "ok"
_WARNING: Final = "warning"
_ERROR: Final = "error"
_STYLES: Final = {_OK: "green", _WARNING: "yellow", _ERROR: "bold red"}
_CLOCKS_APART: Final = 1000
"""ms by which two clocks may differ, besides the time that an answer takes."""

_SCRAPE: Final = "text/plain;version=0.0.4"
_A_FAMILY: Final = b"# TYPE sharq_"

_SLOW: Final = 1000
"""Milliseconds after which an answer is late."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The types that are to be counted anew, if any."""
    parser.add_argument(
        "--recount",
        metavar="TYPE",
        nargs="*",
        help="count the waiting jobs of these types anew, of all that have jobs if none is named, "
        "and look at nothing else",
    )


def run(server: Server, given: argparse.Namespace) -> int:
    """Show what was found by the server, and on the way to it; 1 if there is an error."""
    if given.recount is not None:
        return _recount(server, given)
    sent = _now()
    answer = server.ask("GET", "doctor")
    came = _now()
    ours = [
        _reached(server.root, answer.value("version"), came - sent),
        _clock(answer.value("at"), sent, came),
        _scrape(server),
    ]
    listed = [text_of(ours[0]), *answer.items("findings"), *map(text_of, ours[1:])]
    found = [json_text.read(each) for each in listed]
    if given.json:
        printing.document(object_of(answer.fields | {"findings": b"[%s]" % b", ".join(listed)}))
    else:
        columns = ("check", "level", "found", "do")
        rows = [tuple(shown(each[column]) for column in columns) for each in found]
        printing.findings(columns, rows, _STYLES)
    return REFUSED if any(each["level"] == _ERROR for each in found) else DONE


def _recount(server: Server, given: argparse.Namespace) -> int:
    """Count anew, and tell by how much the counts were wrong."""
    named = [name("queue_type", each) for each in given.recount]
    types = named or sorted(server.ask("GET", "metrics").value("queue_types"))
    found = [
        {"queue_type": text_of(each)} | server.ask("POST", "recount", each).fields for each in types
    ]
    if given.json:
        listed = b"[%s]" % b", ".join(map(object_of, found))
        printing.document(object_of({"status": b'"success"', "types": listed}))
        return DONE
    if not found:
        printing.note("No type has waiting or leased jobs.")
        return DONE
    rows = [
        (
            value(fields, "queue_type"),
            f"{value(fields, 'waiting'):+d}",
            f"{value(fields, 'delayed'):+d}",
            "yes" if value(fields, "exact") else "no: jobs came and went",
        )
        for fields in found
    ]
    printing.table(("type", "waiting", "delayed", "exact"), rows)
    return DONE


def _finding(check: str, level: str, found: str, do: str | None = None) -> dict[str, Any]:
    return {"check": check, "level": level, "found": found, "do": do}


def _reached(root: str, version: str, took: int) -> dict[str, Any]:
    found = f"SharQ {version} at {root} answers, in {took} ms."
    if took < _SLOW:
        return _finding("server", _OK, found)
    return _finding("server", _WARNING, found, "Look at the store, which it asks, and at the way.")


def _clock(told: int, sent: int, came: int) -> dict[str, Any]:
    """Compare the server's clock with this machine's; what lies between is the way."""
    ahead = max(told - came, 0) + min(told - sent, 0)
    if abs(ahead) < _CLOCKS_APART:
        return _finding("clock", _OK, "The clocks of this machine and the server agree.")
    way = "ahead of" if ahead > 0 else "behind"
    found = f"The server's clock is {abs(ahead) / 1000:,.1f} s {way} this machine's."
    return _finding("clock", _WARNING, found, "Synchronize both (NTP).")


def _scrape(server: Server) -> dict[str, Any]:
    """Whether Prometheus would get something."""
    try:
        status, kind, text = server.fetch("prometheus", accept=_SCRAPE)
    except NoAnswer as problem:
        return _finding("scrape", _ERROR, str(problem), "Look at the log of the server.")
    if status == 404:
        found = "The server has no GET /prometheus/: it cannot be scraped."
        return _finding("scrape", _WARNING, found, "Update the server, or look at the URL.")
    if status != 200:
        found = f"GET /prometheus/ answers {status}."
        return _finding("scrape", _ERROR, found, "Look at the log of the server.")
    if _A_FAMILY not in text:
        found = f"GET /prometheus/ answers with {kind}, and without metrics of SharQ."
        return _finding("scrape", _ERROR, found, "Look at what is between here and the server.")
    return _finding("scrape", _OK, "GET /prometheus/ answers with metrics.")


def _now() -> int:
    return time.time_ns() // 1_000_000


VERB: Final = Verb(
    "doctor",
    "tell what is wrong, and what to do",
    "Looks at a server, its store and the way to it: versions, durability, memory, clocks, the "
    "sweep, tokens, the certificate, open files, the scrape. The exit code is 1 if there is an "
    "error; warnings leave it at 0. With --recount it corrects the counts of waiting jobs.",
    add_arguments,
    run,
)
