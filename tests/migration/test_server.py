"""A server that finds the original's keys beside its own says so once, at its start."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sharq_server.service import SharQServer
from tests.migration.new import New, settings_for
from tests.migration.old import Old
from tests.support.loops import eventually
from tests.support.stores import PrivateStore


async def said(store: PrivateStore, caplog: pytest.LogCaptureFixture, prefix: str) -> list[str]:
    """What a server says that has begun to wait for the next look."""
    caplog.clear()
    caplog.set_level(logging.DEBUG, "sharq_server.process.health")
    server = SharQServer(settings_for(store, prefix))
    await server.start(upkeep=True)
    try:
        health = server._health
        assert health is not None
        await eventually("it has looked", health.looked_beside.is_set)
    finally:
        await server.stop()
    return [line.getMessage() for line in caplog.records if "sharq migrate" in line.getMessage()]


@pytest.mark.parametrize("field", ["payload", "interval"])
def test_it_names_the_command(
    clean_store: PrivateStore, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    clean_store.client.hset(f"mine:{field}", "sms:bob:j", "1")
    (line,) = asyncio.run(said(clean_store, caplog, "mine"))
    assert "`sharq migrate`" in line
    assert "prefix mine" in line


def test_without_such_keys_it_says_nothing(
    clean_store: PrivateStore, caplog: pytest.LogCaptureFixture, new: New
) -> None:
    assert asyncio.run(said(clean_store, caplog, "mine")) == []
    clean_store.client.set("mine:payload", "somebody's")
    assert asyncio.run(said(clean_store, caplog, "mine")) == []
    old = Old(clean_store)
    old.enqueue("sms", "bob", "j", 1)
    assert len(asyncio.run(said(clean_store, caplog, old.prefix))) == 1
    new.migrate(old)
    assert asyncio.run(said(clean_store, caplog, old.prefix)) == []


def test_a_user_who_may_not_look_is_no_problem(
    clean_store: PrivateStore, caplog: pytest.LogCaptureFixture
) -> None:
    clean_store.client.hset("mine:payload", "sms:bob:j", "1")
    rules = "~{mine*", "&{mine}*"
    clean_store.client.execute_command(
        "ACL", "SETUSER", "default", "resetkeys", "resetchannels", *rules
    )
    try:
        assert asyncio.run(said(clean_store, caplog, "mine")) == []
    finally:
        clean_store.client.execute_command("ACL", "SETUSER", "default", "allkeys", "allchannels")
