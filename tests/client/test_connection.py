"""How connections are opened, and what is taken out of redis-py's hands."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from sharq.errors import StoreBug, StoreUnavailable
from sharq.settings.options import StoreSettings
from sharq.store.connection import (
    Opened,
    _detach,
    _detach_blocking,
    address,
    connect,
    connect_blocking,
)
from sharq.store.wire import Entry, Wire
from tests.support.commands import PING
from tests.support.loops import on_loop
from tests.support.proxy import Proxy
from tests.support.stores import PrivateStore, free_port


def at_port(place: PrivateStore | Proxy) -> StoreSettings:
    return StoreSettings(conn_type="tcp_sock", host=place.host, port=place.port)


@asynccontextmanager
async def opened(settings: StoreSettings) -> AsyncIterator[Opened]:
    connection = await connect(settings, 3)
    try:
        yield connection
    finally:
        connection.transport.abort()
        await asyncio.sleep(0)


def set_options(end: socket.socket) -> dict[str, bool]:
    return {
        "keepalive": bool(end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        "nodelay": bool(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
    }


@on_loop
async def test_a_connection_over_tcp_notices_a_dead_peer_and_does_not_wait_for_more(
    store: PrivateStore,
) -> None:
    async with opened(at_port(store)) as connection:
        end = connection.transport.get_extra_info("socket")
        assert set_options(end) == {"keepalive": True, "nodelay": True}


def test_a_blocking_connection_over_tcp_does_so_too(store: PrivateStore) -> None:
    with connect_blocking(at_port(store), 3) as end:
        assert set_options(end) == {"keepalive": True, "nodelay": True}


@on_loop
async def test_nothing_was_said_on_a_fresh_connection(store: PrivateStore) -> None:
    with Proxy((store.host, store.port)) as proxy:
        async with opened(at_port(proxy)) as connection:
            assert (connection.received, connection.ended) == (b"", False)
            assert proxy.requests == b""


@on_loop
async def test_a_refusal_names_the_reason() -> None:
    nobody = StoreSettings(conn_type="tcp_sock", port=free_port())
    with pytest.raises(StoreUnavailable) as error:
        await connect(nobody, 3)
    assert str(nobody.port) in str(error.value.__cause__)
    with pytest.raises(StoreUnavailable) as error:
        connect_blocking(nobody, 3)
    assert str(nobody.port) in str(error.value.__cause__)


@on_loop
async def test_a_store_that_does_not_answer_the_password_is_given_up(store: PrivateStore) -> None:
    with Proxy((store.host, store.port)) as proxy:
        proxy.stall()
        silent = StoreSettings(
            conn_type="tcp_sock", host=proxy.host, port=proxy.port, password="secret"
        )
        with pytest.raises(StoreUnavailable):
            await connect(silent, 0.1)
        with pytest.raises(StoreUnavailable):
            connect_blocking(silent, 0.1)
        proxy.resume()


@on_loop
async def test_a_caller_that_gives_up_leaves_no_connection(store: PrivateStore) -> None:
    with Proxy((store.host, store.port)) as proxy:
        proxy.stall()
        silent = StoreSettings(
            conn_type="tcp_sock", host=proxy.host, port=proxy.port, password="secret"
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connect(silent, 5)
        proxy.resume()


@on_loop
async def test_what_the_store_said_before_it_was_asked_is_its_answer(store: PrivateStore) -> None:
    replies: list[str] = []
    losses: list[str] = []
    connection = await connect(at_port(store), 3)
    refused = replace(connection, received=b"-ERR max number of clients reached\r\n", ended=True)
    wire = Wire(
        lambda _, reply: replies.append(str(reply)),
        lambda _, reason, unanswered: losses.append(f"{reason}: {len(unanswered)}"),
        lambda: None,
    )
    loop = asyncio.get_running_loop()
    wire.take_over(refused, [Entry(PING, loop.create_future()) for _ in range(2)])
    assert wire.lost.done()
    assert replies == ["ERR max number of clients reached"]
    assert losses == ["closed by the store: 1"]
    await asyncio.sleep(0)


def test_an_embedded_store_has_no_address_of_its_own() -> None:
    with pytest.raises(ValueError, match="embedded"):
        connect_blocking(StoreSettings(conn_type="embedded"), 3)


def test_a_client_library_that_keeps_its_connection_elsewhere_is_told() -> None:
    for detach in (_detach, _detach_blocking):
        with pytest.raises(StoreBug, match="redis-py"):
            detach(object())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            StoreSettings(conn_type="unix_sock", unix_socket_path="/run/store.sock"),
            "/run/store.sock",
        ),
        (StoreSettings(conn_type="tcp_sock", host="db", port=6380, password="secret"), "db:6380"),
        (StoreSettings(conn_type="tcp_sock", host="db", port=6380, tls=True), "db:6380 (TLS)"),
    ],
)
def test_the_address_for_the_log_shows_no_secret(settings: StoreSettings, text: str) -> None:
    assert address(settings) == text
