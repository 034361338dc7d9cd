"""`sharq sweep`: takes back expired leases where no server does."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading

from sharq.blocking_engine import SyncEngine
from sharq.cli.parser import File
from sharq.deployment import Deployment
from sharq.errors import SharqException, reason_of
from sharq.settings.options import EMBEDDED
from sharq.settings.reading import Settings
from sharq.store.connecting import address

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the sweep."""
    parser.add_argument(
        "-c",
        "--config",
        action=File,
        metavar="FILE",
        help="configuration file of the server, like sharq.conf",
    )
    parser.add_argument("--once", action="store_true", help="sweep all queues once, and end")


def run(given: argparse.Namespace) -> int:
    """Sweep until SIGTERM or SIGINT, or once; the exit code is 2 for an invalid configuration."""
    stopped = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopped.set())
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        settings = Settings.load(given.config, environ=os.environ)
    except SharqException as error:
        return _fail(error, 2)
    try:
        engine = SyncEngine(Deployment.read(settings), reclaims=False)
        try:
            if given.once:
                returned = engine.run(engine.flows.sweep())
                print(f"Expired leases taken back: {returned} ({_place(settings)})")
            else:
                interval = settings.sharq.job_requeue_interval / 1000
                _sweep(engine, interval, stopped, _place(settings))
        finally:
            engine.close()
    except SharqException as error:
        return _fail(error, 1)
    return 0


def _place(settings: Settings) -> str:
    """The store, in a few words."""
    store = settings.redis
    return (
        f"the embedded store in {store.data_dir}"
        if store.conn_type == EMBEDDED
        else (f"the store at {address(store)}")
    )


def _sweep(engine: SyncEngine, interval: float, stopped: threading.Event, place: str) -> None:
    """Sweep whenever that is due; a failure of the store is logged once, until it is over."""
    _log.info("Expired leases of %s are taken back, by one of all servers at a time", place)
    failing = False
    pause = 0.0
    while not stopped.wait(pause):
        try:
            pause = engine.sweep_when_due()
        except SharqException as error:
            if not failing:
                _log.warning("Expired jobs are not taken back: %s", _told(error))
            failing, pause = True, interval
        else:
            if failing:
                _log.info("Expired jobs are taken back again")
            failing = False


def _told(error: SharqException) -> str:
    """An error, with what is at the bottom of it."""
    if error.__cause__ is None:
        return str(error)
    return f"{str(error).rstrip('.')}: {reason_of(error)}."


def _fail(error: SharqException, code: int) -> int:
    for line in _told(error).splitlines():
        print(f"sharq sweep: {line}", file=sys.stderr)
    return code
