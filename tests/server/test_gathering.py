"""What several connections say in one turn: few calls of the store, and to each its own answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sharq.operations.scripts import Scripts
from sharq.settings.reading import Settings
from sharq_server import SharQServer
from sharq_server.push.session import Session
from tests.server.conftest import ExpectLog
from tests.server.subscriber import Subscriber
from tests.server.support import Rest, write_tokens
from tests.support.proxy import Proxy
from tests.support.stores import PrivateStore

pytestmark = pytest.mark.gen_test(timeout=20)

DIGESTS = Scripts().digests


@pytest.fixture
def proxy(store: PrivateStore) -> Iterator[Proxy]:
    store.load_scripts()
    with Proxy((store.host, store.port)) as proxy:
        yield proxy


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    return {}


@pytest.fixture
def settings(proxy: Proxy, key_prefix: str, options: dict[str, dict[str, Any]]) -> Settings:
    redis = {"conn_type": "tcp_sock", "port": proxy.port, "key_prefix": key_prefix}
    sharq = {"enable_requeue_script": False}
    return Settings.from_mapping({"sharq": sharq, "redis": redis, **options})


class Client(Subscriber):
    """A client whose frames arrive in the turn in which they are said; answers come as ever."""

    session: Session

    def say(self, **frame: Any) -> int:
        """Have a frame arrive now, and return its id. When the kernel delivers, nobody knows."""
        frame_id: int = frame.setdefault("id", next(self._ids))
        assert self.session.on_frame(json.dumps(frame).encode()) is None
        return frame_id


Crowd = Sequence[Client]


@pytest.fixture
def crowd(http_port: int, http_server: object, server: SharQServer) -> Any:
    """Connects so many clients, which fetch jobs themselves."""

    @asynccontextmanager
    async def crowd(count: int, **headers: str) -> AsyncIterator[Crowd]:
        async with AsyncExitStack() as held:
            made = []
            for _ in range(count):
                client = await held.enter_async_context(await Client.connect(http_port, **headers))
                client.session = max(server.push.sessions, key=lambda each: each.number)
                made.append(client)
            yield made

    return crowd


async def leased(one: Subscriber, count: int, queue_type: str = "t") -> list[str]:
    """Enqueue and lease so many jobs, each of a queue of its own."""
    jobs = [
        {
            "queue_type": queue_type,
            "queue_id": f"q{at}",
            "job_id": f"j{at}",
            "interval": 0,
            "payload": at,
        }
        for at in range(count)
    ]
    for at in range(0, count, 100):
        await one.ask(op="enqueue", jobs=jobs[at : at + 100])
    leases: list[str] = []
    while len(leases) < count:
        answer = await one.ask(op="dequeue", queue_type=queue_type, count=min(100, count))
        leases += [job["lease"] for job in answer["jobs"]]
    return leases


async def told(each: Subscriber, frame_id: int) -> Any:
    """The results of a frame, or the code of the error."""
    answer = await each.answer(frame_id)
    return answer.get("results", answer.get("code"))


def calls(proxy: Proxy, script: str) -> int:
    """How often a script has been called since the last time."""
    count = proxy.requests.count(DIGESTS[script].encode())
    proxy.requests.clear()
    return count


async def test_the_finishes_of_a_turn_are_one_call(crowd: Any, proxy: Proxy) -> None:
    async with crowd(12) as clients:
        leases = await leased(clients[0], 24)
        calls(proxy, "finish_many")
        sent = [
            each.say(op="finish", leases=leases[2 * at : 2 * at + 2])
            for at, each in enumerate(clients)
        ]
        for each, frame_id in zip(clients, sent, strict=True):
            assert await told(each, frame_id) == ["success", "success"]
        assert calls(proxy, "finish_many") == 1


async def test_each_is_told_what_became_of_its_own(crowd: Any, proxy: Proxy, rest: Rest) -> None:
    async with crowd(4) as (one, two, three, four):
        a, b, c, d, e = await leased(one, 5)
        stale = e[:-1] + ("1" if e[-1] != "1" else "2")
        calls(proxy, "finish_many")
        sent = [
            one.say(op="finish", id=900, leases=[a]),
            two.say(op="finish", id=900, leases=[stale, b]),
            three.say(op="finish", id=901, leases=[b]),
            one.say(op="finish", id=902, leases=[d, a]),
            four.say(op="finish", id=900, leases=["nonsense", c]),
        ]
        assert await told(one, sent[0]) == ["success"]
        assert await told(two, sent[1]) == ["stale_lease", "success"]
        assert await told(three, sent[2]) == ["already_finished"]
        assert await told(one, sent[3]) == ["success", "already_finished"]
        # Not of one type, as far as the server looks: by itself.
        assert await told(four, sent[4]) == ["invalid_argument", "success"]
        assert [event["id"] for event in one.seen[-2:]] == [900, 902]
        assert calls(proxy, "finish_many") == 2


async def test_a_call_ends_no_more_than_a_hundred_leases_and_all_of_a_frame(
    crowd: Any, proxy: Proxy
) -> None:
    async with crowd(3) as clients:
        leases = await leased(clients[0], 160)
        proxy.requests.clear()
        parts = (leases[:60], leases[60:120], leases[120:])
        sent = [
            each.say(op="finish", leases=part) for each, part in zip(clients, parts, strict=True)
        ]
        for each, part, frame_id in zip(clients, parts, sent, strict=True):
            assert await told(each, frame_id) == ["success"] * len(part)
        # 100 and 60 would be as many calls; a lease has three words in one.
        head = rb"\*(\d+)\r\n\$7\r\nEVALSHA\r\n\$40\r\n" + DIGESTS["finish_many"].encode()
        words = [int(count) for count in re.findall(head, bytes(proxy.requests))]
        assert words[1] - words[0] == 3 * 40
        assert len(words) == 2


async def test_types_have_calls_of_their_own(crowd: Any, proxy: Proxy) -> None:
    async with crowd(3) as (one, two, three):
        (a, b), (c, d) = await leased(one, 2), await leased(one, 2, "other")
        calls(proxy, "finish_many")
        sent = [one.say(op="finish", leases=[a]), two.say(op="finish", leases=[c])]
        third = three.say(op="finish", leases=[b, d])
        assert [await told(one, sent[0]), await told(two, sent[1])] == [["success"]] * 2
        assert await told(three, third) == ["success", "success"]
        # Two of the frame with both types, which goes alone.
        assert calls(proxy, "finish_many") == 4


async def test_extends_by_the_same_time_are_one_call(crowd: Any, proxy: Proxy) -> None:
    async with crowd(3) as (one, two, three):
        a, b, c = await leased(one, 3)
        calls(proxy, "extend")
        sent = [
            one.say(op="extend", leases=[a], by=500_000),
            two.say(op="extend", leases=[b], by=500_000),
        ]
        third = three.say(op="extend", leases=[c], by=900_000)
        for each, frame_id in ((one, sent[0]), (two, sent[1])):
            ((_, left),) = [tuple(each.values()) for each in await told(each, frame_id)]
            assert 490_000 < left <= 500_000
        ((_, left),) = [tuple(one.values()) for one in await told(three, third)]
        assert 890_000 < left <= 900_000
        assert calls(proxy, "extend") == 2


async def test_what_one_connection_says_stays_in_its_order(crowd: Any, rest: Rest) -> None:
    async with crowd(2) as (one, two):
        a, b, c, d, e = await leased(one, 5)
        # Those of the second are gathered first: the first one's come behind its own others.
        before = two.say(op="finish", leases=[d])
        sent = [
            one.say(op="extend", leases=[a], by=500_000),
            one.say(op="finish", leases=[a]),
            one.say(op="finish", leases=[b]),
            one.say(op="release", leases=[b]),
            one.say(op="finish", leases=[c], cost=3),
            one.say(op="finish", leases=[c]),
            one.say(op="finish", leases=[e]),
            one.say(op="cancel", jobs=[{"queue_type": "t", "queue_id": "q4", "job_id": "j4"}]),
        ]
        assert await told(two, before) == ["success"]
        results = [await told(one, frame_id) for frame_id in sent]
        assert "success" in results[0][0].values()
        assert results[1:] == [
            ["success"],
            ["success"],
            ["already_finished"],
            ["success"],
            ["already_finished"],
            ["success"],
            ["already_finished"],
        ]


async def test_a_lost_reply_is_an_unknown_outcome_for_all_of_the_call(
    crowd: Any, proxy: Proxy, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    async with crowd(3) as clients:
        leases = await leased(clients[0], 3)
        proxy.lose_replies_to(DIGESTS["finish_many"].encode(), 1)
        sent = [
            each.say(op="finish", leases=[lease])
            for each, lease in zip(clients, leases, strict=True)
        ]
        for each, frame_id in zip(clients, sent, strict=True):
            answer = await each.answer(frame_id)
            assert (answer["event"], answer["outcome"]) == ("error", "unknown")
        sent = [
            each.say(op="finish", leases=[lease])
            for each, lease in zip(clients, leases, strict=True)
        ]
        for each, frame_id in zip(clients, sent, strict=True):
            assert await told(each, frame_id) == ["already_finished"]


async def test_a_store_that_is_away_is_told_to_each(
    crowd: Any, proxy: Proxy, expect_log: ExpectLog
) -> None:
    expect_log("Lost the store")
    async with crowd(2) as (one, two):
        a, b = await leased(one, 2)
        proxy.refuse()
        sent = [one.say(op="finish", leases=[a]), two.say(op="finish", leases=[b])]
        assert await told(one, sent[0]) == "store_unavailable"
        assert await told(two, sent[1]) == "store_unavailable"
        proxy.accept()
        await until_works(one, a)


async def until_works(one: Subscriber, lease: str) -> None:
    """Finish a lease as soon as the store is there again."""
    while (results := await told(one, one.say(op="finish", leases=[lease]))) != ["success"]:
        assert results == "store_unavailable"
        await asyncio.sleep(0.01)


async def test_a_connection_that_ends_before_its_answer_loses_nothing(
    crowd: Any, proxy: Proxy, rest: Rest, server: SharQServer
) -> None:
    async with crowd(3) as (one, two, three):
        a, b, c = await leased(one, 3)
        proxy.delay = 0.1
        sent = [one.say(op="finish", leases=[a]), three.say(op="finish", leases=[c])]
        two.say(op="finish", leases=[b])
        two.socket.protocol.stream.close()
        two.socket.close()
        assert await told(one, sent[0]) == ["success"]
        assert await told(three, sent[1]) == ["success"]
        proxy.delay = 0.0
        assert (await rest.get("/status/t/q1/j1/")).body["state"] == "finished"
        assert len(server.push.sessions) == 2


class TestTokens:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        path = tmp_path / "tokens"
        write_tokens(path, {"root": (["*"], ["*"]), "sms": (["finish"], ["sms"])})
        return {"sharq-server": {"token_file": str(path)}}

    async def test_who_may_not_is_refused_among_those_who_may(
        self, crowd: Any, proxy: Proxy
    ) -> None:
        async with (
            crowd(2, Authorization="Bearer root") as (root, other),
            crowd(1, Authorization="Bearer sms") as (sms,),
        ):
            (a, b, c), (d,) = await leased(root, 3), await leased(root, 1, "sms")
            calls(proxy, "finish_many")
            sent = [
                root.say(op="finish", leases=[a]),
                sms.say(op="finish", leases=[b, d]),
                other.say(op="finish", leases=[c]),
            ]
            extending = sms.say(op="extend", leases=[d], by=1)
            assert await told(root, sent[0]) == ["success"]
            assert await told(sms, sent[1]) == ["forbidden", "success"]
            assert await told(other, sent[2]) == ["success"]
            assert await told(sms, extending) == "forbidden"
            assert calls(proxy, "finish_many") == 2
            assert (await root.ask(op="finish", leases=[b]))["results"] == ["success"]
