"""With a `request_id` a dequeue may be repeated, whatever became of the first one's answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sharq.settings.reading import Settings
from sharq_server import SharQServer
from tests.server.command import Server
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest
from tests.support.proxy import Proxy
from tests.support.stores import PrivateStore, wait_for

pytestmark = pytest.mark.gen_test(timeout=15)

PATH = "/dequeue/t/?request_id=once"
FRAME: dict[str, Any] = {"op": "dequeue", "queue_type": "t", "request_id": "once"}


@pytest.fixture
def proxy(store: PrivateStore) -> Iterator[Proxy]:
    store.load_scripts()
    with Proxy((store.host, store.port)) as proxy:
        yield proxy


@pytest.fixture
def settings(proxy: Proxy, key_prefix: str) -> Settings:
    return Settings.from_mapping(
        {
            "sharq": {"enable_requeue_script": False},
            "redis": {"conn_type": "tcp_sock", "port": proxy.port, "key_prefix": key_prefix},
        }
    )


async def enqueue_two(rest: Rest) -> None:
    for name in "ab":
        assert (await rest.enqueue(job_id=name)).status == 201


async def states(rest: Rest) -> dict[str, str]:
    return {name: (await rest.get(f"/status/t/q/{name}/")).body["state"] for name in "ab"}


ONE_LEASED = {"a": "active", "b": "queued"}


async def test_a_lost_reply_is_asked_for_again_by_the_server_itself(
    rest: Rest, proxy: Proxy, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await enqueue_two(rest)
    proxy.lose_replies_to(b"once", 1)
    assert (await rest.get(PATH)).body["job_id"] == "a"
    assert await states(rest) == ONE_LEASED


async def test_a_client_that_learns_of_a_lost_reply_repeats_its_request(
    rest: Rest, proxy: Proxy, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await enqueue_two(rest)
    proxy.lose_replies_to(b"once", 2)
    answer = await rest.get(PATH)
    assert answer.error == (503, "store_unavailable")
    assert answer.body["outcome"] == "unknown"
    assert (await rest.get(PATH)).body["job_id"] == "a"
    assert await states(rest) == ONE_LEASED


async def test_a_client_that_learns_of_a_lost_reply_repeats_its_frame(
    rest: Rest, server: SharQServer, http_port: int, proxy: Proxy, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    await enqueue_two(rest)
    async with await Subscriber.connect(http_port) as socket:
        proxy.lose_replies_to(b"once", 2)
        answer = await socket.ask(**FRAME)
        assert (answer["event"], answer["code"]) == ("error", "store_unavailable")
        assert answer["outcome"] == "unknown"
        (job,) = (await socket.ask(**FRAME))["jobs"]
        assert job["job_id"] == "a"
        assert await socket.finish(job) == ["success"]
    assert await states(rest) == {"a": "finished", "b": "queued"}


async def test_requests_at_once_get_the_same_job(
    rest: Rest, server: SharQServer, http_port: int
) -> None:
    await enqueue_two(rest)
    async with await Subscriber.connect(http_port) as socket:
        frame_id = socket.send(**FRAME)
        first, second, polled = await asyncio.gather(
            rest.get(PATH), rest.get(PATH), rest.get(PATH + "&wait=2")
        )
        (job,) = (await socket.answer(frame_id))["jobs"]
        leases = {job["lease"], *(answer.body["lease"] for answer in (first, second, polled))}
        assert len(leases) == 1
    assert await states(rest) == ONE_LEASED


@pytest.mark.parametrize("end", ["finish", "release", "clear"])
async def test_after_the_end_of_the_lease_nothing_new_is_leased(
    rest: Rest, server: SharQServer, http_port: int, end: str
) -> None:
    await enqueue_two(rest)
    lease = (await rest.get(PATH)).body["lease"]
    if end == "clear":
        await rest.delete("/deletequeue/t/q/", {"purge_all": True})
        await enqueue_two(rest)
    else:
        assert (await rest.post(f"/{end}/t/q/a/", {"lease": lease})).status == 200
    assert (await rest.get(PATH)).error == (404, "nothing_ready")
    async with await Subscriber.connect(http_port) as socket:
        assert (await socket.ask(**FRAME))["jobs"] == []
    assert (await states(rest))["b"] == "queued"


def test_the_answer_of_a_server_that_was_killed_is_given_by_another(
    store: PrivateStore, key_prefix: str, tmp_path: Path
) -> None:
    environ = {
        "SHARQ_REDIS_CONN_TYPE": "unix_sock",
        "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        "SHARQ_REDIS_KEY_PREFIX": key_prefix,
    }
    store.load_scripts()
    with Proxy((store.host, store.port)) as proxy:
        through = environ | {
            "SHARQ_REDIS_CONN_TYPE": "tcp_sock",
            "SHARQ_REDIS_PORT": str(proxy.port),
        }
        with Server(tmp_path, embedded=False, **through) as first:
            for name in "ab":
                job = {"job_id": name, "payload": 1, "interval": 0}
                assert first.call("POST", "/enqueue/t/q/", job)[0] == 201
            proxy.drop_replies()
            connection = first.connect()
            connection.request("GET", PATH)
            leases = f"{{{key_prefix}:t}}:leases"
            wait_for("a job is leased", lambda: store.client.exists(leases))
            first.kill()
            connection.close()
    with Server(tmp_path, embedded=False, **environ) as second:
        status, answer = second.call("GET", PATH)
        assert (status, answer["job_id"]) == (200, "a"), json.dumps(answer)
        assert second.call("GET", PATH) == (200, answer)
        assert second.call("GET", "/status/t/q/b/")[1]["state"] == "queued"
        assert second.call("POST", "/finish/t/q/a/", {"lease": answer["lease"]})[0] == 200
