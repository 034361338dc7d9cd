"""The frame `fail`: what it tells of jobs, and by whose name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sharq_server import SharQServer
from sharq_server.push import schedule
from tests.server.subscriber import Subscriber
from tests.server.support import Rest, write_tokens

pytestmark = pytest.mark.gen_test

ERROR = {"type": "app.NoRoute", "message": "no route"}


@pytest.fixture
def connect(http_port: int, http_server: object) -> Any:
    async def connect(**headers: str) -> Subscriber:
        return await Subscriber.connect(http_port, **headers)

    return connect


async def held(subscriber: Subscriber, rest: Rest, *job_ids: str, **more: Any) -> dict[str, str]:
    """Let jobs come to a subscriber: their leases by their names."""
    for job_id in job_ids:
        await rest.enqueue(job_id=job_id, **more)
    jobs = await subscriber.jobs(len(job_ids))
    return {job["job_id"]: job["lease"] for job in jobs}


async def status(rest: Rest, job_id: str) -> dict[str, Any]:
    return dict((await rest.get(f"/status/t/q/{job_id}/")).body)


async def test_jobs_fail_alike_or_each_in_its_way(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        leases = await held(subscriber, rest, *"abcd")
        told = {"error": ERROR, "delay": 60_000, "worker": "w"}
        answer = await subscriber.ask(op="fail", leases=[leases["a"], "x"], **told)
        assert answer["results"] == ["success", "invalid_argument"]
        assert "dead" not in answer
        items: Sequence[dict[str, Any]] = [
            {"lease": leases["b"], "retry": False},
            {"lease": leases["c"], "error": {"type": "B"}, "worker": "v"},
            {"lease": leases["d"], "error": "B"},
            {"lease": leases["a"]},
        ]
        answer = await subscriber.ask(op="fail", items=items)
        assert answer["results"] == ["success", "success", "invalid_argument", "not_active"]
        assert answer["dead"] == [0]
    a, b, c, d = [await status(rest, each) for each in "abcd"]
    assert (a["error"], a["worker"], a["attempt"]) == (ERROR, "w", 2)
    assert 59_000 < a["ready_in"] <= 60_000
    assert (b["state"], b["reason"], b["error"], b["worker"]) == ("dead", "rejected", None, None)
    assert (c["error"], c["worker"]) == ({"type": "B"}, "v")
    assert 500 < c["ready_in"] <= 1200
    assert d["state"] == "active"


async def test_each_lease_of_a_frame_has_a_backoff_of_its_own(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=20)
        leases = await held(subscriber, rest, *(f"j{n}" for n in range(20)))
        await subscriber.ask(op="fail", leases=[*leases.values()])
        due = {(await status(rest, name))["ready_in"] // 10 for name in leases}
        assert len(due) > 5, "they do not come back together"


async def test_what_has_failed_frees_credit(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=1)
        leases = await held(subscriber, rest, "a")
        await rest.enqueue(job_id="b")
        assert await subscriber.nothing_comes()
        items = [{"lease": leases["a"], "error": {"type": 5}}]
        assert (await subscriber.ask(op="fail", items=items))["results"] == ["invalid_argument"]
        assert await subscriber.nothing_comes()
        await subscriber.ask(op="fail", leases=[leases["a"]])
        assert [job["job_id"] for job in await subscriber.jobs(1)] == ["b"]


async def test_the_name_of_a_connection_is_the_one_told_last(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe(worker="first")
        leases = await held(subscriber, rest, *"abcde")
        await subscriber.ask(op="fail", leases=[leases["a"]])
        # Without waiting for the answer.
        subscriber.send(op="subscribe", queue_type="u", credit=1, worker="second")
        await subscriber.ask(op="fail", items=[{"lease": leases["b"], "retry": False}])
        await subscriber.subscribe("u", 1)
        await subscriber.ask(op="fail", leases=[leases["c"]], worker=None)
        await subscriber.ask(op="fail", leases=[leases["d"]], worker="own")
        # A release is no failure.
        await subscriber.ask(op="release", leases=[leases["e"]])
        assert [(await status(rest, each))["worker"] for each in "abcd"] == [
            *("first", "second", "second", "own"),
        ]
        assert "worker" not in await status(rest, "e")


async def test_another_connection_has_no_name(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber, await connect() as other:
        await subscriber.subscribe(worker="w")
        leases = await held(subscriber, rest, "a")
        await other.ask(op="fail", leases=[leases["a"]])
        assert (await status(rest, "a"))["worker"] is None


async def test_a_subscription_with_a_name_that_is_none_changes_nothing(connect: Any) -> None:
    async with await connect() as subscriber:
        for worker in ("", "w" * 101, 5, "a\n"):
            frame = {"op": "subscribe", "queue_type": "t", "credit": 1, "worker": worker}
            answer = await subscriber.ask(**frame)
            assert (answer["event"], answer["code"]) == ("error", "invalid_argument")
            assert answer["expected"]
        answer = await subscriber.ask(op="credit", queue_type="t", credit=1)
        assert answer["code"] == "not_found"


async def test_errors_of_any_form_come_back_as_they_can(connect: Any, rest: Rest) -> None:
    async with await connect() as subscriber:
        await subscriber.subscribe()
        leases = await held(subscriber, rest, "a")
        error = {"message": "\ud83d", "trace": "x" * 100_000}
        answer = await subscriber.ask(op="fail", leases=[leases["a"]], error=error)
        assert answer["results"] == ["success"]
        told = (await status(rest, "a"))["error"]
        assert told == {"message": "?", "trace": "x" * 8192}
        answer = await subscriber.ask(op="fail", leases=[leases["a"]], error={"\ud83d": 1})
        assert answer["code"] == "invalid_argument"


@pytest.fixture
def only_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No poll hides a wake-up that is missing."""
    monkeypatch.setattr(schedule, "POLL_AFTER", (1000.0, 1000.0))


@pytest.mark.usefixtures("only_wakeups")
@pytest.mark.parametrize("body", [{"jobs": [["q", "a"], ["q", "b"]]}, {"all": True}])
async def test_a_retry_wakes_who_waits(
    connect: Any, rest: Rest, server: SharQServer, body: dict[str, Any]
) -> None:
    wakeups = server.engine.connections.wakeups
    assert wakeups is not None
    while not wakeups.subscribed:
        await asyncio.sleep(0.002)
    async with await connect() as subscriber:
        await subscriber.subscribe()
        leases = await held(subscriber, rest, "a", "b")
        await subscriber.ask(op="fail", leases=[*leases.values()], retry=False)
        assert await subscriber.nothing_comes()
        await rest.post("/dead/t/retry", body)
        jobs = await subscriber.jobs(2)
        assert [(job["job_id"], job["attempt"]) for job in jobs] == [("a", 1), ("b", 1)]
        assert {job["lease"] for job in jobs}.isdisjoint(leases.values())


@pytest.mark.usefixtures("only_wakeups")
async def test_a_failed_job_comes_when_its_backoff_is_over(
    connect: Any, rest: Rest, server: SharQServer
) -> None:
    wakeups = server.engine.connections.wakeups
    assert wakeups is not None
    while not wakeups.subscribed:
        await asyncio.sleep(0.002)
    async with await connect() as subscriber:
        await subscriber.subscribe()
        leases = await held(subscriber, rest, "a")
        await subscriber.ask(op="fail", leases=[leases["a"]])
        began = time.monotonic()
        (job,) = await subscriber.jobs(1)
        assert 0.75 < time.monotonic() - began < 2
        assert job["attempt"] == 2


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        tokens = {
            "root": (["*"], ["*"]),
            "worker": (["dequeue", "finish", "release"], ["t"]),
            "poor": (["dequeue", "finish"], ["t"]),
        }
        write_tokens(tmp_path / "tokens", tokens)
        return {"sharq-server": {"token_file": str(tmp_path / "tokens")}}

    async def test_failing_needs_the_right_to_release(self, connect: Any, rest: Rest) -> None:
        root = {"Authorization": "Bearer root"}
        body = {"job_id": "j", "interval": 0, "payload": 1}
        await rest.call("POST", "/enqueue/t/q/", body, root)
        await rest.call("POST", "/enqueue/u/q/", body, root)
        lease = (await rest.call("POST", "/dequeue/t/", b"", root)).body["lease"]
        other = (await rest.call("POST", "/dequeue/u/", b"", root)).body["lease"]
        async with await connect(Authorization="Bearer poor") as subscriber:
            answer = await subscriber.ask(op="fail", leases=[lease])
            assert answer["code"] == "forbidden"
        async with await connect(Authorization="Bearer worker") as subscriber:
            welcome = subscriber.seen[0]
            assert welcome["operations"] == ["dequeue", "finish", "release"]
            items = [{"lease": lease, "retry": False}, {"lease": other}]
            answer = await subscriber.ask(op="fail", items=items, id=1)
            assert answer["results"] == ["success", "forbidden"]
