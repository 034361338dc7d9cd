"""What comes of a request: an answer, or none. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sharq.results import JobError


class Answer(NamedTuple):
    """What an endpoint has answered, with the beginning of the body.

    `headers` finds a name in any case.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    beginning: bytes


class NoAnswer(Exception):
    """There is no whole answer; `error` says why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.error = JobError(kind, message)
