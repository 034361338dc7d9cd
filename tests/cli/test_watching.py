"""A watch that is kept up: connections that fall silent, and errors that pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sharq.cli import watching
from sharq.cli.rest import Server
from sharq.cli.watching import Watcher
from tests.support.loops import eventually, on_loop
from tests.support.watch_server import WatchServer, of_types, type_entry


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_PING_EVERY", 0.05), ("_SILENT_AFTER", 0.3), ("_PAUSES", (0.05,))):
        monkeypatch.setattr(watching, name, value)


async def kept_up(server: WatchServer, then: Callable[[Watcher], None]) -> Watcher:
    """A watch of `types` until the next news after `then` that there is no connection."""
    watcher = Watcher(Server(server.url).channel, lambda: None)
    watcher.watch(["types"])
    running = asyncio.ensure_future(watcher.run())
    try:
        await eventually("all is known", lambda: watcher.watched.complete)
        then(watcher)
        await eventually("the connection is lost", lambda: watcher.trouble is not None)
        trouble = watcher.trouble
        server.mute, server.error = False, None
        await eventually("it is there again", lambda: watcher.trouble is None)
        await eventually("all is known again", lambda: watcher.watched.complete)
        watcher.trouble = trouble
    finally:
        await watching.end(running)
    return watcher


@on_loop
async def test_a_silent_server_is_given_up_and_one_that_only_pongs_is_not() -> None:
    with WatchServer(types=of_types(sms=type_entry())) as server:

        def be_mute(_: Watcher) -> None:
            server.mute = True

        watcher = await kept_up(server, be_mute)
        assert watcher.trouble == "the server is silent"
        assert server.welcomed == 2
        still = Watcher(Server(server.url).channel, lambda: None)
        still.watch(["types"])
        running = asyncio.ensure_future(still.run())
        await eventually("it is connected", lambda: still.watched.complete)
        pings = server.pings
        await eventually("time passes", lambda: server.pings > pings + 10)
        assert (still.trouble, server.welcomed) == (None, 3)
        await watching.end(running)


@on_loop
async def test_an_error_that_passes_is_tried_again() -> None:
    with WatchServer(types=of_types(sms=type_entry())) as server:

        def refuse(watcher: Watcher) -> None:
            server.error = "store_unavailable"
            watcher.watch(["types"])

        watcher = await kept_up(server, refuse)
    assert watcher.trouble == "It is not to be (store_unavailable)"


@on_loop
async def test_a_difference_that_was_missed_asks_for_the_whole() -> None:
    with WatchServer(types=of_types(sms=type_entry())) as server:
        watcher = Watcher(Server(server.url).channel, lambda: None)
        watcher.watch(["types"])
        running = asyncio.ensure_future(watcher.run())
        await eventually("all is known", lambda: watcher.watched.complete)
        problem = {"code": "store_unavailable", "message": "x"}
        server.send("types", problem=problem)
        await eventually("the problem is known", lambda: watcher.watched.problems)
        watcher.watched.problems.clear()
        asked = len(server.watched)
        server.send("types", {"at": 1})
        await eventually("it asks again", lambda: len(server.watched) > asked)
        await eventually("all is known again", lambda: watcher.watched.complete)
        await watching.end(running)
