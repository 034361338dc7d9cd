"""What a worker tells with the end of a lease: the real cost and a pause, by REST and in frames."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.server.subscriber import Subscriber
from tests.server.support import Rest, write_tokens

pytestmark = pytest.mark.gen_test

INTERVAL = 60_000
"""Milliseconds between two dispatches of a limited queue: no test lives as long."""

TOKENS = {
    "root": (["*"], ["*"]),
    "worker": (["dequeue", "finish", "release"], ["t"]),
    "pauser": (["dequeue", "finish", "release", "pause"], ["t"]),
}
SUCCESS = (200, {"status": "success"})
QUEUED = (200, {"status": "success", "state": "queued"})


@pytest.fixture
def connect(http_port: int, http_server: object) -> Any:
    async def connect(**headers: str) -> Subscriber:
        return await Subscriber.connect(http_port, **headers)

    return connect


async def take(rest: Rest, queue_type: str = "t") -> dict[str, Any]:
    answer = await rest.post(f"/dequeue/{queue_type}/")
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


async def leased(rest: Rest, job_id: str = "j", **options: Any) -> str:
    """The lease of a new job."""
    await rest.enqueue(job_id=job_id, **options)
    lease: str = (await take(rest))["lease"]
    return lease


async def owed(rest: Rest, path: str = "t/q/") -> float:
    """The TAT of a level."""
    tat: float = (await rest.get(f"/limits/{path}")).body["tat"]
    return tat


async def paused(rest: Rest, path: str) -> Any:
    """Who set the pause of a level, and how long it is from now; None if there is none."""
    shown = (await rest.get(f"/limits/{path}")).body
    return shown["pause"] and (shown["pause"]["set_by"], shown["pause"]["until"] is not None)


# ---- over REST ----


async def test_the_real_cost_is_charged_with_a_finish(rest: Rest) -> None:
    lease = await leased(rest, interval=INTERVAL)
    before = await owed(rest)
    assert (await rest.post("/finish/t/q/j/", {"lease": lease, "cost": 3})).outcome == SUCCESS
    assert await owed(rest) - before == 2 * INTERVAL
    again = await rest.post("/finish/t/q/j/", {"lease": lease, "cost": 3})
    assert again.error == (404, "already_finished")
    assert await owed(rest) - before == 2 * INTERVAL, "once, however often it is told"


async def test_what_a_costly_job_did_not_use_is_given_back(rest: Rest) -> None:
    lease = await leased(rest, interval=INTERVAL, cost=5)
    before = await owed(rest)
    assert (await rest.post("/finish/t/q/j/", {"cost": 1, "lease": lease})).outcome == SUCCESS
    assert await owed(rest) - before == -4 * INTERVAL


async def test_costly_finishes_of_one_moment_each_count(rest: Rest) -> None:
    leases = [await leased(rest, f"j{n}", interval=INTERVAL, burst=20) for n in range(12)]
    before = await owed(rest)

    answers = await asyncio.gather(
        *(
            rest.post(f"/finish/t/q/j{n}/", {"lease": lease, "cost": 2})
            for n, lease in enumerate(leases)
        )
    )
    assert [answer.outcome for answer in answers] == [SUCCESS] * 12
    assert await owed(rest) - before == 12 * INTERVAL


async def test_the_real_cost_is_charged_with_a_release(rest: Rest) -> None:
    lease = await leased(rest, interval=INTERVAL)
    before = await owed(rest)
    answer = await rest.post("/release/t/q/j/", {"lease": lease, "cost": 4, "delay": 5})
    assert answer.outcome == QUEUED
    assert await owed(rest) - before == 3 * INTERVAL


@pytest.mark.parametrize("cost", [0, -1, 1_000_001, 1.5, "5", True, [], {}])
async def test_a_cost_that_cannot_be_changes_nothing(rest: Rest, cost: Any) -> None:
    lease = await leased(rest, interval=INTERVAL)
    before = await owed(rest)
    for route in ("finish", "release"):
        answer = await rest.post(f"/{route}/t/q/j/", {"lease": lease, "cost": cost})
        assert answer.error == (400, "invalid_argument")
        assert answer.body["message"] == "`cost` has an invalid value."
        assert answer.body["expected"] == "an integer from 1 to 1000000"
    assert await owed(rest) == before
    assert (await rest.post("/finish/t/q/j/", {"lease": lease})).outcome == SUCCESS


@pytest.mark.parametrize("body", [b"cost=5", b"[5]", b'"cost"', b'{"cost": null}', b"{}", b""])
async def test_a_body_of_a_finish_without_a_cost_is_as_ever(rest: Rest, body: bytes) -> None:
    await leased(rest, interval=INTERVAL)
    before = await owed(rest)
    assert (await rest.call("POST", "/finish/t/q/j/", body)).outcome == SUCCESS
    assert await owed(rest) == before


@pytest.mark.parametrize(
    ("scope", "path"),
    [({}, "t/q/"), ({"pause_scope": "queue"}, "t/q/"), ({"pause_scope": "group"}, "t/?group=g"),
     ({"pause_scope": "type"}, "t/")],
)  # fmt: skip
async def test_a_release_pauses_in_the_same_step(
    rest: Rest, scope: dict[str, str], path: str
) -> None:
    lease = await leased(rest, group="g", requeue_limit=0)
    answer = await rest.post("/release/t/q/j/", {"lease": lease, "pause": 3_600_000, **scope})
    assert answer.outcome == QUEUED, "uncounted: with no requeue left it is not dead"
    levels = {level: await paused(rest, level) for level in ("t/q/", "t/?group=g", "t/")}
    assert levels == {level: ("worker", True) if level == path else None for level in levels}
    assert (await rest.post("/dequeue/t/")).error == (404, "nothing_ready")
    if path != "t/":
        await rest.post(f"/resume/{path}")
        assert (await take(rest))["job_id"] == "j"


async def test_a_group_goes_on_after_a_pause_of_its_type(rest: Rest) -> None:
    lease = await leased(rest, group="g")
    fields = {"lease": lease, "pause": 60_000, "pause_scope": "type"}
    assert (await rest.post("/release/t/q/j/", fields)).outcome == QUEUED
    await rest.post("/resume/t/")
    assert (await take(rest))["job_id"] == "j"


async def test_a_pause_of_a_worker_ends_by_itself(rest: Rest) -> None:
    lease = await leased(rest)
    assert (await rest.post("/release/t/q/j/", {"lease": lease, "pause": 300})).outcome == QUEUED
    assert (await rest.post("/dequeue/t/")).error == (404, "nothing_ready")
    assert (await rest.post("/dequeue/t/?wait=5")).body["job_id"] == "j"


async def test_a_worker_makes_no_pause_shorter(rest: Rest) -> None:
    lease = await leased(rest)
    await rest.post("/pause/t/q/")
    assert (await rest.post("/release/t/q/j/", {"lease": lease, "pause": 1})).outcome == QUEUED
    assert await paused(rest, "t/q/") == ("api", False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({"pause": it}, "`pause` has an invalid value.") for it in (0, -1, 3_600_001, 1.5, "1")),
        ({"pause": True}, "`pause` has an invalid value."),
        ({"pause": 1, "pause_scope": "all"}, "`pause_scope` has an invalid value."),
        ({"pause": 1, "pause_scope": 5}, "`pause_scope` has an invalid value."),
        ({"pause_scope": "queue"}, "`pause_scope` is the scope of a `pause`, and there is none."),
        (
            {"pause": 1, "count_requeue": True},
            "A release with a `pause` does not count: no `count_requeue`.",
        ),
    ],
)
async def test_a_pause_that_cannot_be_changes_nothing(
    rest: Rest, fields: dict[str, Any], message: str
) -> None:
    lease = await leased(rest)
    answer = await rest.post("/release/t/q/j/", {"lease": lease, **fields})
    assert answer.error == (400, "invalid_argument")
    assert answer.body["message"] == message
    assert await paused(rest, "t/q/") is None
    assert (await rest.post("/finish/t/q/j/", {"lease": lease})).outcome == SUCCESS


async def test_a_lease_that_is_over_pauses_nothing(rest: Rest) -> None:
    lease = await leased(rest)
    await rest.post("/finish/t/q/j/", {"lease": lease})
    answer = await rest.post("/release/t/q/j/", {"lease": lease, "pause": 60_000, "cost": 5})
    assert answer.error == (404, "already_finished")
    assert await paused(rest, "t/q/") is None


# ---- in frames ----


async def test_values_beside_leases_are_for_all(rest: Rest, connect: Any) -> None:
    leases = [await leased(rest, f"j{n}", interval=INTERVAL, burst=5) for n in range(3)]
    before = await owed(rest)
    async with await connect() as subscriber:
        answer = await subscriber.ask(op="finish", leases=[*leases[:2], "x"], cost=3)
        assert answer["results"] == ["success", "success", "invalid_argument"]
        assert await owed(rest) - before == 4 * INTERVAL
        answer = await subscriber.ask(op="release", leases=leases[2:], cost=2, pause=60_000)
        assert answer["results"] == ["success"]
    assert await owed(rest) - before == 5 * INTERVAL
    assert await paused(rest, "t/q/") == ("worker", True)


async def test_items_end_each_in_its_way(rest: Rest, connect: Any) -> None:
    leases = [await leased(rest, f"j{n}", interval=INTERVAL, burst=9) for n in range(6)]
    before = await owed(rest)
    async with await connect() as subscriber:
        items: list[Any] = [
            {"lease": leases[0], "cost": 3},
            {"lease": leases[1]},
            {"lease": leases[2], "cost": 0},
            {"lease": leases[2], "pause": 1},
            {"cost": 1},
            "x",
            {"lease": leases[0], "cost": 9},
        ]
        answer = await subscriber.ask(op="finish", items=items)
        bad = "invalid_argument"
        assert answer["results"] == ["success", "success", bad, bad, bad, bad, "already_finished"]
        assert await owed(rest) - before == 2 * INTERVAL
        items = [
            {"lease": leases[2], "delay": INTERVAL},
            {"lease": leases[3], "pause": 60_000, "pause_scope": "queue", "cost": 2},
            {"lease": leases[4], "pause_scope": "queue"},
        ]
        answer = await subscriber.ask(op="release", items=items)
        assert answer["results"] == ["success", "success", bad]
    assert await owed(rest) - before == 3 * INTERVAL
    assert await paused(rest, "t/q/") == ("worker", True)


async def test_a_lease_with_an_invalid_value_stays_held(rest: Rest, connect: Any) -> None:
    for at in range(3):
        await rest.enqueue(job_id=f"j{at}")
    async with await connect() as subscriber:
        await subscriber.subscribe(credit=1)
        (job,) = await subscriber.jobs(1)
        await subscriber.ask(op="finish", items=[{"lease": job["lease"], "cost": 0}])
        assert await subscriber.nothing_comes(), "its place is taken"
        await subscriber.ask(op="finish", items=[{"lease": job["lease"], "cost": 1}])
        await subscriber.jobs(1)


# ---- with tokens ----


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        write_tokens(tmp_path / "tokens", TOKENS)
        return {"sharq-server": {"token_file": str(tmp_path / "tokens")}}

    @staticmethod
    async def leased(rest: Rest, job_id: str, queue_type: str = "t") -> str:
        root = {"Authorization": "Bearer root"}
        body = {"job_id": job_id, "interval": 0, "payload": 1, "group": "g"}
        await rest.call("POST", f"/enqueue/{queue_type}/q/", body, root)
        lease: str = (await rest.call("POST", f"/dequeue/{queue_type}/", b"", root)).body["lease"]
        return lease

    @pytest.mark.parametrize("scope", ["queue", "group", "type"])
    async def test_a_pause_of_others_needs_its_operation(
        self, rest: Rest, connect: Any, scope: str
    ) -> None:
        fields = {"pause": 60_000, "pause_scope": scope}
        lease = await self.leased(rest, "j")
        refused = scope != "queue"
        worker = {"Authorization": "Bearer worker"}
        body = {"lease": lease, **fields}
        if refused:
            answer = await rest.call("POST", "/release/t/q/j/", body, worker)
            assert answer.error == (403, "forbidden")
            async with await connect(**worker) as subscriber:
                answer = await subscriber.ask(op="release", leases=[lease], **fields)
                assert (answer["event"], answer["code"]) == ("error", "forbidden")
                items = [body, {"lease": "t/q/j/1"}]
                answer = await subscriber.ask(op="release", items=items)
                assert answer["results"] == ["forbidden", "stale_lease"]
                assert (await subscriber.ask(op="release", items=items[:1]))["results"] == [
                    "forbidden"
                ]
        bearer = {"Authorization": "Bearer pauser"} if refused else worker
        answer = await rest.call("POST", "/release/t/q/j/", body, bearer)
        assert answer.outcome == QUEUED

    async def test_items_of_other_types_are_refused_alone(self, rest: Rest, connect: Any) -> None:
        mine, other = await self.leased(rest, "j"), await self.leased(rest, "j", "u")
        async with await connect(Authorization="Bearer worker") as subscriber:
            items = [{"lease": other, "cost": 2}, {"lease": mine, "cost": 2}]
            answer = await subscriber.ask(op="finish", items=items)
            assert answer["results"] == ["forbidden", "success"]
