"""Types that are spread over shards, over REST: what is asked and told is the type's own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.server.viewer import Viewer

pytestmark = pytest.mark.gen_test

QUEUES = [f"q{at}" for at in range(12)]


@pytest.fixture
def connect(http_port: int, http_server: object) -> Any:
    return lambda: Subscriber.connect(http_port)


async def spread(rest: Rest, count: int = 4) -> None:
    told = {"status": "success", "shards": count, "shards_before": 1}
    assert (await rest.post("/shards/t/", {"shards": count})).outcome == (200, told)


async def fill(rest: Rest) -> None:
    for queue in QUEUES:
        body = {"job_id": f"job-{queue}", "interval": 0, "payload": {"q": queue}}
        assert (await rest.post(f"/enqueue/t/{queue}/", body)).status == 201


async def test_the_number_is_set_and_shown(rest: Rest) -> None:
    assert (await rest.get("/shards/t/")).outcome == (200, {"status": "success", "shards": 1})
    await spread(rest)
    assert (await rest.get("/shards/t/")).outcome == (200, {"status": "success", "shards": 4})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"shards": 0}, "`shards` has an invalid value."),
        ({"shards": 257}, "`shards` has an invalid value."),
        ({"shards": True}, "`shards` has an invalid value."),
        ({"shards": "4"}, "`shards` has an invalid value."),
        ({"shards": None}, "`shards` has an invalid value."),
        ({}, "`shards` is a mandatory parameter"),
        ({"shards": 4, "n": 1}, "`n` is not a known parameter."),
    ],
)
async def test_what_is_no_number_changes_nothing(rest: Rest, body: Any, message: str) -> None:
    answer = await rest.post("/shards/t/", body)
    assert (answer.status, answer.body["message"]) == (400, message)
    assert (await rest.get("/shards/t/")).body["shards"] == 1


async def test_a_type_that_is_not_empty_is_refused(rest: Rest) -> None:
    await fill(rest)
    answer = await rest.post("/shards/t/", {"shards": 4})
    assert answer.error == (409, "not_empty")
    assert answer.body["message"] == "`t` has jobs."
    assert (await rest.get("/shards/t/")).body["shards"] == 1


async def test_a_job_goes_its_way(rest: Rest) -> None:
    await spread(rest)
    await fill(rest)
    assert (await rest.get("/metrics/t/q3/")).body["queue_length"] == 1
    assert sorted((await rest.get("/metrics/t/")).body["queue_ids"]) == sorted(QUEUES)
    found, cursor = [], ""
    while cursor is not None:
        page = (await rest.get(f"/metrics/t/?count=2{cursor}")).body
        found += page["queue_ids"]
        cursor = page["cursor"] and f"&cursor={page['cursor']}"
    assert sorted(set(found)) == sorted(QUEUES)
    assert (await rest.get("/metrics/")).body["queue_types"] == ["t"]
    taken = {}
    for _ in QUEUES:
        job = (await rest.get("/dequeue/t/")).body
        assert job["payload"] == {"q": job["queue_id"]}
        assert job["lease"].startswith(f"t/{job['queue_id']}/{job['job_id']}/")
        taken[job["queue_id"]] = job
    assert sorted(taken) == sorted(QUEUES)
    assert (await rest.get("/dequeue/t/")).error == (404, "nothing_ready")
    for queue, job in taken.items():
        path = f"/finish/t/{queue}/{job['job_id']}/"
        assert (await rest.post(path, {"lease": job["lease"]})).status == 200
        assert (await rest.post(path, {"lease": job["lease"]})).error == (404, "already_finished")
    assert (await rest.post("/shards/t/", {"shards": 1})).status == 200


async def test_a_bulk_is_taken_in_and_leased_at_once(rest: Rest) -> None:
    await spread(rest)
    jobs = [
        {"queue_type": "t", "queue_id": queue, "job_id": "j", "interval": 0, "payload": 1}
        for queue in QUEUES
    ]
    jobs.append({**jobs[0], "job_id": "k", "group": "g"})
    results = (await rest.post("/enqueue/", {"jobs": jobs})).body["results"]
    assert [each["status"] for each in results] == ["queued"] * 12 + ["failure"]
    assert results[-1]["code"] == "sharded"
    taken = (await rest.get("/dequeue/t/?count=100")).body["jobs"]
    assert sorted(job["queue_id"] for job in taken) == sorted(QUEUES)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/limits/t/", {"burst": 2}),
        ("POST", "/limits/t/?dry_run=true", {"burst": 2}),
        ("DELETE", "/limits/t/", None),
        ("POST", "/limits/t/?group=g", {"burst": 2}),
        ("POST", "/limits/t/q/", {"group": "g"}),
        ("POST", "/pause/t/?group=g", {}),
        ("POST", "/resume/t/?group=g", {}),
        ("POST", "/enqueue/t/q/", {"job_id": "j", "interval": 0, "payload": 1, "group": "g"}),
    ],
)
async def test_what_needs_one_place_is_refused(
    rest: Rest, method: str, path: str, body: Any
) -> None:
    await spread(rest)
    answer = await rest.call(method, path, b"" if body is None else body)
    assert answer.error == (409, "sharded")
    assert answer.body["message"].startswith("`t` is spread over shards, and ")


async def test_a_pause_of_the_type_is_that_of_all_its_shards(rest: Rest) -> None:
    await spread(rest)
    await fill(rest)
    assert (await rest.post("/pause/t/", {"reason": "why"})).status == 200
    assert (await rest.get("/dequeue/t/?count=100")).error == (404, "nothing_ready")
    limits = (await rest.get("/limits/t/")).body
    assert limits["pause"]["reason"] == "why"
    assert (await rest.post("/resume/t/")).status == 200
    assert (await rest.get("/limits/t/")).body["pause"] is None
    assert len((await rest.get("/dequeue/t/?count=100")).body["jobs"]) == 12


async def test_dead_letters_are_those_of_the_type(rest: Rest) -> None:
    await spread(rest)
    await fill(rest)
    for job in (await rest.get("/dequeue/t/?count=100")).body["jobs"]:
        path = f"/fail/t/{job['queue_id']}/{job['job_id']}/"
        assert (await rest.post(path, {"lease": job["lease"], "retry": False})).status == 200
    found, cursor = [], ""
    while cursor is not None:
        page = (await rest.get(f"/dead/t/?count=5{cursor}")).body
        found += page["jobs"]
        cursor = page["cursor"] and f"&cursor={page['cursor']}"
    assert sorted(each["queue_id"] for each in found) == sorted(QUEUES)
    deaths = [each["died_at"] for each in found]
    assert deaths == sorted(deaths, reverse=True)
    assert (await rest.get("/dead/t/q3/job-q3/")).status == 200
    retried = {"jobs": [["q3", "job-q3"], ["q4", "job-q4"], ["q3", "nothing"]]}
    results = (await rest.post("/dead/t/retry", retried)).body
    assert "job-q3" not in json.dumps((await rest.get("/dead/t/")).body)
    assert results["status"] == "success"
    begun = await rest.call("DELETE", "/dead/t/", {"all": True})
    assert begun.status == 202
    progress = (await rest.get("/dead/t/retry")).body["bulk"]
    while progress["state"] == "running":
        progress = (await rest.get("/dead/t/retry")).body["bulk"]
    assert (progress["state"], progress["moved"], progress["left"]) == ("done", 10, 0)
    assert (await rest.get("/dead/t/")).body["jobs"] == []


async def test_prometheus_tells_the_type(rest: Rest) -> None:
    await spread(rest)
    await fill(rest)
    text = (await rest.get("/prometheus/")).text.decode()
    assert 'sharq_jobs{queue_type="t",state="waiting"} 12.0' in text
    assert set(re.findall('queue_type="([^"]*)"', text)) <= {"t", "_other"}


async def test_who_watches_sees_the_type(rest: Rest, connect: Any) -> None:
    await spread(rest)
    await fill(rest)
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("types", "type/t", "queue/t/q3")
        types = await viewer.until("types", lambda data: "t" in data["types"])
        assert list(types["types"]) == ["t"]
        assert types["types"]["t"]["waiting"] == 12
        shown = await viewer.until("type/t", lambda data: len(data["queues"]) == 12)
        assert sorted(shown["queues"]) == sorted(QUEUES)
        assert {each["waiting"] for each in shown["queues"].values()} == {1}
        queue = await viewer.until("queue/t/q3", lambda data: True)
        assert queue["metrics"]["queue_length"] == 1
        assert (await rest.post("/pause/t/")).status == 200
        await viewer.until("type/t", lambda data: data["held_by"] == "paused")
