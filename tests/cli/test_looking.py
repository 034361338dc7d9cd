"""`sharq types`, `queues`, `queue` and `job`."""

from __future__ import annotations

from tests.cli.command import Shell


def test_types(sharq: Shell, kind: str) -> None:
    sharq.put(kind)
    sharq.bury(f"{kind}-dead", ["a", "b"])
    sharq.put(f"{kind}-dead")
    said = sharq("types")
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == [
        *("type", "waiting", "delayed", "active", "ready", "held", "oldest"),
        *("held by", "dead"),
    ]
    rows = {row[0]: row[1:] for row in said.rows[1:]}
    assert rows[kind][:5] == ["1", "0", "0", "1", "0"]
    assert rows[kind][5].endswith(("ms", " s"))
    assert rows[kind][6:] == ["nothing", "0"]
    assert rows[f"{kind}-dead"][7] == "2"
    listed = {each["queue_type"]: each for each in sharq("types", "--json").json["types"]}
    assert listed[kind]["held_by"] == "nothing"
    assert listed[f"{kind}-dead"]["dead"]["jobs"] == 2
    sharq.rest("POST", f"/pause/{kind}/", {"for": 3_600_000})
    rows = {row[0]: row[1:] for row in sharq("types").rows[1:]}
    assert rows[kind][3:7] == ["0", "1", "-", rows[kind][6]]
    assert rows[kind][6].startswith("paused, 59 min 5")


def test_a_queue(sharq: Shell, kind: str) -> None:
    sharq.put(kind, "u1", "j1", interval=1500, burst=3)
    sharq.put(kind, "u1", "j2", interval=1500)
    facts = sharq("queue", kind, "u1").facts
    assert facts["queue"] == f"{kind}/u1"
    assert (facts["waiting"], facts["leased"], facts["held by"]) == ("2", "0", "nothing")
    assert facts["interval"] == "1.5 s (set by enqueue)"
    assert facts["burst"] == "3 (set by enqueue)"
    assert facts["enqueued in 10 min"] == "2"
    found = sharq("queue", kind, "u1", "--json").json
    assert found["queue_length"] == 2
    assert found["limits"]["interval"] == 1500


def test_a_queue_that_does_not_exist(sharq: Shell, kind: str) -> None:
    for more in ([], ["--json"]):
        said = sharq("queue", kind, "nobody", *more)
        assert (said.code, said.out) == (1, "")
        assert said.err == (f"sharq queue: There is no queue nobody of {kind} (404 not_found).\n")


def test_a_queue_that_has_only_limits_is_shown(sharq: Shell, kind: str) -> None:
    sharq.rest("POST", f"/limits/{kind}/q/", {"concurrency": 2})
    assert sharq("queue", kind, "q").facts["concurrency"] == "2 (set by api)"


def test_a_job_that_waits_is_leased_and_ended(sharq: Shell, kind: str) -> None:
    sharq.put(kind, "q", "j1")
    sharq.put(kind, "q", "j2")
    facts = sharq("job", kind, "q", "j2").facts
    assert (facts["state"], facts["jobs before it"]) == ("queued", "1")
    assert sharq("job", kind, "q", "j2", "--json").json["position"] == 1
    sharq.rest("POST", f"/dequeue/{kind}/")
    assert sharq("job", kind, "q", "j1").facts["state"] == "active"
    sharq.rest("POST", f"/finish/{kind}/q/j1/")
    assert sharq("job", kind, "q", "j1").facts == {"state": "finished"}


def test_a_job_that_failed_says_why(sharq: Shell, kind: str) -> None:
    sharq.bury(kind, ["j"], type="OSError", message="no route", trace="one\ntwo")
    facts = sharq("job", kind, "q", "j").facts
    assert (facts["state"], facts["reason"]) == ("dead", "rejected")
    assert facts["error"] == "OSError: no route"
    # Shown with the dead letter; a line stays a line.
    assert sharq("dead", "show", kind, "q", "j").facts["trace"] == "one\\ntwo"


def test_a_job_that_is_not_known(sharq: Shell, kind: str) -> None:
    said = sharq("job", kind, "q", "nobody")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "(404 not_found)" in said.err


def test_queues_in_pages(sharq: Shell, kind: str) -> None:
    wanted = {f"q{number}" for number in range(700)}
    jobs = [
        {"queue_type": kind, "queue_id": name, "job_id": "j", "interval": 0, "payload": 1}
        for name in wanted
    ]
    sharq.rest("POST", "/enqueue/", {"jobs": jobs})
    said = sharq("queues", kind, "--all")
    assert said.rows[0] == ["queue"]
    assert {row[0] for row in said.rows[1:]} == wanted
    assert said.err == ""

    found: set[str] = set()
    arguments: list[str] = []
    for _ in range(20):
        page = sharq("queues", kind, "--limit", "150", *arguments)
        assert page.code == 0
        found |= {row[0] for row in page.rows[1:]}
        if not page.err:
            break
        assert page.err.startswith("There is more: --cursor ")
        arguments = page.err.split()[-2:]
    assert found == wanted
    assert arguments

    listed = sharq("queues", kind, "--json", "--limit", "150").json
    assert listed["cursor"]
    assert 150 <= len(listed["queue_ids"]) < 700
    assert set(sharq("queues", kind, "--json", "--all").json["queue_ids"]) == wanted


def test_a_queue_with_waiting_and_leased_jobs_is_there_once(sharq: Shell, kind: str) -> None:
    job = {"queue_type": kind, "queue_id": "q", "interval": 0, "payload": 1}
    sharq.rest("POST", "/enqueue/", {"jobs": [job | {"job_id": each} for each in "ab"]})
    sharq.rest("GET", f"/dequeue/{kind}/")
    assert sharq("queues", kind, "--all").rows == [["queue"], ["q"]]


def test_queues_of_no_type(sharq: Shell, kind: str) -> None:
    said = sharq("queues", kind)
    assert (said.code, said.out, said.err) == (0, "queue\n", "")
