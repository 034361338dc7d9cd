"""What is a valid name, number and lease token."""

from __future__ import annotations

import enum
import math
import string
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from sharq.errors import BadArgumentException
from sharq.identifiers import (
    MAX_COUNT,
    MAX_INTERVAL,
    check_identifier,
    check_integer,
    check_interval,
    check_lease,
    check_requeue_limit,
    check_time,
    is_identifier,
    is_integer,
)
from sharq.results import Lease
from tests.support.cases import cases

ALLOWED = string.ascii_letters + string.digits + "_-"


class Word(str, enum.Enum):  # noqa: UP042 (what it is before StrEnum)
    MAIL = "mail"
    BAD = "no name"


class Number(enum.IntEnum):
    FIVE = 5


class Text(str):
    __slots__ = ()


def refuses(check: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(BadArgumentException) as caught:
        check(*arguments)
    return str(caught.value)


# ---- names ----


@cases(
    "name",
    [
        *("a", "Z", "0", "_", "-", "--", "active", "payload", "interval", "ready", "time", "void"),
        *(ALLOWED, "a" * 100, "96c82500-9f88-11e3-bb98-22000ac6964a", "None", "true"),
    ],
)
def test_a_name_is_taken(name: str) -> None:
    assert check_identifier("job_id", name) == name


@cases(
    "name",
    [
        *("", "a" * 101, "a b", " a", "a ", "a\n", "\na", "a\r", "a\t", "a\x00", "\x00"),
        *(
            "a:b",
            "a/b",
            "{a}",
            "a}",
            "a.b",
            "..",
            "a%2Fb",
            "a*b",
            "a?",
            "#",
            "$",
            "@a",
            "a+b",
            "a,b",
        ),
        # what looks like letters, digits and hyphens
        *(
            "é",
            "\u0430",
            "\uff41",
            "\u0661",
            "²",
            "a\u2010b",
            "a\u2013b",
            "a\u200b",
            "\ud800",
            "😀",
        ),
        *(None, 5, 1.5, True, b"a", bytearray(b"a"), ["a"], ("a",), {"a": 1}, object()),
    ],
)
def test_what_is_no_name_is_refused(name: Any) -> None:
    assert not is_identifier(name)
    assert refuses(check_identifier, "queue_id", name) == "`queue_id` has an invalid value."


def test_every_other_character_is_refused() -> None:
    others = [chr(code) for code in range(0x3000) if chr(code) not in ALLOWED]
    assert [other for other in others if is_identifier(f"a{other}")] == []


@pytest.mark.parametrize("name", [Word.MAIL, Text("mail")])
def test_a_name_of_a_derived_type_becomes_plain_text(name: str) -> None:
    checked = check_identifier("queue_type", name)
    assert (type(checked), checked) == (str, "mail")


def test_an_enumeration_with_a_bad_value_is_refused() -> None:
    refuses(check_identifier, "queue_type", Word.BAD)


# ---- numbers ----


@cases("value", [0, 1, 1000, MAX_INTERVAL])
@cases("check", [check_interval, check_time])
def test_a_time_is_taken(check: Callable[..., Any], value: int) -> None:
    assert check("interval", value) == value


@cases(
    ("value", "taken"),
    [
        *((1.0, 1), (0.0, 0), (-0.0, 0), (1.5, 1.5), (0.001, 0.001), (0.3, 0.3), (1e3, 1000)),
        *((MAX_INTERVAL - 0.001, MAX_INTERVAL - 0.001), (float(MAX_INTERVAL), MAX_INTERVAL)),
        *((Decimal("1.50"), 1.5), (Decimal("1E+3"), 1000), (Decimal("0.001"), 0.001)),
        *((Decimal(MAX_INTERVAL), MAX_INTERVAL), (Number.FIVE, 5)),
    ],
)
def test_an_interval_may_have_three_decimals(value: Any, taken: float) -> None:
    checked = check_interval("interval", value)
    assert (type(checked), checked) == (type(taken), taken)


def test_every_thousandth_is_an_interval() -> None:
    for whole in (0, 1, 999, 1_000_000, MAX_INTERVAL - 1):
        for thousandth in range(1, 1000):
            text = f"{whole}.{thousandth:03}"
            assert check_interval("interval", float(text)) == float(text)
            assert check_interval("interval", Decimal(text)) == float(text)


@cases(
    "value",
    [
        *(1.0005, 0.0001, 1e-300, -0.001, 0.1 + 0.2, MAX_INTERVAL + 0.001),
        *(math.nan, math.inf, -math.inf, Decimal("1.0005"), Decimal("NaN"), Decimal("sNaN")),
        *(Decimal("Infinity"), Decimal("-0.001"), Decimal("1." + "0" * 40 + "1")),
    ],
)
def test_a_number_that_is_no_interval_is_refused(value: Any) -> None:
    assert refuses(check_interval, "interval", value) == "`interval` has an invalid value."


NO_TIMES = [-1, MAX_INTERVAL + 1, 2**63, 10**30, True, False, "5", "", b"5", None, [5], 5j]


@cases(
    ("check", "value"),
    [
        *((check, value) for check in (check_interval, check_time) for value in NO_TIMES),
        *((check_time, value) for value in (1.0, 1.5, Decimal(1))),
    ],
)
def test_what_is_no_time_is_refused(check: Callable[..., Any], value: Any) -> None:
    assert refuses(check, "delay", value) == "`delay` has an invalid value."


def test_the_longest_interval_is_a_year() -> None:
    assert MAX_INTERVAL == 365 * 24 * 60 * 60 * 1000


@pytest.mark.parametrize("value", [-1, 0, 1, 2**63 - 1])
def test_a_requeue_limit_is_taken(value: int) -> None:
    assert check_requeue_limit(value) == value


@cases("value", [-2, 2**63, True, False, 1.0, "1", "", None, "-1"])
def test_what_is_no_requeue_limit_is_refused(value: Any) -> None:
    assert refuses(check_requeue_limit, value) == "`requeue_limit` has an invalid value."


@pytest.mark.parametrize(("value", "fits"), [(2, False), (3, True), (5, True), (6, False)])
def test_the_bounds_of_an_integer_are_part_of_it(value: int, fits: bool) -> None:
    assert is_integer(value, 3, 5) is fits


def test_an_integer_of_a_derived_type_becomes_a_plain_one() -> None:
    checked = check_integer("count", Number.FIVE, 1, MAX_COUNT)
    assert (type(checked), checked) == (int, 5)


# ---- leases ----


def test_a_lease_has_four_parts() -> None:
    assert check_lease("mail/bob/j-1/1800000000000000") == Lease(
        queue_type="mail", queue_id="bob", job_id="j-1", n="1800000000000000"
    )


@pytest.mark.parametrize(
    "token", ["a/b/c/1", f"{'a' * 100}/b/c/{'9' * 19}", "1/2/3/0", Text("a/b/c/1")]
)
def test_a_lease_token_is_taken(token: str) -> None:
    assert "/".join(check_lease(token)) == token


@cases(
    "token",
    [
        *("", "/", "///", "a/b/c", "a/b/c/", "a/b/c/1/2", "/b/c/1", "a//c/1", "a/b//1"),
        *("a/b/c/x", "a/b/c/-1", "a/b/c/+1", "a/b/c/1.0", "a/b/c/\u0661", "a/b/c/1 ", " a/b/c/1"),
        *("a/b/c/1\n", "a/b/c/" + "1" * 20, "a b/b/c/1", f"{'a' * 101}/b/c/1", "a/b/c:d/1"),
        *(None, 5, True, b"a/b/c/1", ["a", "b", "c", "1"], ("a", "b", "c", "1")),
    ],
)
def test_what_is_no_lease_token_is_refused(token: Any) -> None:
    assert refuses(check_lease, token) == "`lease` has an invalid value."
