"""What a job failed with: checked, cut, and kept as a word."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharq.errors import BadArgumentException
from sharq.failures import (
    MAX_TRACE,
    check_error,
    check_worker,
    error_in,
    error_of,
    error_word,
    type_word,
    worker_of,
    worker_word,
)
from sharq.results import JobError
from tests.support.cases import cases

texts = st.none() | st.text()


@given(texts, texts, texts)
def test_an_error_is_one_word_and_comes_back(
    error_type: str | None, message: str | None, trace: str | None
) -> None:
    told = check_error({"type": error_type, "message": message, "trace": trace})
    word = error_word(told).encode()
    assert not re.search(rb"[ \t-\r]", word)
    assert error_in(word) == told


@given(texts, texts, texts)
def test_an_error_of_any_length_is_taken_up_to_its_bounds(
    error_type: str | None, message: str | None, trace: str | None
) -> None:
    told = JobError(
        error_type and error_type * 60, message and message * 600, trace and trace * 5_000
    )
    cut = check_error(told)
    if cut is None:
        assert told == JobError()
        return
    assert check_error(cut) == cut
    for whole, part, size in (
        (told.message, cut.message, 1_000),
        (told.trace, cut.trace, MAX_TRACE),
    ):
        assert (part is None) is (whole is None)
        if part and whole:
            assert whole.startswith(part)
            assert size - 4 < len(part.encode()) <= size or part == whole
    if error_type:
        assert cut.type == (error_type * 60)[:100]


def test_half_a_surrogate_pair_is_taken_too() -> None:
    assert check_error({"type": "\ud800x", "message": "\udfff"}) == JobError("?x", "?")


@cases(
    "wrong",
    ["text", 1, [], {"type": 1}, {"message": b"x"}, {"trace": ["x"]}, {"kind": "x"}, {1: "x"}],
)
def test_what_is_no_error_is_refused(wrong: Any) -> None:
    with pytest.raises(BadArgumentException):
        check_error(wrong)


@pytest.mark.parametrize("nothing", [None, {}, JobError(), {"type": None}])
def test_an_error_that_tells_nothing_is_none(nothing: Any) -> None:
    assert check_error(nothing) is None
    assert error_word(None) == ""
    assert error_in(b"") is None


@given(st.text(min_size=1, max_size=100), st.text(max_size=20))
def test_a_type_begins_the_words_of_its_errors_and_of_no_others(mine: str, other: str) -> None:
    def begins(error_type: str) -> bool:
        word = error_word(JobError(error_type, "m"))
        return word.startswith(type_word(mine)) and word[len(type_word(mine))] in ",}"

    assert begins(mine)
    assert begins(mine + other) is (other == "")


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raised(failure: BaseException) -> BaseException:
    try:
        raise failure
    except BaseException as caught:
        return caught


def test_an_exception_tells_its_type_its_message_and_its_trace() -> None:
    told = error_of(raised(ValueError("no such number")))
    assert (told.type, told.message) == ("ValueError", "no such number")
    assert told.trace is not None
    assert told.trace.startswith("Traceback")
    assert "test_failures.py" in told.trace


def test_an_exception_of_a_module_has_its_name() -> None:
    told = error_of(raised(BadText()))
    assert told.type == f"{__name__}.BadText"
    assert told.message == ""


def test_of_a_long_trace_the_end_is_told() -> None:
    told = error_of(raised(ValueError("é" * 20_000 + "the end")))
    assert told.trace is not None
    assert told.trace.startswith("…")
    assert told.trace.endswith("the end\n")
    assert MAX_TRACE - 4 < len(told.trace.encode()) <= MAX_TRACE
    assert check_error(told) is not None


@pytest.mark.parametrize("name", ["w1", "host.example:17 / é", "%2C,!", "x" * 100])
def test_the_name_of_a_worker_comes_back(name: str) -> None:
    word = worker_word(check_worker(name))
    assert word.isascii()
    assert not re.search(r"[,! ]", word)
    assert worker_of(word.encode()) == name


@pytest.mark.parametrize("wrong", ["", "x" * 101, "a\nb", "\ud800", 1, b"w"])
def test_what_is_no_name_of_a_worker_is_refused(wrong: Any) -> None:
    with pytest.raises(BadArgumentException):
        check_worker(wrong)
