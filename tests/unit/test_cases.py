"""Many cases of one test: all are tried, and those that fail are named."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from tests.support.cases import cases


def failures(test: Any, *arguments: Any) -> dict[str, str]:
    """What a test says of its cases that fail, by the notes that name them."""
    with pytest.raises(ExceptionGroup) as caught:
        test(*arguments)
    return {error.__notes__[0]: str(error).split("\n")[0] for error in caught.value.exceptions}


def test_every_case_is_tried_and_those_that_fail_are_named() -> None:
    tried = []

    @cases(("number", "limit"), [(1, 2), (3, 2), (2, 2), (9, 2)])
    def small(number: int, limit: int) -> None:
        tried.append(number)
        if number > limit:
            raise ValueError(f"{number} is large")

    with pytest.raises(ExceptionGroup, match="2 of 4 cases failed: 3-2, 9-2") as caught:
        small()
    assert tried == [1, 3, 2, 9]
    assert [str(error) for error in caught.value.exceptions] == ["3 is large", "9 is large"]
    assert failures(small) == {"in the case 3-2": "3 is large", "in the case 9-2": "9 is large"}


def test_a_refusal_that_does_not_come_is_a_failure() -> None:
    @cases("text", ["1", "x"])
    def is_no_number(text: str) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            int(text)

    assert failures(is_no_number) == {"in the case 1": "DID NOT RAISE ValueError"}


def test_cases_that_hold_are_a_test_that_passes() -> None:
    @cases("number", range(3))
    def positive(number: int) -> None:
        assert number >= 0

    positive()


def test_pytest_is_asked_for_the_fixtures_alone() -> None:
    @cases("number", [1, 2])
    def more(number: int, least: int) -> None:
        """Say it."""
        assert number >= least

    assert list(inspect.signature(more).parameters) == ["least"]
    assert (more.__name__, more.__doc__) == ("more", "Say it.")
    more(least=1)
    with pytest.raises(ExceptionGroup, match=r"1 of 2 cases failed: 1$"):
        more(least=2)


def test_stacked_it_tries_every_combination() -> None:
    tried = []

    @cases("letter", ["a", "b"])
    @cases("number", [1, 2])
    def note(letter: str, number: int) -> None:
        tried.append((letter, number))
        assert (letter, number) != ("b", 1)

    with pytest.raises(ExceptionGroup, match=r"1 of 2 cases failed: b$"):
        note()
    assert tried == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_what_waits_is_waited_for() -> None:
    @cases("number", [1, 2])
    async def odd(number: int) -> None:
        await asyncio.sleep(0)
        assert number % 2

    assert inspect.iscoroutinefunction(odd)
    with pytest.raises(ExceptionGroup, match=r"1 of 2 cases failed: 2$"):
        asyncio.run(odd())


@pytest.mark.parametrize(
    ("values", "ids", "names"),
    [
        (["a", "b"], None, "a, b"),
        (["a", "a"], None, r"a \(0\), a \(1\)"),
        ([b"\xff", "\x00", None, True, 0.5], None, r"\\xff, \\x00, None, True, 0.5"),
        ([int, {}, 10**5000], None, "int, value1, value2"),
        ([1, 2], ["one", "two"], "one, two"),
        ([1, 2], lambda value: f"n{value}", "n1, n2"),
        ([pytest.param(1, id="first"), 2], None, "first, 2"),
        (["x" * 99], None, "x" * 60),
    ],
)
def test_a_case_is_called_by_its_values(values: list[Any], ids: Any, names: str) -> None:
    @cases("value", values, ids=ids)
    def never(value: Any) -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup, match=f"cases failed: {names}$"):
        never()


def test_without_a_case_there_is_no_test() -> None:
    with pytest.raises(AssertionError, match="checks nothing"):
        cases("value", [])
    with pytest.raises(ValueError, match="zip"):
        cases(("one", "other"), [(1,)])
    with pytest.raises(AssertionError, match="other"):
        cases("other", [1])(lambda value: None)
    with pytest.raises(AssertionError, match="whole test"):
        cases("value", [pytest.param(1, marks=pytest.mark.xfail)])
