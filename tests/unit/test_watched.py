"""What a client of `watch` knows after wholes, differences and problems."""

from __future__ import annotations

from typing import Any

from sharq.cli.watched import Watched, merged
from tests.support.cases import cases

PROBLEM = {"code": "store_unavailable", "message": "The store is away"}


def event(topic: str, data: Any = None, **more: Any) -> dict[str, Any]:
    return {"event": "watch", "topic": topic, **({} if data is None else {"data": data}), **more}


@cases(
    ("value", "patch", "result"),
    [
        # The examples of RFC 7386, as far as they are objects.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(value: Any, patch: Any, result: Any) -> None:
    before = repr(value)
    assert merged(value, patch) == result
    assert repr(value) == before


def test_a_whole_and_its_differences() -> None:
    watched = Watched()
    watched.want(["types", "workers"])
    assert watched.take(event("types", {"a": 1, "b": {"c": 2}}, full=True))
    assert not watched.complete
    assert watched.take(event("types", {"b": {"c": None, "d": 3}}))
    assert watched.data == {"types": {"a": 1, "b": {"d": 3}}}
    assert watched.take(event("workers", {}, full=True))
    assert watched.complete


def test_a_difference_without_its_whole_asks_for_it() -> None:
    watched = Watched()
    watched.want(["types"])
    assert not watched.take(event("types", {"a": 1}))
    watched.take(event("types", {"a": 1}, full=True))
    # Another connection: what was known stays, but differences are to something else.
    watched.begin()
    assert not watched.take(event("types", {"a": 2}))
    assert watched.data == {"types": {"a": 1}}
    assert not watched.complete


def test_a_problem_stands_until_the_next_whole() -> None:
    watched = Watched()
    watched.want(["types"])
    watched.take(event("types", {"a": 1}, full=True))
    assert watched.take(event("types", problem=PROBLEM))
    assert watched.problems == {"types": "The store is away (store_unavailable)"}
    assert watched.data == {"types": {"a": 1}}
    assert watched.take(event("types", {"a": 2}))
    assert watched.data == {"types": {"a": 1}}
    watched.take(event("types", {"a": 3}, full=True))
    assert (watched.problems, watched.data) == ({}, {"types": {"a": 3}})


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    watched = Watched()
    watched.want(["types", "type/a"])
    watched.take(event("type/a", {"a": 1}, full=True))
    watched.want(["types", "type/b"])
    assert watched.take(event("type/a", {"a": 2}))
    assert watched.data == {}
