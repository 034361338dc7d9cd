"""`sharq dead`: what has failed, shown, tried again and deleted."""

from __future__ import annotations

import pytest

from tests.cli.command import Shell


def dead(sharq: Shell, kind: str) -> list[str]:
    """The dead letters, by the names of their jobs."""
    return sorted(each["job_id"] for each in sharq.rest("GET", f"/dead/{kind}/")["jobs"])


def test_a_list(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a", "b"], type="OSError", message="no\troute")
    said = sharq("dead", "list", kind)
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == ["died", "queue", "job", "reason", "attempts", "error"]
    assert [row[1:] for row in said.rows[1:]] == [
        ["q", job, "rejected", "1", "OSError: no\\troute"] for job in ("b", "a")
    ]
    assert said.rows[1][0].endswith(" UTC")
    listed = sharq("dead", "list", kind, "--json").json
    assert [each["payload"] for each in listed["jobs"]] == [{"of": "b"}, {"of": "a"}]
    assert listed["cursor"] is None


def test_filters(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a"], queue="q1", type="OSError")
    sharq.bury(kind, ["b"], queue="q2", type="ValueError")
    died = sharq.rest("GET", f"/dead/{kind}/")["jobs"][0]["died_at"]

    def listed(*arguments: str) -> list[str]:
        said = sharq("dead", "list", kind, *arguments)
        assert said.code == 0, said
        return [row[2] for row in said.rows[1:]]

    assert listed("--queue", "q1") == ["a"]
    assert listed("--error", "ValueError") == ["b"]
    assert listed("--reason", "rejected") == ["b", "a"]
    assert listed("--reason", "expired") == []
    assert listed("--before", str(died)) == ["a"]
    assert listed("--before", "2020-01-01") == []
    assert listed("--before", "2200-01-01T00:00Z") == ["b", "a"]


def test_pages(sharq: Shell, kind: str) -> None:
    jobs = [f"j{number}" for number in range(5)]
    sharq.bury(kind, jobs)
    found: list[str] = []
    arguments: list[str] = []
    for size in (2, 2, 1):
        page = sharq("dead", "list", kind, "--limit", "2", *arguments)
        assert len(page.rows[1:]) == size
        found += [row[2] for row in page.rows[1:]]
        arguments = page.err.split()[-2:]
    assert arguments == []
    assert found == jobs[::-1]
    every = sharq("dead", "list", kind, "--all", "--json").json
    assert [each["job_id"] for each in every["jobs"]] == jobs[::-1]


def test_more_than_a_page_of_the_server(sharq: Shell, kind: str) -> None:
    jobs = [f"j{number}" for number in range(103)]
    sharq.bury(kind, jobs)
    assert [row[2] for row in sharq("dead", "list", kind, "--all").rows[1:]] == jobs[::-1]
    assert len(sharq("dead", "list", kind, "--limit", "102").rows[1:]) == 102
    # Counted page by page, since the metrics know nothing of filters.
    said = sharq.on_terminal("dead", "delete", kind, "--queue", "q", typed=b"y\n")
    assert f"Delete 103 dead letters of {kind}? [y/N]" in said.out
    assert said.code == 0
    assert dead(sharq, kind) == []


def test_one_is_shown_with_its_numbers_as_they_were(sharq: Shell, kind: str) -> None:
    payload = b'{"n": 12345678901234567890.50,  "i": 123456789012345678901234567890}'
    assert (
        sharq("enqueue", kind, "q", "-", "--interval", "0", "--job-id", "j", stdin=payload)[0] == 0
    )
    sharq.rest("POST", f"/dequeue/{kind}/")
    sharq.rest("POST", f"/fail/{kind}/q/j/", {"retry": False})
    assert sharq("dead", "show", kind, "q", "j").facts["payload"] == payload.decode()
    assert payload.decode() in sharq("dead", "show", kind, "q", "j", "--json").out
    assert payload.decode() in sharq("dead", "list", kind, "--json").out


@pytest.mark.parametrize("verb", ["show", "retry", "delete"])
def test_one_that_is_not_there(sharq: Shell, kind: str, verb: str) -> None:
    said = sharq("dead", verb, kind, "q", "nobody")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "(404 not_found)" in said.err


def test_one_is_tried_again(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a", "b"])
    assert sharq("dead", "retry", kind, "q", "a") == (0, "q/a is queued again.\n", "")
    assert dead(sharq, kind) == ["b"]
    assert sharq.rest("GET", f"/status/{kind}/q/a/")["state"] == "queued"


def test_one_whose_name_is_taken_stays(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a"])
    sharq.put(kind, "q", "a")
    said = sharq("dead", "retry", kind, "q", "a")
    assert (said.code, said.out) == (1, "")
    assert "the dead letter stays (409 conflict)" in said.err
    # Of many, too: that not all was done is told.
    said = sharq("dead", "retry", kind, "--all")
    assert said.code == 1
    assert said.out == "0 queued again, 1 stay, since jobs of their names are queued or leased.\n"


def test_one_is_deleted_without_a_question(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a", "b"])
    assert sharq("dead", "delete", kind, "q", "a", "--json").json["results"] == ["success"]
    assert dead(sharq, kind) == ["b"]


def test_many_are_tried_again(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a", "b", "c"], type="OSError")
    sharq.bury(kind, ["d"], type="ValueError")
    assert sharq("dead", "retry", kind, "--error", "OSError", "--limit", "2").out == (
        "2 queued again.\n"
    )
    assert dead(sharq, kind) == ["c", "d"]
    ended = sharq("dead", "retry", kind, "--all", "--json")
    assert (ended.code, ended.json["bulk"]["moved"]) == (0, 2)
    assert dead(sharq, kind) == []


def test_many_are_deleted_after_a_question(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a", "b", "c"])
    said = sharq.on_terminal("dead", "delete", kind, "--all", typed=b"n\n")
    assert (said.code, len(dead(sharq, kind))) == (1, 3)
    assert f"Delete 3 dead letters of {kind}? [y/N]" in said.out
    assert "Nothing is deleted." in said.out
    said = sharq.on_terminal("dead", "delete", kind, "--all", "--limit", "2", typed=b"y\n")
    assert "Delete 2 dead letters" in said.out
    assert "2 deleted." in said.out
    assert (said.code, dead(sharq, kind)) == (0, ["c"])


def test_without_a_terminal_it_needs_yes(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["a", "b"])
    said = sharq("dead", "delete", kind, "--all")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "--yes" in said.err
    assert len(dead(sharq, kind)) == 2
    assert sharq("dead", "delete", kind, "--all", "--yes") == (0, "2 deleted.\n", "")
    assert dead(sharq, kind) == []
    said = sharq("dead", "delete", kind, "--all")
    assert (said.code, said.out) == (0, "")
    assert "nothing is deleted" in said.err


def test_without_waiting_its_progress_can_be_asked_for(sharq: Shell, kind: str) -> None:
    said = sharq("dead", "progress", kind)
    assert said == (0, "No retry or deletion has run lately.\n", "")
    sharq.bury(kind, ["a"])
    begun = sharq("dead", "retry", kind, "--all", "--no-wait", "--json").json
    assert sharq("dead", "progress", kind, "--json").json["bulk"]["id"] == begun["id"]
    said = sharq("dead", "cancel", kind)
    # It may have been done by then.
    assert said.code == 0 or "(404 no_bulk)" in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry", "t"],
        ["delete", "t", "--yes"],
        ["retry", "t", "q"],
        ["retry", "t", "q", "j", "--all"],
        ["retry", "t", "--all", "--error", "x"],
        ["retry", "t", "q", "j", "--limit", "1"],
        ["retry", "t", "--all", "--limit", "0"],
        ["list", "t", "--before", "yesterday"],
        ["list", "t", "--limit", "0"],
        ["list", "t", "--limit", "1000001"],
        ["list", "t", "--limit", "5", "--all"],
        ["list", "t", "--error", "\udcff"],
        ["list", "t", "--cursor", "x" * 5000],
        ["list", "t/t"],
    ],
)
def test_wrong_usage(sharq: Shell, arguments: list[str]) -> None:
    said = sharq("dead", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(f"sharq dead {arguments[0]}: ")


def test_a_cursor_of_another_list_is_refused(sharq: Shell, kind: str) -> None:
    said = sharq("dead", "list", kind, "--cursor", "w/8192")
    assert said.code == 1
    assert "(400 invalid_argument)" in said.err
