"""What servers hand out, told to those who tail a type: over one server and over two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from tornado.httpclient import AsyncHTTPClient

from sharq_server import SharQServer
from sharq_server.watch.tail import MOST
from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=30)


class Viewer:
    """A client that tails a type: what it has been told."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self.jobs: list[dict[str, Any]] = []
        self.more = 0
        self.most = 0

    async def tail(self, *queue_types: str) -> None:
        topics = [f"tail/{each}" for each in queue_types]
        answer = await self._subscriber.ask(op="watch", topics=topics)
        assert answer["event"] == "reply", answer
        for topic in topics:
            event = await self._subscriber.event("watch")
            assert event == {
                "event": "watch",
                "topic": topic,
                "full": True,
                "data": {"jobs": [], "more": 0},
            }

    async def see(self) -> None:
        """Take the next event."""
        data = (await self._subscriber.event("watch"))["data"]
        self.jobs += data["jobs"]
        self.more += data["more"]
        self.most = max(self.most, len(data["jobs"]))

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many jobs were told of, or counted; those that were told."""
        while len(self.jobs) + self.more < count:
            await self.see()
        assert len(self.jobs) + self.more == count
        return self.jobs


@pytest.fixture
def connect(http_port: int, http_server: object) -> Any:
    return lambda: Subscriber.connect(http_port)


@pytest.fixture
def other(another_server: int, http_client: AsyncHTTPClient) -> Rest:
    """The REST API of the other server."""
    return Rest(http_client, another_server)


async def enqueue(rest: Rest, *job_ids: str, queue_id: str = "q") -> None:
    for job_id in job_ids:
        body = {"job_id": job_id, "interval": 0, "payload": {"secret": 1}}
        assert (await rest.post(f"/enqueue/sms/{queue_id}/", body)).status == 201


async def becomes(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.02)


async def followed(*servers: SharQServer) -> None:
    """Wait until servers follow the type."""
    await becomes(lambda: all("sms" in each.push.handing for each in servers))


async def test_each_way_by_which_a_job_is_handed_out(
    rest: Rest, connect: Any, server: SharQServer
) -> None:
    async with await connect() as subscriber, await connect() as worker:
        viewer = Viewer(subscriber)
        await viewer.tail("sms")
        await enqueue(rest, "rest", "bulk", "fetch")
        lease = (await rest.get("/dequeue/sms/")).body["lease"]
        await rest.get("/dequeue/sms/?count=1")
        await worker.ask(op="dequeue", queue_type="sms")
        waiting = asyncio.ensure_future(rest.get("/dequeue/sms/?wait=10"))
        await becomes(lambda: bool(server.push.count().get("sms")))
        await enqueue(rest, "wait")
        assert (await waiting).status == 200
        await worker.subscribe("sms", worker="w-1")
        await rest.post("/release/sms/q/rest/", {"lease": lease})
        assert await worker.jobs(1)
        jobs = await viewer.until(5)
        told = [(job["job_id"], job["how"], job["attempt"], job.get("worker")) for job in jobs]
        assert told == [
            ("rest", "rest", 1, None),
            ("bulk", "bulk", 1, None),
            ("fetch", "fetch", 1, None),
            ("wait", "wait", 1, None),
            ("rest", "push", 2, "w-1"),
        ]
        assert {job["queue_id"] for job in jobs} == {"q"}
        assert [job["at"] for job in jobs] == sorted(job["at"] for job in jobs)
        names = {"at", "queue_id", "job_id", "how", "attempt", "worker"}
        assert set().union(*jobs) == names, "neither payloads nor leases"


async def test_what_another_server_hands_out_is_told(
    rest: Rest, connect: Any, other: Rest, another_server: int, second_server: SharQServer
) -> None:
    await enqueue(rest, "before", "a", "b", "c")
    assert (await other.get("/dequeue/sms/")).body["job_id"] == "before"
    async with await connect() as subscriber, await Subscriber.connect(another_server) as worker:
        viewer = Viewer(subscriber)
        await viewer.tail("sms")
        await followed(second_server)
        await rest.get("/dequeue/sms/")
        await other.get("/dequeue/sms/?count=1")
        await worker.subscribe("sms", 1, worker="w-1")
        told = {(job["job_id"], job["how"], job.get("worker")) for job in await viewer.until(3)}
        assert told == {("a", "rest", None), ("b", "bulk", None), ("c", "push", "w-1")}


async def test_viewers_at_two_servers_are_told_everything(
    rest: Rest, connect: Any, other: Rest, another_server: int
) -> None:
    async with await connect() as here, await Subscriber.connect(another_server) as there:
        viewers = Viewer(here), Viewer(there)
        for viewer in viewers:
            await viewer.tail("sms")
        await enqueue(rest, *map(str, range(60)))
        # Until each server follows for the other one, too.
        for viewer, away in zip(viewers, (other, rest), strict=True):
            waiting = asyncio.ensure_future(viewer.see())
            while not waiting.done():
                await away.get("/dequeue/sms/?count=1")
                await asyncio.sleep(0.1)
            await waiting
        last = ["x", "y"]
        await enqueue(rest, *last, queue_id="late")
        for each in (rest, other):
            while (await each.get("/dequeue/sms/?count=1")).status == 200:
                pass
        await enqueue(rest, *last, queue_id="end")
        for each in (rest, other):
            assert (await each.get("/dequeue/sms/")).body["queue_id"] == "end"
        for viewer in viewers:
            while {job["job_id"] for job in viewer.jobs if job["queue_id"] == "end"} != {*last}:
                await viewer.see()


async def test_at_most_so_many_are_told_and_the_others_counted(
    rest: Rest, connect: Any, other: Rest, server: SharQServer, second_server: SharQServer
) -> None:
    count = 2 * 3 * MOST
    jobs = [
        {"queue_type": "sms", "queue_id": "q", "job_id": str(at), "interval": 0, "payload": 1}
        for at in range(count)
    ]
    for at in range(0, count, MOST):
        assert (await rest.post("/enqueue/", {"jobs": jobs[at : at + MOST]})).status == 200
    async with await connect() as subscriber:
        viewer = Viewer(subscriber)
        await viewer.tail("sms")
        await followed(server, second_server)
        for _ in range(3):
            for each in (rest, other):
                taken = (await each.get(f"/dequeue/sms/?count={MOST}")).body["jobs"]
                assert len(taken) == MOST
        told = await viewer.until(count)
        assert viewer.most == MOST
        assert len({job["job_id"] for job in told}) == len(told) < count


@pytest.mark.parametrize("how", ["unwatched", "closed"])
async def test_nothing_is_published_while_nobody_tails(
    rest: Rest,
    connect: Any,
    other: Rest,
    second_server: SharQServer,
    store: PrivateStore,
    key_prefix: str,
    how: str,
) -> None:
    with redis.Redis(unix_socket_path=store.socket_path) as client, client.pubsub() as heard:
        heard.psubscribe(f"*{key_prefix}*")

        def published() -> list[bytes]:
            """What servers have told each other since the last time."""
            found = []
            while (message := heard.get_message(timeout=0)) is not None:
                if message["type"] == "pmessage" and message["data"][:1] in (b"!", b"+"):
                    found.append(message["data"])
            return found

        await becomes(lambda: heard.get_message() is not None)
        await enqueue(rest, *map(str, range(30)))
        await other.get("/dequeue/sms/")
        assert published() == []
        async with await connect() as subscriber:
            viewer = Viewer(subscriber)
            await viewer.tail("sms")
            await followed(second_server)
            await other.get("/dequeue/sms/")
            await viewer.until(1)
            assert {each[:1] for each in published()} == {b"!", b"+"}
            if how == "unwatched":
                await subscriber.ask(op="watch", topics=[])
        # A call that was under way is over.
        await asyncio.sleep(0.3)
        published()
        # Two rounds, and jobs that would be told in them.
        for _ in range(11):
            await asyncio.sleep(0.2)
            assert (await other.get("/dequeue/sms/")).status == 200
        assert published() == []


@pytest.mark.parametrize("topics", [["tail"], ["tail/"], ["tail/a/b"], ["tail/a b"]])
async def test_topics_that_make_no_sense_are_refused(connect: Any, topics: Any) -> None:
    async with await connect() as subscriber:
        answer = await subscriber.ask(op="watch", topics=topics)
        assert (answer["event"], answer["code"]) == ("error", "invalid_argument")
