"""`sharq forward`: hands each job to an HTTP endpoint."""

from __future__ import annotations

import argparse
import logging
import math
import os
from importlib.util import find_spec
from typing import Final

from sharq.cli import worker as worker_cli
from sharq.cli.parser import File
from sharq.cli.worker import UsageError
from sharq.endings import PAUSE_SCOPES, QUEUE
from sharq.errors import SharqException
from sharq.forwarding import endpoint as endpoints
from sharq.forwarding import signing, verdicts
from sharq.identifiers import check_identifier
from sharq.worker import log as worker_log
from sharq.worker.log import note
from sharq.worker.worker import Worker

_SECRET: Final = "SHARQ_FORWARD_SECRET"
_LARGEST_SECRETS: Final = 64 * 1024
_LONGEST_TIMEOUT: Final = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a forwarder."""
    parser.add_argument("queue_type", metavar="TYPE", help="queue type to take jobs of")
    parser.add_argument(
        "endpoint", metavar="ENDPOINT", help="http:// or https:// URL that gets a POST for each job"
    )
    parser.add_argument(
        "--concurrency", default="16", metavar="N", help="requests at the same time (%(default)s)"
    )
    parser.add_argument(
        "--timeout",
        default="30",
        metavar="S",
        help="seconds that a request may take, to the end of its answer (%(default)s)",
    )
    parser.add_argument(
        "--dead-on",
        default=verdicts.DEAD_ON,
        metavar="LIST",
        help="statuses that make a dead letter at once; '' is none (%(default)s)",
    )
    parser.add_argument(
        "--pause-scope",
        choices=PAUSE_SCOPES,
        default=QUEUE,
        help="what a 429 or 503 with Retry-After pauses; more than the queue needs the token "
        "operation pause (%(default)s)",
    )
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--secret-file",
        action=File,
        metavar="FILE",
        help="file with the secret, whsec_…, that signs requests as Standard Webhooks has it; with "
        f"several, each signs; default: those in {_SECRET}, if it is set",
    )
    secret.add_argument(
        "--secret", metavar="SECRET", help="the secret itself; other users can see it in `ps`"
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        dest="headers",
        help="a header to send with each request; may be given several times",
    )
    worker_cli.add_server_arguments(parser)


def run(given: argparse.Namespace) -> int:
    """Forward jobs until it is stopped; the exit code is 2 if it cannot start like this."""
    try:
        if find_spec("tornado") is None:
            raise UsageError('It needs tornado: pip install "sharq[server]"')
        worker = Worker(
            worker_cli.channel_of(given.url),
            check_identifier("TYPE", given.queue_type),
            concurrency=_concurrency(given.concurrency),
            grace=given.grace,
            token=worker_cli.token_of(given.token_file),
            tls_ca=given.tls_ca,
            name=given.name,
        )
        endpoint = endpoints.check_endpoint(given.endpoint)
        headers = endpoints.check_headers(given.headers)
        keys = _keys(given.secret, given.secret_file)
        rules = verdicts.Rules(verdicts.read_statuses(given.dead_on), given.pause_scope)
        timeout = _timeout(given.timeout)
    except (UsageError, SharqException) as error:
        return worker_cli.refuse("forward", error)
    # Only here: they need Tornado.
    from sharq.forwarding.exchange import Exchanges
    from sharq.forwarding.forwarder import Forwarder

    worker.handler(Forwarder(Exchanges(endpoint, timeout), rules, headers, keys))
    worker_log.set_up(given.log_format)
    # What it says of a connection, the failure of its job says, too.
    logging.getLogger("tornado").setLevel(logging.ERROR)
    note(logging.INFO, "forwarding", type=given.queue_type, endpoint=endpoint, signed=bool(keys))
    return worker_cli.serve(worker)


def _concurrency(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--concurrency has to be a whole number, not {text}.")
    return int(text[:20])


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise UsageError(
            f"--timeout has to be more than 0 and at most {_LONGEST_TIMEOUT:g} seconds, not {text}."
        )
    return seconds


def _keys(secret: str | None, path: str | None) -> list[bytes]:
    """The keys that sign requests; none if there is no secret."""
    if secret is not None:
        return signing.read_secrets(secret, "--secret")
    if path is None:
        secret = os.environ.get(_SECRET)
        return signing.read_secrets(secret, _SECRET) if secret else []
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_LARGEST_SECRETS)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"The secret file {path} cannot be read: {reason}.") from None
    except UnicodeError:
        raise UsageError(f"The secret file {path} is not UTF-8.") from None
    return signing.read_secrets(text, f"The secret file {path}")
