"""What operators see live: the frame `watch`, over one server and over two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sharq_server import SharQServer
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest, write_tokens
from tests.server.viewer import Viewer, calls_within
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture
def connect(http_port: int, http_server: object) -> Any:
    return lambda: Subscriber.connect(http_port)


async def enqueue(rest: Rest, queue_id: str, *job_ids: str, interval: int = 1, **more: Any) -> None:
    for job_id in job_ids:
        body = {"job_id": job_id, "interval": interval, "payload": {"n": 1}, **more}
        answer = await rest.post(f"/enqueue/sms/{queue_id}/", body)
        assert answer.status == 201, answer


async def test_a_type_is_shown_as_it_changes(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "q", "a", "b")
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("types")
        shown = await viewer.until("types", lambda data: "sms" in data["types"])
        entry = shown["types"]["sms"]
        assert (entry["waiting"], entry["active"], entry["dead"], entry["early"]) == (2, 0, 0, 0)
        assert (entry["ready"], entry["held"], entry["subscribers"]) == (1, 0, 0)
        assert [sum(minute) for minute in zip(*entry["minutes"].values(), strict=True)] == [2, 0, 0]
        job = (await rest.get("/dequeue/sms/")).body
        await rest.post(f"/finish/sms/q/{job['job_id']}/", {"lease": job["lease"]})
        await viewer.until(
            "types",
            lambda data: (
                [
                    sum(minute)
                    for minute in zip(*data["types"]["sms"]["minutes"].values(), strict=True)
                ]
                == [2, 1, 1]
            ),
        )
        assert viewer.shown["types"]["types"]["sms"]["waiting"] == 1
        assert viewer.wholes == 1


async def test_differences_are_only_what_has_changed(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "q", "a")
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("queue/sms/q")
        await viewer.see()
        await enqueue(rest, "q", "b")
        while (event := await subscriber.event("watch"))["data"].keys() == {"at"}:
            pass
        assert "full" not in event
        assert event["data"]["metrics"]["queue_length"] == 2
        assert "interval" not in event["data"]["metrics"]


async def test_the_first_queues_of_a_type_are_listed(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "long", *map(str, range(5)), interval=10)
    await enqueue(rest, "slow", "1", "2", interval=60_000)
    await enqueue(rest, "free", "1", interval=0)
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("type/sms")
        shown = await viewer.until("type/sms", lambda data: len(data["queues"]) == 3)
        assert shown["tops"]["backlog"] == ["long", "slow", "free"]
        assert shown["tops"]["drain"] == ["slow", "long"]
        assert shown["tops"]["oldest"] == ["long", "slow", "free"]
        assert shown["looked"]["queues"] == shown["looked"]["of"] == 3
        assert shown["queues"]["slow"]["waiting"] == 2
        assert shown["queues"]["slow"]["interval"] == 60_000
        assert "interval" not in shown["queues"]["free"]
        assert shown["limits"]["limits"] == {}
        assert {each["held_by"] for each in shown["queues"].values()} == {"nothing"}
        assert 59_000 <= shown["queues"]["slow"]["drained_in"] <= 60_000
        await rest.get("/dequeue/sms/?count=3")
        shown = await viewer.until("type/sms", lambda data: "free" not in data["queues"])
        assert shown["queues"]["slow"]["held_by"] == "interval"
        assert shown["queues"]["slow"]["due"] > shown["at"] + 50_000
        assert "slow" not in shown["tops"]["oldest"]


async def test_a_queue_is_told_what_holds_its_group(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "own", *map(str, range(9)), interval=10_000)
    await enqueue(rest, "one", "a", "b", "c", interval=10, group="slow")
    await enqueue(rest, "stopped", "a", interval=10, group="stopped")
    await rest.post("/limits/sms/?group=slow", {"interval": 60_000})
    await rest.post("/pause/sms/?group=stopped", {})
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("type/sms")
        shown = await viewer.until("type/sms", lambda data: len(data["queues"]) == 3)
        queues, tops = shown["queues"], shown["tops"]
        assert tops["drain"] == ["stopped", "one", "own"]
        assert set(tops["oldest"]) == {"one", "own"}
        assert queues["stopped"]["held_by"] == "group_paused"
        assert not {"due", "drained_in"} & queues["stopped"].keys()
        assert 100_000 < queues["one"]["drained_in"] <= 120_000
        await rest.post("/pause/sms/?group=stopped", {"for": 600_000})
        await rest.get("/dequeue/sms/?count=3")
        shown = await viewer.until(
            "type/sms", lambda data: data["queues"]["one"]["held_by"] == "group_interval"
        )
        stopped = shown["queues"]["stopped"]
        assert 590_000 < stopped["due"] - shown["at"] <= 600_000
        assert stopped["drained_in"] > 590_000
        assert shown["tops"]["oldest"] == []


async def test_a_queue_of_a_group_stands_where_its_group_does(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "q", "a", "b", group="g")
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("type/sms")
        shown = await viewer.until("type/sms", lambda data: data["tops"].get("backlog"))
        assert shown["tops"] == {"backlog": ["q"], "oldest": ["q"], "drain": ["q"]}
        assert shown["queues"]["q"]["group"] == "g"


async def test_a_queue_whose_group_waits_is_not_ready(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "q", "a", "b", group="g")
    await enqueue(rest, "r", "a", interval=0)
    await rest.post("/limits/sms/?group=g", {"interval": 60_000})
    assert (await rest.get("/dequeue/sms/?count=2")).status == 200
    await enqueue(rest, "r", "b", interval=0)
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("type/sms")
        shown = await viewer.until("type/sms", lambda data: data["tops"].get("backlog"))
        assert shown["tops"]["oldest"] == ["r"]
        assert shown["queues"]["q"]["due"] > shown["at"] + 50_000
        await rest.post("/pause/sms/?group=g", {})
        shown = await viewer.until("type/sms", lambda data: "due" not in data["queues"]["q"])
        assert shown["tops"]["oldest"] == ["r"]


async def test_subscribers_of_all_servers_are_shown(
    rest: Rest, connect: Any, server: SharQServer, another_server: int
) -> None:
    async with await connect() as here, await Subscriber.connect(another_server) as there:
        await here.subscribe("sms", 5, worker="one")
        await there.subscribe("sms", 7, mode="notify")
        viewer = Viewer(here)
        await viewer.watch("workers", "types")
        shown = await viewer.until("workers", lambda data: len(data["workers"]) == 2)
        workers = sorted(shown["workers"].values(), key=lambda each: each["credit"])
        assert [(each["mode"], each["credit"], each["held"]) for each in workers] == [
            ("deliver", 5, 0),
            ("notify", 7, 0),
        ]
        assert workers[0]["worker"] == "one"
        assert len({each["server"] for each in workers}) == len(shown["servers"]) == 2
        await enqueue(rest, "q", "a")
        await viewer.until(
            "types", lambda data: data["types"].get("sms", {}).get("subscribers") == 2
        )
        await viewer.until(
            "workers", lambda data: {each["held"] for each in data["workers"].values()} == {0, 1}
        )


async def test_two_servers_show_the_sample_of_one(
    rest: Rest, connect: Any, another_server: int, store: PrivateStore
) -> None:
    await enqueue(rest, "q", "a")
    async with await connect() as here, await Subscriber.connect(another_server) as there:
        viewers = Viewer(here), Viewer(there)
        for viewer in viewers:
            await viewer.watch("type/sms")
        for viewer in viewers:
            await viewer.until("type/sms", lambda data: data["tops"].get("backlog") == ["q"])


async def test_a_server_that_has_no_sample_of_another_yet_takes_its_own(
    rest: Rest, connect: Any, another_server: int
) -> None:
    await enqueue(rest, "q", "a")
    for server in (connect(), Subscriber.connect(another_server)):
        async with await server as subscriber:
            viewer = Viewer(subscriber)
            await viewer.watch("type/sms")
            shown = await viewer.until("type/sms", lambda data: True)
            assert shown["tops"]["backlog"] == ["q"]


async def test_a_look_at_few_queues_reaches_all_shards(rest: Rest, connect: Any) -> None:
    assert (await rest.post("/shards/sms/", {"shards": 64})).status == 200
    names = [f"q{number}" for number in range(30)]
    for name in names:
        await enqueue(rest, name, "a")
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("type/sms")
        shown = await viewer.until("type/sms", lambda data: True)
        assert shown["looked"]["queues"] == shown["looked"]["of"] == 30
        assert sorted(shown["tops"]["backlog"]) == sorted(names)
        await rest.post("/dequeue/sms/?count=29")
        await viewer.until("type/sms", lambda data: len(data["queues"]) == 1)


async def test_nobody_who_watches_costs_nothing(
    rest: Rest, connect: Any, store: PrivateStore
) -> None:
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.watch("types", "type/sms", "workers")
        await viewer.until("workers", lambda data: True)
        assert await calls_within(store, 2.2) >= 6
        await viewer.watch()
        assert await calls_within(store, 2.2) == 0


@pytest.mark.parametrize(
    "topics",
    [
        None,
        "types",
        5,
        ["jobs"],
        ["type"],
        ["type/"],
        ["type/a/b"],
        ["queue/a"],
        ["types"] * 9,
        [1],
        ["holder/a/b/c"],
        ["holder/a/b/c/1/2"],
    ],
)
async def test_topics_that_make_no_sense_are_refused(connect: Any, topics: Any) -> None:
    async with await connect() as subscriber:
        answer = await subscriber.ask(op="watch", topics=topics)
        assert (answer["event"], answer["code"]) == ("error", "invalid_argument")


async def test_a_new_watch_begins_with_the_whole(rest: Rest, connect: Any) -> None:
    await enqueue(rest, "q", "a")
    async with await connect() as first, await connect() as second:
        one, two = Viewer(first), Viewer(second)
        await one.watch("types")
        await one.see()
        await two.watch("types")
        await two.see()
        await one.watch("types")
        while one.wholes < 2:
            await one.see()
        assert one.shown["types"]["types"].keys() == two.shown["types"]["types"].keys()
        assert two.wholes == 1


class TestOwnStore:
    """With a store that may be stopped."""

    @pytest.fixture
    def store(self) -> Iterator[PrivateStore]:
        with PrivateStore(appendonly=True) as store:
            yield store

    async def test_a_store_that_is_away_is_told_once_and_then_the_whole(
        self, rest: Rest, connect: Any, store: PrivateStore, expect_log: ExpectLog
    ) -> None:
        expect_log(".*", certain=False)
        await enqueue(rest, "q", "a")
        async with await connect() as subscriber:
            viewer = Viewer(subscriber)
            await viewer.watch("types")
            await viewer.see()
            store.stop()
            while not viewer.problems:
                await viewer.see()
            store.start()
            while viewer.wholes < 2:
                await viewer.see()
        assert [each["code"] for each in viewer.problems] == ["store_unavailable"]

    async def test_a_full_store_shows_what_it_can(
        self, rest: Rest, connect: Any, store: PrivateStore, expect_log: ExpectLog
    ) -> None:
        expect_log(".*", certain=False)
        await enqueue(rest, "q", "a")
        store.client.config_set("maxmemory", 1)
        async with await connect() as subscriber:
            viewer = Viewer(subscriber)
            await viewer.watch("type/sms", "types")
            await viewer.until("types", lambda data: data["types"]["sms"]["waiting"] == 1)
            await viewer.until("type/sms", lambda data: data["tops"].get("backlog") == ["q"])


class TestTokens:
    """Who may see what."""

    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        write_tokens(
            path,
            {
                "root": (["*"], ["*"]),
                "operator": (["metrics"], ["sms"]),
                "worker": (["dequeue"], ["*"]),
            },
        )
        return {"sharq-server": {"token_file": str(path)}}

    async def test_a_viewer_sees_the_types_of_its_token(
        self, rest: Rest, http_port: int, http_server: object
    ) -> None:
        async def connect(secret: str) -> Subscriber:
            return await Subscriber.connect(http_port, Authorization=f"Bearer {secret}")

        async with await connect("root") as root, await connect("operator") as operator:
            for queue_type in ("sms", "mail"):
                await root.subscribe(queue_type)
                jobs = [
                    {
                        "queue_type": queue_type,
                        "queue_id": "q",
                        "job_id": "a",
                        "interval": 1,
                        "payload": 1,
                    }
                ]
                await root.ask(op="enqueue", jobs=jobs)
            everything, part = Viewer(root), Viewer(operator)
            for viewer in (everything, part):
                await viewer.watch("types", "workers")
            await everything.until("types", lambda data: data["types"].keys() == {"sms", "mail"})
            await part.until("types", lambda data: data["types"].keys() == {"sms"})
            await everything.until("workers", lambda data: len(data["workers"]) == 2)
            await part.until("workers", lambda data: len(data["workers"]) == 1)
            assert "mail" not in json.dumps(operator.seen[1:])
            for topic in ("type/mail", "queue/mail/q", "tail/mail", "holder/mail/q/a/1"):
                answer = await operator.ask(op="watch", topics=[topic])
                assert (answer["event"], answer["code"]) == ("error", "forbidden")
            # What is not within reach is refused alone.
            answer = await operator.ask(op="watch", topics=["type/mail", "types", "tail/mail"])
            assert answer["event"] == "reply"
            refused: list[str] = []
            while len(refused) < 2:
                event = await operator.event("watch")
                if "problem" in event:
                    assert event["problem"]["code"] == "forbidden"
                    refused.append(event["topic"])
            assert refused == ["type/mail", "tail/mail"]
            told = await operator.event("watch")
            assert (told["topic"], "data" in told) == ("types", True)
            assert "mail" not in json.dumps(told)
        async with await connect("worker") as worker:
            answer = await worker.ask(op="watch", topics=["types"])
            assert (answer["event"], answer["code"]) == ("error", "forbidden")
