"""What pages of other origins may do, by the rules alone."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from sharq_server.security.cors import AllowedOrigins
from tests.support.cases import cases

FRIEND = "https://friend.example"
ALLOWED = AllowedOrigins((FRIEND, "http://localhost:3000", "https://Own.Example:443"))
ANY = AllowedOrigins(("*",))


@cases(
    ("origin", "allowed"),
    [
        (FRIEND, True),
        ("https://FRIEND.example", True),
        ("http://localhost:3000", True),
        ("https://own.example", True),
        ("http://friend.example", False),
        ("https://friend.example:444", False),
        ("https://friend.example/", False),
        ("https://friend.example.evil.example", False),
        ("https://evil-friend.example", False),
        ("http://localhost:30000", False),
        ("http://localhost", False),
        ("null", False),
        ("*", False),
        ("", False),
        (None, False),
    ],
)
def test_which_origins_are_allowed(origin: str | None, allowed: bool) -> None:
    assert ALLOWED.has(origin) is allowed
    assert ANY.has(origin) is (origin is not None)
    assert not AllowedOrigins(()).has(origin)


def test_an_answer_can_be_read_by_the_page_that_asked() -> None:
    headers = HTTPHeaders({"Origin": FRIEND})
    assert dict(ALLOWED.fields(headers)) == {
        "Access-Control-Allow-Origin": FRIEND,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }
    # With this, no browser sends or shows what belongs to cookies.
    assert dict(ANY.fields(headers))["Access-Control-Allow-Origin"] == "*"
    for other in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert ALLOWED.fields(HTTPHeaders(other)) == ()
    assert AllowedOrigins(()).fields(headers) == ()


ASKING = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}


def test_a_preflight_tells_what_may_be_sent() -> None:
    fields = ALLOWED.preflight("OPTIONS", HTTPHeaders(ASKING), {"POST", "DELETE"})
    assert fields is not None
    assert dict(fields) == {
        "Access-Control-Allow-Methods": "DELETE, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("GET", {}),
        ("options", {}),
        ("OPTIONS", {"Origin": "https://evil.example"}),
        ("OPTIONS", {"Origin": None}),
        ("OPTIONS", {"Access-Control-Request-Method": None}),
    ],
)
def test_other_requests_are_none(method: str, change: dict[str, str | None]) -> None:
    headers = {name: value for name, value in (ASKING | change).items() if value is not None}
    assert ALLOWED.preflight(method, HTTPHeaders(headers), {"POST"}) is None


@pytest.mark.parametrize(
    ("asked", "told"), [("true", "true"), (None, None), ("false", None), ("1", None)]
)
def test_a_private_network_is_told_only_to_who_asks(asked: str | None, told: str | None) -> None:
    headers = HTTPHeaders(ASKING)
    if asked is not None:
        headers["Access-Control-Request-Private-Network"] = asked
    fields = ALLOWED.preflight("OPTIONS", headers, {"POST"})
    assert dict(fields or ()).get("Access-Control-Allow-Private-Network") == told
