"""The parts of the codec: each is included, and uses only what stands above it."""

from __future__ import annotations

import re
import traceback
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

import sharq
from sharq._fastpath import Batch, Codec, JobReader, json_dump

FOLDER = Path(sharq.__file__).parent
PARTS = re.findall(r'^include "(.+)"$', (FOLDER / "_fastpath.pyx").read_text("utf-8"), re.M)
SOURCES = {name: (FOLDER / name).read_text("utf-8") for name in PARTS}


def code(source: str) -> str:
    """A source without its comments and without what is in quotes."""
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', '""', source)


def defined(source: str) -> set[str]:
    """The functions, classes and values that a part defines."""
    source = code(source)
    names = re.findall(
        r"^(?:def|cdef class|cdef [\w* \[\]]*?[* \]]) ?(\w+)(?:\(| =|:|$)", source, re.M
    )
    enums = re.findall(r"^cdef enum(?: \w+)?:\n((?: +\w+ = \w+\n)+)", source, re.M)
    return {*names, *re.findall(r"(\w+) =", "".join(enums))} - {"enum"}


def used_too_early(sources: list[str]) -> list[str]:
    """The names that a part uses and a later one defines."""
    later = [*accumulate(map(defined, reversed(sources)), set[str].union, initial=set[str]())]
    return [
        name
        for source, names in zip(sources, later[-2::-1], strict=True)
        for name in sorted(names)
        if re.search(rf"(?<![.\w]){name}\b", code(source))
    ]


def test_every_part_is_included_once() -> None:
    assert sorted(PARTS) == [f"codec/{path.name}" for path in sorted(FOLDER.rglob("*.pxi"))]
    assert len(PARTS) > 5


def test_a_part_uses_what_stands_above_it() -> None:
    assert used_too_early(list(SOURCES.values())) == []


@pytest.mark.parametrize(
    "later",
    [
        "def late(value):\n    pass",
        "cdef class late:\n    pass",
        "cdef inline const char* late(const char* at) noexcept:\n    return at",
        "cdef Py_ssize_t late = 1",
        "cdef char[256] late\n",
        "cdef enum:\n    early = 1\n    late = 2\n",
    ],
)
def test_a_name_that_is_used_too_early_is_seen(later: str) -> None:
    assert used_too_early(["return late", later]) == ["late"]
    assert used_too_early(["# late\nreturn 'late' + a.late", later]) == []
    assert used_too_early([later, "return late"]) == []


@pytest.mark.parametrize(
    ("call", "part", "line"),
    [
        (lambda: Codec("p", {}).ping(1), "packing", "self._heads[script]"),
        (lambda: Batch("mail", []), "replies", "raise ValueError"),
        (lambda: json_dump(object(), 1), "json_writing", "raise ValueError"),
        (lambda: JobReader(1, 1).many([1]), "plain_jobs", "PyObject_GetBuffer"),
    ],
)
def test_a_traceback_names_the_line_of_the_part(call: Any, part: str, line: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)) as raised:
        call()
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert last.filename.endswith(f"sharq/codec/{part}.pxi")
    assert line in SOURCES[f"codec/{part}.pxi"].splitlines()[(last.lineno or 0) - 1]
