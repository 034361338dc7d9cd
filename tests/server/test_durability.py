"""A server says at its start what its store does not keep."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sharq import Settings
from sharq_server.service import SharQServer
from tests.server.command import Server
from tests.server.conftest import ExpectLog
from tests.support.faces import embedded
from tests.support.loops import eventually, on_loop
from tests.support.stores import PrivateCluster, PrivateStore, wait_for

WARNING, INFO = logging.WARNING, logging.INFO
KEPT: dict[str, Any] = {"appendonly": True, "appendfsync": "always"}
UNLOGGED = "keeps no log of its changes (appendonly no)"
NOT_LOOKED = "could not be checked"


def settings_for(store: PrivateStore, **redis: Any) -> Settings:
    place = {"conn_type": "unix_sock", "unix_socket_path": store.socket_path}
    return Settings.from_mapping({"redis": place | redis})


@asynccontextmanager
async def started(settings: Settings, *, upkeep: bool = True) -> AsyncIterator[SharQServer]:
    server = SharQServer(settings)
    await server.start(upkeep=upkeep)
    try:
        yield server
    finally:
        await server.stop()


async def told(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    meanwhile: Callable[[], None] | None = None,
) -> list[tuple[int, str]]:
    """What a server says of its store."""
    caplog.set_level(logging.DEBUG, "sharq_server.process.health")
    async with started(settings) as server:
        if meanwhile is not None:
            meanwhile()
        health = server._health
        assert health is not None
        await eventually("the server has looked", health.looked.is_set)
    return [
        (line.levelno, line.getMessage())
        for line in caplog.records
        if line.name == "sharq_server.process.health" and line.levelno > logging.DEBUG
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (KEPT, []),
        ({}, [UNLOGGED]),
        ({"appendonly": True, "appendfsync": "everysec"}, ["(appendfsync everysec)"]),
        ({"appendonly": True, "appendfsync": "no"}, ["(appendfsync no)"]),
        (
            KEPT | {"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"},
            ["(maxmemory-policy allkeys-lru)"],
        ),
        ({"maxmemory-policy": "volatile-ttl"}, [UNLOGGED, "(maxmemory-policy volatile-ttl)"]),
    ],
)
def test_a_store_that_does_not_keep_what_it_takes_is_told(
    options: dict[str, Any], words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with PrivateStore(**options) as store:
        lines = asyncio.run(told(settings_for(store), caplog))
        assert store.client.dbsize() <= 2  # the sweep's claim and no key of the check's
    assert [level for level, _ in lines] == [WARNING] * len(words)
    for (_, line), word in zip(lines, words, strict=True):
        assert word in line
        assert store.socket_path in line
        assert re.search(r" Set [a-z-]+ [a-z]+", line)  # what to do


def test_the_embedded_store_is_good_as_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    always = Settings.from_mapping(
        {"redis": {"conn_type": "embedded", "data_dir": tmp_path / "data"}}
    )
    assert asyncio.run(told(always, caplog)) == []
    ((level, line),) = asyncio.run(told(embedded(tmp_path / "other"), caplog))
    assert level == WARNING
    assert "(appendfsync no)" in line


@pytest.mark.parametrize("bounded", [False, True])
def test_replicas_are_told(bounded: bool, caplog: pytest.LogCaptureFixture) -> None:
    options = KEPT | ({"min-replicas-to-write": 1} if bounded else {})
    with PrivateStore(tcp=True, **options) as primary, PrivateStore(tcp=True) as replica:
        replica.command("REPLICAOF", "127.0.0.1", primary.port)
        wait_for(
            "the replica follows",
            lambda: primary.client.info("replication").get(
                "min_slaves_good_slaves" if bounded else "connected_slaves"
            ),
        )
        ((level, line),) = asyncio.run(told(settings_for(primary), caplog))
    assert level == (INFO if bounded else WARNING)
    assert "after a failover the last changes may be missing" in line
    # What is done already is not asked for.
    assert line.endswith("before replicas have it.") is not bounded


@pytest.mark.parametrize(
    ("rights", "command"),
    [("+@all -info", "INFO"), ("+@all -config", "CONFIG GET appendfsync")],
)
def test_a_store_that_lets_nobody_look_is_no_failure(
    rights: str, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    with PrivateStore(user=["sharq", "on", ">pw", "~*", "&*", *rights.split()], **KEPT) as store:
        settings = settings_for(store, username="sharq", password="pw")
        ((level, line),) = asyncio.run(told(settings, caplog))
    assert level == INFO
    assert NOT_LOOKED in line
    assert f"({command}: " in line
    assert "pw" not in line
    assert not [record for record in caplog.records if record.levelno >= WARNING]


def test_a_store_whose_commands_have_other_names_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with PrivateStore(rename_command=["CONFIG", ""], **KEPT) as store:
        ((level, line),) = asyncio.run(told(settings_for(store), caplog))
    assert (level, "unknown command" in line) == (INFO, True)


def test_every_node_of_a_cluster_is_looked_at(
    cluster: PrivateCluster, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [f"127.0.0.1:{port}" for port in cluster.ports]
    settings = Settings.from_mapping({"redis": {"port": cluster.ports[0], "clustered": True}})
    cluster.nodes[1].command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        lines = asyncio.run(told(settings, caplog))
    finally:
        cluster.nodes[1].command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    (unlogged,) = [line for _, line in lines if UNLOGGED in line]
    assert all(node in unlogged for node in nodes)  # one line for what is alike
    (evicting,) = [line for _, line in lines if "allkeys-lfu" in line]
    assert [node for node in nodes if node in evicting] == [nodes[1]]


def test_a_store_that_is_away_is_looked_at_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log("No connection to the store")
    expect_log("Expired jobs are not taken back", certain=False)
    monkeypatch.setattr("sharq_server.process.health._TRY_AGAIN", 0.05)
    with PrivateStore() as store:
        store.stop()

        async def wait_and_see() -> list[tuple[int, str]]:
            asking = asyncio.create_task(told(settings_for(store), caplog))
            await eventually(
                "it has tried",
                lambda: any("cannot be checked" in r.message for r in caplog.records),
            )
            await asyncio.to_thread(store.start)
            return await asking

        ((_, line),) = asyncio.run(wait_and_see())
    assert UNLOGGED in line


@on_loop
async def test_a_server_ends_while_it_waits_to_look(expect_log: ExpectLog) -> None:
    expect_log("No connection to the store", certain=False)
    expect_log("Expired jobs are not taken back", certain=False)
    with PrivateStore() as store:
        store.stop()
        async with started(settings_for(store)) as server:
            assert server._checking is not None
            await asyncio.sleep(0)


@on_loop
async def test_of_several_one_says_it_and_all_know(caplog: pytest.LogCaptureFixture) -> None:
    with PrivateStore(**{"maxmemory-policy": "allkeys-lru"}) as store:
        async with started(settings_for(store), upkeep=False) as server:
            assert server._health is not None
            await server._health.looked.wait()
            (warning,) = server.app.warnings.lines
    assert "(maxmemory-policy allkeys-lru)" in warning
    assert not [each for each in caplog.records if each.name == "sharq_server.process.health"]


def test_the_command_says_it_once_for_all_its_processes(tmp_path: Path) -> None:
    with PrivateStore(**(KEPT | {"appendfsync": "everysec"})) as store:
        place = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        with Server(tmp_path, "--workers", "2", embedded=False, **place) as server:
            wait_for("it has looked", lambda: "appendfsync everysec" in server.log)
            assert server.call("GET", "/deepstatus/") == (200, {"status": "success"})
        assert server.log.count("appendfsync everysec") == 1


def test_the_status_of_a_server_tells_of_a_store_that_drops_keys(tmp_path: Path) -> None:
    with PrivateStore(**(KEPT | {"maxmemory-policy": "volatile-lru"})) as store:
        place = {
            "SHARQ_REDIS_CONN_TYPE": "unix_sock",
            "SHARQ_REDIS_UNIX_SOCKET_PATH": store.socket_path,
        }
        with Server(tmp_path, "--workers", "2", embedded=False, **place) as server:

            def is_told() -> bool:
                status, body = server.call("GET", "/deepstatus/")
                assert (status, body["status"]) == (200, "success")
                return "(maxmemory-policy volatile-lru)" in str(body.get("warnings"))

            for _ in range(10):  # whichever process answers
                wait_for("it is told", is_told)
