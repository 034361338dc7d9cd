"""Requests made from the API's own description, good and bad, to a running server."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from sharq.identifiers import MAX_INTERVAL
from sharq_server.api import bodies, schemas

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.allow_header_conformance,
    checks.negative_data_rejection,
]
"""What an answer is held against.

That good data is taken is not among it: the names of a body and of its path have to agree.
"""

_LONGEST_WAIT = 0.01
_LONGEST_INTERVAL = 2


class Api:
    """The API at a port of this machine, as the server there describes it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        with urllib.request.urlopen(f"{self._url}/openapi.json") as answer:
            document = json.load(answer)
        self._good = _operations(_narrow(document))
        self._bad = _operations(document)

    def close(self) -> None:
        self._session.close()

    def cases(self) -> st.SearchStrategy[Any]:
        """Requests for all operations, as they should be and as they should not."""
        return st.one_of(
            *(each.as_strategy(generation_mode=GenerationMode.POSITIVE) for each in self._good),
            *(each.as_strategy(generation_mode=GenerationMode.NEGATIVE) for each in self._bad),
        )

    def check(self, case: Any) -> None:
        """Make the request; raise where the answer is not as described."""
        answer = case.call(base_url=self._url, session=self._session, allow_redirects=False)
        case.validate_response(answer, checks=CHECKS)


def _operations(document: dict[str, Any]) -> list[Any]:
    schema = schemathesis.openapi.from_dict(document)
    return [found.ok() for found in schema.get_all_operations()]


def _narrow(value: Any) -> Any:
    """The description with one name for everything and short times, so that requests meet."""
    if isinstance(value, list):
        return [_narrow(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("pattern") == schemas.NAME["pattern"]:
        return {"enum": ["a", None]} if "null" in value["type"] else {"enum": ["a"]}
    narrowed = {name: _narrow(each) for name, each in value.items()}
    if value.get("maximum") == MAX_INTERVAL:
        narrowed["maximum"] = _LONGEST_INTERVAL
    elif value.get("maximum") == bodies.MAX_WAIT:
        narrowed["maximum"] = _LONGEST_WAIT
    return narrowed
