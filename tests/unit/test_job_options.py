"""What a job may say of its queue and of itself: checked, and as the script reads it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from sharq import REMOVE
from sharq.errors import BadArgumentException
from sharq.operations.job_options import check_options
from sharq.results import JobOptions
from tests.support.cases import cases


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"burst": None, "concurrency": None, "group": None},
        {"cost": None, "priority": None, "delay": None},
        {"cost": 1, "priority": 0, "delay": 0},
    ],
)
def test_a_job_without_options_has_none(given: dict[str, Any]) -> None:
    assert check_options(**given) is None


@cases(
    ("given", "bound", "word"),
    [
        ({"burst": 1}, None, ":1:::1:0:0"),
        ({"burst": 1_000_000, "concurrency": 1_000_000}, 0, "0:1000000:1000000::1:0:0"),
        ({"group": "g" * 100}, 2**63 - 1, f"{2**63 - 1}:::{'g' * 100}:1:0:0"),
        ({"burst": REMOVE, "concurrency": REMOVE, "group": REMOVE}, 5, "5:-:-:-:1:0:0"),
        ({"cost": 1_000_000}, None, "::::1000000:0:0"),
        ({"priority": 9}, None, "::::1:9:0"),
        ({"delay": 31_536_000_000}, None, "::::1:0:31536000000"),
        ({"group": "--", "delay": 1}, None, ":::--:1:0:1"),
    ],
)
def test_options_are_one_word(given: dict[str, Any], bound: int | None, word: str) -> None:
    options = check_options(**given)
    assert options is not None
    assert options.word(bound) == word
    assert options == JobOptions(**given)


LIMITS = [0, -1, 1_000_001, 1.0, True, "1", [], 2**70]
REFUSED: dict[str, list[Any]] = {
    "burst": LIMITS,
    "concurrency": LIMITS,
    "cost": [*LIMITS, REMOVE],
    "group": ["", "-", "a b", "x" * 101, 5, True, b"g", []],
    "priority": [-1, 10, 1.0, True, "1", REMOVE],
    "delay": [-1, 31_536_000_001, 1.5, 1.0, True, "1", REMOVE],
}


@cases(
    ("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values]
)
def test_a_wrong_option_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadArgumentException) as caught:
        check_options(**{field: value})
    assert str(caught.value) == f"`{field}` has an invalid value."
    assert caught.value.expected


def test_the_word_for_a_removal_is_one_wherever_it_goes() -> None:
    assert pickle.loads(pickle.dumps(REMOVE)) is REMOVE
    assert repr(REMOVE) == "REMOVE"
