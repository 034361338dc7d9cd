"""Bodies and query parameters of the routes of dead letters, checked for their form."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from sharq.errors import BadArgumentException
from sharq.identifiers import EXPECTED, invalid
from sharq_server.api import bodies

FILTER: Final = ("queue_id", "reason", "error", "before")
"""What a listing or a bulk may be restricted by."""

PARAMETERS: Final = (*FILTER, "cursor", "count")

_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_SELECTORS: Final = "`jobs`, `filter` and `all`"


class Selection(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letters are meant: `jobs` by name, or a bulk of up to `limit`."""

    jobs: Any = None
    filter: Any = None
    all: Any = None
    limit: Any = None

    @property
    def bulk_filter(self) -> dict[str, Any] | None:
        """The filter of a bulk; None for all."""
        return None if self.all else self.filter


def selection_of(body: bytes) -> Selection:
    """The selection in a body: `jobs`, `filter` or `all`. Raises `BadArgumentException`."""
    selection = bodies.decode(Selection, body)
    chosen = [
        each for each in (selection.jobs, selection.filter, selection.all) if each is not None
    ]
    if len(chosen) != 1:
        raise BadArgumentException(f"One of {_SELECTORS} has to be given, and no two of them.")
    if selection.jobs is not None:
        if selection.limit is not None:
            raise BadArgumentException("`limit` is for a `filter` or for `all`.")
    elif selection.filter is not None:
        _check_filter(selection.filter)
    elif selection.all is not True:
        raise invalid("all")
    return selection


def _check_filter(value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid("filter")
    if all(each is None for each in value.values()):
        raise BadArgumentException("`filter` is empty: say `all` if all are meant.")


def page_query(query: str) -> dict[str, Any]:
    """The parameters of a listing; those left out are not there. Raises `BadArgumentException`."""
    bodies.only_parameters(query, *PARAMETERS)
    given: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in given:
            raise BadArgumentException(f"`{name}` is given twice.")
        given[name] = value
    for name in ("before", "count"):
        if name in given:
            given[name] = _number(name, given[name])
    return given


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise invalid(name, None if name in EXPECTED else "an integer")
    return int(text)
