"""`sharq worker`: a worker from the shell."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from sharq.cli.parser import File
from sharq.errors import SharqException
from sharq.settings import tokens
from sharq.worker import log as worker_log
from sharq.worker.worker import Worker, no_runs

_RUNS_ITSELF: Final = (
    'It runs a worker of its own when it is imported. Put that under `if __name__ == "__main__":`.'
)
_LARGEST_TOKEN: Final = 64 * 1024
_URL: Final = "ws://127.0.0.1:8080/ws/"
_SCHEMES: Final = {"http": "ws", "https": "wss"}


class UsageError(Exception):
    """The command cannot be carried out; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a worker."""
    parser.add_argument("handler", help="where the handler is: package.module:function")
    parser.add_argument(
        "--type",
        action="append",
        required=True,
        metavar="NAME[=WEIGHT]",
        dest="types",
        help="queue type to take jobs of; may be given several times",
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=16,
        metavar="N",
        help="handlers at the same time (%(default)s)",
    )
    parser.add_argument(
        "--prefetch",
        type=int,
        default=0,
        metavar="N",
        help="jobs that may wait in the worker while handlers are quick (%(default)s)",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="seconds that a handler may take"
    )
    add_server_arguments(parser)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that runs a worker: its server, its stop, its log."""
    parser.add_argument(
        "--url",
        help=f"address of the server (http://…) or its push channel (ws://…); default: SHARQ_URL, "
        f"or {_URL}",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds that a stop waits for running handlers (%(default)g)",
    )
    parser.add_argument(
        "--token-file",
        action=File,
        metavar="FILE",
        help="file with the bearer token, read at each connection; default: the token in "
        "SHARQ_TOKEN, if it is set",
    )
    parser.add_argument(
        "--tls-ca",
        action=File,
        metavar="FILE",
        help="file with the CA certificates for a wss:// server",
    )
    parser.add_argument(
        "--name", help="name of the worker, told with each failure (default: host and process)"
    )
    parser.add_argument(
        "--log-format",
        choices=(worker_log.TEXT, worker_log.JSON),
        default=worker_log.TEXT,
        help="format of the log (%(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    """Run the worker; the exit code is 2 if it cannot be started with these arguments."""
    try:
        handler = find_handler(given.handler)
        worker = Worker(
            channel_of(given.url),
            weights_of(given.types),
            concurrency=given.concurrency,
            prefetch=given.prefetch,
            timeout=given.timeout,
            grace=given.grace,
            token=token_of(given.token_file),
            tls_ca=given.tls_ca,
            name=given.name,
        )
        worker.handler(handler)
    except (UsageError, SharqException) as error:
        return refuse("worker", error)
    worker_log.set_up(given.log_format)
    return serve(worker)


def refuse(verb: str, error: UsageError | SharqException) -> int:
    """Say why a command cannot be carried out, and what would be valid; its exit code."""
    expected = getattr(error, "expected", None)
    more = f" It is {expected}." if expected else ""
    print(f"sharq {verb}: {error}{more}", file=sys.stderr)
    return 2


def serve(worker: Worker) -> int:
    """Run a worker until it is stopped; its exit code."""
    code = worker.run()
    if code:
        # A handler that ignores its cancellation would keep the interpreter from ending.
        sys.stdout.flush()
        os._exit(code)
    return code


def find_handler(place: str) -> Callable[..., Any]:
    """The function at `package.module:function`; the current folder is searched first.

    Raises `UsageError`.
    """
    module_name, colon, path = place.partition(":")
    if not (module_name and colon and path):
        raise UsageError(f"{place} does not name a function like package.module:function.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with no_runs(_RUNS_ITSELF):
            found: Any = importlib.import_module(module_name)
    except Exception as error:
        reason = "".join(traceback.format_exception_only(error)).strip()
        raise UsageError(f"The module {module_name} cannot be imported.\n{reason}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"The module {module_name} has no {path}.")
        found = getattr(found, name)
    if not callable(found):
        raise UsageError(f"{place} is no function.")
    handler: Callable[..., Any] = found
    return handler


def weights_of(types: list[str]) -> dict[str, int]:
    """Queue types with their weights, from `name` and `name=weight`. Raises `UsageError`."""
    weights: dict[str, int] = {}
    for each in types:
        name, given, weight = each.partition("=")
        if given and not (weight.isascii() and weight.isdigit()):
            raise UsageError(f"The weight in --type {each} is no whole number.")
        weights[name] = int(weight) if given else 1
    return weights


def channel_of(url: str | None) -> str:
    """The push channel of the server at `url`, of SHARQ_URL, or of the one on this machine.

    An address as the other verbs take it, http:// or https://, has it at /ws/.
    """
    url = url or os.environ.get("SHARQ_URL") or _URL
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        return url
    rest = rest.rstrip("/")
    return f"{_SCHEMES[scheme]}://{rest if rest.endswith('/ws') else f'{rest}/ws'}/"


def token_of(path: str | None) -> str | Callable[[], str] | None:
    """The bearer token: what reads it in the file, or that of SHARQ_TOKEN. Raises `UsageError`."""
    if path is None:
        given = os.environ.get("SHARQ_TOKEN")
        if not given:
            return None
        try:
            return tokens.clean(given)
        except ValueError as error:
            raise UsageError(f"SHARQ_TOKEN is no token: {error}.") from None

    def read() -> str:
        try:
            with open(path, encoding="utf-8-sig") as file:
                return tokens.clean(file.read(_LARGEST_TOKEN))
        except OSError as error:
            raise UsageError(
                f"The token file {path} cannot be read: {error.strerror or error}."
            ) from None
        except ValueError as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeError) else error
            raise UsageError(f"The token file {path} has no token: {reason}.") from None

    read()
    return read
