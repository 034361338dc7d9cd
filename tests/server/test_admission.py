"""How many connections a server takes, what one too many is told, and who gets the next place."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from sharq_server import SharQServer
from sharq_server.http.listener import Listener
from sharq_server.security import descriptors
from sharq_server.security.admission import Connections
from sharq_server.security.proxies import UNIX, Proxies
from tests.server.subscriber import Subscriber
from tests.server.support import Raw
from tests.support.http import Connection

pytestmark = pytest.mark.gen_test

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def options() -> dict[str, dict[str, Any]]:
    return {"sharq-server": {"max_connections": 3, "max_connections_per_address": 2}}


@asynccontextmanager
async def connection_from(raw: Raw, address: str) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", raw._port, local_addr=(address, 0))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def served(connection: Connection) -> bool:
    await connection.send(GET)
    answer = await connection.answer()
    if answer.status == 200:
        return True
    assert answer.error == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Connection"] == "close"
    assert await connection.ended()
    return False


async def test_one_connection_too_many_is_told(raw: Raw, server: SharQServer) -> None:
    async with (
        raw.connect() as one,
        raw.connect() as two,
        connection_from(raw, "127.0.0.2") as other,
    ):
        assert [await served(each) for each in (one, two, other)] == [True] * 3
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            async with connection_from(raw, address) as more:
                assert not await served(more)
        assert await served(one)
        two.close()
        while len(server.app.connections) == 3:
            await asyncio.sleep(0.005)
        async with connection_from(raw, "127.0.0.2") as again:
            assert await served(again)
    while len(server.app.connections):
        await asyncio.sleep(0.005)


async def test_one_address_does_not_take_the_places_of_others(raw: Raw) -> None:
    async with raw.connect() as one, raw.connect() as two:
        assert await served(one)
        assert await served(two)
        async with raw.connect() as three:
            assert not await served(three)
        async with connection_from(raw, "127.0.0.2") as other:
            assert await served(other)


async def test_a_websocket_keeps_its_place_until_it_ends(
    raw: Raw, server: SharQServer, http_port: int
) -> None:
    one, two = await Subscriber.connect(http_port), await Subscriber.connect(http_port)
    assert len(server.app.connections) == 2
    with pytest.raises(HTTPClientError) as caught:
        await Subscriber.connect(http_port)
    assert caught.value.code == 503
    assert caught.value.response is not None
    assert caught.value.response.headers["Retry-After"] == "1"
    for subscriber in (one, two):
        subscriber.socket.close()
    while len(server.app.connections):
        await asyncio.sleep(0.005)
    async with await Subscriber.connect(http_port):
        assert len(server.app.connections) == 1


async def test_those_that_linger_have_a_limit(
    raw: Raw, http_server: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharq_server.http.connection.MOST_LINGERING", 2)
    async with raw.connect() as one, raw.connect() as two:
        assert await served(one)
        assert await served(two)
        for _ in range(5):
            async with raw.connect() as more:
                # Its answer comes, whether it lingers or not.
                assert (await more.answer()).status == 503
                assert http_server.lingering <= 2
    while http_server.lingering:
        await asyncio.sleep(0.005)


def test_the_limits_that_are_not_set_come_of_the_limit_of_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = Connections()
    assert connections.most == max(64, min(soft, 1_000_000) - 256)
    few = Connections(4)
    assert [few.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert few.enter("10.0.0.2")
    few.leave("10.0.0.1")
    assert few.enter("10.0.0.1")
    few = Connections(4, 1, Proxies(("10.0.0.0/8",)))
    assert [few.enter("10.0.0.1"), few.enter("10.0.0.1")] == [True, True]
    assert [few.enter("11.0.0.1"), few.enter("11.0.0.1")] == [True, False]
    few.leave("10.0.0.1")
    assert [few.enter(UNIX) for _ in range(3)] == [True, True, False], "four in all"
    few = Connections(4)
    for loopback in ("127.0.0.1", "127.0.0.1", "127.0.0.1", "::1"):
        assert few.enter(loopback)
    assert not few.enter("::1")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 512), hard))
        assert Connections().most == 256
        descriptors.raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
