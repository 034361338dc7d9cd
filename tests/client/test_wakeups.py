"""Wake-ups over real connections, whatever befalls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sharq.settings.options import StoreSettings
from sharq.store.wakeups import Wakeups
from tests.support.stores import PrivateStore

CHANNEL = b"wake:me"
EVERYBODYS = b"wake:all"


class Watcher:
    def __init__(self) -> None:
        self.woken: list[str] = []
        self.told: list[bytes] = []
        self.listening = 0
        self.deaf = 0
        self.changed = asyncio.Event()

    def on_wake(self, queue_type: str) -> None:
        self.woken.append(queue_type)
        self.changed.set()
        if queue_type == "bug":
            raise ZeroDivisionError

    def on_message(self, message: bytes) -> None:
        self.told.append(message)
        self.changed.set()

    def on_listening(self) -> None:
        self.listening += 1
        self.changed.set()

    def on_deaf(self) -> None:
        self.deaf += 1
        self.changed.set()

    async def until(self, condition: object) -> None:
        async with asyncio.timeout(10):
            while not condition():  # type: ignore[operator]
                self.changed.clear()
                await self.changed.wait()


def read(message: bytes) -> str | None:
    return message.decode() if message.isalpha() else None


@asynccontextmanager
async def listening(store: PrivateStore, beat: float = 1.0) -> AsyncIterator[Watcher]:
    watcher = Watcher()
    settings = StoreSettings(conn_type="unix_sock", unix_socket_path=store.socket_path)
    wakeups = Wakeups(settings, (CHANNEL, EVERYBODYS), read, watcher, beat=beat)
    wakeups.start()
    try:
        await watcher.until(lambda: watcher.listening)
        yield watcher
    finally:
        await wakeups.aclose()
        assert not wakeups.subscribed


def test_a_message_wakes_and_others_do_not(store: PrivateStore) -> None:
    async def run() -> None:
        async with listening(store) as watcher:
            store.client.publish("wake:other", "b")
            store.client.publish(CHANNEL, "1 foreign")
            store.client.publish(CHANNEL, "a")
            await watcher.until(lambda: watcher.woken)
            assert watcher.woken == ["a"]
            store.client.publish(EVERYBODYS, "2 all")
            await watcher.until(lambda: len(watcher.told) == 2)
            assert watcher.told == [b"1 foreign", b"2 all"]

    asyncio.run(run())


def test_a_bug_in_the_watcher_does_not_end_it(
    store: PrivateStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with listening(store) as watcher:
            store.client.publish(CHANNEL, "bug")
            store.client.publish(CHANNEL, "a")
            await watcher.until(lambda: watcher.woken == ["bug", "a"])

    asyncio.run(run())
    assert "A bug in the handling of a wake-up" in caplog.text


def test_a_connection_that_is_cut_is_opened_again(store: PrivateStore) -> None:
    async def run() -> None:
        async with listening(store) as watcher:
            for round_number in (2, 3):
                store.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                await watcher.until(lambda n=round_number: watcher.listening == n)
            assert watcher.deaf == 2
            store.client.publish(CHANNEL, "a")
            await watcher.until(lambda: watcher.woken)

    asyncio.run(run())


def test_a_store_that_comes_back_is_heard_again() -> None:
    async def run(store: PrivateStore) -> None:
        async with listening(store) as watcher:
            store.kill()
            await watcher.until(lambda: watcher.deaf)
            store.start()
            await watcher.until(lambda: watcher.listening == 2)

    with PrivateStore() as store:
        asyncio.run(run(store))


def test_a_store_that_hangs_is_given_up() -> None:
    async def run(store: PrivateStore) -> None:
        async with listening(store, beat=0.05) as watcher:
            await asyncio.sleep(0.3)
            assert watcher.deaf == 0, "it answers pings"
            store.pause()
            await watcher.until(lambda: watcher.deaf)
            store.resume()
            await watcher.until(lambda: watcher.listening == 2)

    with PrivateStore() as store:
        asyncio.run(run(store))


def test_it_closes_while_it_connects(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def run() -> None:
        settings = StoreSettings(conn_type="unix_sock", unix_socket_path="/nowhere/store.sock")
        wakeups = Wakeups(settings, CHANNEL, read, Watcher())
        await wakeups.aclose()
        wakeups.start()
        await asyncio.sleep(0.02)
        await wakeups.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
