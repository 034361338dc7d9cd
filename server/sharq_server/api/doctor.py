"""What is wrong with a server and its store, and what to do about it. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sharq.errors import StoreError, reason_of
from sharq.results import Keeping, Watch
from sharq_server.api.durability import statements
from sharq_server.security.origins import exposed_places

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"
LEVELS: Final = (OK, WARNING, ERROR)

_OLDEST: Final = {"Redis": (6, 2), "Valkey": (7, 2)}
_VERSION: Final = re.compile(r"(\w+) (\d+)\.(\d+)")
_FULL: Final = 0.9
_NEARLY_FULL: Final = 0.75
_MIB: Final = 1024 * 1024
_CLOCKS_APART: Final = 1000
"""ms by which two clocks may differ."""

_FEW_FILES: Final = 4096
_SOON: Final = 14
"""Days before the end of a certificate."""


class Finding(NamedTuple):
    """What was found by a check. `do` is None where nothing has to be done."""

    check: str
    level: str
    found: str
    do: str | None = None


class Facts(NamedTuple):
    """What a server process knows of itself.

    `places` is where it listens, None where a web server does that; `tokens`, how many are valid,
    None if none is needed; `certificate`, its file and the days until its end, None without TLS;
    `behind_proxy`: proxies are trusted. Of open files and connections there is the number, and the
    bound of it (None: none); `files` is None where the system does not tell. `sweeps_by_requests`:
    its sweep comes after answers.
    """

    places: Sequence[str] | None
    tokens: int | None
    certificate: tuple[str, int | None] | None
    behind_proxy: bool
    files: int | None
    most_files: int | None
    connections: int
    most_connections: int | None
    sweeps_by_requests: bool = False


# ---- the store ----


def of_store(nodes: Sequence[Keeping] | StoreError) -> Iterator[Finding]:
    """Whether the store answers, what it is, how it keeps its data, its memory and its clock."""
    if isinstance(nodes, StoreError):
        yield _silence("", nodes)
        return
    for node in nodes:
        yield _version(node) if node.trouble is None else _silence(node.where, node.trouble)
        if node.watch is not None:
            yield _sentinels(node.where, node.watch)
    nodes = [node for node in nodes if node.trouble is None]
    if nodes:
        yield from _of_answers(nodes)


def of_writes(told: Mapping[str, StoreError | None], silent: Collection[str]) -> list[Finding]:
    """The nodes that answer and take no writes; `told` has of each why not, or None."""
    return [
        Finding(
            "store",
            ERROR,
            f"The store at {where} takes no writes: {reason_of(error)}.",
            "Look at its role, its replicas (min-replicas-to-write) and its disk.",
        )
        for where, error in told.items()
        if error is not None and where not in silent
    ]


def _silence(where: str, trouble: StoreError) -> Finding:
    reason = reason_of(trouble) if trouble.__cause__ is not None else trouble.message
    store = f"The store at {where}" if where else "The store"
    found = f"{store} does not answer: {str(reason).rstrip('.')}."
    return Finding("store", ERROR, found, "Look whether it runs, and at [redis] and the log.")


def _of_answers(nodes: Sequence[Keeping]) -> Iterator[Finding]:
    """How the nodes keep their data, their memory and their clocks."""
    said = statements(nodes)
    for each in said:
        # What could not be looked at is a note in the log, and a gap here.
        do = each.do if each.level >= logging.WARNING else "Give its user +info and +config|get."
        level = ERROR if each.level >= logging.ERROR else WARNING
        fine = Finding("durability", OK, each.found)
        yield fine if each.fine else Finding("durability", level, each.found, do)
    if not said:
        yield Finding(
            "durability", OK, "What is acknowledged is on the disk, and nothing is dropped."
        )
    for node in nodes:
        yield _memory(node)
        yield _clock(node)


def _version(node: Keeping) -> Finding:
    if node.product is None:
        return Finding("store", OK, f"The store at {node.where} answers.")
    found = f"{node.product} at {node.where} answers."
    match = _VERSION.match(node.product)
    if match is not None and (int(match[2]), int(match[3])) < _OLDEST.get(match[1], (0, 0)):
        oldest = ".".join(map(str, _OLDEST[match[1]]))
        return Finding("store", ERROR, found, f"Update it: {match[1]} {oldest} or later is needed.")
    return Finding("store", OK, found)


def _sentinels(where: str, watch: Watch) -> Finding:
    """Whether all sentinels name the primary that is in use; most of them promote another."""
    all_of = f"All {watch.count} sentinels name" if watch.count > 1 else "The sentinel names"
    if watch.naming == watch.count:
        return Finding("sentinels", OK, f"{all_of} {where} for `{watch.service}`.")
    found = (
        f"{watch.naming} of {watch.count} sentinels name {where} for `{watch.service}`"
        f" ({'; '.join(watch.others)})."
    )
    do = "Look whether all run: without most of them no replica is promoted."
    level = WARNING if watch.naming > watch.count // 2 else ERROR
    return Finding("sentinels", level, found, do)


def _memory(node: Keeping) -> Finding:
    if node.memory is None:
        return Finding("memory", OK, f"The store at {node.where} does not tell what it uses.")
    used = f"The store at {node.where} uses {node.memory / _MIB:,.0f} MiB"
    if not node.max_memory:
        return Finding("memory", OK, f"{used}; it has no bound (maxmemory 0).")
    share = node.memory / node.max_memory
    found = f"{used} of {node.max_memory / _MIB:,.0f} MiB ({share:.0%})."
    if share < _NEARLY_FULL:
        return Finding("memory", OK, found)
    do = "Raise maxmemory, or let workers empty the queues: enqueues are refused when it is full."
    return Finding("memory", ERROR if share >= _FULL else WARNING, found, do)


def _clock(node: Keeping) -> Finding:
    if node.ahead is None:
        return Finding("store clock", OK, f"The store at {node.where} does not tell its time.")
    if abs(node.ahead) < _CLOCKS_APART:
        return Finding("store clock", OK, f"The clocks of server and store ({node.where}) agree.")
    way = "ahead of" if node.ahead > 0 else "behind"
    found = (
        f"The clock of the store at {node.where} is {abs(node.ahead) / 1000:,.1f} s {way} the "
        "server's."
    )
    do = "Synchronize both (NTP). All times of jobs are by the store's, those of the log are not."
    return Finding("store clock", WARNING, found, do)


def of_sweep(swept: bool, enabled: bool, facts: Facts) -> Finding:
    """Whether expired leases are taken back. `swept`: some server does; `enabled`: this one may."""
    if swept:
        return Finding("sweep", OK, "Expired leases are taken back.")
    if enabled and facts.sweeps_by_requests:
        found = "Expired leases are taken back after answers of this server, and now by nobody."
        do = "Run `sharq sweep` beside it, if there are times without requests."
        return Finding("sweep", WARNING, found, do)
    found = "Nobody takes expired leases back: jobs of workers that died stay leased."
    if enabled:
        return Finding(
            "sweep", ERROR, found, "Look for `Expired jobs are not taken back` in the log."
        )
    do = "Set enable_requeue_script = true, or run `sharq sweep`."
    return Finding("sweep", ERROR, found, do)


# ---- the server ----


def of_server(facts: Facts) -> Iterator[Finding]:
    """Who may do what, the certificate, open files and connections."""
    exposed = [] if facts.places is None else exposed_places(facts.places)
    yield _tokens(facts, exposed)
    if facts.places is not None:
        yield _certificate(facts, exposed)
    yield _files(facts)
    if facts.most_connections is not None:
        yield _connections(facts.connections, facts.most_connections)


def _tokens(facts: Facts, exposed: Iterable[str]) -> Finding:
    if facts.tokens is not None:
        few = f"{facts.tokens:,} token{' is' if facts.tokens == 1 else 's are'} valid."
        return Finding("tokens", OK, f"A token is needed; {few}")
    places = ", ".join(exposed)
    do = "Make a token (`sharq token new`), and set token_file."
    if places:
        found = f"No token is needed, and other machines can reach the server at {places}."
        return Finding("tokens", ERROR, found, do)
    if facts.places is None or facts.behind_proxy:
        found = "No token is needed: all whom the web server lets through may do everything."
        return Finding("tokens", WARNING, found, do)
    return Finding("tokens", OK, "No token is needed, and only this machine can reach the server.")


def _certificate(facts: Facts, exposed: Sequence[str]) -> Finding:
    if facts.certificate is None:
        if exposed and facts.tokens is not None and not facts.behind_proxy:
            found = "There is no TLS: who is on the network can read tokens and payloads."
            do = "Set tls_certificate, or have a proxy end TLS and name it in trusted_proxies."
            return Finding("certificate", WARNING, found, do)
        return Finding("certificate", OK, "There is no TLS here.")
    path, left = facts.certificate
    if left is None:
        return Finding("certificate", OK, f"The end of {path} is not known.")
    if left < 0:
        do = "Put a new one there, and send the server a SIGHUP."
        return Finding("certificate", ERROR, f"{path} has ended.", do)
    found = f"{path} ends in {left:,} day{'' if left == 1 else 's'}."
    if left < _SOON:
        do = "Put a new one there in time, and send the server a SIGHUP."
        return Finding("certificate", WARNING, found, do)
    return Finding("certificate", OK, found)


def _files(facts: Facts) -> Finding:
    if facts.most_files is None or facts.files is None:
        return Finding("open files", OK, "Open files have no bound, or the system tells none.")
    found = f"{facts.files:,} of {facts.most_files:,} files that the process may have are open."
    do = "Raise the limit (LimitNOFILE=, ulimit -n): each connection is an open file."
    if facts.files >= _FULL * facts.most_files:
        return Finding("open files", ERROR, found, do)
    if facts.most_files < _FEW_FILES or facts.files >= _NEARLY_FULL * facts.most_files:
        return Finding("open files", WARNING, found, do)
    return Finding("open files", OK, found)


def _connections(now: int, most: int) -> Finding:
    found = f"{now:,} of {most:,} connections that the process takes are open."
    do = "Raise max_connections, or run more servers."
    if now >= _FULL * most:
        return Finding("connections", ERROR, found, do)
    if now >= _NEARLY_FULL * most:
        return Finding("connections", WARNING, found, do)
    return Finding("connections", OK, found)
