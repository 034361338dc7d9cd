"""Who holds a lease, told to those who look at it: over one server and over two."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.server.subscriber import Subscriber
from tests.server.support import Rest, write_tokens
from tests.server.viewer import Viewer, calls_within
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture
def connect(http_port: int, http_server: object) -> Any:
    return lambda: Subscriber.connect(http_port)


def topic_of(job: dict[str, Any]) -> str:
    return f"holder/{job['lease']}"


async def enqueue(rest: Rest, job_id: str = "j") -> None:
    body = {"job_id": job_id, "interval": 0, "payload": 1}
    assert (await rest.post("/enqueue/sms/q/", body)).status == 201


async def leased(rest: Rest, holder: Subscriber, **more: Any) -> dict[str, Any]:
    """A job that a worker has got from its subscription."""
    await holder.subscribe("sms", 1, **more)
    await enqueue(rest)
    [job] = await holder.jobs(1)
    return job


async def held_by(viewer: Viewer, topic: str, worker: str | None) -> Any:
    """Wait until a lease is told to be held by a worker; by nobody that is known for None."""

    def holds(data: Any) -> bool:
        if worker is None:
            return data["asked"] and "holder" not in data
        return data.get("holder", {}).get("worker") == worker

    return (await viewer.until(topic, holds)).get("holder")


async def test_a_worker_of_this_server(rest: Rest, connect: Any) -> None:
    async with await connect() as worker, await connect() as looker:
        job = await leased(rest, worker, worker="host-1")
        viewer, topic = Viewer(looker), topic_of(job)
        await viewer.watch(topic)
        await viewer.see()
        holder = viewer.shown[topic]["holder"]
        assert (holder["worker"], holder["mode"]) == ("host-1", "deliver")
        assert "token" not in holder
        assert holder["since"] % 1000 == 0
        assert abs(holder["since"] - 1000 * time.time()) < 15_000
        assert await worker.finish(job) == ["success"]
        await held_by(viewer, topic, None)


async def test_a_worker_of_another_server(
    rest: Rest, connect: Any, another_server: int, store: PrivateStore
) -> None:
    async with await connect() as looker, await Subscriber.connect(another_server) as worker:
        job = await leased(rest, worker, worker="host-2")
        viewer, topic = Viewer(looker), topic_of(job)
        await viewer.watch(topic, "workers")
        await viewer.see()
        assert viewer.shown[topic] == {"asked": False}, "nobody has had the time to answer"
        holder = await held_by(viewer, topic, "host-2")
        shown = await viewer.until("workers", lambda data: data["workers"])
        [subscribed] = shown["workers"].values()
        assert holder["server"] == subscribed["server"]
        assert holder["host"] == shown["servers"][holder["server"]]["host"]


async def test_a_worker_that_fetches_and_has_no_name(rest: Rest, connect: Any) -> None:
    async with await connect() as worker, await connect() as looker:
        await worker.subscribe("sms", 5, mode="notify")
        await enqueue(rest)
        await worker.event("ready")
        [job] = (await worker.ask(op="dequeue", queue_type="sms"))["jobs"]
        viewer, topic = Viewer(looker), topic_of(job)
        await viewer.watch(topic)
        holder = (await viewer.until(topic, lambda data: "holder" in data))["holder"]
        assert holder["mode"] == "notify"
        assert "worker" not in holder
        # It holds the job, and subscribes no more.
        await worker.ask(op="unsubscribe", queue_type="sms")
        await viewer.until(topic, lambda data: "mode" not in data["holder"])


async def test_who_took_it_over_rest_is_not_known(
    rest: Rest, connect: Any, another_server: int
) -> None:
    await enqueue(rest)
    job = (await rest.post("/dequeue/sms/", {})).body
    async with await connect() as looker:
        viewer, topic = Viewer(looker), topic_of(job)
        await viewer.watch(topic)
        assert await held_by(viewer, topic, None) is None


async def test_a_worker_that_has_gone(rest: Rest, connect: Any, another_server: int) -> None:
    async with await connect() as looker:
        viewer = Viewer(looker)
        async with await Subscriber.connect(another_server) as worker:
            job = await leased(rest, worker, worker="host-2", on_disconnect="keep")
            await viewer.watch(topic_of(job))
            await held_by(viewer, topic_of(job), "host-2")
        await held_by(viewer, topic_of(job), None)
        assert (await rest.get("/status/sms/q/j/?payload=true")).body["lease"] == job["lease"]


async def test_a_worker_that_has_moved_to_another_server(
    rest: Rest, connect: Any, another_server: int
) -> None:
    """Its former connection is still there: the later one is told."""
    async with (
        await connect() as former,
        await connect() as looker,
        await Subscriber.connect(another_server) as later,
    ):
        job = await leased(rest, former, worker="former")
        viewer = Viewer(looker)
        await viewer.watch(topic_of(job))
        await held_by(viewer, topic_of(job), "former")
        # Times are told to the second.
        while round(time.time()) * 1000 <= viewer.shown[topic_of(job)]["holder"]["since"]:
            await viewer.subscriber.nothing_comes("none")
        await later.subscribe("sms", 5, worker="later", leases=[job["lease"]])
        await held_by(viewer, topic_of(job), "later")


async def test_nothing_is_asked_while_nobody_looks(
    rest: Rest, connect: Any, another_server: int, store: PrivateStore
) -> None:
    async with await connect() as looker, await Subscriber.connect(another_server) as worker:
        job = await leased(rest, worker, worker="host-2")
        viewer = Viewer(looker)
        await viewer.watch(topic_of(job))
        await held_by(viewer, topic_of(job), "host-2")
        # A call a second, and its answer.
        assert 2 <= await calls_within(store, 2.2) <= 6
        await viewer.watch()
        assert await calls_within(store, 2.2) == 0


class TestTokens:
    """Who may see it."""

    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        write_tokens(
            path,
            {
                "root": (["*"], ["*"]),
                "operator": (["metrics"], ["sms"]),
                "other": (["metrics"], ["mail"]),
                "worker": (["dequeue", "enqueue"], ["sms"]),
            },
        )
        return {"sharq-server": {"token_file": str(path)}}

    async def test_the_name_of_the_token_is_told_to_those_who_reach_the_type(
        self, http_port: int, http_server: object
    ) -> None:
        async def connect(secret: str) -> Subscriber:
            return await Subscriber.connect(http_port, Authorization=f"Bearer {secret}")

        async with await connect("worker") as worker, await connect("operator") as operator:
            await worker.subscribe("sms", 5)
            job = {"queue_type": "sms", "queue_id": "q", "job_id": "j", "interval": 0, "payload": 1}
            await worker.ask(op="enqueue", jobs=[job])
            [job] = await worker.jobs(1)
            topic = topic_of(job)
            viewer = Viewer(operator)
            await viewer.watch(topic)
            shown = await viewer.until(topic, lambda data: "holder" in data)
            assert shown["holder"]["token"] == "worker"
            async with await connect("other") as other:
                answer = await other.ask(op="watch", topics=[topic])
                assert (answer["event"], answer["code"]) == ("error", "forbidden")
                answer = await other.ask(op="watch", topics=["types", topic])
                assert answer["event"] == "reply"
                viewer = Viewer(other)
                await viewer.until("types", lambda data: True)
                assert [each["code"] for each in viewer.problems] == ["forbidden"]
                assert viewer.shown.keys() == {"types"}
            answer = await worker.ask(op="watch", topics=[topic])
            assert (answer["event"], answer["code"]) == ("error", "forbidden")
            assert "`metrics`" in answer["message"]
