"""`sharq-server --check` and `--print-config`: what a server would start with, without a start."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Final

from sharq import EmbeddedStore
from sharq.blocking_engine import SyncEngine
from sharq.deployment import Deployment
from sharq.errors import ConfigError, SharqException, StoreError, TooFewReplicas, reason_of
from sharq.results import Keeping
from sharq.settings.options import EMBEDDED, OPTIONS, Key, as_written
from sharq.settings.reading import Settings
from sharq_server import options
from sharq_server.api.durability import Statement, answering, findings, statements
from sharq_server.options import Options
from sharq_server.process.listening import CannotListen, check_place
from sharq_server.security.certificates import Certificate
from sharq_server.security.credentials import Credentials

_HIDDEN: Final = "***"
_WIDTH: Final = 40


class Report:
    """What was found: `good` and `bad` lines, and `notes` that stop nobody."""

    def __init__(self) -> None:
        self.good: list[str] = []
        self.bad: list[str] = []
        self.notes: list[str] = []


def check(given: Options) -> Report:
    """Look at everything that a start needs; nothing is started, changed or listened on."""
    report = Report()
    report.good.append("The configuration is valid.")
    for look in (_tokens, _exposure, _places, _certificate, _access_log, _store):
        try:
            look(given, report)
        except SharqException as error:
            line = " ".join(str(error).splitlines())
            if line not in report.bad:
                report.bad.append(line)
    return report


def config_lines(settings: Settings, origins: Mapping[Key, str]) -> Iterator[str]:
    """Every option with its value, as a file would have it, and where the value comes from."""
    sections = {"sharq": settings.sharq, "sharq-server": settings.server, "redis": settings.redis}
    section = ""
    for option in OPTIONS:
        if option.section != section:
            yield from (["", f"[{option.section}]"] if section else [f"[{option.section}]"])
            section = option.section
        value = as_written(getattr(sections[section], option.name))
        hidden = bool(option.secret and value)
        if hidden:
            value = _HIDDEN
        origin = origins.get((section, option.name))
        if origin is None:
            origin = "default" if value == _default(option.default) else "by other options"
        origin = f"hidden; {origin}" if hidden else origin
        yield f"{f'{option.name} = {value}':<{_WIDTH}}  ; {origin}"


def _default(written: str) -> str:
    return os.path.expanduser(written) if written.startswith("~") else written


def _tokens(given: Options, report: Report) -> None:
    server = given.settings.server
    credentials = Credentials(server.token_file, server.tokens)
    if credentials.needed:
        report.good.append(f"Tokens that are valid: {len(credentials)}.")


def _exposure(given: Options, _report: Report) -> None:
    server = given.settings.server
    locked = server.token_file is not None or server.tokens is not None
    options.check_exposure(server.host, given.insecure or locked)


def _places(given: Options, _report: Report) -> None:
    """Whether there are such addresses and folders; the port may be in use by a server now."""
    for place in given.settings.server.host:
        try:
            check_place(place)
        except CannotListen as error:
            raise ConfigError(str(error)) from None


def _certificate(given: Options, report: Report) -> None:
    server = given.settings.server
    if server.tls_certificate is None:
        return
    certificate = Certificate(server.tls_certificate, server.tls_key)
    left, warning = certificate.days_left, certificate.warning
    if left is not None and left < 0:
        report.bad.append(warning or "")
        return
    if warning is not None:
        report.notes.append(warning)
    days = "" if left is None else f", for {left} days"
    report.good.append(f"The certificate {server.tls_certificate} can be used{days}.")


def _access_log(given: Options, _report: Report) -> None:
    path = given.settings.server.accesslog
    if path is None or path == "-":
        return
    place = path if os.path.exists(path) else os.path.dirname(path)
    if os.path.isdir(path) or not os.access(place, os.W_OK):
        raise ConfigError(f"The access log {path} cannot be written.")


def _store(given: Options, report: Report) -> None:
    store = given.settings.redis
    if store.conn_type == EMBEDDED:
        pid = EmbeddedStore.check(store.data_dir)
        how = f"runs, process {pid}" if pid else "can be started"
        report.good.append(f"The embedded store in {store.data_dir} {how}.")
        return
    engine = SyncEngine(Deployment.read(given.settings), reclaims=False)
    try:
        working = _of_nodes(engine, report.notes)
    except StoreError as error:
        hint = " (does it speak TLS?)" if store.tls else ""
        # Of three sentinels and a primary it is the primary that refuses.
        who = "" if engine.primary is None else f"{engine.primary}: "
        told = f"The store at {store.described} does not work: {who}{reason_of(error)}{hint}."
        raise ConfigError(told) from error
    finally:
        engine.close()
    if store.clustered:
        # The node that is named need not be one of those.
        report.good.append(f"The cluster works, at {', '.join(working)}.")
    else:
        report.good.append(f"The store at {store.described} works.")


def _of_nodes(engine: SyncEngine, notes: list[str]) -> list[str]:
    """The nodes that work; `notes` gets what is to be noted of all.

    One that works is enough: so few stop no other's types. One that lacks replicas does: a server
    serves reads, and waits for them. Raises `ConfigError` or `StoreError` if none works.
    """
    nodes = engine.look_at_store()
    if all(node.trouble is not None or _wrong(node) for node in nodes):
        # These say more of a node that takes no writes than that it refuses one.
        for statement in _wrong(*answering(nodes)):
            raise ConfigError(statement.line)
    notes += [line for level, line in findings(nodes) if level >= logging.WARNING]
    silent = {node.where: node.trouble for node in nodes if node.trouble is not None}
    written = engine.try_writes()
    refusing = {name: error for name, error in written.items() if error is not None}
    alone = [name for name, error in refusing.items() if isinstance(error, TooFewReplicas)]
    if len(refusing) == len(written) and not alone:
        raise next(iter(refusing.values()))
    lacking = {node.where for node in nodes if any(each.passes for each in statements([node]))}
    for name, error in (silent | refusing).items():
        if name not in alone:
            notes.append(f"The node of the store at {name} does not work: {reason_of(error)}.")
        elif name not in lacking:
            notes.append(
                f"Too few replicas of the store at {name} confirm changes: until they do, nothing"
                " that changes something is acknowledged."
            )
    return [name for name in written if name not in refusing or name in alone]


def _wrong(*nodes: Keeping) -> list[Statement]:
    """What is said of nodes that goes by with another configuration alone."""
    return [each for each in statements(nodes) if each.level >= logging.ERROR and not each.passes]
