"""Every route of the REST API: what it does and what it answers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from unittest.mock import ANY

import pytest

from sharq.results import Enqueued
from sharq_server import SharQServer
from sharq_server.api import handlers
from sharq_server.api.handlers import Request
from tests.server.support import Rest
from tests.support.cases import cases
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test

NOTHING_READY = (404, "nothing_ready")


async def lease_of(rest: Rest, queue_type: str = "t") -> str:
    """Take a job and return its lease."""
    answer = await rest.get(f"/dequeue/{queue_type}/")
    assert answer.status == 200
    return str(answer.body["lease"])


# ---- the index and what is no route ----


async def test_the_index_says_hello(rest: Rest) -> None:
    assert (await rest.get("/")).outcome == (200, {"message": "Hello, SharQ!"})


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "BREW", "OPTIONS", "DELETE"])
async def test_an_unknown_route_is_not_found_by_any_method(rest: Rest, method: str) -> None:
    answer = await rest.call(method, "/nowhere/", b"{" if method == "POST" else None)
    assert answer.status == 404
    if method != "HEAD":
        assert answer.error == (404, "not_found")


async def test_a_form_for_an_unknown_route_is_of_no_interest(rest: Rest) -> None:
    form = {"Content-Type": "multipart/form-data"}
    assert (await rest.call("POST", "/nowhere/", b"x", form)).error == (404, "not_found")


ROUTES = {
    "/": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/deepstatus": "GET, HEAD",
    "/enqueue": "POST",
    "/enqueue/t/q": "POST",
    "/dequeue": "GET, POST",
    "/dequeue/t": "GET, POST",
    "/finish/t/q/j": "POST",
    "/release/t/q/j": "POST",
    "/fail/t/q/j": "POST",
    "/extend/t/q/j": "POST",
    "/job/t/q/j": "DELETE",
    "/jobs/t/q": "GET, HEAD",
    "/status/t/q/j": "GET, HEAD",
    "/interval/t/q": "DELETE, POST",
    "/limits/t": "DELETE, GET, HEAD, POST",
    "/limits/t/q": "DELETE, GET, HEAD, POST",
    "/pause/t": "POST",
    "/pause/t/q": "POST",
    "/resume/t": "POST",
    "/resume/t/q": "POST",
    "/dead/t": "DELETE, GET, HEAD",
    "/dead/t/retry": "DELETE, GET, HEAD, POST",
    "/dead/t/q/j": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/doctor": "GET, HEAD",
    "/metrics/t": "GET, HEAD",
    "/metrics/t/q": "GET, HEAD",
    "/deletequeue/t/q": "DELETE",
}


@cases("method", ["PUT", "OPTIONS", "BREW", "TRACE"])
@cases("path", ROUTES)
async def test_a_method_that_a_route_does_not_have(rest: Rest, path: str, method: str) -> None:
    answer = await rest.call(method, path)
    assert answer.error == (405, "method_not_allowed")
    assert answer.headers["Allow"] == ROUTES[path]


@cases("path", ROUTES)
async def test_a_method_in_small_letters_is_another_one(rest: Rest, path: str) -> None:
    answer = await rest.call("get", path)
    assert answer.error == (405, "method_not_allowed")
    assert answer.headers["Allow"] == ROUTES[path]


CHANGING = ("/doctor",)
"""Routes whose answers have a time, or what the process has open."""


@cases("path", [path for path in ROUTES if path not in ("/", *CHANGING)])
async def test_a_trailing_slash_makes_no_difference(rest: Rest, path: str) -> None:
    for method in ROUTES[path].split(", "):
        body = b"" if method == "POST" else None
        without = await rest.call(method, path, body)
        assert (await rest.call(method, path + "/", body)).outcome == without.outcome


@cases("path", [path for path, allow in ROUTES.items() if "HEAD" in allow and path not in CHANGING])
async def test_head_is_a_get_without_a_body(rest: Rest, path: str) -> None:
    get = await rest.get(path)
    head = await rest.call("HEAD", path)
    assert (head.status, head.text) == (get.status, b"")
    assert head.headers["Content-Length"] == str(len(get.text))


@pytest.mark.parametrize("path", ["/dequeue/", "/dequeue/t/"])
async def test_head_takes_no_job(rest: Rest, path: str) -> None:
    await rest.enqueue("t/q")
    await rest.enqueue("default/q")
    answer = await rest.call("HEAD", path)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, POST"
    assert (await rest.get(path)).status == 200


async def test_answers_are_json_that_is_not_to_be_kept(rest: Rest) -> None:
    for path in ("/", "/dequeue/"):
        headers = (await rest.get(path)).headers
        assert headers["Content-Type"] == "application/json"
        assert headers["Cache-Control"] == "no-store"
        assert "Date" in headers


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_the_content_type_of_a_request_does_not_matter(
    rest: Rest, content_type: str | None
) -> None:
    headers = None if content_type is None else {"Content-Type": content_type}
    body = {"job_id": "a", "interval": 0, "payload": "a=b&c=%"}
    assert (await rest.call("POST", "/enqueue/t/q/", body, headers)).status == 201


# ---- enqueue and dequeue ----


async def test_a_job_goes_in_comes_out_and_ends(rest: Rest) -> None:
    payload = {"to": "Ada", "n": [1, None, True]}
    queued = await rest.enqueue("sms/user-1", "job-1", payload, interval=1000)
    assert queued.outcome == (201, {"status": "queued"})
    taken = await rest.get("/dequeue/sms/")
    assert taken.outcome == (
        200,
        {
            "status": "success",
            "queue_id": "user-1",
            "job_id": "job-1",
            "payload": payload,
            "requeues_remaining": -1,
            "current_queue_length": 0,
            "lease": taken.body["lease"],
        },
    )
    assert taken.body["lease"].startswith("sms/user-1/job-1/")
    finished = await rest.post("/finish/sms/user-1/job-1/")
    assert finished.outcome == (200, {"status": "success"})
    assert (await rest.get("/dequeue/sms/")).error == NOTHING_READY


@pytest.mark.parametrize("path", ["/dequeue/", "/dequeue"])
async def test_a_dequeue_without_a_type_takes_from_the_default_one(rest: Rest, path: str) -> None:
    await rest.enqueue("default/q", "j")
    assert (await rest.get(path)).body["job_id"] == "j"


@pytest.mark.parametrize("body", [None, {}])
async def test_a_dequeue_can_be_a_post(rest: Rest, body: Any) -> None:
    await rest.enqueue()
    assert (await rest.post("/dequeue/t/?count=1", body)).body["jobs"][0]["job_id"] == "j"


async def test_parameters_of_a_dequeue_do_not_go_into_its_body(rest: Rest) -> None:
    await rest.enqueue()
    answer = await rest.post("/dequeue/t/", {"count": 1})
    assert answer.error == (400, "invalid_argument")
    assert "`count`" in answer.body["message"]
    assert (await rest.get("/dequeue/t/")).status == 200


IGNORED = [
    *(
        b"[]",
        b"null",
        b'""',
        b"5",
        b"a=b&c=d",
        b"some text",
        b"<finish/>",
        b"\xff\xfe",
        b"{",
        b"[1,",
    ),
    *(b'{"job_id":', b"{'a': 'b'}", b"[" * 100_000, b"please release it"),
]
TYPES = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/xml",
    "application/octet-stream",
]


@cases("body", IGNORED, ids=lambda body: str(body[:20]))
async def test_11_a_body_that_is_no_object_is_ignored_on_finish(rest: Rest, body: bytes) -> None:
    await rest.enqueue()
    await rest.get("/dequeue/t/")
    assert (await rest.post("/finish/t/q/j/", body)).outcome == (200, {"status": "success"})


@pytest.mark.parametrize("kind", TYPES)
async def test_11_the_type_of_a_body_makes_no_difference_on_finish(rest: Rest, kind: str) -> None:
    for body in (b"a=b", b"{}", b"[]"):
        await rest.enqueue()
        lease = (await rest.get("/dequeue/t/")).body["lease"]
        headers = {"Content-Type": kind}
        stale = b'{"lease":"%b0"}' % lease.encode()[:-1]
        if not lease.endswith("0"):
            refused = await rest.call("POST", "/finish/t/q/j/", stale, headers)
            assert refused.error == (404, "stale_lease")
        assert (await rest.call("POST", "/finish/t/q/j/", body, headers)).status == 200


@cases("body", [*IGNORED, b'{"count":5}', b'{"lease":1}'], ids=lambda b: str(b[:20]))
async def test_11_a_body_of_a_get_is_ignored(rest: Rest, body: bytes) -> None:
    await rest.enqueue()
    for path in ("/metrics/", "/metrics/t/", "/metrics/t/q/", "/deepstatus/", "/dequeue/t/"):
        assert (await rest.call("GET", path, body)).status == 200, path
    assert (await rest.post("/finish/t/q/j/")).status == 200


@pytest.mark.parametrize("query", ["_=123", "_=1&_=2", "Count=1", "lease=1", "a", "&&=", "%ff=%zz"])
async def test_11_a_parameter_that_is_not_known_is_ignored(rest: Rest, query: str) -> None:
    await rest.enqueue()
    assert (await rest.get(f"/dequeue/t/?{query}")).body["job_id"] == "j"
    assert (await rest.post(f"/finish/t/q/j/?{query}")).status == 200
    await rest.enqueue()
    jobs = (await rest.get(f"/dequeue/t/?{query}&count=1")).body["jobs"]
    assert [job["job_id"] for job in jobs] == ["j"]


async def test_a_queue_waits_for_its_interval(rest: Rest) -> None:
    for job_id in ("a", "b"):
        await rest.enqueue("t/q", job_id, interval=100_000)
    assert (await rest.get("/dequeue/t/")).status == 200
    assert (await rest.get("/dequeue/t/")).error == NOTHING_READY


async def test_the_same_job_again_is_a_duplicate(rest: Rest) -> None:
    await rest.enqueue(payload=[1])
    assert (await rest.enqueue(payload=[1], interval=5)).outcome == (
        201,
        {"status": "queued", "duplicate": True},
    )
    assert (await rest.get("/metrics/t/q/")).body["queue_length"] == 1


async def test_another_payload_under_the_same_job_id_is_a_conflict(rest: Rest) -> None:
    await rest.enqueue(payload=[1])
    assert (await rest.enqueue(payload=[2])).error == (409, "job_conflict")
    assert (await rest.get("/dequeue/t/")).body["payload"] == [1]


@pytest.mark.parametrize("where", ["top", "payload"])
async def test_a_bounded_queue_tells_its_length_until_it_is_full(rest: Rest, where: str) -> None:
    answers = []
    for n in range(4):
        payload = {"n": n, "max_queued_length": 2} if where == "payload" else n
        more = {"max_queued_length": 2} if where == "top" else {}
        answers.append(await rest.enqueue("t/q", f"j{n}", payload, **more))
    assert [answer.outcome for answer in answers[:2]] == [
        (201, {"status": "queued", "current_queue_length": 0}),
        (201, {"status": "queued", "current_queue_length": 1}),
    ]
    for answer in answers[2:]:
        assert answer.outcome == (
            429,
            {
                "status": "failure",
                "message": "Max queue length reached",
                "code": "queue_full",
                "current_queue_length": 2,
            },
        )
        assert "Retry-After" not in answer.headers


async def test_a_duplicate_in_a_full_queue_is_a_duplicate(rest: Rest) -> None:
    await rest.enqueue(max_queued_length=1)
    again = await rest.enqueue(max_queued_length=1)
    assert (again.status, again.body["duplicate"]) == (201, True)


async def test_the_bound_of_the_body_wins_over_that_of_the_payload(rest: Rest) -> None:
    payload = {"max_queued_length": 0}
    assert (await rest.enqueue(payload=payload, max_queued_length=1)).status == 201


@cases(
    "payload",
    [
        {"max_queued_length": "0"},
        {"max_queued_length": None},
        {"max_queued_length": 0.0},
        {"max_queued_length": False},
        {"max_queued_length": -1},
        {"max_queued_length": 2**63},
        {"inner": {"max_queued_length": 0}},
        ["max_queued_length", 0],
        "max_queued_length",
    ],
)
async def test_what_is_no_bound_inside_a_payload_is_just_payload(rest: Rest, payload: Any) -> None:
    assert (await rest.enqueue(payload=payload)).outcome == (201, {"status": "queued"})
    assert (await rest.get("/dequeue/t/")).body["payload"] == payload
    assert (await rest.post("/finish/t/q/j/")).status == 200


async def test_the_last_of_two_bounds_inside_a_payload_counts(rest: Rest) -> None:
    payload = b'{"max_queued_length":9,"max_queued_length":0}'
    body = b'{"job_id":"j","interval":0,"payload":%b}' % payload
    assert (await rest.post("/enqueue/t/q/", body)).error == (429, "queue_full")


async def test_a_requeue_limit_is_told_with_the_job(rest: Rest) -> None:
    await rest.enqueue(requeue_limit=3)
    assert (await rest.get("/dequeue/t/")).body["requeues_remaining"] == 3


@pytest.mark.parametrize("options", [{"sharq": {"payload_max_queued_length": False}}])
async def test_a_bound_in_a_payload_can_be_ruled_out(rest: Rest) -> None:
    payload = {"max_queued_length": 0}
    assert (await rest.enqueue(payload=payload)).outcome == (201, {"status": "queued"})
    job = {"queue_type": "t", "queue_id": "q", "job_id": "k", "interval": 0, "payload": payload}
    answer = await rest.post("/enqueue/", {"jobs": [job]})
    assert answer.body["results"] == [{"status": "queued"}]
    assert (await rest.enqueue(job_id="l", payload=payload, max_queued_length=2)).status == 429


@pytest.mark.parametrize("name", ["requeue_limit", "max_queued_length"])
async def test_null_leaves_an_option_of_an_enqueue_out(rest: Rest, name: str) -> None:
    answer = await rest.enqueue(**{name: None})
    assert answer.outcome == (201, {"status": "queued"})
    assert (await rest.get("/dequeue/t/")).body["requeues_remaining"] == -1


OPTIONS = {
    "burst": 3,
    "concurrency": 2,
    "group": "account-1",
    "cost": 4,
    "priority": 9,
    "delay": 0,
}


@pytest.mark.parametrize("name", OPTIONS)
async def test_an_enqueue_takes_an_option_or_null(rest: Rest, name: str) -> None:
    for job_id, value in (("j1", OPTIONS[name]), ("j2", None)):
        answer = await rest.enqueue(job_id=job_id, **{name: value})
        assert answer.outcome == (201, {"status": "queued"})
        bulk = {"queue_type": "t", "queue_id": "p", "job_id": job_id, "interval": 0, "payload": 1}
        answer = await rest.post("/enqueue/", {"jobs": [bulk | {name: value}]})
        assert answer.body["results"] == [{"status": "queued"}]


async def test_a_bound_counts_beside_options(rest: Rest) -> None:
    await rest.enqueue(max_queued_length=1, priority=5)
    full = await rest.enqueue(job_id="k", max_queued_length=1, priority=5)
    assert full.error == (429, "queue_full")
    assert full.body["current_queue_length"] == 1


@pytest.mark.parametrize(
    ("text", "shown"), [("1000.0", 1000), ("2.500", 2.5), ("0.001", 0.001), ("0.0", 0)]
)
async def test_an_interval_may_have_decimals(rest: Rest, text: str, shown: float) -> None:
    body = b'{"job_id":"j","interval":%b,"payload":1}' % text.encode()
    assert (await rest.post("/enqueue/t/q/", body)).status == 201
    told = (await rest.get("/metrics/t/q/")).body["interval"]
    assert (type(told), told) == (type(shown), shown)
    body = b'{"interval":%b}' % text.encode()
    await rest.enqueue("t/p")
    assert (await rest.post("/interval/t/p/", body)).status == 200
    assert (await rest.get("/metrics/t/p/")).body["interval"] == shown


PAYLOADS = [
    b"null",
    b"0",
    b'""',
    b"[]",
    b"{}",
    b"123456789012345678901234567890",
    b"-1.50e-400",
    b'{"b":1,"a":2,"b":3}',
    '"Grüße, 世界 🙂"'.encode(),
    b'"\\ud83d\\ude42 \\u0000 \\/"',
    b"[" * 500 + b"]" * 500,
    b'{ "spaced" : [ 1 , 2 ] }',
    b'"' + b"x" * 100_000 + b'"',
]


@cases("payload", PAYLOADS, ids=lambda payload: str(payload[:20]))
async def test_a_payload_comes_back_as_it_was(rest: Rest, payload: bytes) -> None:
    body = b'{"job_id": "j", "payload": %b, "interval": 0}' % payload
    assert (await rest.post("/enqueue/t/q/", body)).status == 201
    assert b'"payload":' + payload + b"," in (await rest.get("/dequeue/t/")).text
    assert (await rest.post("/finish/t/q/j/")).status == 200


@pytest.mark.parametrize("name", ["active", "payload", "interval", "ready", "time", "q", "a"])
async def test_every_name_can_be_used(rest: Rest, name: str) -> None:
    assert (await rest.enqueue(f"{name}/{name}", name)).status == 201
    taken = (await rest.get(f"/dequeue/{name}/")).body
    assert (taken["queue_id"], taken["job_id"]) == (name, name)
    assert (await rest.post(f"/finish/{name}/{name}/{name}/")).status == 200


async def test_names_in_the_body_may_repeat_those_of_the_path(rest: Rest) -> None:
    assert (await rest.enqueue("t/q", queue_type="t", queue_id="q")).status == 201


# ---- many jobs ----


async def test_a_dequeue_with_a_count_answers_a_list(rest: Rest) -> None:
    for n in range(3):
        await rest.enqueue("t/q", f"j{n}", n)
    answer = await rest.get("/dequeue/t/?count=2")
    assert (answer.status, answer.body["status"]) == (200, "success")
    assert [job["payload"] for job in answer.body["jobs"]] == [0, 1]
    assert answer.body["jobs"][0].keys() == {
        "queue_id",
        "job_id",
        "payload",
        "requeues_remaining",
        "current_queue_length",
        "lease",
    }
    assert len((await rest.get("/dequeue/t/?count=1")).body["jobs"]) == 1
    assert (await rest.get("/dequeue/t/?count=100")).error == NOTHING_READY


async def test_a_request_id_makes_a_dequeue_safe_to_repeat(rest: Rest) -> None:
    await rest.enqueue("t/q", "a")
    await rest.enqueue("t/q", "b")
    first = await rest.get("/dequeue/t/?request_id=r1")
    assert (await rest.get("/dequeue/t/?request_id=r1")).outcome == first.outcome
    assert (await rest.get("/dequeue/t/?request_id=r2")).body["job_id"] == "b"
    await rest.post("/finish/t/q/a/")
    assert (await rest.get("/dequeue/t/?request_id=r1")).error == NOTHING_READY


async def test_parameters_mean_nothing_to_other_routes(rest: Rest) -> None:
    assert (await rest.get("/?wait=1&%ff")).status == 200


async def test_a_bulk_answers_for_each_job_as_the_single_route_would(rest: Rest) -> None:
    await rest.enqueue("t/q", "taken", "other")
    ok = {"queue_type": "t", "queue_id": "q", "interval": 0, "payload": 1}
    jobs: list[Any] = [
        {**ok, "job_id": "a"},
        {**ok, "job_id": "a"},
        {**ok, "job_id": "taken"},
        {**ok, "job_id": "b", "max_queued_length": 9},
        {**ok, "job_id": "c", "max_queued_length": 1},
        {**ok, "job_id": "d", "payload": {"max_queued_length": 2}},
        {**ok, "job_id": "bad name"},
        {**ok, "job_id": "e", "interval": True},
        {**ok, "job_id": "f", "colour": 1},
        {**ok},
        {"job_id": "g", "interval": 0, "payload": 1, "queue_id": "q"},
        {"job_id": "g", "interval": 0, "payload": 1, "queue_type": "t"},
        {**ok, "job_id": "h", "payload": "x" * 1_048_576},
        5,
        None,
        {**ok, "job_id": "z", "queue_type": "u"},
    ]
    answer = await rest.post("/enqueue/", {"jobs": jobs})
    assert (answer.status, answer.body["status"]) == (200, "success")
    shown = [
        result.get("code") or {k: v for k, v in result.items() if k != "status"}
        for result in answer.body["results"]
    ]
    assert shown == [
        {},
        {"duplicate": True},
        "job_conflict",
        {"current_queue_length": 2},
        "queue_full",
        "queue_full",
        *["invalid_argument"] * 6,
        "payload_too_large",
        *["invalid_argument"] * 2,
        {},
    ]
    for result, job in zip(answer.body["results"], jobs, strict=True):
        assert result["status"] == ("failure" if "code" in result else "queued"), job
    assert "`colour`" in answer.body["results"][8]["message"]
    assert "`queue_type`" in answer.body["results"][10]["message"]
    lengths = [(await rest.get(f"/metrics/{q}/q/")).body["queue_length"] for q in "tu"]
    assert lengths == [3, 1]


async def test_a_bulk_keeps_the_order_of_a_queue(rest: Rest) -> None:
    jobs = [
        {"queue_type": "t", "queue_id": "q", "interval": 0, "job_id": f"j{n}", "payload": n}
        for n in range(1000)
    ]
    answer = await rest.post("/enqueue/", {"jobs": jobs})
    assert answer.body["results"] == [{"status": "queued"}] * 1000
    out: list[int] = []
    while (taken := await rest.get("/dequeue/t/?count=100")).status == 200:
        out += [job["payload"] for job in taken.body["jobs"]]
    assert out == list(range(1000))


NO_EXCHANGE: Any = None


async def test_other_requests_get_their_turn_while_a_bulk_is_looked_at(
    server: SharQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    turns_before = -1

    async def others() -> None:
        nonlocal turns
        while turns_before < 0:
            turns += 1
            await asyncio.sleep(0)

    run_any = server.engine.run

    async def run(flow: Any) -> Any:
        nonlocal turns_before
        if flow.gi_code.co_name != "submit_many":  # the server has calls of its own
            return await run_any(flow)
        turns_before = turns
        return [Enqueued("queued", 0)] * 1000

    monkeypatch.setattr(server.engine, "run", run)
    job = {"queue_type": "t", "queue_id": "q", "interval": 0, "job_id": "j", "payload": 1}
    body = json.dumps({"jobs": [job] * 1000}).encode()
    await asyncio.gather(
        handlers.enqueue_many(server.engine, Request((), "", body, NO_EXCHANGE)), others()
    )
    assert turns_before >= 9


# ---- finish, release, extend, status ----


@pytest.mark.parametrize("verb", ["finish", "release", "extend"])
async def test_a_job_that_nobody_has_cannot_be_ended(rest: Rest, verb: str) -> None:
    await rest.enqueue()
    body = {"by": 1000} if verb == "extend" else None
    assert (await rest.post(f"/{verb}/t/q/j/", body)).error == (404, "not_active")
    assert (await rest.post(f"/{verb}/t/q/unknown/", body)).error == (404, "not_active")


@pytest.mark.parametrize("verb", ["finish", "release", "extend"])
async def test_a_job_under_another_lease_is_left_alone(rest: Rest, verb: str) -> None:
    await rest.enqueue()
    lease = await lease_of(rest)
    body = {"by": 1000} if verb == "extend" else {}
    stale = await rest.post(f"/{verb}/t/q/j/", {**body, "lease": "t/q/j/1"})
    assert stale.error == (404, "stale_lease")
    assert (await rest.post(f"/{verb}/t/q/j/", {**body, "lease": lease})).status == 200


@pytest.mark.parametrize("verb", ["finish", "release", "extend"])
async def test_a_finished_job_is_told_apart(rest: Rest, verb: str) -> None:
    await rest.enqueue()
    lease = await lease_of(rest)
    await rest.post("/finish/t/q/j/", {"lease": lease})
    body = {"by": 1000} if verb == "extend" else {}
    answer = await rest.post(f"/{verb}/t/q/j/", {**body, "lease": lease})
    assert answer.error == (404, "already_finished")


@pytest.mark.parametrize("body", [None, {}, {"lease": None}, {"colour": 1, "job_id": 5}])
async def test_a_finish_needs_no_lease_and_overlooks_other_fields(rest: Rest, body: Any) -> None:
    await rest.enqueue()
    await lease_of(rest)
    assert (await rest.post("/finish/t/q/j/", body)).outcome == (200, {"status": "success"})


@pytest.mark.parametrize("body", [None, {}, {"delay": None, "count_requeue": None, "lease": None}])
async def test_a_released_job_is_queued_again(rest: Rest, body: Any) -> None:
    await rest.enqueue(requeue_limit=2)
    await lease_of(rest)
    released = await rest.post("/release/t/q/j/", body)
    assert released.outcome == (200, {"status": "success", "state": "queued"})
    assert (await rest.get("/dequeue/t/")).body["requeues_remaining"] == 1


async def test_a_release_need_not_count(rest: Rest) -> None:
    await rest.enqueue(requeue_limit=0)
    await lease_of(rest)
    answer = await rest.post("/release/t/q/j/", {"count_requeue": False})
    assert answer.body["state"] == "queued"
    assert (await rest.get("/dequeue/t/")).body["requeues_remaining"] == 0


async def test_a_release_with_no_requeue_left_is_the_end_of_a_job(rest: Rest) -> None:
    await rest.enqueue(requeue_limit=0)
    await lease_of(rest)
    answer = await rest.post("/release/t/q/j/")
    assert answer.outcome == (200, {"status": "success", "state": "dead"})
    assert (await rest.get("/status/t/q/j/")).body["state"] == "dead"


async def test_a_release_can_be_delayed(rest: Rest) -> None:
    await rest.enqueue()
    await lease_of(rest)
    assert (await rest.post("/release/t/q/j/", {"delay": 100_000})).status == 200
    assert (await rest.get("/dequeue/t/")).error == NOTHING_READY
    status = (await rest.get("/status/t/q/j/")).body
    assert status["state"] == "queued"
    assert 90_000 < status["ready_in"] <= 100_000


async def test_a_waiting_job_is_cancelled_once(rest: Rest) -> None:
    await rest.enqueue(job_id="j")
    await rest.enqueue(job_id="k")
    assert (await rest.delete("/job/t/q/j/")).outcome == (200, {"status": "success"})
    assert (await rest.delete("/job/t/q/j/")).error == (404, "not_found")
    assert (await rest.get("/status/t/q/j/")).error == (404, "not_found")
    assert (await rest.get("/dequeue/t/")).body["job_id"] == "k"


async def test_a_leased_job_is_cancelled_by_its_lease(rest: Rest) -> None:
    await rest.enqueue()
    lease = await lease_of(rest)
    assert (await rest.delete("/job/t/q/j/")).error == (409, "job_active")
    assert (await rest.delete("/job/t/q/j/", {"lease": "t/q/j/1"})).error == (409, "job_active")
    assert (await rest.delete("/job/t/q/j/", {"lease": lease})).status == 200
    assert (await rest.delete("/job/t/q/j/", {"lease": lease})).error == (404, "not_active")
    assert (await rest.post("/finish/t/q/j/", {"lease": lease})).error == (404, "not_active")


async def test_a_finished_job_is_not_cancelled(rest: Rest) -> None:
    await rest.enqueue()
    await lease_of(rest)
    await rest.post("/finish/t/q/j/")
    assert (await rest.delete("/job/t/q/j/")).error == (404, "already_finished")


async def test_an_extended_lease_tells_how_long_it_lasts(rest: Rest) -> None:
    await rest.enqueue()
    await lease_of(rest)
    answer = await rest.post("/extend/t/q/j/", {"by": 100_000})
    assert (answer.status, answer.body["status"]) == (200, "success")
    assert 90_000 < answer.body["lease_expires_in"] <= 100_000


async def test_the_status_of_a_job_follows_its_life(rest: Rest) -> None:
    assert (await rest.get("/status/t/q/b/")).error == (404, "not_found")
    await rest.enqueue("t/q", "a", interval=100_000)
    await rest.enqueue("t/q", "b", interval=100_000)
    queued = (await rest.get("/status/t/q/b/")).body
    assert queued == {
        "status": "success",
        "state": "queued",
        "position": 1,
        "ready_in": queued["ready_in"],
        "eta": queued["ready_in"],
        "held_by": "nothing",
    }
    await rest.get("/dequeue/t/")
    active = (await rest.get("/status/t/q/a/")).body
    assert (active["state"], active.keys()) == (
        "active",
        {"status", "state", "lease_expires_in"},
    )
    assert 50_000 < active["lease_expires_in"] <= 60_000
    await rest.post("/finish/t/q/a/")
    finished = await rest.get("/status/t/q/a/")
    assert finished.outcome == (200, {"status": "success", "state": "finished"})


async def test_an_estimated_position_says_so(rest: Rest) -> None:
    await rest.enqueue()
    assert "estimated" not in (await rest.get("/status/t/q/j/")).body
    await lease_of(rest)
    await rest.post("/release/t/q/j/", {"delay": 100_000})
    assert (await rest.get("/status/t/q/j/")).body["estimated"] is True


# ---- interval, metrics, deletequeue, deepstatus ----


async def test_the_interval_of_a_queue_can_be_set_and_given_back(rest: Rest) -> None:
    assert (await rest.post("/interval/t/q/", {"interval": 5})).error == (404, "not_found")
    await rest.enqueue(interval=1000)
    assert (await rest.delete("/interval/t/q/")).error == (404, "not_found")
    assert (await rest.post("/interval/t/q/", {"interval": 7, "more": 1})).outcome == (
        200,
        {"status": "success"},
    )
    await rest.enqueue("t/q", "other", interval=2000)
    metrics = (await rest.get("/metrics/t/q/")).body
    assert (metrics["interval"], metrics["interval_set_by"]) == (7, "api")
    assert (await rest.delete("/interval/t/q/")).outcome == (200, {"status": "success"})
    await rest.enqueue("t/q", "third", interval=3000)
    metrics = (await rest.get("/metrics/t/q/")).body
    assert (metrics["interval"], metrics["interval_set_by"]) == (3000, "enqueue")


async def test_metrics_of_an_unknown_queue_are_zeros_and_nulls(rest: Rest) -> None:
    body = (await rest.get("/metrics/t/q/")).body
    assert body == {
        "status": "success",
        "queue_length": 0,
        "active_count": 0,
        "interval": None,
        "interval_set_by": None,
        "next_ready_in": None,
        "held_by": None,
        "ready_in": None,
        "early": 0,
        "enqueue_counts": body["enqueue_counts"],
        "dequeue_counts": body["dequeue_counts"],
    }
    for counts in (body["enqueue_counts"], body["dequeue_counts"]):
        assert list(counts.values()) == [0] * 10


async def test_metrics_count_a_queue_and_everything(rest: Rest) -> None:
    minute = int(time.time() // 60) * 60_000
    for job_id in ("a", "b", "c"):
        await rest.enqueue("t/q", job_id)
    await rest.enqueue("u/r", "a", interval=100_000)
    await rest.get("/dequeue/t/?count=2")
    await rest.get("/dequeue/u/")
    queue = (await rest.get("/metrics/t/q/")).body
    assert (queue["queue_length"], queue["active_count"]) == (1, 2)
    assert queue["interval"] == 0
    assert sum(queue["enqueue_counts"].values()) == 3
    assert sum(queue["dequeue_counts"].values()) == 2
    assert len(queue["enqueue_counts"]) == 10
    assert {str(minute), str(minute - 8 * 60_000)} <= queue["enqueue_counts"].keys()
    everything = (await rest.get("/metrics/")).body
    assert (everything["status"], sorted(everything["queue_types"])) == ("success", ["t", "u"])
    assert sum(everything["enqueue_counts"].values()) == 4
    assert sum(everything["dequeue_counts"].values()) == 3
    assert len(everything["dequeue_counts"]) == 10


async def test_metrics_list_the_queues_of_a_type_once(rest: Rest) -> None:
    nothing = {
        "status": "success",
        "queue_ids": [],
        "held_by": None,
        "ready_in": None,
        **dict.fromkeys(("waiting", "delayed", "active", "ready", "held", "early"), 0),
        "oldest_ready": None,
        **dict.fromkeys(("enqueue_counts", "dequeue_counts", "finish_counts"), ANY),
        "dead": {"jobs": 0, "bytes": 0, "oldest": None, "fallen_out": 0, "dropped": 0},
    }
    assert (await rest.get("/metrics/t/")).outcome == (200, nothing)
    for queue_id in ("waiting", "both", "leased"):
        await rest.enqueue(f"t/{queue_id}", "a")
    await rest.enqueue("t/both", "b")
    for _ in range(3):
        assert (await rest.get("/dequeue/t/")).status == 200
    await rest.enqueue("t/waiting", "b")
    answer = await rest.get("/metrics/t/")
    assert sorted(answer.body["queue_ids"]) == ["both", "leased", "waiting"]


@pytest.mark.parametrize(
    "body",
    [
        *(None, {}, {"purge_all": False}, {"purge_all": None, "more": 1}),
        *({"purge_all": 0}, {"purge_all": "false"}, {"purge_all": "0"}),
    ],
)
async def test_a_cleared_queue_has_no_waiting_jobs(rest: Rest, body: Any) -> None:
    nothing = (200, {"status": "Failure", "message": "No queued calls found"})
    assert (await rest.delete("/deletequeue/t/q/", body)).outcome == nothing
    await rest.enqueue("t/q", "a")
    await lease_of(rest)
    assert (await rest.delete("/deletequeue/t/q/", body)).outcome == nothing
    await rest.enqueue("t/q", "b")
    assert (await rest.delete("/deletequeue/t/q/", body)).outcome == (
        200,
        {"status": "Success", "message": "Successfully removed all queued calls"},
    )
    assert (await rest.get("/dequeue/t/")).error == NOTHING_READY
    assert (await rest.post("/finish/t/q/a/")).status == 200


@pytest.mark.parametrize(
    ("query", "body"),
    [
        *(("", {"purge_all": value}) for value in (True, 1, "true", "1", "True")),
        *((f"?purge_all={value}", None) for value in ("true", "1", "True")),
        ("?_=1&purge_all=1", {"purge_all": True}),
        ("?purge_all=true", {}),
        ("", b'{"purge_all":false,"purge_all":1}'),
    ],
)
async def test_11_a_purged_queue_has_no_leases_either(rest: Rest, query: str, body: Any) -> None:
    await rest.enqueue("t/q", "a")
    await lease_of(rest)
    assert (await rest.delete(f"/deletequeue/t/q/{query}", body)).outcome == (
        200,
        {
            "status": "Success",
            "message": "Successfully removed all queued calls and purged related resources",
        },
    )
    assert (await rest.post("/finish/t/q/a/")).status == 404


async def test_the_deep_status_is_success_after_a_script_call(
    rest: Rest, store: PrivateStore, server: SharQServer
) -> None:
    assert (await rest.get("/deepstatus/")).status == 200
    before = store.script_calls()
    assert (await rest.get("/deepstatus/")).outcome == (200, {"status": "success"})
    assert store.script_calls() == before + 1


# ---- pages ----


async def test_waiting_jobs_are_shown_page_by_page(rest: Rest) -> None:
    for job_id in "abc":
        await rest.enqueue(job_id=job_id, payload={"n": [job_id, 1e2]}, requeue_limit=4)
    await lease_of(rest)
    await rest.post("/release/t/q/a/", {"delay": 100_000})
    first = (await rest.get("/jobs/t/q/?count=2")).body
    assert first["status"] == "success"
    assert first["jobs"] == [
        {"job_id": each, "payload": {"n": [each, 100]}, "requeues_remaining": 4, "position": at}
        for at, each in enumerate("bc")
    ]
    rest_of_it = (await rest.get(f"/jobs/t/q/?count=2&cursor={first['cursor']}")).body
    (job,) = rest_of_it["jobs"]
    assert 90_000 < job.pop("due_in") <= 100_000
    assert job == {
        "job_id": "a",
        "payload": {"n": ["a", 100]},
        "requeues_remaining": 3,
        "position": 2,
        "estimated": True,
    }
    assert rest_of_it["cursor"] is None
    assert (await rest.get("/jobs/t/q?colour=1")).error == (400, "invalid_argument")
    whole = (await rest.get("/jobs/t/q")).body
    assert [each["job_id"] for each in whole["jobs"]] == ["b", "c", "a"]
    assert (await rest.get("/jobs/t/none/")).outcome == (
        200,
        {"status": "success", "jobs": [], "cursor": None},
    )


async def test_queues_are_listed_page_by_page(rest: Rest) -> None:
    names = [f"q{i}" for i in range(700)]
    jobs = [
        {"queue_type": "t", "queue_id": name, "job_id": "j", "interval": 0, "payload": 1}
        for name in names
    ]
    await rest.post("/enqueue/", {"jobs": jobs})
    for _ in range(3):
        await rest.get("/dequeue/t/?count=100")
    found: list[str] = []
    query: str | None = "count=50"
    while query is not None:
        page = (await rest.get(f"/metrics/t/?{query}")).body
        assert len(page["queue_ids"]) < 150
        found += page["queue_ids"]
        query = None if page["cursor"] is None else f"cursor={page['cursor']}"
    assert sorted(found) == sorted(names)
    assert sorted((await rest.get("/metrics/t/")).body["queue_ids"]) == sorted(names)
