"""`sharq enqueue`: one job, or many from JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from typing import Final

from sharq.cli import enqueue_lines, printing, words
from sharq.cli.problems import DONE, NoAnswer, WrongUsage
from sharq.cli.rest import Server, object_of, text_of
from sharq.cli.verb import Verb
from sharq.cli.words import NONE

_STDIN: Final = "-"
_NULL: Final = b"null"
_REMOVABLE: Final = ("burst", "concurrency", "group")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the queue, the payload and the options of a job."""
    parser.add_argument("type", metavar="TYPE", help="queue type")
    parser.add_argument(
        "queue", metavar="QUEUE", nargs="?", help="queue of that type; with --lines a default"
    )
    parser.add_argument(
        "payload",
        metavar="PAYLOAD",
        nargs="?",
        help="JSON; - is the standard input, which is also read without it",
    )
    parser.add_argument(
        "--lines",
        action="store_true",
        help="read JSON lines from the standard input, each a job with the fields of the REST API; "
        "the arguments here are for those that a line does not have",
    )
    parser.add_argument("--job-id", metavar="JOB", help="name of the job; default: a new one")
    parser.add_argument(
        "--interval",
        metavar="TIME",
        help="least time between two dispatches of the queue, which every enqueue sets: ms, or "
        "1.5s, 2min, …; 0 is no limit",
    )
    parser.add_argument(
        "--requeue-limit", metavar="N", help="how often it may go back; -1: no limit"
    )
    parser.add_argument(
        "--max-queued-length", metavar="N", help="refuse the job if so many wait in its queue"
    )
    parser.add_argument("--burst", metavar="N", help="of the queue: dispatches at once")
    parser.add_argument("--concurrency", metavar="N", help="of the queue: leases at a time")
    parser.add_argument("--group", metavar="NAME", help="of the queue: its group")
    parser.add_argument("--cost", metavar="N", help="intervals that the job uses")
    parser.add_argument("--priority", metavar="N", help="0 to 9; a higher one goes first")
    parser.add_argument(
        "--delay", metavar="TIME", help="time before which it is not dispatched: ms, or 30s, 2h, …"
    )


def run(server: Server, given: argparse.Namespace) -> int:
    """Enqueue one job, or those of the standard input."""
    kind, fields = words.name("queue_type", given.type), _fields(given)
    queue = None if given.queue is None else words.name("queue_id", given.queue)
    if given.lines:
        if given.payload is not None or given.job_id is not None:
            raise WrongUsage("With --lines payloads and names of jobs are in the lines.")
        fields["queue_type"] = text_of(kind)
        if queue is not None:
            fields["queue_id"] = text_of(queue)
        return enqueue_lines.run(server, fields, sys.stdin.buffer, as_json=given.json)
    if queue is None:
        raise WrongUsage("QUEUE is missing.")
    if "interval" not in fields:
        raise WrongUsage(
            "--interval is missing: every enqueue sets the rate of its queue, and 0 is no limit."
        )
    job_id = uuid.uuid4().hex if given.job_id is None else words.name("job_id", given.job_id)
    body = object_of({"job_id": text_of(job_id), **fields, "payload": _payload(given.payload)})
    try:
        answer = server.ask("POST", "enqueue", kind, queue, body=body)
    except NoAnswer as problem:
        raise NoAnswer(f"{problem} It is safe to repeat with --job-id {job_id}.") from None
    if given.json:
        printing.document(object_of({"job_id": text_of(job_id), **answer.fields}))
    else:
        printing.line(
            f"{job_id} is queued already; nothing was changed."
            if answer.value("duplicate")
            else f"{job_id} is queued."
        )
    return DONE


def _fields(given: argparse.Namespace) -> dict[str, bytes]:
    """The options of a job as fields of a request."""
    fields = {}
    for name in ("interval", "delay"):
        text = getattr(given, name)
        if text is not None:
            fields[name] = words.milliseconds(f"--{name}", text)
    for name in (
        *("requeue_limit", "max_queued_length", "cost", "priority"),
        *("burst", "concurrency"),
    ):
        text = getattr(given, name)
        if text is not None:
            option = f"--{name.replace('_', '-')}"
            removed = text == NONE and name in _REMOVABLE
            fields[name] = _NULL if removed else words.integer(option, text)
    if given.group is not None:
        fields["group"] = (
            _NULL if given.group == NONE else text_of(words.name("group", given.group))
        )
    return fields


def _payload(text: str | None) -> bytes:
    """The text of the payload, which is JSON; what the server refuses of it is up to the server."""
    if text is None and sys.stdin.isatty():
        raise WrongUsage("The payload is missing; - reads it from the standard input.")
    payload = (
        sys.stdin.buffer.read() if text is None or text == _STDIN else os.fsencode(text)
    ).strip(b" \t\r\n")
    enqueue_lines.check_json("The payload", payload)
    return payload


VERB: Final = Verb(
    "enqueue",
    "put a job into a queue, or many from JSON lines",
    "Puts a job into a queue. With --lines it puts many, up to 1,000 at a time, in their order; a "
    "line that is refused is told with its number, and the others go on.",
    add_arguments,
    run,
)
