"""The table of outcomes and errors: nothing that the library can say is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharq import results
from sharq.errors import (
    BadArgumentException,
    JobConflict,
    SharqException,
    StoreDenied,
    StoreFull,
    StoreOutcomeUnknown,
    StoreOverloaded,
    StoreUnavailable,
)
from sharq_server.api import replies
from sharq_server.api.routes import ROUTES

REFERENCE = Path(__file__).parents[2] / "docs" / "rest-api.md"

NOT_A_CLIENTS_BUSINESS = {
    *("internal", "store_error", "invalid_configuration", "embedded_store", "unreadable_payload")
}


def kinds(kind: type[SharqException] = SharqException) -> Iterator[type[SharqException]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


@pytest.mark.parametrize("kind", [*kinds()], ids=lambda kind: kind.__name__)
def test_every_error_has_an_answer_or_is_internal(kind: type[SharqException]) -> None:
    error = kind()
    if kind.code in NOT_A_CLIENTS_BUSINESS:
        assert replies.is_internal(error)
    else:
        reply = replies.of_error(error)
        assert 400 <= reply.status < 600
        assert json.loads(reply.body)["code"] == kind.code
        assert json.loads(reply.body)["message"] == error.message


def test_any_other_exception_is_internal() -> None:
    assert replies.is_internal(ValueError("secret"))


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BadArgumentException("x"), 400, None),
        (JobConflict(), 409, None),
        (StoreUnavailable(), 503, 1),
        (StoreOutcomeUnknown(), 503, 1),
        (StoreOverloaded(), 503, 1),
        (StoreFull(), 503, 5),
        (StoreDenied(), 503, 5),
    ],
)
def test_an_error_has_a_status_and_a_time_to_come_back(
    error: SharqException, status: int, retry_after: int | None
) -> None:
    reply = replies.of_error(error)
    assert (reply.status, reply.retry_after) == (status, retry_after)


def test_an_unknown_outcome_is_said() -> None:
    assert json.loads(replies.of_error(StoreOutcomeUnknown()).body)["outcome"] == "unknown"
    assert "outcome" not in json.loads(replies.of_error(StoreUnavailable()).body)


@pytest.mark.parametrize(
    "outcome", [results.NOT_ACTIVE, results.STALE_LEASE, results.ALREADY_FINISHED]
)
def test_what_cannot_be_ended_is_told_by_its_code(outcome: str) -> None:
    for reply in (
        replies.finished(results.Ended(outcome)),
        replies.released(results.Ended(outcome)),
        replies.extended(results.Extended(outcome, 0)),
    ):
        assert (reply.status, json.loads(reply.body)["code"]) == (404, outcome)


# ---- the documentation ----


def test_the_reference_has_every_error_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", REFERENCE.read_text(), re.M)
    assert {code: int(status) for status, code in rows} == replies.STATUS_OF_CODE


def test_the_reference_has_every_route_with_its_methods() -> None:
    text = REFERENCE.read_text()
    for route in ROUTES:
        path = route.template
        for method in route.methods.keys() - {"HEAD"}:
            assert re.search(rf"`{method} {path}|{path}`[^|]*`{method}`", text), (method, path)
