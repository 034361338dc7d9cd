"""`sharq migrate`: moves the jobs of the original SHARQ into a store of this one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from typing import Final

from sharq.blocking_engine import SyncEngine
from sharq.cli import printing
from sharq.cli.parser import File
from sharq.cli.problems import (
    DONE,
    INTERRUPTED,
    REFUSED,
    NoAnswer,
    Problem,
    WrongUsage,
)
from sharq.cli.progress import Bar
from sharq.cli.words import visible
from sharq.deployment import Deployment
from sharq.errors import ConfigError, Sharded, SharqException, reason_of
from sharq.migration.lock import LockLost
from sharq.migration.migration import LEASE, REQUEUE, InUse, Migration, NoSuchType, Plan
from sharq.migration.rejects import DEFAULT, CannotWrite
from sharq.migration.report import Drain, Report
from sharq.migration.target import SomebodyElse
from sharq.migration.transfer import OtherTarget
from sharq.settings.options import EMBEDDED
from sharq.settings.reading import Settings

_AGAIN: Final = "Nothing is lost; begin again to go on."
_NAMED: Final = 10
"""Doubtful leases that are named outside of JSON, at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a migration."""
    parser.add_argument(
        "--from",
        dest="old",
        action=File,
        metavar="OLD.conf",
        required=True,
        help="configuration file of the original's servers",
    )
    parser.add_argument(
        "--from-prefix", metavar="P", help="key_prefix of the original, instead of the file's"
    )
    parser.add_argument(
        "-c",
        "--config",
        action=File,
        metavar="NEW.conf",
        help="configuration file of the new server; default: SHARQ_CONFIG, or the defaults",
    )
    parser.add_argument("--types", metavar="A,B", help="queue types to move; default: all")
    parser.add_argument(
        "--dry-run", action="store_true", help="report what would be done, and write nothing"
    )
    parser.add_argument(
        "--active",
        choices=(LEASE, REQUEUE),
        default=LEASE,
        help="what becomes of leased jobs: their workers may finish them on the new server"
        " (lease, the default), or they go to the heads of their queues",
    )
    parser.add_argument(
        "--keep", action="store_true", help="copy: leave the original's jobs where they are"
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go on while producers still use the original, until it has been empty for 10 s",
    )
    parser.add_argument(
        "--rejects",
        action=File,
        metavar="FILE",
        default=DEFAULT,
        help="file for the jobs that cannot come, a line of JSON each (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace) -> int:
    """Migrate; the exit code is 0 if all jobs came, and 1 if some could not."""
    try:
        printing.prepare()
        report = _migrate(given)
        _print(report, given)
        sys.stdout.flush()
    except Problem as problem:
        for line in str(problem).splitlines():
            printing.note(f"sharq migrate: {line}")
        return problem.code
    except KeyboardInterrupt:
        printing.note(f"sharq migrate: Stopped. {_AGAIN}")
        return INTERRUPTED
    return REFUSED if report.rejected else DONE


def _migrate(given: argparse.Namespace) -> Report:
    if given.keep and given.follow:
        raise WrongUsage(
            "--follow needs the jobs to leave the original, and --keep leaves them there:"
            " give one of the two."
        )
    try:
        old = Settings.of_original(given.old, given.from_prefix)
        new = Settings.load(given.config, environ=os.environ)
    except ConfigError as error:
        raise WrongUsage(str(error)) from None
    _check_stores(old, new)
    plan = Plan(_types(given.types), given.dry_run, given.active, given.keep, given.follow)
    try:
        engine = SyncEngine(Deployment.read(new), reclaims=False)
        try:
            with Bar("Jobs looked at" if given.dry_run else "Jobs moved") as bar:
                lease_ms = old.sharq.job_expire_interval
                return Migration(old.redis, lease_ms, engine, plan, given.rejects, bar.show).run()
        finally:
            engine.close()
    except NoSuchType as error:
        raise WrongUsage(_absent(error.types, old.redis.key_prefix)) from None
    except InUse:
        raise NoAnswer(
            "The original's servers still take or give jobs, and nothing was changed."
            " Stop them first, or move while they go on with --follow."
        ) from None
    except LockLost:
        raise NoAnswer(
            "A server of the original, or another sharq migrate, has the lock of its sweep."
            f" {_AGAIN}"
        ) from None
    except OtherTarget:
        raise NoAnswer(
            "The original has the receipt of jobs that were on their way to another store: begin"
            " again with the same --config. If that store is gone, see docs/migrating.md."
        ) from None
    except SomebodyElse:
        raise NoAnswer(f"Another sharq migrate is at work. {_AGAIN}") from None
    except CannotWrite as error:
        raise NoAnswer(f"{error} {_AGAIN}") from None
    except Sharded as error:
        raise NoAnswer(f"{error} Nothing is lost.") from None
    except SharqException as error:
        then = "" if given.dry_run else f" {_AGAIN}"
        raise NoAnswer(f"{_told(error)}{then}") from None


def _types(text: str | None) -> list[str] | None:
    if text is None:
        return None
    kinds = [name for part in text.split(",") if (name := part.strip())]
    if not kinds:
        raise WrongUsage("--types names no type: give them with commas between.")
    return kinds


def _absent(types: list[str], prefix: str) -> str:
    named = ", ".join(map(visible, types))
    what = "no type" if len(types) == 1 else "none of the types"
    return f"The original has {what} {named} below {visible(prefix)}. Nothing was changed."


def _told(error: SharqException) -> str:
    """An error, with what is at the bottom of it, and which store it is about."""
    bottom: BaseException = error
    while bottom.__cause__ is not None:
        bottom = bottom.__cause__
    if bottom is error:
        return f"{str(error).rstrip('.')}."
    place = bottom.filename if isinstance(bottom, OSError) else None
    where = f" ({place})" if place else ""
    return f"{str(error).rstrip('.')}: {reason_of(error)}{where}."


def _check_stores(old: Settings, new: Settings) -> None:
    if old.redis.conn_type == EMBEDDED:
        raise WrongUsage("The file of the original names no store: it has no host and no socket.")
    places = [
        (each.conn_type, each.host, each.port, each.unix_socket_path, each.db)
        for each in (old.redis, new.redis)
    ]
    if places[0] == places[1] and old.redis.key_prefix == f"{{{new.redis.key_prefix}}}":
        raise WrongUsage(
            f"In one database a key_prefix of {new.redis.key_prefix} would meet the keys of the"
            f" original's {old.redis.key_prefix}: choose another one for the new server."
        )


def _print(report: Report, given: argparse.Namespace) -> None:
    if given.json:
        told = report.as_json() | {"rejects": given.rejects if report.rejected else None}
        printing.document(json.dumps(told).encode())
        return
    printing.facts(_facts(report, given))
    if report.slowest and report.slowest[0].ms > 0:
        if sys.stdout.isatty():
            printing.line("")
        printing.table(
            ("type", "~queue", "jobs", "interval", "drains in"), map(_drain, report.slowest)
        )
    for note in _notes(report):
        printing.note(f"sharq migrate: {note}")


def _facts(report: Report, given: argparse.Namespace) -> Iterable[tuple[str, str]]:
    yield "queues", f"{len(report.queues)}"
    yield "jobs", f"{report.jobs}"
    yield "leases", f"{report.leases}"
    if report.requeued:
        yield "requeued", f"{report.requeued}"
    if report.copied:
        yield "copied before", f"{report.copied}"
    yield "rejected", f"{report.rejected}"
    for reason, count in report.rejects.most_common():
        yield f"  {reason}", f"{count}"
    if report.rejected and not report.dry_run:
        yield "rejects in", visible(given.rejects)
    if report.leftovers:
        yield "leftovers", f"{report.leftovers}"
    if report.ghosts:
        yield "empty queues", f"{report.ghosts}"
    yield "seconds", f"{report.seconds:.1f}"


def _notes(report: Report) -> Iterable[str]:
    if report.dry_run:
        yield "Nothing was written."
    if report.in_use:
        yield (
            "The original's servers take or give jobs meanwhile: stop them and begin again,"
            " or move with --follow."
        )
    if report.doubtful:
        shown = ", ".join(map(visible, report.doubtful[:_NAMED]))
        more = ", ..." if len(report.doubtful) > _NAMED else ""
        yield (
            "These leases were over with -1 requeues left, which is for ever, or the last moment of"
            f" a job that was to be discarded; they come again: {shown}{more}"
        )


def _drain(drain: Drain) -> tuple[str, ...]:
    seconds = drain.ms / 1000
    return (
        drain.queue_type,
        drain.queue_id,
        str(drain.jobs),
        f"{drain.interval} ms",
        f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.1f} h",
    )
