"""What operators ask for over REST: leases, payloads, queues by their beginnings, a recount."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.server.support import Rest, write_tokens
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=20)


async def test_the_leases_of_a_queue_are_listed(rest: Rest) -> None:
    for job_id in ("a", "b"):
        await rest.enqueue("t/q", job_id)
    await rest.enqueue("t/qq", "c")
    jobs = {}
    for _ in range(3):
        job = (await rest.get("/dequeue/t/")).body
        jobs[job["job_id"]] = job["lease"]
    page = (await rest.get("/leases/t/q/")).body
    leases = sorted(page["leases"], key=lambda each: each["job_id"])
    assert [(each["job_id"], each["lease"]) for each in leases] == [
        ("a", jobs["a"]),
        ("b", jobs["b"]),
    ]
    assert all(0 < each["ends_in"] <= 60_000 and each["attempt"] == 1 for each in leases)
    assert page["cursor"] is None
    nothing = {"status": "success", "leases": [], "cursor": None}
    assert (await rest.get("/leases/t/other/")).outcome == (200, nothing)


async def test_leases_come_page_by_page(rest: Rest) -> None:
    names = {f"job{number}" for number in range(300)}
    for name in names:
        await rest.enqueue("t/q", name)
    for _ in range(3):
        await rest.get("/dequeue/t/?count=100")
    listed: list[str] = []
    cursor, pages = "0", 0
    while cursor is not None:
        page = (await rest.get(f"/leases/t/q/?count=50&cursor={cursor}")).body
        listed += [each["job_id"] for each in page["leases"]]
        cursor, pages = page["cursor"], pages + 1
    assert set(listed) == names
    assert pages > 2


@pytest.mark.parametrize("query", ["cursor=x", "count=0", "count=1001", "wait=1"])
async def test_leases_of_a_wrong_query_are_refused(rest: Rest, query: str) -> None:
    assert (await rest.get(f"/leases/t/q/?{query}")).error == (400, "invalid_argument")


PAYLOAD = '{"n": 12345678901234567890, "x": 1.10}'


async def test_a_job_is_shown_with_its_payload_in_each_state(rest: Rest) -> None:
    body = f'{{"job_id": "a", "interval": 0, "requeue_limit": 0, "payload": {PAYLOAD}}}'
    await rest.call("POST", "/enqueue/t/q/", body.encode())
    path = "/status/t/q/a/?payload=true"
    waiting = await rest.get(path)
    assert (waiting.body["state"], "lease" in waiting.body) == ("queued", False)
    lease = (await rest.get("/dequeue/t/")).body["lease"]
    active = await rest.get(path)
    assert (active.body["state"], active.body["lease"]) == ("active", lease)
    await rest.post("/fail/t/q/a/", {"lease": lease, "retry": False})
    dead = await rest.get(path)
    assert (dead.body["state"], "lease" in dead.body) == ("dead", False)
    for answer in (waiting, active, dead):
        assert PAYLOAD.replace(" ", "").encode() in answer.text.replace(b" ", b"")
    assert "payload" not in (await rest.get("/status/t/q/a/")).body
    assert (await rest.get("/status/t/q/b/?payload=1")).error == (404, "not_found")
    assert (await rest.get("/status/t/q/a/?payload=x")).error == (400, "invalid_argument")


async def test_a_finished_job_has_no_payload(rest: Rest) -> None:
    await rest.enqueue("t/q", "a")
    await rest.get("/dequeue/t/")
    await rest.post("/finish/t/q/a/")
    shown = (await rest.get("/status/t/q/a/?payload=true")).body
    assert shown == {"status": "success", "state": "finished"}


async def test_queues_are_found_by_the_beginning_of_their_ids(rest: Rest) -> None:
    for queue_id in ("ab", "abc", "b", "a-b"):
        await rest.enqueue(f"t/{queue_id}", "a")
    assert set((await rest.get("/metrics/t/?prefix=ab")).body["queue_ids"]) == {"ab", "abc"}
    assert (await rest.get("/metrics/t/?prefix=c")).body["queue_ids"] == []
    for wrong in ("", "*", "a*"):
        answer = await rest.get(f"/metrics/t/?prefix={wrong}")
        assert answer.error == (400, "invalid_argument")


async def test_a_recount_corrects_what_the_metrics_tell(
    rest: Rest, store: PrivateStore, key_prefix: str
) -> None:
    for job_id in ("a", "b", "c"):
        await rest.enqueue("t/q", job_id)
    await rest.enqueue("t/p", "a", delay=60_000)
    tag = f"{{{key_prefix}:t}}"
    minute: Any = store.client.get(f"{tag}:c:last")
    store.client.hincrby(f"{tag}:c:{minute.decode()}", "c", 5)
    store.client.hincrby(f"{tag}:c:{minute.decode()}", "k", 2)
    assert (await rest.get("/metrics/t/")).body["waiting"] == 6
    corrected = {"status": "success", "waiting": -5, "delayed": -2, "exact": True}
    assert (await rest.post("/recount/t/")).outcome == (200, corrected)
    body = (await rest.get("/metrics/t/")).body
    assert (body["waiting"], body["delayed"], body["active"]) == (3, 1, 0)
    nothing = {"status": "success", "waiting": 0, "delayed": 0, "exact": True}
    assert (await rest.post("/recount/t/")).outcome == (200, nothing)
    assert (await rest.post("/recount/t/", {"a": 1})).error == (400, "invalid_argument")


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        rights = {"a": (["status"], ["t"]), "b": (["status", "jobs"], ["t"])}
        write_tokens(path, rights)
        return {"sharq-server": {"token_file": str(path)}}

    async def test_a_payload_needs_the_operation_jobs(self, rest: Rest) -> None:
        for secret, status in (("a", 403), ("b", 404)):
            headers = {"Authorization": f"Bearer {secret}"}
            answer = await rest.call("GET", "/status/t/q/j/?payload=true", headers=headers)
            assert answer.status == status
            answer = await rest.call("GET", "/leases/t/q/", headers=headers)
            assert answer.status == (403 if status == 403 else 200)
