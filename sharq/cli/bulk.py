"""Retries and deletions of many dead letters, which a server carries out: waiting for their end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from sharq.cli import printing
from sharq.cli.problems import DONE, REFUSED, Refused
from sharq.cli.progress import Bar
from sharq.cli.rest import Server

_PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
"""Seconds between two looks; the last one stays."""

_DONE: Final = {"retry": "queued again", "delete": "deleted"}
_NO_BULK: Final = 404


def follow(server: Server, queue_type: str, bulk_id: str, *, as_json: bool) -> int:
    """Show a bar until the bulk has ended, and what came of it: the exit code.

    It is `REFUSED` where not all was done: dead letters stayed, or somebody ended it.
    """
    looks = 0
    try:
        with Bar("dead letters") as bar:
            while True:
                answer = server.ask("GET", "dead", queue_type, "retry")
                bulk = answer.value("bulk")
                if bulk is None or bulk["id"] != bulk_id:
                    raise Refused(
                        f"Another one runs by now; how {bulk_id} ended is not known any more.",
                        _NO_BULK,
                        "not_found",
                    )
                seen = bulk["moved"] + bulk["conflicts"]
                bar.show(seen, seen + bulk["left"])
                if bulk["state"] != "running":
                    break
                time.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
                looks += 1
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"The server goes on: sharq dead progress {queue_type} shows it, "
            f"sharq dead cancel {queue_type} ends it."
        ) from None
    if as_json:
        printing.document(answer.text)
    else:
        printing.line(in_words(bulk))
    return DONE if bulk["state"] == "done" and not bulk["conflicts"] else REFUSED


def in_words(bulk: Mapping[str, Any]) -> str:
    """How far a bulk is, in a sentence."""
    said = f"{bulk['moved']:,} {_DONE.get(bulk['kind'], 'done')}"
    if bulk["conflicts"]:
        said += f", {bulk['conflicts']:,} stay, since jobs of their names are queued or leased"
    if bulk["state"] == "running":
        return f"{said}, {bulk['left']:,} not looked at yet."
    if bulk["state"] == "cancelled":
        return f"{said}; it was ended before {bulk['left']:,} were looked at."
    return f"{said}."
