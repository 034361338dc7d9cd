"""`sharq limit`, `pause` and `resume`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.command import Shell

LEVELS: list[tuple[list[str], str, str]] = [
    (["q"], "q/", "queue q of {}"),
    (["--group", "g"], "?group=g", "group g of {}"),
    ([], "", "type {}"),
]


def limits(sharq: Shell, kind: str, path: str) -> Any:
    return sharq.rest("GET", f"/limits/{kind}/{path}")


@pytest.mark.parametrize(("level", "path", "name"), LEVELS)
class TestOfEachLevel:
    def test_limits_are_set_shown_and_given_back(
        self, sharq: Shell, kind: str, level: list[str], path: str, name: str
    ) -> None:
        said = sharq(
            *("limit", kind, *level, "--interval", "1.5s", "--burst", "3", "--concurrency", "7"),
            *("--reason", "[b]May"),
        )
        assert said == (0, f"The limits of {name.format(kind)} are set.\n", "")
        found = limits(sharq, kind, path)
        assert (found["limits"]["interval"], found["limits"]["burst"]) == (1500, 3)
        facts = sharq("limit", kind, *level).facts
        assert facts["of"] == name.format(kind)
        assert facts["interval"] == "1.5 s (set by api)"
        assert (facts["concurrency"], facts["reason"]) == ("7 (set by api)", "[b]May")

        assert sharq("limit", kind, *level, "--burst", "none").code == 0
        assert limits(sharq, kind, path)["limits"]["burst"] is None
        assert limits(sharq, kind, path)["limits"]["concurrency"] == 7
        assert "given back" in sharq("limit", kind, *level, "--reset").out
        assert limits(sharq, kind, path)["limits"]["concurrency"] is None

    def test_a_dry_run_changes_nothing(
        self, sharq: Shell, kind: str, level: list[str], path: str, name: str
    ) -> None:
        for number in range(5):
            sharq.put(kind, "q", f"j{number}", group="g")
        said = sharq("limit", kind, *level, "--interval", "1000", "--dry-run")
        assert said.facts["of"] == name.format(kind)
        assert said.facts["would drain in"] == "4 s"
        assert said.facts["drains now in"] == "0 ms"
        tried = sharq("limit", kind, *level, "--interval", "1000", "--dry-run", "--json").json
        assert (tried["drains_in"], tried["drained_in_before"]) == (4000, 0)
        assert limits(sharq, kind, path)["limits"]["interval"] in (0, None)

    def test_a_pause_and_its_end(
        self, sharq: Shell, kind: str, level: list[str], path: str, name: str
    ) -> None:
        sharq.put(kind, "q", group="g")
        said = sharq("pause", kind, *level, "--for", "2h", "--reason", "unpaid")
        assert said == (0, f"The {name.format(kind)} is paused for 2 h.\n", "")
        pause = limits(sharq, kind, path)["pause"]
        assert pause["reason"] == "unpaid"
        assert pause["until"] is not None
        assert sharq("limit", kind, *level).facts["paused until"].endswith("(set by api): unpaid")
        assert "is paused until it is resumed" in sharq("pause", kind, *level).out
        assert limits(sharq, kind, path)["pause"]["until"] is None
        assert sharq("resume", kind, *level).code == 0
        assert limits(sharq, kind, path)["pause"] is None
        # There is none any more.
        assert sharq("resume", kind, *level, "--json").json == {"status": "success"}


def test_a_queue_joins_and_leaves_a_group(sharq: Shell, kind: str) -> None:
    assert sharq("limit", kind, "q", "--in-group", "account-1").code == 0
    assert limits(sharq, kind, "q/")["limits"]["group"] == "account-1"
    assert sharq("limit", kind, "q", "--in-group", "none").code == 0
    assert limits(sharq, kind, "q/")["limits"]["group"] is None


@pytest.mark.parametrize(
    ("given", "sent"), [("2.5", 2.5), ("1000", 1000), ("0", 0), ("0.5ms", 0.5), ("1d", 86400000)]
)
def test_an_interval_is_sent_as_it_is_meant(
    sharq: Shell, kind: str, given: str, sent: float
) -> None:
    assert sharq("limit", kind, "q", "--interval", given).code == 0
    assert limits(sharq, kind, "q/")["limits"]["interval"] == sent


@pytest.mark.parametrize(
    "arguments",
    [
        ["limit", "t", "q", "--group", "g", "--burst", "1"],
        ["limit", "t", "q", "--interval", "fast"],
        ["limit", "t", "q", "--interval", "-1"],
        ["limit", "t", "q", "--interval", "1e3"],
        ["limit", "t", "q", "--interval", "00.5"],
        ["limit", "t", "q", "--interval", "1 s"],
        ["limit", "t", "q", "--burst", "1.5"],
        ["limit", "t", "q", "--burst", "١"],  # noqa: RUF001 # a digit, but none of JSON
        ["limit", "t", "q", "--dry-run"],
        ["limit", "t", "q", "--reset", "--burst", "1"],
        ["limit", "t", "a/b"],
        ["limit", "t", "--group", "-"],
        ["pause", "t", "--for", "soon"],
        ["pause", "t", "--reason", "\udcff"],
        ["resume", "t", ""],
    ],
)
def test_wrong_usage(sharq: Shell, arguments: list[str]) -> None:
    said = sharq(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"sharq {arguments[0]}: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["limit", "t", "q", "--burst", "0"],
        ["limit", "t", "q", "--interval", "1.0005"],
        ["limit", "t", "--in-group", "g"],
        ["pause", "t", "--for", "0"],
        ["pause", "t", "--for", "366d"],
    ],
)
def test_the_server_says_what_is_out_of_bounds(sharq: Shell, arguments: list[str]) -> None:
    said = sharq(*arguments)
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "(400 invalid_argument)" in said.err


def test_a_type_is_spread_over_shards(sharq: Shell) -> None:
    assert sharq("shards", "new").facts == {"of": "type new", "shards": "1"}
    assert sharq("shards", "new", "4").out == "The type new had 1, and now has 4 shards.\n"
    assert sharq("shards", "new", "4").out == "The type new still has 4 shards.\n"
    assert sharq("shards", "new", "--json").json == {"status": "success", "shards": 4}
    sharq.put("new", "q", "j", 1)
    said = sharq("shards", "new", "1")
    assert said.code == 1
    assert said.err == "sharq shards: `new` has jobs (409 not_empty).\n"
    assert sharq("queues", "new").out == "queue\nq\n"
    assert sharq("limit", "new", "--burst", "2").code == 1
    assert sharq("shards", "new", "x").code == 2
