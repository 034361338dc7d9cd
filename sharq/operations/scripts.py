"""The Lua scripts: read from ``lua/``, includes expanded, each known by its digest.

A script names what it needs from ``lua/include/`` in a line ``--@include a b c``; the includes take
its place in that order. A line of its own, in a block, is for functions that a call seldom needs:
making the functions of an include takes time, even if none is called. The store gets the scripts
without comments.

A line ``--@audit 'finish', member, 'n', n`` says what has happened to a job or a queue; it
continues in lines that begin with ``--@ ``. It is a normal comment, unless tests give an `audit`:
then it is a call. ``--@note`` is the same before the first write of the script; it is recorded with
the next ``--@audit``, which may be empty itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_INCLUDE = re.compile(r"^ *--@include (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_AUDIT = re.compile(r"^( *)--@(audit|note)((?: .+)?(?:\n *--@ .+)*)$", re.MULTILINE)
_CONTINUED = re.compile(r"\n *--@ ")


class ScriptError(Exception):
    """The scripts do not fit together: an include is missing, or at a wrong place."""


class Scripts:
    """All scripts, ready to be loaded.

    `overrides` puts other text in the place of an include, by its name: tests inject a clock
    this way. `audit` is the head that each script gets in which there is something to audit: Lua
    that declares the functions `audit` and `note`; `script` is the script's name there. They are
    called with the time (ms), the word for what happened, what it happened to (``queue_id/job_id``
    or ``queue_id``), and then names and values in turn. `digests` maps a script's name to the SHA-1
    of its text, `by_digest` the SHA-1 to the text, as SCRIPT LOAD and EVALSHA want them.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None, audit: str = "") -> None:
        self._made_of = overrides, audit
        folder = files("sharq").joinpath("lua")
        includes = _read(folder.joinpath("include"))
        for name, text in (overrides or {}).items():
            if name not in includes:
                raise ScriptError(f"there is no include {name!r} to override")
            includes[name] = text
        sources = _read(folder)
        if audit:
            includes = {name: audited(text) for name, text in includes.items()}
            sources = {name: audited(text) for name, text in sources.items()}
        sources = {name: expand(text, includes) for name, text in sources.items()}
        if audit:
            sources = {name: _with_head(audit, name, text) for name, text in sources.items()}
        self.digests: Mapping[str, str] = {
            name: hashlib.sha1(text.encode()).hexdigest() for name, text in sources.items()
        }
        self.by_digest: Mapping[str, str] = {
            self.digests[name]: text for name, text in sources.items()
        }

    def __reduce__(self) -> tuple[type[Scripts], tuple[Mapping[str, str] | None, str]]:
        # The receiver reads the texts again.
        return type(self), self._made_of


@cache
def shipped() -> Scripts:
    """The scripts as they were when first asked for: to read them again for each client is slow."""
    return Scripts()


def expand(text: str, includes: Mapping[str, str]) -> str:
    """Put the includes in the places of the ``--@include`` lines and leave the comments out.

    Raises `ScriptError` for an include that does not exist or is named twice, and for such a line
    in an include: a script itself has to name all its includes.
    """
    named: set[str] = set()

    def included(line: re.Match[str]) -> str:
        names = line[1].split()
        for name in names:
            if name not in includes:
                raise ScriptError(f"there is no include {name!r}")
            if name in named:
                raise ScriptError(f"the include {name!r} is named twice")
            if _INCLUDE.search(includes[name]) is not None:
                raise ScriptError(f"the include {name!r} has includes")
            named.add(name)
        return "\n".join(includes[name] for name in names)

    text = _INCLUDE.sub(included, text)
    return _COMMENT.sub("", text)


def audited(text: str) -> str:
    """Turn the ``--@audit`` and ``--@note`` lines into calls."""

    def call(line: re.Match[str]) -> str:
        told = _CONTINUED.sub(" ", line[3])
        return f"{line[1]}{line[2]}({f'now,{told}' if told else ''})"

    return _AUDIT.sub(call, text)


def _with_head(head: str, name: str, text: str) -> str:
    if not re.search(r"\b(?:audit|note)\(", text):
        return text
    return f"local script = '{name}'\n{head}\n{text}"


def _read(folder: Traversable) -> dict[str, str]:
    return {
        entry.name.removesuffix(".lua"): entry.read_text("utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua")
    }
