"""`sharq dead`: dead letters, shown, tried again and deleted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Final

from sharq.cli import paging, printing, words
from sharq.cli.bulk import follow, in_words
from sharq.cli.job import names_of
from sharq.cli.problems import DONE, REFUSED, Refused, WrongUsage
from sharq.cli.rest import Server, object_of, text_of, value
from sharq.cli.showing import error_of, facts_of_letter
from sharq.cli.verb import Parsers, Verb, add
from sharq.cli.words import moment, shown
from sharq.codec import json_text

_MOST_A_PAGE: Final = 100
_MOST: Final = 2**63 - 1
_REASONS: Final = ("exhausted", "expired", "rejected")
_COLUMNS: Final = ("died", "queue", "job", "reason", "attempts", f"{printing.CUT}error")
_FORBIDDEN: Final = "forbidden"


def add_to(commands: Parsers) -> None:
    """Add `dead` and its verbs to the command."""
    parser = commands.add_parser(
        "dead",
        help="show, retry and delete dead letters",
        description="Shows, retries and deletes jobs that have failed for good.",
        allow_abbrev=False,
    )
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in VERBS:
        add(below, verb, above="sharq dead")


def _add_list_arguments(parser: argparse.ArgumentParser) -> None:
    _add_type(parser)
    _add_filter(parser)
    paging.add_arguments(parser, "dead letters")


def _add_one_arguments(parser: argparse.ArgumentParser) -> None:
    _add_type(parser)
    parser.add_argument("queue", metavar="QUEUE", help="queue of that type")
    parser.add_argument("job", metavar="JOB", help="job of that queue")


def _add_selecting_arguments(parser: argparse.ArgumentParser) -> None:
    _add_type(parser)
    parser.add_argument("queue", metavar="QUEUE", nargs="?", help="with JOB: this one alone")
    parser.add_argument("job", metavar="JOB", nargs="?", help="job of that queue")
    _add_filter(parser)
    parser.add_argument("--all", action="store_true", help="all of the type")
    parser.add_argument("--limit", metavar="N", help="so many at most, the oldest first")
    parser.add_argument(
        "--no-wait", action="store_true", help="do not wait until the server is done with many"
    )


def _add_delete_arguments(parser: argparse.ArgumentParser) -> None:
    _add_selecting_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_type(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="queue type")


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queue", dest="of_queue", metavar="QUEUE", help="those of this queue")
    parser.add_argument("--reason", choices=_REASONS, help="those that died for it")
    parser.add_argument("--error", metavar="TYPE", help="those whose last error is of this type")
    parser.add_argument(
        "--before", metavar="TIME", help="those that died before: ms since 1970, or ISO 8601"
    )


# ---- looking ----


def _list(server: Server, given: argparse.Namespace) -> int:
    kind, chosen = _type_of(given), _filter(given)
    query = {name: str(each) for name, each in chosen.items()}
    found, fields = paging.read(server, ("dead", kind), "jobs", _MOST_A_PAGE, given, query)
    if given.json:
        paging.print_document(fields)
        return DONE
    printing.table(_COLUMNS, map(_row, found))
    paging.tell_cursor(value(fields, "cursor"))
    return DONE


def _row(text: bytes) -> tuple[str, ...]:
    fields = json_text.fields_of(text) or {}
    return (
        moment(value(fields, "died_at")),
        shown(value(fields, "queue_id")),
        shown(value(fields, "job_id")),
        shown(value(fields, "reason")),
        shown(value(fields, "attempts")),
        error_of(value(fields, "error")),
    )


def _show(server: Server, given: argparse.Namespace) -> int:
    answer = server.ask("GET", "dead", *names_of(given))
    if given.json:
        printing.document(answer.text)
    else:
        printing.facts(facts_of_letter(answer.fields))
    return DONE


# ---- changing ----


def _retry(server: Server, given: argparse.Namespace) -> int:
    kind, chosen = _type_of(given), _selection(given)
    if given.queue is not None:
        return _change_one(server, given, "POST", ("dead", kind, "retry"))
    return _change_many(server, given, "POST", ("dead", kind, "retry"), chosen)


def _delete(server: Server, given: argparse.Namespace) -> int:
    kind, chosen = _type_of(given), _selection(given)
    if given.queue is not None:
        return _change_one(server, given, "DELETE", ("dead", kind))
    if not given.yes:
        count = _count(server, kind, given, chosen)
        if count == 0:
            printing.note("No dead letters match: nothing is deleted.")
            return DONE
        if not _agreed(f"Delete {count:,} dead letters of {kind}?"):
            printing.note("Nothing is deleted.")
            return REFUSED
        # What dies from now on was not in the question.
        chosen["limit"] = str(count).encode()
    return _change_many(server, given, "DELETE", ("dead", kind), chosen)


def _change_one(
    server: Server, given: argparse.Namespace, method: str, path: tuple[str, ...]
) -> int:
    _, queue_id, job_id = names_of(given)
    body = object_of({"jobs": text_of([[queue_id, job_id]])})
    answer = server.ask(method, *path, body=body)
    (result,) = answer.value("results")
    if result != "success":
        why = {
            "not_found": (404, f"There is no dead letter of {queue_id}/{job_id}"),
            "conflict": (409, f"A job {job_id} is queued or leased: the dead letter stays"),
        }
        status, said = why.get(result, (409, "The server did not do it"))
        raise Refused(f"{said} ({status} {words.visible(result)}).", status, result)
    if given.json:
        printing.document(answer.text)
    else:
        done = "queued again" if method == "POST" else "deleted"
        printing.line(f"{queue_id}/{job_id} is {done}.")
    return DONE


def _change_many(
    server: Server,
    given: argparse.Namespace,
    method: str,
    path: tuple[str, ...],
    chosen: Mapping[str, bytes],
) -> int:
    begun = server.ask(method, *path, body=object_of(chosen))
    if not given.no_wait:
        return follow(server, path[1], begun.value("id"), as_json=given.json)
    if given.json:
        printing.document(begun.text)
    else:
        printing.line(f"The server has begun: sharq dead progress {path[1]}")
    return DONE


def _count(
    server: Server, kind: str, given: argparse.Namespace, chosen: Mapping[str, bytes]
) -> int:
    """How many dead letters are chosen now."""
    count = None
    if given.all:
        try:
            metrics = server.ask("GET", "metrics", kind, query={"count": "1"})
            count = metrics.value("dead")["jobs"]
        except Refused as refused:
            # A token may be for dead letters alone.
            if refused.word != _FORBIDDEN:
                raise
    if count is None:
        query = {name: str(each) for name, each in _filter(given).items()}
        count = paging.count(server, ("dead", kind), "jobs", _MOST_A_PAGE, query)
    return min(count, int(chosen["limit"])) if "limit" in chosen else count


def _agreed(question: str) -> bool:
    """Ask on the terminal. Raises `WrongUsage` where there is none."""
    if not sys.stdin.isatty():
        raise WrongUsage("Deleting many asks first. Where nobody can answer, give --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _progress(server: Server, given: argparse.Namespace) -> int:
    kind = _type_of(given)
    answer = server.ask("GET", "dead", kind, "retry")
    if given.json:
        printing.document(answer.text)
        return DONE
    bulk = answer.value("bulk")
    printing.line("No retry or deletion has run lately." if bulk is None else in_words(bulk))
    return DONE


def _cancel(server: Server, given: argparse.Namespace) -> int:
    kind = _type_of(given)
    answer = server.ask("DELETE", "dead", kind, "retry")
    if given.json:
        printing.document(answer.text)
    else:
        printing.line("It has ended where it was.")
    return DONE


# ---- the arguments ----


def _type_of(given: argparse.Namespace) -> str:
    return words.name("queue_type", given.type)


def _filter(given: argparse.Namespace) -> dict[str, str | int]:
    chosen: dict[str, str | int] = {}
    if given.of_queue is not None:
        chosen["queue_id"] = words.name("queue_id", given.of_queue)
    if given.reason is not None:
        chosen["reason"] = given.reason
    if given.error is not None:
        chosen["error"] = words.text("--error", given.error)
    if given.before is not None:
        chosen["before"] = words.since_1970("--before", given.before)
    return chosen


def _selection(given: argparse.Namespace) -> dict[str, bytes]:
    """What is meant, as fields of a request; of one job none. Raises `WrongUsage`."""
    chosen = _filter(given)
    ways = [given.queue is not None, bool(chosen), given.all]
    if given.queue is not None and given.job is None:
        raise WrongUsage("QUEUE needs a JOB. --queue QUEUE means all of a queue.")
    if sum(ways) != 1:
        raise WrongUsage("Say which: QUEUE and JOB, or some of the filters, or --all.")
    if given.queue is not None and given.limit is not None:
        raise WrongUsage("--limit is for many.")
    fields = {}
    if given.all:
        fields["all"] = b"true"
    elif chosen:
        fields["filter"] = text_of(chosen)
    if given.limit is not None:
        fields["limit"] = str(words.count("--limit", given.limit, _MOST)).encode()
    return fields


LIST: Final = Verb(
    "list",
    "show dead letters, the newest first",
    "Shows the dead letters of a type, the newest first, page by page.",
    _add_list_arguments,
    _list,
)
SHOW: Final = Verb(
    "show",
    "show one, whole",
    "Shows a dead letter with its payload, its error and its trace.",
    _add_one_arguments,
    _show,
)
RETRY: Final = Verb(
    "retry",
    "make new jobs of them",
    "Makes new jobs of dead letters: of one, of those that match, or of all of a type. With many "
    "it waits until the server is done, which goes on also without it.",
    _add_selecting_arguments,
    _retry,
)
DELETE: Final = Verb(
    "delete",
    "delete them",
    "Deletes dead letters: one, those that match, or all of a type. It asks before it deletes "
    "many, and then waits until the server is done, which goes on also without it.",
    _add_delete_arguments,
    _delete,
)
PROGRESS: Final = Verb(
    "progress",
    "show how far a retry or a deletion of many is",
    "Shows how far the retry or the deletion of many is that runs, or was the last within an hour.",
    _add_type,
    _progress,
)
CANCEL: Final = Verb(
    "cancel",
    "end a retry or a deletion of many where it is",
    "Ends a retry or a deletion of many where it is.",
    _add_type,
    _cancel,
)
VERBS: Final = (LIST, SHOW, RETRY, DELETE, PROGRESS, CANCEL)
