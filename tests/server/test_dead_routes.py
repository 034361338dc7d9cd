"""Failing, and dead letters: what is kept, shown, tried again and removed, over REST."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.server.support import Rest
from tests.support.cases import cases
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test

DONE = (200, {"status": "success"})
QUEUED = (200, {"status": "success", "state": "queued"})
DEAD = (200, {"status": "success", "state": "dead"})
ERROR = {"type": "app.NoRoute", "message": "no route to « é »", "trace": "Traceback:\n  in f\n"}

LETTER = (
    *("queue_id", "job_id", "payload", "reason", "attempts", "first_failed_at", "died_at", "error"),
    *("worker", "priority", "cost", "requeue_limit", "interval", "burst", "concurrency", "group"),
)


async def lease(rest: Rest, queue_type: str = "t") -> dict[str, Any]:
    """Take a job."""
    answer = await rest.post(f"/dequeue/{queue_type}/")
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


async def hold(rest: Rest) -> None:
    """Let there be a leased job, if there is none."""
    await rest.enqueue()
    assert (await rest.post("/dequeue/t/")).status in {200, 404}
    assert (await rest.get("/status/t/q/j/")).body["state"] == "active"


async def fail(rest: Rest, job: dict[str, Any], queue_type: str = "t", **told: Any) -> Any:
    path = f"/fail/{queue_type}/{job['queue_id']}/{job['job_id']}/"
    return (await rest.post(path, {"lease": job["lease"], **told})).outcome


async def kill(
    rest: Rest, *job_ids: str, path: str = "t/q", error: Any = None, **more: Any
) -> None:
    """Let jobs be enqueued, and die at once."""
    for job_id in job_ids:
        await rest.enqueue(path, job_id, more.get("payload", job_id), **more.get("options", {}))
        job = await lease(rest)
        assert await fail(rest, job, error=error, retry=False) == DEAD


async def letters(rest: Rest, query: str = "") -> list[dict[str, Any]]:
    answer = await rest.get(f"/dead/t/{query}")
    assert answer.status == 200, answer.body
    assert answer.body["status"] == "success"
    found: list[dict[str, Any]] = answer.body["jobs"]
    return found


async def names(rest: Rest, query: str = "") -> list[str]:
    return [letter["job_id"] for letter in await letters(rest, query)]


async def bulk_is_over(rest: Rest) -> dict[str, Any]:
    """Wait until the bulk of the type is not running; how it ended."""
    while True:
        bulk = (await rest.get("/dead/t/retry")).body["bulk"]
        if bulk["state"] != "running":
            return dict(bulk)
        await asyncio.sleep(0.005)


async def dead_in_metrics(rest: Rest) -> dict[str, Any]:
    return dict((await rest.get("/metrics/t/")).body["dead"])


# ---- fail ----


async def test_a_failed_job_comes_again_after_the_backoff_and_its_status_tells_why(
    rest: Rest,
) -> None:
    before = time.time() * 1000
    await rest.enqueue(requeue_limit=3)
    assert await fail(rest, await lease(rest), error=ERROR, worker="wéb 1:4711") == QUEUED
    status = (await rest.get("/status/t/q/j/")).body
    assert before - 1000 <= status.pop("first_failed_at") <= time.time() * 1000 + 1000
    assert 500 < status.pop("ready_in") <= 1200
    assert 500 < status.pop("eta") <= 1200
    assert status == {
        "status": "success",
        "state": "queued",
        "position": 0,
        "held_by": "delay",
        "attempt": 2,
        "error": ERROR,
        "worker": "wéb 1:4711",
        **({"estimated": True} if status.get("estimated") else {}),
    }
    assert (await rest.post("/dequeue/t/")).status == 404


async def test_a_job_that_has_not_failed_has_a_status_as_ever(rest: Rest) -> None:
    await rest.enqueue()
    assert (await rest.get("/status/t/q/j/")).body.keys() == {
        *("status", "state", "position", "ready_in", "eta", "held_by"),
    }
    job = await lease(rest)
    assert (await rest.get("/status/t/q/j/")).body.keys() == {"status", "state", "lease_expires_in"}
    await rest.post("/release/t/q/j/", {"lease": job["lease"]})
    assert "attempt" not in (await rest.get("/status/t/q/j/")).body


async def test_a_delay_of_the_worker_beats_the_backoff(rest: Rest) -> None:
    await rest.enqueue()
    assert await fail(rest, await lease(rest), delay=0) == QUEUED
    job = await lease(rest)
    status = (await rest.get("/status/t/q/j/")).body
    assert (status["state"], status["attempt"]) == ("active", 2)
    assert (status["error"], status["worker"]) == (None, None)
    assert await fail(rest, job, delay=60_000) == QUEUED
    assert 59_000 < (await rest.get("/status/t/q/j/")).body["ready_in"] <= 60_000


async def test_what_is_not_told_again_stays(rest: Rest) -> None:
    await rest.enqueue()
    await fail(rest, await lease(rest), error={"type": "A", "message": "a"}, worker="w", delay=0)
    await fail(rest, await lease(rest), delay=0)
    status = (await rest.get("/status/t/q/j/")).body
    assert (status["error"], status["worker"]) == ({"type": "A", "message": "a"}, "w")
    await fail(rest, await lease(rest), error={"message": "b"}, delay=0)
    status = (await rest.get("/status/t/q/j/")).body
    assert (status["error"], status["worker"], status["attempt"]) == ({"message": "b"}, "w", 4)


async def test_no_lease_means_any_and_a_body_is_optional(rest: Rest) -> None:
    await rest.enqueue(requeue_limit=0)
    await lease(rest)
    assert (await rest.post("/fail/t/q/j/")).outcome == DEAD
    assert (await rest.get("/dead/t/q/j/")).body["reason"] == "exhausted"
    assert (await rest.post("/fail/t/q/j/")).error == (404, "not_active")


@pytest.mark.parametrize("what", ["not_active", "stale_lease", "already_finished"])
async def test_what_has_ended_cannot_fail(rest: Rest, what: str) -> None:
    await rest.enqueue()
    job = await lease(rest)
    if what == "already_finished":
        await rest.post("/finish/t/q/j/", {"lease": job["lease"]})
    else:
        await rest.post("/release/t/q/j/", {"lease": job["lease"]})
    if what == "stale_lease":
        await lease(rest)
    body = {"lease": job["lease"], "retry": False}
    assert (await rest.post("/fail/t/q/j/", body)).error == (404, what)
    assert await letters(rest) == []


async def test_a_long_error_is_cut_and_never_refused(rest: Rest) -> None:
    error = {"type": "é" * 101, "message": "é" * 600, "trace": "é" * 5000}
    await rest.enqueue()
    assert await fail(rest, await lease(rest), error=error) == QUEUED
    assert (await rest.get("/status/t/q/j/")).body["error"] == {
        "type": "é" * 100,
        "message": "é" * 500,
        "trace": "é" * 4096,
    }


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("\ud83d", "?"),
        ("a\ud83d\ude00b", "a\U0001f600b"),
        ("\x1f \x00\x7f\u2028\r\n\t", "\x1f \x00\x7f\u2028\r\n\t"),
        ("  two  spaces ", "  two  spaces "),
        ('"\\/!;:,', '"\\/!;:,'),
        ("", ""),
        ("!1,2,w,{}", "!1,2,w,{}"),
    ],
    ids=ascii,
)
async def test_an_error_comes_back_as_it_was(rest: Rest, sent: str, kept: str) -> None:
    # Written by Python, half a pair is an escape.
    body = {"error": {"type": sent or "T", "message": sent, "trace": sent}}
    await rest.enqueue(requeue_limit=1)
    await lease(rest)
    assert (await rest.post("/fail/t/q/j/", body | {"delay": 0})).outcome == QUEUED
    told = {"type": kept or "T", "message": kept, "trace": kept}
    assert (await rest.get("/status/t/q/j/")).body["error"] == told
    await lease(rest)
    assert (await rest.post("/fail/t/q/j/")).outcome == DEAD
    (letter,) = await letters(rest)
    assert letter["error"] == told
    query = f"?error={quote(kept or 'T', safe='')}"
    assert [each["job_id"] for each in await letters(rest, query)] == ["j"]


@pytest.mark.parametrize("worker", ["w", "wéb 1:4711", "!,;:/%", "-", "w" * 100, "w\u0301"])
async def test_the_name_of_a_worker_comes_back_as_it_was(rest: Rest, worker: str) -> None:
    await rest.enqueue(requeue_limit=0)
    assert await fail(rest, await lease(rest), worker=worker) == DEAD
    assert (await letters(rest))[0]["worker"] == worker


@cases(
    ("field", "value"),
    [
        *(("error", value) for value in ("E", 1, [], {"type": 1}, {"trace": ["t"]}, True)),
        *(("retry", value) for value in (0, "false", [])),
        *(("delay", value) for value in (-1, 1.5, "1", 31_536_000_001)),
        *(("cost", value) for value in (0, 1_000_001, "1")),
        *(("pause", value) for value in (0, 3_600_001, "1")),
        *(("worker", value) for value in ("", "w" * 101, "a\nb", 1, {})),
        *(("lease", value) for value in ("", "t/q/other/1", 7)),
    ],
)
async def test_a_field_that_is_not_valid_is_refused(rest: Rest, field: str, value: Any) -> None:
    await hold(rest)
    answer = await rest.post("/fail/t/q/j/", {field: value})
    assert answer.error == (400, "invalid_argument")
    assert (answer.body["message"], "expected" in answer.body) == (
        f"`{field}` has an invalid value.",
        True,
    )
    assert (await rest.get("/status/t/q/j/")).body["state"] == "active"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"kind": "E"}}',
        b'{"error": {"\\ud800": "E"}}',
        b'{"error": {"%b": "E"}}' % (b"k" * 5000),
        b'{"count_requeue": true}',
        b'{"pause": 1, "pause_scope": "queue"}',
        b'{"retry": false, "delay": 0}',
    ],
    ids=lambda body: ascii(body[:30]),
)
async def test_a_body_that_is_not_valid_is_refused(rest: Rest, body: bytes) -> None:
    await rest.enqueue()
    await lease(rest)
    answer = await rest.post("/fail/t/q/j/", body)
    assert answer.error == (400, "invalid_argument")
    assert len(answer.text) < 1000
    assert (await rest.get("/status/t/q/j/")).body["state"] == "active"


async def test_a_failure_may_pause_its_queue_and_counts(rest: Rest) -> None:
    await rest.enqueue(requeue_limit=1)
    await rest.enqueue(job_id="k")
    assert await fail(rest, await lease(rest), pause=60_000, delay=0) == QUEUED
    assert (await rest.get("/limits/t/q/")).body["pause"]["set_by"] == "worker"
    await rest.post("/resume/t/q/")
    job = await lease(rest)
    assert (job["job_id"], job["requeues_remaining"]) == ("j", 0)


async def test_a_failure_may_tell_the_real_cost(rest: Rest) -> None:
    await rest.post("/limits/t/q/", {"interval": 60_000, "burst": 10})
    await rest.enqueue()
    before = (await rest.get("/limits/t/q/")).body["tat"]
    job = await lease(rest)
    first = (await rest.get("/limits/t/q/")).body["tat"]
    assert before is None
    await fail(rest, job, cost=3)
    assert (await rest.get("/limits/t/q/")).body["tat"] == first + 120_000


# ---- what is kept ----


async def test_a_dead_letter_has_all_that_a_retry_needs(rest: Rest) -> None:
    body = (
        b'{"job_id": "j", "interval": 1.5, "requeue_limit": 1, "priority": 3, "cost": 7,'
        b' "burst": 20, "concurrency": 4, "group": "g", "payload":'
        b' {"n":  123456789012345678901234567890, "half": "\\ud83d", "a": [1.50, "\xc3\xa9"]}}'
    )
    assert (await rest.post("/enqueue/t/q/", body)).status == 201
    await rest.post("/limits/t/q/", {"interval": 2, "burst": 30})
    before = time.time() * 1000
    assert await fail(rest, await lease(rest), error=ERROR, worker="w", delay=0) == QUEUED
    await rest.delete("/limits/t/q/")
    await rest.post("/limits/t/q/", {"concurrency": 9})
    await asyncio.sleep(0.01)
    assert await fail(rest, await lease(rest)) == DEAD
    answer = await rest.get("/dead/t/q/j/")
    assert answer.status == 200
    shown = dict(answer.body)
    assert shown.pop("status") == "success"
    assert tuple(shown) == LETTER
    assert b'{"n":  123456789012345678901234567890, "half": "\\ud83d", "a": [1.50,' in answer.text
    first, died = shown.pop("first_failed_at"), shown.pop("died_at")
    assert before - 1000 <= first < died <= time.time() * 1000 + 1000
    del shown["payload"]
    assert shown == {
        "queue_id": "q",
        "job_id": "j",
        "reason": "exhausted",
        "attempts": 2,
        "error": ERROR,
        "worker": "w",
        "priority": 3,
        "cost": 7,
        "requeue_limit": 1,
        "interval": 2,  # what the API has set stands in its place
        "burst": 20,
        "concurrency": 4,
        "group": "g",
    }
    assert (await letters(rest))[0] == {k: v for k, v in answer.body.items() if k != "status"}
    status = (await rest.get("/status/t/q/j/")).body
    assert status == {
        "status": "success",
        "state": "dead",
        "reason": "exhausted",
        "attempts": 2,
        "error": ERROR,
        "worker": "w",
        "first_failed_at": first,
        "died_at": died,
    }


async def test_a_plain_job_has_plain_values(rest: Rest) -> None:
    await kill(rest, "j", payload={"to": "Ada"})
    (letter,) = await letters(rest)
    assert letter["first_failed_at"] == letter["died_at"]
    assert {name: letter[name] for name in LETTER if not name.endswith("_at")} == {
        "queue_id": "q",
        "job_id": "j",
        "payload": {"to": "Ada"},
        "reason": "rejected",
        "attempts": 1,
        "error": None,
        "worker": None,
        "priority": 0,
        "cost": 1,
        "requeue_limit": -1,
        "interval": 0,
        "burst": None,
        "concurrency": None,
        "group": None,
    }


async def test_a_release_with_no_requeue_left_makes_a_dead_letter_and_a_clear_none(
    rest: Rest,
) -> None:
    await rest.enqueue(requeue_limit=0)
    await lease(rest)
    assert (await rest.post("/release/t/q/j/")).outcome == DEAD
    await rest.enqueue("t/r", "k", requeue_limit=0)
    await lease(rest)
    await rest.delete("/deletequeue/t/r/")
    assert (await rest.post("/fail/t/r/k/", {"retry": False})).outcome == DEAD
    assert [letter["reason"] for letter in await letters(rest)] == ["exhausted"]


async def test_a_newer_death_replaces_the_older(rest: Rest) -> None:
    await kill(rest, "j", "k", error={"type": "A"})
    await kill(rest, "j", error={"type": "B"})
    assert [(each["job_id"], each["error"]) for each in await letters(rest)] == [
        ("j", {"type": "B"}),
        ("k", {"type": "A"}),
    ]
    dead = await dead_in_metrics(rest)
    assert (dead["jobs"], dead["fallen_out"]) == (2, 1)


async def test_the_metrics_of_a_type_tell_of_its_dead_letters(rest: Rest) -> None:
    nothing = {"jobs": 0, "bytes": 0, "oldest": None, "fallen_out": 0, "dropped": 0}
    assert await dead_in_metrics(rest) == nothing
    await kill(rest, "j", "k")
    dead = await dead_in_metrics(rest)
    *_, oldest = await letters(rest)
    assert dead.pop("bytes") > 20
    assert dead == {"jobs": 2, "oldest": oldest["died_at"], "fallen_out": 0, "dropped": 0}
    assert (await rest.get("/metrics/t/?count=5")).body["dead"]["jobs"] == 2


class TestNone:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq": {"dead_max_jobs": 0}}

    async def test_nothing_is_kept_where_none_may_be(self, rest: Rest) -> None:
        await kill(rest, "j", error=ERROR)
        assert await letters(rest) == []
        assert (await rest.get("/dead/t/q/j/")).error == (404, "not_found")
        assert (await rest.get("/status/t/q/j/")).body == {"status": "success", "state": "dead"}


class TestBounds:
    @pytest.fixture
    def options(self) -> dict[str, dict[str, Any]]:
        return {"sharq": {"dead_max_jobs": 3}}

    async def test_the_oldest_fall_out(self, rest: Rest) -> None:
        await kill(rest, *"abcde")
        assert await names(rest) == ["e", "d", "c"]
        assert (await dead_in_metrics(rest))["fallen_out"] == 2
        assert (await rest.get("/status/t/q/a/")).error == (404, "not_found")


# ---- listing ----


async def test_pages_come_newest_first_and_have_every_one_once(rest: Rest) -> None:
    expected = [f"j{n}" for n in range(7)]
    await kill(rest, *expected)
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = "?count=2" + (f"&cursor={quote(cursor)}" if cursor else "")
        body = (await rest.get(f"/dead/t/{query}")).body
        assert len(body["jobs"]) <= 2
        found += [letter["job_id"] for letter in body["jobs"]]
        cursor = body["cursor"]
        if cursor is None:
            break
    assert found == expected[::-1]


async def test_filters_select(rest: Rest) -> None:
    await kill(rest, "a", "b", error={"type": "A"})
    await kill(rest, "c", path="t/r", error={"type": "A.B"})
    await kill(rest, "d", error={"message": "A"})
    await rest.enqueue(job_id="e", requeue_limit=0)
    await fail(rest, await lease(rest), error={"type": "A"})
    times = {letter["job_id"]: letter["died_at"] for letter in await letters(rest)}
    assert await names(rest) == [*"edcba"]
    assert await names(rest, "?queue_id=r") == ["c"]
    assert await names(rest, "?error=A") == [*"eba"]
    assert await names(rest, "?reason=exhausted") == ["e"]
    assert await names(rest, "?reason=rejected&error=A&queue_id=q") == [*"ba"]
    assert await names(rest, "?reason=expired") == []
    assert await names(rest, f"?before={times['c']}") == [
        name for name in "edcba" if times[name] < times["c"]
    ]
    assert await names(rest, "?before=0") == []
    # In microseconds, say, or for ever.
    for late in ("9" * 14, str(2**63 - 1)):
        assert await names(rest, f"?before={late}") == [*"edcba"]
    assert (await rest.get("/dead/other/")).outcome == (
        200,
        {"status": "success", "jobs": [], "cursor": None},
    )


@cases(
    ("query", "field"),
    [
        *((f"count={value}", "count") for value in ("0", "101", "x", "-1", "1.5", "", "9" * 30)),
        *((f"before={value}", "before") for value in ("-1", "x", "", "1e3", "9" * 19)),
        *((f"reason={value}", "reason") for value in ("", "dead", "EXPIRED")),
        *((f"queue_id={value}", "queue_id") for value in ("", "a%20b", "x" * 101)),
        *((f"cursor={value}", "cursor") for value in ("x", "", "-1", "%00", "9" * 30)),
        *((f"error={value}", "error") for value in ("", "x" * 101)),
    ],
)
async def test_a_parameter_that_is_not_valid_is_refused(rest: Rest, query: str, field: str) -> None:
    answer = await rest.get(f"/dead/t/?{query}")
    assert answer.error == (400, "invalid_argument")
    assert answer.body["message"] == f"`{field}` has an invalid value."
    assert answer.body["expected"]


@pytest.mark.parametrize("path", ["/dead/t/", "/dead/t/q/j/", "/dead/t/retry"])
async def test_other_parameters_are_refused(rest: Rest, path: str) -> None:
    answer = await rest.get(f"{path}?page=1")
    assert (answer.status, answer.body["message"]) == (400, "`page` is not a known parameter.")
    if path == "/dead/t/":
        answer = await rest.get(f"{path}?count=1&count=1")
        assert answer.body["message"] == "`count` is given twice."


async def test_one_that_is_not_there_is_not_found(rest: Rest) -> None:
    assert (await rest.get("/dead/t/q/j/")).error == (404, "not_found")
    assert (await rest.get("/dead/t/q/")).error == (404, "not_found"), "there is no such route"
    assert (await rest.get("/dead/")).error == (404, "not_found"), "there is no such route"


async def test_retry_is_a_name_like_any_other(rest: Rest) -> None:
    await rest.enqueue("retry/retry", "retry")
    job = await lease(rest, "retry")
    assert await fail(rest, job, "retry", retry=False) == DEAD
    assert (await rest.get("/dead/retry/")).body["jobs"][0]["job_id"] == "retry"
    assert (await rest.get("/dead/retry/retry/retry")).body["queue_id"] == "retry"
    assert (await rest.get("/dead/retry/retry")).body["bulk"] is None
    assert (await rest.get("/dead/retry/%72etry/")).body["bulk"] is None
    assert (await rest.get("/dead/retry/other/")).error == (404, "not_found")
    answer = await rest.post("/dead/retry/retry", {"jobs": [["retry", "retry"]]})
    assert answer.body["results"] == ["success"]


async def test_large_payloads_come_on_pages_of_a_bearable_size(rest: Rest) -> None:
    await kill(rest, *"abc", payload="x" * 200_000)
    body = (await rest.get("/dead/t/")).body
    assert [letter["job_id"] for letter in body["jobs"]] == ["c"]
    assert body["cursor"] is not None
    body = (await rest.get(f"/dead/t/?cursor={quote(body['cursor'])}")).body
    assert [letter["job_id"] for letter in body["jobs"]] == ["b"]


async def test_large_errors_come_on_pages_of_a_bearable_size(rest: Rest) -> None:
    jobs = [f"j{n}" for n in range(60)]
    await kill(rest, *jobs, error={"type": "E", "trace": "x" * 8192})
    found: list[str] = []
    query = ""
    while True:
        answer = await rest.get(f"/dead/t/{query}")
        assert len(answer.text) < 300_000
        found += [letter["job_id"] for letter in answer.body["jobs"]]
        if answer.body["cursor"] is None:
            break
        query = f"?cursor={quote(answer.body['cursor'])}"
    assert found == jobs[::-1]


# ---- by name ----


async def test_some_are_tried_again_as_new_jobs(rest: Rest) -> None:
    await rest.enqueue(job_id="dies", payload={"n": 1.50}, requeue_limit=2)
    await fail(rest, await lease(rest), error=ERROR, retry=False)
    await rest.enqueue(job_id="waits")
    answer = await rest.post("/dead/t/retry", {"jobs": [["q", "dies"], ["q", "none"]]})
    assert answer.outcome == (200, {"status": "success", "results": ["success", "not_found"]})
    assert await letters(rest) == []
    status = (await rest.get("/status/t/q/dies/")).body
    assert (status["state"], status["position"], "error" in status) == ("queued", 1, False)
    assert (await lease(rest))["job_id"] == "waits"
    job = await lease(rest)
    assert (job["job_id"], job["payload"], job["requeues_remaining"]) == ("dies", {"n": 1.5}, 2)
    assert (await dead_in_metrics(rest))["jobs"] == 0


async def test_a_job_of_the_same_name_is_a_conflict_and_the_letter_stays(rest: Rest) -> None:
    await kill(rest, "j", payload=1)
    await rest.enqueue(payload=2)
    retry = {"jobs": [["q", "j"]]}
    for _ in ("queued", "active"):
        answer = await rest.post("/dead/t/retry", retry)
        assert answer.outcome == (200, {"status": "success", "results": ["conflict"]})
        assert (await rest.get("/dead/t/q/j/")).body["payload"] == 1
        if (await rest.get("/status/t/q/j/")).body["state"] == "queued":
            await lease(rest)
    await rest.post("/finish/t/q/j/")
    assert (await rest.post("/dead/t/retry", retry)).body["results"] == ["success"]
    assert (await lease(rest))["payload"] == 1


async def test_limits_of_a_letter_are_for_a_queue_that_is_gone(rest: Rest) -> None:
    limited = {"interval": 60_000, "burst": 2, "concurrency": 5, "group": "g"}
    await rest.enqueue("t/gone", "j", **limited)
    assert await fail(rest, await lease(rest), retry=False) == DEAD
    await rest.post("/limits/t/gone/", {"reason": None, "interval": 0})
    await rest.delete("/limits/t/gone/")
    await rest.delete("/deletequeue/t/gone/", {"purge_all": True})
    await rest.post("/dead/t/retry", {"jobs": [["gone", "j"]]})
    shown = (await rest.get("/limits/t/gone/")).body["limits"]
    assert shown == limited


async def test_a_queue_that_lives_keeps_its_limits(rest: Rest) -> None:
    await rest.enqueue(job_id="j", interval=5, burst=2)
    assert await fail(rest, await lease(rest), retry=False) == DEAD
    await rest.enqueue(job_id="k", interval=7, burst=3)
    await rest.post("/dead/t/retry", {"jobs": [["q", "j"]]})
    shown = (await rest.get("/limits/t/q/")).body["limits"]
    assert (shown["interval"], shown["burst"]) == (7, 3)


async def test_some_are_deleted(rest: Rest) -> None:
    await kill(rest, *"abc")
    answer = await rest.delete("/dead/t/", {"jobs": [["q", "a"], ["q", "c"], ["r", "b"]]})
    assert answer.outcome == (
        200,
        {"status": "success", "results": ["success", "success", "not_found"]},
    )
    assert await names(rest) == ["b"]
    assert (await rest.get("/status/t/q/a/")).error == (404, "not_found")
    assert (await dead_in_metrics(rest))["jobs"] == 1


async def test_a_thousand_may_be_named(rest: Rest) -> None:
    await kill(rest, "j")
    jobs = [["q", f"j{n}"] for n in range(999)]
    for method, path in (("POST", "/dead/t/retry"), ("DELETE", "/dead/t/")):
        answer = await rest.call(method, path, {"jobs": [*jobs, ["q", "x"], ["q", "y"]]})
        assert answer.error == (400, "invalid_argument")
    answer = await rest.post("/dead/t/retry", {"jobs": [*jobs, ["q", "j"]]})
    assert answer.body["results"] == ["not_found"] * 999 + ["success"]


SELECTIONS: list[tuple[Any, str]] = [
    ({}, "One of `jobs`, `filter` and `all` has to be given, and no two of them."),
    ({"all": True, "jobs": [["q", "j"]]}, "One of `jobs`, `filter`"),
    ({"all": True, "filter": {"queue_id": "q"}}, "One of `jobs`, `filter`"),
    ({"all": None, "filter": None}, "One of `jobs`, `filter`"),
    *(({"all": it}, "`all` has an invalid value.") for it in (False, 1, "true", {})),
    ({"filter": {}}, "`filter` is empty"),
    ({"filter": {"queue_id": None}}, "`filter` is empty"),
    *(({"filter": it}, "`filter` has an invalid value.") for it in ("q", [], True, 1)),
    ({"filter": {"type": "A"}}, "`filter.type` is not a known parameter."),
    ({"filter": {"queue_id": "a b"}}, "`queue_id` has an invalid value."),
    ({"filter": {"reason": "dead"}}, "`reason` has an invalid value."),
    ({"filter": {"reason": ["expired"]}}, "`reason` has an invalid value."),
    *(({"filter": {"error": it}}, "`error` has an invalid value.") for it in (1, "", "\ud800")),
    *(({"filter": {"before": it}}, "`before` has an invalid value.") for it in (-1, "1", 1.5)),
    *(({"all": True, "limit": it}, "`limit` has an invalid value.") for it in (0, -1, "1", True)),
    ({"jobs": [["q", "j"]], "limit": 1}, "`limit` is for"),
    *(
        ({"jobs": it}, "`jobs` has an invalid value.")
        for it in ([], "q", {"q": "j"}, {}, 1, ["qj"], [["q"]], [["q", "j", "k"]], [{"q": "j"}])
    ),
    ({"jobs": [["a b", "j"]]}, "`queue_id` has an invalid value."),
    ({"jobs": [["q", 5]]}, "`job_id` has an invalid value."),
    ({"everything": True}, "`everything` is not a known parameter."),
]


@cases(("body", "message"), SELECTIONS, ids=lambda value: ascii(value)[:50])
@cases(("method", "path"), [("POST", "/dead/t/retry"), ("DELETE", "/dead/t/")])
async def test_a_selection_that_is_not_valid_is_refused(
    rest: Rest, method: str, path: str, body: Any, message: str
) -> None:
    await kill(rest, "j")
    answer = await rest.call(method, path, body)
    assert answer.error == (400, "invalid_argument"), answer.body
    assert answer.body["message"].startswith(message)
    assert await names(rest) == ["j"]


@cases(("method", "path"), [("POST", "/dead/t/retry"), ("DELETE", "/dead/t/")])
@cases("body", [b"", b"{", b"[]", b"null", b'{"all": tru}'])
async def test_a_body_that_says_nothing_is_refused(
    rest: Rest, method: str, path: str, body: bytes
) -> None:
    await kill(rest, "j")
    answer = await rest.call(method, path, body)
    assert answer.status == 400
    assert await names(rest) == ["j"]


# ---- bulks ----


async def test_all_are_tried_again_in_the_background(rest: Rest) -> None:
    jobs = [f"j{n}" for n in range(250)]
    await kill(rest, *jobs)
    before = time.time() * 1000
    answer = await rest.post("/dead/t/retry", {"all": True})
    assert (answer.status, answer.body.keys()) == (202, {"status", "id"})
    bulk = await bulk_is_over(rest)
    assert abs(bulk.pop("started") - before) < 60_000
    assert bulk == {
        "id": answer.body["id"],
        "kind": "retry",
        "filter": None,
        "state": "done",
        "moved": 250,
        "left": 0,
        "conflicts": 0,
        "limit": None,
    }
    assert await letters(rest) == []
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 250


async def test_a_bulk_takes_what_its_filter_selects_and_leaves_conflicts(rest: Rest) -> None:
    await kill(rest, "a", "b", "c", error={"type": "A"})
    await kill(rest, "d", error={"type": "B"})
    await rest.enqueue(job_id="b")
    body = {"filter": {"error": "A", "queue_id": "q"}}
    answer = await rest.post("/dead/t/retry", body)
    assert answer.status == 202
    bulk = await bulk_is_over(rest)
    assert (bulk["moved"], bulk["conflicts"]) == (2, 1)
    assert bulk["filter"] == body["filter"]
    assert await names(rest) == ["d", "b"]


async def test_a_limit_takes_so_many(rest: Rest) -> None:
    await kill(rest, *"abcde")
    assert (await rest.post("/dead/t/retry", {"all": True, "limit": 2})).status == 202
    bulk = await bulk_is_over(rest)
    assert (bulk["moved"], bulk["limit"]) == (2, 2)
    assert await names(rest) == [*"edc"], "the oldest are first"


async def test_all_are_deleted(rest: Rest) -> None:
    await kill(rest, *"abc")
    assert (await rest.delete("/dead/t/", {"filter": {"queue_id": "other"}})).status == 202
    assert (await bulk_is_over(rest))["moved"] == 0
    assert await names(rest) == [*"cba"]
    assert (await rest.delete("/dead/t/", {"all": True})).status == 202
    bulk = await bulk_is_over(rest)
    assert (bulk["kind"], bulk["moved"]) == ("delete", 3)
    assert await letters(rest) == []


async def test_a_type_that_nobody_knows_has_an_empty_bulk(rest: Rest) -> None:
    assert (await rest.get("/dead/t/retry")).outcome == (200, {"status": "success", "bulk": None})
    assert (await rest.post("/dead/t/retry", {"all": True})).status == 202
    assert (await bulk_is_over(rest))["moved"] == 0


async def test_no_bulk_is_cancelled_where_none_runs(rest: Rest) -> None:
    assert (await rest.delete("/dead/t/retry")).error == (404, "no_bulk")
    await kill(rest, "j")
    await rest.post("/dead/t/retry", {"all": True})
    await bulk_is_over(rest)
    assert (await rest.delete("/dead/t/retry")).error == (404, "no_bulk")
    assert (await rest.delete("/dead/t/retry", {"id": "x"})).status == 400


async def test_a_bulk_that_somebody_else_has_begun_is_told_of_and_cancelled(
    rest: Rest, store: PrivateStore, key_prefix: str
) -> None:
    await kill(rest, *(f"j{n}" for n in range(102)))
    sq = library(store, key_prefix)
    try:
        begun = sq.begin_dead("t", "delete", {"queue_id": "q"}, 101)
        assert begun.begun
        assert sq.advance_dead("t")
        answer = await rest.post("/dead/t/retry", {"all": True})
        assert answer.error == (409, "bulk_running")
        assert answer.body["id"] == begun.id
        bulk = (await rest.get("/dead/t/retry")).body["bulk"]
        assert (bulk["state"], bulk["kind"], bulk["limit"]) == ("running", "delete", 101)
        assert (await rest.delete("/dead/t/retry")).outcome == DONE
        assert (await bulk_is_over(rest))["state"] == "cancelled"
        assert await names(rest) == ["j101", "j100"]
        assert (await rest.delete("/dead/t/", {"all": True})).status == 202
        assert (await bulk_is_over(rest))["moved"] == 2
    finally:
        sq.close()


async def test_who_asks_for_a_bulk_that_was_left_sets_it_going(
    rest: Rest, store: PrivateStore, key_prefix: str
) -> None:
    await kill(rest, *"abc")
    sq = library(store, key_prefix)
    try:
        assert sq.begin_dead("t", "delete", None, 2).begun
    finally:
        sq.close()
    bulk = await bulk_is_over(rest)
    assert (bulk["state"], bulk["moved"]) == ("done", 2)
    assert await names(rest) == ["c"]


def library(store: PrivateStore, key_prefix: str) -> Any:
    from sharq import Settings, SharQ

    return SharQ(
        Settings.from_mapping(
            {
                "redis": {
                    "conn_type": "unix_sock",
                    "unix_socket_path": store.socket_path,
                    "key_prefix": key_prefix,
                }
            }
        )
    )


async def test_of_two_that_begin_a_bulk_at_once_one_does(rest: Rest) -> None:
    await kill(rest, *(f"j{n}" for n in range(10)))
    answers = await asyncio.gather(
        *(rest.post("/dead/t/retry", {"all": True, "limit": 3}) for _ in range(2))
    )
    statuses = sorted(answer.status for answer in answers)
    moved = 10 - len(await names(rest)) if (await bulk_is_over(rest)) else 0
    assert (statuses, moved) in [([202, 409], 3), ([202, 202], 6)]
    for answer in answers:
        assert isinstance(answer.body["id"], str)


async def test_what_dies_after_the_begin_is_not_taken(rest: Rest) -> None:
    await kill(rest, *(f"j{n}" for n in range(30)))
    body = json.dumps({"all": True}).encode()
    begun, _ = await asyncio.gather(
        rest.call("DELETE", "/dead/t/", body), kill(rest, *"xyz", path="t/r")
    )
    assert begun.status == 202
    bulk = await bulk_is_over(rest)
    left = await names(rest)
    assert bulk["moved"] + len(left) == 33
    assert {*left} <= {*"xyz"}
