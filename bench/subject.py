"""Something that is measured, what is asked of it, and what it finds out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.highlights import Highlight
from bench.progress import Progress
from bench.report import Table
from bench.targets import Target


@dataclass(frozen=True, slots=True)
class Options:
    """How much is asked for.

    `rounds` that a median is taken of, `full` for the largest sizes, `peers` for other queues,
    too, which may have to be installed.
    """

    rounds: int
    full: bool
    peers: bool


class Findings(NamedTuple):
    """What a subject has found out; `highlights` of it are for users."""

    tables: list[Table]
    targets: list[Target]
    highlights: Sequence[Highlight] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is measured."""

    name: str
    about: str
    run: Callable[[Progress, Options], Findings]
