"""A verb that asks a server: its arguments, and how it ends."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from sharq.cli import printing, words
from sharq.cli.parser import File
from sharq.cli.problems import BROKEN_PIPE, INTERRUPTED, NO_ANSWER, Problem, WrongUsage
from sharq.cli.rest import Server
from sharq.settings import tokens

_URL = "http://127.0.0.1:8080"
_LONGEST_WAIT = 3600


class Parsers(Protocol):
    """Where parsers of commands are added, as `ArgumentParser.add_subparsers` returns it."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser: ...


class Verb(NamedTuple):
    """`run` prints and returns the exit code; it raises `Problem`. `short` is a line of help,
    `about` whole sentences.
    """

    name: str
    short: str
    about: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Server, argparse.Namespace], int]


def add(commands: Parsers, verb: Verb, *, above: str = "sharq") -> None:
    """Add a verb to the command, or to the one named `above`."""
    parser = commands.add_parser(
        verb.name, help=verb.short, description=verb.about, allow_abbrev=False
    )
    verb.add_arguments(parser)
    group = parser.add_argument_group("the server")
    group.add_argument("--url", help=f"address of the server; default: SHARQ_URL, or {_URL}")
    group.add_argument(
        "--token",
        help="bearer token; default: SHARQ_TOKEN, which other users of the machine do not see",
    )
    group.add_argument(
        "--tls-ca", action=File, metavar="FILE", help="CA certificates for an https:// server"
    )
    group.add_argument(
        "--timeout", metavar="S", default="30", help="seconds to wait for an answer (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    command = f"{above} {verb.name}"
    parser.set_defaults(run=lambda given: _carry_out(command, verb, given))


def add_level(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for a queue, a group or a type."""
    parser.add_argument("type", metavar="TYPE", help="queue type")
    parser.add_argument(
        "queue", metavar="QUEUE", nargs="?", help="a queue of it; without one, the whole type"
    )
    parser.add_argument("--group", metavar="NAME", help="a group of queues of the type")


class Level(NamedTuple):
    """A queue, a group or a type: its part of a path, its query, and its name for people."""

    path: tuple[str, ...]
    query: dict[str, str]
    name: str


def level_of(given: argparse.Namespace) -> Level:
    """The level in the arguments. Raises `WrongUsage`."""
    kind = words.name("queue_type", given.type)
    if given.queue is None and given.group is None:
        return Level((kind,), {}, f"type {kind}")
    if given.queue is None:
        group = words.name("group", given.group)
        return Level((kind,), {"group": group}, f"group {group} of {kind}")
    if given.group is not None:
        raise WrongUsage("A queue and --group are two levels: give one of them.")
    queue = words.name("queue_id", given.queue)
    return Level((kind, queue), {}, f"queue {queue} of {kind}")


def _carry_out(command: str, verb: Verb, given: argparse.Namespace) -> int:
    """Run a verb: its exit code. What goes wrong is one line on the standard error."""
    try:
        printing.prepare()
        code = verb.run(_server(given), given)
        sys.stdout.flush()
    except Problem as problem:
        return _fail(command, problem, problem.code)
    except KeyboardInterrupt as interrupt:
        return _fail(command, interrupt.args[0] if interrupt.args else "Stopped.", INTERRUPTED)
    except BrokenPipeError:
        printing.abandon()
        return BROKEN_PIPE
    except (LookupError, TypeError, AttributeError) as error:
        # Whoever answers has the manners of SharQ, but not its fields.
        reason = f"{type(error).__name__}: {error}"
        return _fail(command, f"The answer is not that of SharQ 2 ({reason}).", NO_ANSWER)
    except OSError as error:
        printing.abandon()
        return _fail(command, f"Writing failed: {error.strerror or error}.", NO_ANSWER)
    return code


def _fail(command: str, problem: object, code: int) -> int:
    printing.note(f"{command}: {problem}")
    return code


def _server(given: argparse.Namespace) -> Server:
    url = given.url or os.environ.get("SHARQ_URL") or _URL
    token = given.token or os.environ.get("SHARQ_TOKEN")
    if token:
        try:
            token = tokens.clean(token)
        except ValueError as error:
            source = "--token" if given.token else "SHARQ_TOKEN"
            raise WrongUsage(f"{source} is no token: {error}.") from None
    timeout = words.seconds("--timeout", given.timeout, _LONGEST_WAIT)
    return Server(url, token, timeout, given.tls_ca)
